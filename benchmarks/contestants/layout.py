"""The networks as functions of their weights, for any array library."""


def layout(model, ops):
    """Returns `forward(images, weights)`; weights in Keras' order.

    Args:
        model: a name in `TASKS`.
        ops: with `flatten`, `relu`, `matmul`, `conv`, `norm`, `pool`, `mean`.
    """
    return {
        "lenet_300_100": _lenet,
        "conv_4": _conv_4,
        "resnet_20": _resnet_20,
    }[model](ops)


def _dense(ops, x, weights, last=True):
    while True:
        x = ops.matmul(x, next(weights)) + next(weights)
        try:
            first = next(weights)
        except StopIteration:
            return x
        x = ops.relu(x)
        weights = _prepend(first, weights)


def _prepend(first, rest):
    yield first
    yield from rest


def _lenet(ops):
    return lambda x, weights: _dense(ops, ops.flatten(x), iter(weights))


def _conv_4(ops):
    def forward(x, weights):
        weights = iter(weights)
        for _ in range(2):
            for _ in range(2):
                kernel, bias = next(weights), next(weights)
                x = ops.relu(ops.conv(x, kernel, 1) + bias)
            x = ops.pool(x)
        return _dense(ops, ops.flatten(x), weights)

    return forward


def _resnet_20(ops):
    def forward(x, weights):
        weights = iter(weights)

        def norm(x):
            return ops.norm(x, next(weights), next(weights))

        def conv(x, stride):
            return norm(ops.conv(x, next(weights), stride))

        x = ops.relu(conv(x, 1))
        for stage in range(3):
            for block in range(3):
                halves = stage > 0 and block == 0
                inside = ops.relu(conv(x, 1 + halves))
                # As Keras orders them: both kernels, then both norms.
                inside = ops.conv(inside, next(weights), 1)
                beside = ops.conv(x, next(weights), 2) if halves else x
                inside = norm(inside)
                x = ops.relu(inside + (norm(beside) if halves else x))
        return _dense(ops, ops.mean(x), weights)

    return forward

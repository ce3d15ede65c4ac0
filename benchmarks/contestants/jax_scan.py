"""JAX: a `lax.scan` over the steps, or single compiled steps of convolutions.

XLA runs a convolution inside a loop on a CPU on one thread, so there JAX is
given its better way.
"""

from contestants.layout import layout
from contestants.task import MOMENTUM, TASKS, data, masked_network, orders


def make(model, density):
    """Masked training in JAX, optimizers by hand."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    task = TASKS[model]
    net = masked_network(model, density)
    weights = [jnp.asarray(np.array(v)) for v in net.trainable_variables]
    masks = [jnp.ones(())] * len(weights)
    places = {id(v): i for i, v in enumerate(net.trainable_variables)}
    for layer in net.layers:
        mask = getattr(layer, "kernel_mask", None)
        if mask is not None:
            masks[places[id(layer.raw_kernel())]] = jnp.asarray(np.array(mask))
    weights = [w * mask for w, mask in zip(weights, masks)]
    x, y = map(jnp.asarray, data(task))
    forward = layout(model, _operations(jax, jnp))

    def loss_of(weights, images, labels):
        logs = jax.nn.log_softmax(forward(images, weights))
        return -jnp.mean(jnp.take_along_axis(logs, labels[:, None], 1))

    def step(state, index, x, y):
        weights, m, v, count = state
        images = x[index].astype(jnp.float32) / 255
        loss, gradients = jax.value_and_grad(loss_of)(
            weights, images, y[index]
        )
        gradients = [g * mask for g, mask in zip(gradients, masks)]
        count += 1
        if task.optimizer == "adam":
            rate = task.rate * jnp.sqrt(1 - 0.999**count) / (1 - 0.9**count)
            m = [a + (g - a) * 0.1 for a, g in zip(m, gradients)]
            v = [b + (g * g - b) * 0.001 for b, g in zip(v, gradients)]
            weights = [
                w - rate * a / (jnp.sqrt(b) + 1e-7)
                for w, a, b in zip(weights, m, v)
            ]
        else:
            m = [
                MOMENTUM * a - task.rate * (g + task.decay * w)
                for a, g, w in zip(m, gradients, weights)
            ]
            weights = [w + a for w, a in zip(weights, m)]
        return (weights, m, v, count), loss

    zeros = [jnp.zeros_like(w) for w in weights]
    state = (weights, zeros, list(map(jnp.copy, zeros)), jnp.zeros(()))
    one = jax.jit(step, donate_argnums=0)
    scan = jax.jit(
        lambda state, order, x, y: jax.lax.scan(
            lambda state, index: step(state, index, x, y), state, order
        ),
        donate_argnums=0,
    )

    def run(steps):
        nonlocal state
        if model == "lenet_300_100":
            for _ in range(steps // 100):
                state, losses = scan(state, orders(task, 100), x, y)
                losses[-1].block_until_ready()
            return
        for index in orders(task, steps):
            state, loss = one(state, index, x, y)
        loss.block_until_ready()

    return run


def _operations(jax, jnp):
    class Operations:
        flatten = staticmethod(lambda x: x.reshape(x.shape[0], -1))
        relu = staticmethod(jax.nn.relu)
        matmul = staticmethod(jnp.matmul)
        mean = staticmethod(lambda x: x.mean((1, 2)))

        @staticmethod
        def conv(x, kernel, stride):
            return jax.lax.conv_general_dilated(
                x,
                kernel,
                (stride, stride),
                "SAME",
                dimension_numbers=("NHWC", "HWIO", "NHWC"),
            )

        @staticmethod
        def norm(x, gamma, beta):
            mean = x.mean((0, 1, 2))
            variance = jnp.square(x).mean((0, 1, 2)) - jnp.square(mean)
            scale = gamma * jax.lax.rsqrt(variance + 1e-3)
            return x * scale + (beta - mean * scale)

        @staticmethod
        def pool(x):
            return jax.lax.reduce_window(
                x,
                -jnp.inf,
                jax.lax.max,
                (1, 2, 2, 1),
                (1, 2, 2, 1),
                "VALID",
            )

    return Operations

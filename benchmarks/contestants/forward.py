"""Evaluation of LeNet-300-100, and the matrix products that it needs."""

import tensorflow as tf

from contestants.task import TASKS, data, masked_network

BATCH = 1000


def engine(size, density):
    """The loop's own evaluation: loss and accuracy of uint8 images."""
    import keras

    from tf_lottery.train.evaluate import Evaluator

    x, y = data(TASKS["lenet_300_100"])
    loss = keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction=None
    )
    evaluate = Evaluator(
        masked_network("lenet_300_100", density),
        loss,
        lambda x: tf.cast(x, tf.float32) / 255.0,
        jit=True,
    )
    staged = evaluate.stage(x[:size], y[:size])

    def run(times):
        for _ in range(times):
            evaluate(staged)

    return run


def products(size, density):
    """Three matrix products a batch of float images, nothing else."""
    net = masked_network("lenet_300_100", density)
    kernels = [tf.constant(layer.kernel) for layer in net.layers[-3:]]
    x, _ = data(TASKS["lenet_300_100"])
    x = tf.constant(x[:size].reshape(-1, BATCH, 784) / 255.0, tf.float32)

    @tf.function
    def forward(x):
        for kernel in kernels:
            x = tf.matmul(x, kernel)
        return x

    def run(times):
        for _ in range(times):
            for batch in x:
                forward(batch).numpy()

    return run

"""The same arithmetic by hand in one TensorFlow loop: the limit of the engine.

What the engine costs beyond this is its own doing.
"""

import tensorflow as tf

from contestants.layout import layout
from contestants.task import MOMENTUM, TASKS, data, masked_network, orders

CALL = 100


def make(model, density):
    """One compiled loop; XLA where there is no convolution."""
    task = TASKS[model]
    net = masked_network(model, density)
    weights = [tf.Variable(v.value) for v in net.trainable_variables]
    masks = {}
    for layer in net.layers:
        mask = getattr(layer, "kernel_mask", None)
        if mask is not None:
            index = [id(v) for v in net.trainable_variables].index(
                id(layer.raw_kernel())
            )
            masks[index] = tf.constant(mask.value)
            weights[index].assign(weights[index] * masks[index])
    slots = [
        [tf.Variable(tf.zeros_like(w)) for w in weights] for _ in range(2)
    ]
    count = tf.Variable(0.0)
    x, y = map(tf.constant, data(task))
    forward = layout(model, _Operations)

    def step(index):
        images = tf.cast(tf.gather(x, index), tf.float32) / 255.0
        with tf.GradientTape() as tape:
            logits = forward(images, weights)
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    tf.gather(y, index), logits
                )
            )
        gradients = [
            g * masks[i] if i in masks else g
            for i, g in enumerate(tape.gradient(loss, weights))
        ]
        count.assign_add(1.0)
        update = _adam if task.optimizer == "adam" else _sgd
        update(task, weights, gradients, slots, count)
        return loss

    @tf.function(jit_compile="lenet" in model)
    def loop(order, length):
        total = tf.zeros(())
        for i in tf.range(length):
            total += step(order[i])
        return total

    def run(steps):
        for start in range(0, steps, CALL):
            order = tf.constant(orders(task, CALL))
            float(loop(order, tf.constant(min(CALL, steps - start))))

    return run


def _adam(task, weights, gradients, slots, count):
    rate = task.rate * tf.sqrt(1 - 0.999**count) / (1 - 0.9**count)
    for w, g, m, v in zip(weights, gradients, *slots):
        m.assign_add((g - m) * 0.1)
        v.assign_add((g * g - v) * 0.001)
        w.assign_sub(rate * m / (tf.sqrt(v) + 1e-7))


def _sgd(task, weights, gradients, slots, count):
    for w, g, m in zip(weights, gradients, slots[0]):
        m.assign(MOMENTUM * m - task.rate * (g + task.decay * w))
        w.assign_add(m)


class _Operations:
    flatten = staticmethod(lambda x: tf.reshape(x, (x.shape[0], -1)))
    relu = staticmethod(tf.nn.relu)
    matmul = staticmethod(tf.matmul)
    pool = staticmethod(lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"))
    mean = staticmethod(lambda x: tf.reduce_mean(x, (1, 2)))

    @staticmethod
    def conv(x, kernel, stride):
        return tf.nn.conv2d(x, kernel, stride, "SAME")

    @staticmethod
    def norm(x, gamma, beta):
        return tf.compat.v1.nn.fused_batch_norm(x, gamma, beta)[0]

"""The compiled loop: many optimizer steps in one call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.layers import masked_kernels
from tf_lottery.layers import raw_kernels


def compile_steps(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Callable,
    data: tuple[tf.Tensor, tf.Tensor],
    *,
    batch_size: int,
    preprocess: Callable,
    strategy: tf.distribute.Strategy,
    augment: Any = None,
    weight_decay: float = 0.0,
    jit: bool = False,
) -> Callable:
    """Returns the function that takes optimizer steps, compiled once.

    Pruned weights are exactly 0 before the first step, and the loop masks
    their gradients, so they stay 0: the forward pass then needs no product
    with the mask, and each mask is read once in a step.

    Args:
        model: masked or not, created in the scope of `strategy`.
        optimizer: built; one that leaves a weight of zero gradient and
            neutral slots where it is.
        loss: `(labels, outputs) -> losses per example`.
        data: all examples and labels, on the device.
        batch_size: examples per step, over all replicas.
        preprocess: from stored examples to the model's inputs.
        strategy: where to train.
        augment: with `draw(seed, batch_size)` and `apply(examples, draws)`;
            draws are made for the whole batch, so they do not depend on the
            number of replicas.
        weight_decay: L2 coefficient, added to the gradient.
        jit: whether XLA compiles the loop.

    Returns:
        `run(order, rates, count, start, key) -> sum of the losses`: `order`
        is `(length, batch_size)` examples, `rates` `(length,)` learning
        rates, of which the first `count` steps are taken; `start` is the
        number of the first step and `key` the seed of the augmentation.
    """
    x_all, y_all = data
    replicas = strategy.num_replicas_in_sync
    local = batch_size // replicas
    weights = model.trainable_variables
    by_weight = {id(raw): mask for raw, mask in masked_kernels(model).values()}
    masks = [by_weight.get(id(w)) for w in weights]

    def one_step(index, seed):
        replica = tf.distribute.get_replica_context()
        first = replica.replica_id_in_sync_group * local
        index = index[first : first + local] if replicas > 1 else index
        x = tf.gather(x_all, index)
        if augment is not None:
            draws = augment.draw(seed, batch_size)
            x = augment.apply(x, draws[first : first + local])
        y = tf.gather(y_all, index)
        with tf.GradientTape() as tape:
            with raw_kernels():
                outputs = model(preprocess(x), training=True)
            # The optimizer sums gradients over replicas, so each gives its
            # share of the mean over the global batch.
            outputs = tf.cast(outputs, tf.float32)
            total = tf.reduce_sum(loss(y, outputs)) / batch_size
            for extra in model.losses:
                total += tf.cast(extra, tf.float32) / replicas
        gradients = [
            _complete(g, w, mask, weight_decay / replicas)
            for g, w, mask in zip(
                tape.gradient(total, weights), weights, masks
            )
        ]
        optimizer.apply(gradients, weights)
        return total

    # A function of its own: a name first bound inside a loop becomes a loop
    # variable of AutoGraph's, which XLA refuses ("loop condition should be
    # (pred[])").
    def loop_body(index, rate, seed):
        optimizer.learning_rate = rate
        losses = strategy.run(one_step, args=(index, seed))
        return strategy.reduce("SUM", losses, axis=None)

    @tf.function(jit_compile=jit)
    def run(order, rates, count, start, key):
        total = tf.zeros(())
        for i in tf.range(count):
            total += loop_body(order[i], rates[i], tf.stack([key, start + i]))
        return total

    return run


def _complete(gradient, weight, mask, decay):
    """The gradient with its decay, and 0 where the weight is pruned."""
    if gradient is None:
        return None
    if mask is not None:
        # Of an embedding it is sparse: rows, not the kernel's shape.
        gradient = tf.convert_to_tensor(gradient)
        gradient *= tf.cast(mask.value, gradient.dtype)
    if decay:
        gradient += decay * tf.cast(weight.value, gradient.dtype)
    return gradient

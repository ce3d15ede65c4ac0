"""The compiled loop: many optimizer steps in one call."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.layers import masked_kernels
from tf_lottery.layers import raw_kernels
from tf_lottery.layers import walk
from tf_lottery.train.normalization import fused_normalization


def compile_steps(
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    loss: Callable,
    *,
    batch_size: int,
    preprocess: Callable,
    strategy: tf.distribute.Strategy,
    augment: Any = None,
    weight_decay: float = 0.0,
    scale_l1: float = 0.0,
    jit: str = "nothing",
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
        batch_size: examples per step, over all replicas.
        preprocess: from stored examples to the model's inputs.
        strategy: where to train.
        augment: with `draw(seed, batch_size)` and `apply(examples, draws)`;
            draws are made for the whole batch, so they do not depend on the
            number of replicas.
        weight_decay: L2 coefficient, added to the gradient.
        scale_l1: L1 coefficient of BatchNormalization's scales, likewise.
        jit: what XLA compiles: `"loop"`, `"update"` (the optimizer's, all of
            whose operations it makes one) or `"nothing"`.

    Returns:
        `run(x, y, order, rates, count, start, key) -> sum of the losses`.
        Each replica has examples `x` and labels `y` to take from, and an
        `order` of `(length, batch_size / replicas)` of their numbers (a
        `Feed` gives the three); `rates` is `(length,)` learning rates. Of
        these the first `count` steps are taken; `start` is the number of the
        first step and `key` the seed of the augmentation.
    """
    replicas = strategy.num_replicas_in_sync
    local = batch_size // replicas
    weights = model.trainable_variables
    by_weight = {id(raw): mask for raw, mask in masked_kernels(model).values()}
    masks = [by_weight.get(id(w)) for w in weights]
    # One that Keras projects after the update may not stay 0 where it was.
    constrained = [
        (w, mask)
        for w, mask in zip(weights, masks)
        if mask is not None and w.constraint is not None
    ]
    scales = {
        id(layer.gamma)
        for layer in walk(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.scale
    }
    if scale_l1 and not scales:
        raise ValueError(
            "`scale_l1` must be 0 for a model without scales of "
            f"BatchNormalization. Received: scale_l1={scale_l1}. Leave it out."
        )
    shrinks = [scale_l1 / replicas * (id(w) in scales) for w in weights]
    statistics = _statistics(model)
    # XLA fuses the operations of Keras' normalisation by itself.
    normalization: Callable = contextlib.nullcontext
    if jit != "loop":
        normalization = functools.partial(fused_normalization, model)

    def one_step(x_all, y_all, order, i, seed):
        index = order[i]
        x = tf.gather(x_all, index)
        if augment is not None:
            replica = tf.distribute.get_replica_context()
            first = replica.replica_id_in_sync_group * local
            draws = augment.draw(seed, batch_size)
            x = augment.apply(x, draws[first : first + local])
        y = tf.gather(y_all, index)
        with tf.GradientTape() as tape:
            with raw_kernels(), normalization():
                outputs = model(preprocess(x), training=True)
            # The optimizer sums gradients over replicas, so each gives its
            # share of the mean over the global batch.
            outputs = tf.cast(outputs, tf.float32)
            total = tf.reduce_sum(loss(y, outputs)) / batch_size
            for extra in model.losses:
                total += tf.cast(extra, tf.float32) / replicas
        update(tape.gradient(total, weights))
        if replicas > 1 and statistics:
            average()
        return total

    def update(gradients):
        gradients = [
            _complete(g, w, mask, weight_decay / replicas, shrink)
            for g, w, mask, shrink in zip(gradients, weights, masks, shrinks)
        ]
        optimizer.apply(gradients, weights)
        for weight, mask in constrained:
            weight.assign(weight.value * tf.cast(mask.value, weight.dtype))

    if jit == "update":
        update = tf.function(update, jit_compile=True)

    # A function of its own: a name first bound inside a loop becomes a loop
    # variable of AutoGraph's, which XLA refuses ("loop condition should be
    # (pred[])").
    def loop_body(x, y, order, i, rate, seed):
        optimizer.learning_rate = rate
        losses = strategy.run(one_step, args=(x, y, order, i, seed))
        return strategy.reduce("SUM", losses, axis=None)

    # Each replica's moving averages follow its own part of the batches. After
    # every step, not every call: the clock says how long a call is, and a
    # mean of means rounds otherwise.
    def average():
        replica = tf.distribute.get_replica_context()
        means = replica.all_reduce("MEAN", [v.value for v in statistics])
        for variable, mean in zip(statistics, means):
            variable.assign(mean)

    @tf.function(jit_compile=jit == "loop")
    def run(x, y, order, rates, count, start, key):
        total, i = tf.zeros(()), tf.constant(0)
        # Not over tf.range: XLA would compile it anew for every count.
        while i < count:
            seed = tf.stack([key, start + i])
            total += loop_body(x, y, order, i, rates[i], seed)
            i += 1
        return total

    return run


def _complete(gradient, weight, mask, decay, shrink):
    """The gradient with its penalties, and 0 where the weight is pruned."""
    if gradient is None:
        return None
    if mask is not None:
        # Of an embedding it is sparse: rows, not the kernel's shape.
        gradient = tf.convert_to_tensor(gradient)
        gradient *= tf.cast(mask.value, gradient.dtype)
    if decay:
        gradient += decay * tf.cast(weight.value, gradient.dtype)
    if shrink:
        gradient += shrink * tf.sign(tf.cast(weight.value, gradient.dtype))
    return gradient


def _statistics(model):
    """What layers count themselves: the moving averages of normalisation.

    Weights of a frozen layer are none: they are the same everywhere, and their
    mean would round.
    """
    others = {id(mask) for _, mask in masked_kernels(model).values()}
    for layer in (model, *walk(model)):
        others |= {id(v) for v in layer._trainable_variables}
    return [
        v
        for v in model.non_trainable_variables
        if id(v) not in others and tf.as_dtype(v.dtype).is_floating
    ]

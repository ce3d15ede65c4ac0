"""Keras `model.fit` on a tf.data pipeline, and TF-MOT on tf_keras' one."""

import tensorflow as tf

from contestants.task import MOMENTUM, TASKS, data, masked_network


def make(model, density, tuned=False):
    """`fit` as people write it, or tuned."""
    import keras

    task = TASKS[model]
    net = masked_network(model, density)
    net.compile(
        _optimizer(keras, task),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # XLA makes convolutions on a CPU many times slower, and next to these
        # the start of a step costs nothing.
        **dict(
            jit_compile="lenet" in model,
            steps_per_execution=100 if "lenet" in model else 1,
        )
        if tuned
        else {},
    )
    return _fit_loop(task, net, tuned=tuned)


def tfmot(model, density):
    """TF-MOT's wrapper with a constant sparsity, on tf_keras."""
    import tensorflow_model_optimization as tfmot
    import tf_keras

    sparsity = tfmot.sparsity.keras
    task = TASKS[model]
    net = sparsity.prune_low_magnitude(
        _tf_keras_network(tf_keras, model),
        sparsity.ConstantSparsity(1 - density, 0, frequency=100),
    )
    net.compile(
        _optimizer(tf_keras, task),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return _fit_loop(task, net, [sparsity.UpdatePruningStep()])


def _optimizer(keras, task):
    if task.optimizer == "adam":
        return keras.optimizers.Adam(task.rate)
    return keras.optimizers.SGD(task.rate, MOMENTUM)


def _fit_loop(task, model, callbacks=(), tuned=False):
    pairs = tf.data.Dataset.from_tensor_slices(data(task))
    pairs = pairs.shuffle(10_000, seed=0)
    scale = lambda x, y: (tf.cast(x, tf.float32) / 255.0, y)  # noqa: E731
    if tuned:
        # Whole batches at once, in parallel.
        pairs = pairs.repeat().batch(task.batch, drop_remainder=True)
        pairs = pairs.map(scale, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        pairs = pairs.map(scale).batch(task.batch, drop_remainder=True)
        pairs = pairs.repeat()
    pairs = pairs.prefetch(tf.data.AUTOTUNE)

    def run(steps):
        model.fit(
            pairs,
            steps_per_epoch=steps,
            epochs=1,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        )

    return run


def _tf_keras_network(tf_keras, model):
    layers = tf_keras.layers
    if model == "lenet_300_100":
        hidden = [layers.Flatten(), layers.Dense(300, "relu")]
        hidden += [layers.Dense(100, "relu")]
    elif model == "conv_4":
        hidden = [
            layer
            for width in (64, 128)
            for layer in (
                layers.Conv2D(width, 3, padding="same", activation="relu"),
                layers.Conv2D(width, 3, padding="same", activation="relu"),
                layers.MaxPool2D(),
            )
        ]
        hidden += [layers.Flatten()]
        hidden += [layers.Dense(256, "relu"), layers.Dense(256, "relu")]
    else:
        raise ImportError(f"no {model} for tf_keras here")
    shape = TASKS[model].shape
    return tf_keras.Sequential(
        [layers.InputLayer(shape), *hidden, layers.Dense(10)]
    )

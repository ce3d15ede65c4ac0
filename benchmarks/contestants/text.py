"""Language models: tf_lottery's training loop, and Keras `model.fit`."""

import keras
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery import data, models

RATE = 1e-3


def engine(model, batch_size, sequence_length, density):
    """The loop as the command uses it; dense where `density` is None."""
    found, net = _task(model, sequence_length, density)
    few = (found.test.x[:batch_size], found.test.y[:batch_size])
    trainer = tfl.Trainer(
        net,
        {
            "train": (found.train.x, found.train.y),
            "validation": few,
            "test": few,
        },
        tfl.TrainingSettings(
            train_steps=tfl.Step(10**6),
            batch_size=batch_size,
            optimizer="adam",
            learning_rate=tfl.LearningRate(RATE),
        ),
        preprocess=lambda x: x,
    )

    def run(steps):
        for start in range(0, steps, 100):
            trainer.advance(start, min(start + 100, steps), seed=0)

    return run


def keras_fit(model, batch_size, sequence_length, density):
    """`fit` as people write it."""
    found, net = _task(model, sequence_length, density)
    net.compile(
        keras.optimizers.Adam(RATE),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    pairs = tf.data.Dataset.from_tensor_slices((found.train.x, found.train.y))
    pairs = pairs.shuffle(10_000, seed=0).repeat()
    pairs = pairs.batch(batch_size).prefetch(tf.data.AUTOTUNE)

    def run(steps):
        net.fit(pairs, steps_per_epoch=steps, epochs=1, verbose=0)

    return run


def _task(model, sequence_length, density):
    settings = data.TextSettings(sequence_length=sequence_length)
    found = data.load("grammar", text_settings=settings)
    info = found.info
    net = models.build_model(
        model, info.input_shape, info.num_classes, seed=0
    )
    if density is not None:
        net = tfl.mask_model(net)
        tfl.prune(net, 1 - density, "random")
    return found, net

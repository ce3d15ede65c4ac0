"""tf_lottery's own training loop."""

import tensorflow as tf

import tf_lottery as tfl
from contestants.task import MOMENTUM, TASKS, data, masked_network, network


def make(model, density, precision="float32"):
    """The loop as the command uses it; dense where `density` is None."""
    import keras

    task = TASKS[model]
    x, y = data(task)
    keras.config.set_dtype_policy(precision)
    net = network(model) if density is None else masked_network(model, density)
    few = (x[:100], y[:100])
    trainer = tfl.Trainer(
        net,
        {"train": (x, y), "validation": few, "test": few},
        tfl.TrainingSettings(
            train_steps=tfl.Step(10**6),
            batch_size=task.batch,
            optimizer=task.optimizer,
            learning_rate=tfl.LearningRate(task.rate),
            momentum=MOMENTUM,
            weight_decay=task.decay,
        ),
        preprocess=lambda x: tf.cast(x, tf.float32) / 255.0,
    )

    def run(steps):
        for start in range(0, steps, 100):
            trainer.advance(start, min(start + 100, steps), seed=0)

    return run

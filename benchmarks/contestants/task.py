"""The training tasks that all contestants do, with made-up data."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Task:
    """A network, its data's shape and how it is trained."""

    batch: int
    shape: tuple
    examples: int
    optimizer: str
    rate: float
    decay: float = 0.0


TASKS = {
    "lenet_300_100": Task(60, (28, 28, 1), 55_000, "adam", 1.2e-3),
    "conv_4": Task(60, (32, 32, 3), 5000, "adam", 3e-4),
    "resnet_20": Task(128, (32, 32, 3), 5000, "sgd", 0.03, 1e-4),
}
MOMENTUM = 0.9


def data(task):
    """uint8 images and int32 labels."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (task.examples, *task.shape), np.uint8)
    return x, rng.integers(0, 10, task.examples, np.int32)


def orders(task, steps, rng=np.random.default_rng(1)):
    """`(steps, batch)` rows of examples."""
    size = (steps, task.batch)
    return rng.integers(0, task.examples, size, np.int32)


def network(model):
    """The Keras network, dense."""
    from tf_lottery import models

    return models.build_model(model, TASKS[model].shape, 10, seed=0)


def masked_network(model, density):
    """The Keras network with a random mask of that density."""
    import tf_lottery as tfl

    masked = tfl.mask_model(network(model))
    tfl.prune(masked, 1 - density, "random")
    return masked

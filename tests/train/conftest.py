"""A tiny problem that the tests of training share."""

import keras
import numpy as np
import pytest

from tf_lottery import Step
from tf_lottery import Trainer
from tf_lottery import TrainingSettings
from tf_lottery import mask_model
from tf_lottery import set_mask
from tf_lottery.schedules import LearningRate

SIZE, FEATURES, CLASSES = 50, 6, 3


@pytest.fixture(scope="session")
def splits():
    """50 training examples: 6 batches of 8, and 2 that are dropped."""
    rng = np.random.default_rng(0)

    def split(size):
        x = rng.normal(size=(size, FEATURES)).astype("float32")
        y = (x[:, 0] > 0).astype("int32") + (x[:, 1] > 0.5)
        return x, y.astype("int32")

    return {"train": split(SIZE), "validation": split(11), "test": split(7)}


@pytest.fixture(scope="session")
def make_net():
    """Dense 6-5-3 with anything between; masked, half of "hidden" pruned."""

    def make(*between, seed=1, mask=True, **how):
        initializers = [
            keras.initializers.GlorotNormal(seed=seed + i) for i in range(2)
        ]
        model = keras.Sequential(
            [
                keras.Input((FEATURES,)),
                keras.layers.Dense(
                    5,
                    name="hidden",
                    kernel_initializer=initializers[0],
                    **how,
                ),
                *(between or [keras.layers.ReLU()]),
                keras.layers.Dense(
                    CLASSES, name="out", kernel_initializer=initializers[1]
                ),
            ],
            name="net",
        )
        if mask:
            model = mask_model(model)
            keep = np.random.default_rng(2)
            set_mask(
                model,
                {
                    f"net/{name}/kernel": keep.permutation(
                        rows * columns
                    ).reshape(rows, columns)
                    < kept
                    for name, rows, columns, kept in (
                        ("hidden", 6, 5, 15),
                        ("out", 5, 3, 12),
                    )
                },
            )
        return model

    return make


@pytest.fixture(scope="session")
def make_trainer(splits):
    """A trainer of 15 steps: 2 epochs and a half."""

    def make(model, *, steps=15, rate=0.05, data=splits, **how):
        options = {
            k: how.pop(k)
            for k in ("strategy", "on_step", "preprocess")
            if k in how
        }
        if not isinstance(rate, LearningRate):
            rate = LearningRate(rate)
        settings = {
            "batch_size": 8,
            "eval_every": Step(7),
            "jit": "off",
            "optimizer": "sgd",
            **how,
        }
        return Trainer(
            model,
            data,
            TrainingSettings(
                train_steps=Step.parse(steps), learning_rate=rate, **settings
            ),
            **options,
        )

    return make

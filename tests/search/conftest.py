"""A small network and a `train` that trains nothing, for tests of searches."""

import re

import keras
import numpy as np
import pytest

from tf_lottery import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import set_state


@pytest.fixture(scope="session")
def make_model():
    """6-8-3 with normalisation and dropout: every kind of state."""

    def make(seed=1):
        keras.utils.set_random_seed(seed)
        inputs = keras.Input((6,))
        x = keras.layers.Dense(8, name="hidden")(inputs)
        x = keras.layers.BatchNormalization(name="norm")(x)
        x = keras.layers.Dropout(0.5, name="drop")(x)
        return keras.Model(inputs, keras.layers.Dense(3, name="out")(x))

    return make


def plain_state(model):
    """The state, without the numbers that Keras gives seed generators."""
    return {
        re.sub(r"seed_generator_\d+", "seed_generator", path): value
        for path, value in get_state(model).items()
    }


@pytest.fixture(scope="session", name="plain_state")
def _plain_state():
    return plain_state


class FakeTrain:
    """Records what it is called with; sets weights from (level, step)."""

    def __init__(self, calls_back=1):
        self.calls = []
        self.trained = {}
        self.states = {}
        self._calls_back = calls_back

    def __call__(self, model, *, level, at_rewind_step=None, **how):
        self.calls.append(
            {
                "level": level,
                **how,
                "state": plain_state(model),
                "mask": get_mask(model),
                "model": model,
            }
        )
        if at_rewind_step:
            step, callback = at_rewind_step
            set_state(model, self.draw(model, level, step))
            self.states[step] = plain_state(model)
            for _ in range(self._calls_back):
                callback()
        set_state(model, self.draw(model, level, 10**6))
        self.trained[level] = plain_state(model)
        return {"level_seen": level}

    def draw(self, model, *stream):
        rng = np.random.default_rng(stream)
        return {
            path: (
                rng.integers(0, 2**31, value.shape)
                if value.dtype.kind in "iu"
                else rng.normal(size=value.shape)
            ).astype(value.dtype)
            for path, value in get_state(model).items()
        }


@pytest.fixture
def fake_train():
    return FakeTrain

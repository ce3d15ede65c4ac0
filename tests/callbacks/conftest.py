"""A tiny masked model, its data, and what a test looks at while it trains."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model

L = keras.layers


class Recorder(keras.callbacks.Callback):
    """Keeps the mask of every step and epoch end; stands last in the list."""

    def __init__(self):
        super().__init__()
        self.steps = {}
        self.epochs = []
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        optimizer = self.model.optimizer
        self.steps[int(np.asarray(optimizer.iterations))] = get_mask(
            self.model
        )
        self.rates.append(float(np.asarray(optimizer.learning_rate)))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(get_mask(self.model))


class Killed(Exception):
    """What stands for the end of a process."""


class Kill(keras.callbacks.Callback):
    """Ends training after so many batches, or at the end of an epoch."""

    def __init__(self, batches=None, epoch=None):
        super().__init__()
        self.batches = batches
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.batches is not None:
            self.batches -= 1
            if self.batches == 0:
                raise Killed

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Killed


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.a = L.Dense(8, activation="relu", name="a")
        self.out = L.Dense(3, name="out")

    def call(self, x):
        return self.out(self.a(x))


def network(dropout=0.0, seed=0):
    keras.utils.set_random_seed(seed)
    x = keras.Input((6,))
    hidden = L.Dense(8, activation="relu", name="a")(x)
    hidden = L.BatchNormalization(name="norm")(hidden)
    if dropout:
        hidden = L.Dropout(dropout, name="drop")(hidden)
    return keras.Model(x, L.Dense(3, name="out")(hidden))


def compiled(optimizer=None, dropout=0.0, model=None, **options):
    model = mask_model(network(dropout)) if model is None else model
    model.compile(
        keras.optimizers.Adam(0.01) if optimizer is None else optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # What Keras chooses differs by backend and machine.
        **{"jit_compile": False, **options},
    )
    return model


def one_state(one, other):
    return set(one) == set(other) and all(
        np.array_equal(one[k], other[k]) for k in one
    )


@pytest.fixture(scope="session")
def data():
    """48 examples: six batches of eight."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 6)).astype("float32")
    return x, (x @ rng.normal(size=(6, 3))).argmax(-1)


@pytest.fixture(scope="session")
def make():
    """`make(optimizer, dropout, model, **compile)`: ready to be trained."""
    return compiled


@pytest.fixture(scope="session")
def fit(data):
    """`fit(model, callbacks, epochs)` on the data, in their order."""

    def run(model, callbacks=(), epochs=1, **options):
        options = {
            "batch_size": 8, "shuffle": False, "verbose": 0, **options,
        }
        return model.fit(*data, epochs=epochs, callbacks=callbacks, **options)

    return run


@pytest.fixture
def recorder():
    return Recorder()


@pytest.fixture(scope="session")
def recorders():
    return Recorder


@pytest.fixture(scope="session")
def kill():
    """`kill(batches=...)` or `kill(epoch=...)`, which raises `kill.error`."""
    Kill.error = Killed
    return Kill


@pytest.fixture
def subclassed(data):
    keras.utils.set_random_seed(0)
    model = Subclassed()
    model(data[0])
    return model


@pytest.fixture(scope="session")
def same_state():
    return one_state


@pytest.fixture(scope="session")
def same_model():
    """Whether two models have the same masks and weights, bit for bit."""

    def compare(one, other):
        same = get_mask(one) == get_mask(other)
        return same and one_state(get_state(one), get_state(other))

    return compare


@pytest.fixture(scope="session")
def same_tickets():
    """Whether two lists of tickets are equal bit for bit."""

    def compare(one, other):
        return len(one) == len(other) and all(
            a.level == b.level
            and a.mask == b.mask
            and one_state(a.rewind, b.rewind)
            and one_state(a.trained, b.trained)
            for a, b in zip(one, other)
        )

    return compare

"""A model's state by path."""

import re

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import named_variables
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.layers import walk

pytestmark = pytest.mark.any_backend
layers = keras.layers


def make_model():
    x = keras.Input((4,))
    y = layers.Dense(3, name="one")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.Dropout(0.5, name="drop")(y)
    return keras.Model(x, layers.Dense(2, name="two")(y))


PATHS = [
    "one/kernel",
    "one/bias",
    "norm/gamma",
    "norm/beta",
    "norm/moving_mean",
    "norm/moving_variance",
    "seed_generator/seed_generator_state",
    "two/kernel",
    "two/bias",
]


def plain(paths):
    """Without the number that Keras gives to a seed generator."""
    return [re.sub(r"generator_\d+", "generator", path) for path in paths]


def train(model, steps=3):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 4)), rng.normal(size=(8, 2))
    model.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    for _ in range(steps):
        model.train_on_batch(x, y)


def equal(one, other):
    return list(one) == list(other) and all(
        np.array_equal(one[k], other[k]) for k in one
    )


@pytest.mark.parametrize("masked", [False, True])
def test_all_state_but_masks(masked):
    model = make_model()
    model = mask_model(model) if masked else model
    assert plain(named_variables(model)) == PATHS
    assert plain(get_state(model)) == PATHS


def test_equal_paths_are_numbered():
    def part():
        z = keras.Input((2,))
        return keras.Model(z, layers.Dense(2, name="in", use_bias=False)(z))

    x = keras.Input((2,))
    one, two, three = part(), part(), part()
    model = mask_model(keras.Model(x, three(two(one(x)))))
    assert list(named_variables(model)) == [
        "in/kernel", "in/kernel#2", "in/kernel#3"
    ]
    kernels = masked_kernels(model)
    assert list(kernels) == list(named_variables(model))
    for path, variable in named_variables(model).items():
        assert kernels[path][0] is variable


def test_walk_visits_each_layer_once_outer_before_inner():
    dense = layers.Dense(3, name="dense")
    inner = layers.Dense(3, name="inner")
    x = keras.Input((2, 3), name="x")
    # One of the model's own layers is also what a wrapper holds.
    y = layers.TimeDistributed(dense, name="times")(dense(x))
    y = layers.TimeDistributed(inner, name="others")(y)
    names = [part.name for part in walk(keras.Model(x, y))]
    assert names == ["x", "dense", "times", "others", "inner"]


def test_training_and_rewinding():
    model = mask_model(make_model())
    start = get_state(model)
    train(model)
    first = get_state(model)
    # Before a BatchNormalization a bias has no gradient but noise.
    for path in first.keys() - {"one/bias"}:
        assert not np.array_equal(first[path], start[path]), path
    set_state(model, start)
    assert equal(get_state(model), start)
    train(model)
    assert equal(get_state(model), first)


def test_state_is_a_copy():
    model = make_model()
    state = get_state(model)
    before = {k: v.copy() for k, v in state.items()}
    train(model, 1)
    assert equal(state, before)
    state["one/kernel"][:] = 9
    assert not (get_state(model)["one/kernel"] == 9).any()


def test_masks_stay_and_are_applied():
    model = mask_model(make_model())
    state = get_state(model)
    state["one/kernel"][0] = -np.inf
    rng = np.random.default_rng(1)
    mask = {k: rng.random(m.shape) < 0.5 for k, m in get_mask(model).items()}
    mask["one/kernel"][0] = False
    set_mask(model, mask)
    set_state(model, state)
    assert get_mask(model) == get_mask(model).__class__(mask)
    found = get_state(model)
    for path, expected in state.items():
        if path in mask:
            expected = np.where(mask[path], expected, 0)
        assert np.array_equal(found[path], expected)
    assert not np.signbit(found["one/kernel"][0]).any()


def test_state_of_another_model():
    model = make_model()
    before = get_state(model)
    other = {**before, "one/kernel": np.ones((9, 3)), "new/kernel": [[1.0]]}
    del other["two/bias"]
    with pytest.raises(ValueError) as error:
        set_state(model, other)
    text = str(error.value)
    assert text.startswith("`state` must") and "\n" not in text
    assert "missing: two/bias; unknown: new/kernel; other shape: one/kernel " \
        "(9, 3) instead of (4, 3)" in text
    assert equal(get_state(model), before)


def test_unbuilt():
    with pytest.raises(ValueError, match="`model` must be built.*'late'"):
        get_state(keras.Sequential([layers.Dense(2)], name="late"))


def test_seed_generators_have_the_same_paths_in_every_model():
    def paths():
        x = keras.Input((3,))
        y = keras.layers.Dropout(0.1)(keras.layers.Dropout(0.2)(x))
        return list(named_variables(keras.Model(x, y)))

    first = paths()
    assert first == [
        "seed_generator/seed_generator_state",
        "seed_generator/seed_generator_state#2",
    ]
    assert paths() == first

"""Rewiring: equal counts, the smallest dropped, the right ones grown."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.pruners import REWIRERS
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import Rewirer
from tf_lottery.pruners import get_rewirer
from tf_lottery.search import Rewiring

X = np.array([[1.0, 2, 3, -4, 0, 1]], np.float32)
Y = np.zeros((1, 1), np.float32)
KEEP = np.array([1, 1, 1, 0, 0, 0], bool).reshape(6, 1)


def make_model():
    """w = (3, -1, 2, 0, 0, 0) on x: the output is 3 - 2 + 6 = 7."""
    x = keras.Input((6,))
    y = keras.layers.Dense(1, use_bias=False, name="out")(x)
    model = mask_model(keras.Model(x, y))
    model.set_weights(
        [np.array([3.0, -1, 2, 0, 0, 0], "f").reshape(6, 1), np.ones((6, 1))]
    )
    set_mask(model, {"out/kernel": KEEP})
    return model


def context(model, **more):
    return PruningContext(model, x=X, y=Y, loss="mse", **more)


def rows(mask):
    return np.flatnonzero(mask["out/kernel"]).tolist()


def test_rigl_grows_the_largest_gradient_by_hand():
    model = make_model()
    # dL/dw = 2 * 7 * x: of the pruned ones the largest is that of x = -4.
    dropped, grown = REWIRERS["rigl"].rewire(context(model), 0.5)
    assert rows(dropped) == [0, 2]
    assert rows(grown) == [0, 2, 3]


def test_a_dropped_weight_may_come_back():
    model = make_model()
    # Two of three are dropped, -1 and 2; 3 * x of the gradients wins again.
    dropped, grown = REWIRERS["rigl"].rewire(context(model), 0.67)
    assert rows(dropped) == [0]
    assert rows(grown) == [0, 2, 3]
    # From 0 on, as every other that grows.
    rewiring = Rewiring(
        REWIRERS["rigl"], every=1, end_step=10**6, fraction=0.67,
        given=dict(x=X, y=Y, loss="mse"),
    )
    rewiring(model, None, 1)
    assert rows(get_mask(model)) == [0, 2, 3]
    kernel = get_state(model)["out/kernel"].ravel().tolist()
    assert kernel == [3, 0, 0, 0, 0, 0]


def test_set_grows_at_random():
    model = make_model()
    found = set()
    for seed in range(30):
        dropped, grown = REWIRERS["set"].rewire(
            PruningContext(model, seed=seed), 0.34
        )
        assert rows(dropped) == [0, 2] and grown.kept == 3
        again = REWIRERS["set"].rewire(PruningContext(model, seed=seed), 0.34)
        assert again == (dropped, grown)
        found |= set(rows(grown)) - {0, 2}
    assert found == {1, 3, 4, 5}


@pytest.mark.parametrize("name", REWIRERS)
@pytest.mark.parametrize("fraction", [0.0, 0.4, 1.0])
def test_the_contract_of_every_rewirer(name, fraction):
    keras.utils.set_random_seed(0)
    x = keras.Input((6, 6, 2))
    y = keras.layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    y = keras.layers.BatchNormalization()(y)
    y = keras.layers.Dropout(0.5)(keras.layers.Flatten()(y))
    model = mask_model(keras.Model(x, keras.layers.Dense(3, name="out")(y)))
    rng = np.random.default_rng(1)
    mask = get_mask(model)
    set_mask(model, {k: rng.random(m.shape) < 0.3 for k, m in mask.items()})
    mask, state = get_mask(model), get_state(model)
    images = rng.normal(size=(5, 6, 6, 2)).astype("float32")
    given = PruningContext(
        model, seed=3, x=images, y=np.arange(5) % 3,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    dropped, grown = REWIRERS[name].rewire(given, fraction)
    assert dropped.is_subset_of(mask) and dropped.is_subset_of(grown)
    assert grown.kept_by_path == mask.kept_by_path
    moved = {path: int(fraction * n) for path, n in mask.kept_by_path.items()}
    for path, n in moved.items():
        assert dropped[path].sum() == mask[path].sum() - n
    assert (dropped == mask) == (fraction == 0)
    # The model is the same, statistics and seed generators included.
    assert get_mask(model) == mask
    for path, value in get_state(model).items():
        assert np.array_equal(value, state[path]), path


def test_a_dense_kernel_cannot_be_rewired():
    model = make_model()
    set_mask(model, {"out/kernel": np.ones((6, 1))})
    dropped, grown = REWIRERS["set"].rewire(PruningContext(model), 0.5)
    assert dropped.kept == grown.kept == 6


def test_rewiring_by_hand():
    """Steps, fractions, and a new weight that starts at 0 without momentum."""
    rewiring = Rewiring(
        REWIRERS["rigl"], every=10, end_step=40, fraction=0.8,
        given=dict(x=X, y=Y, loss="mse"),
    )
    assert [rewiring.next(step) for step in (0, 1, 10, 11, 30, 31, 99)] == [
        10, 10, 10, 20, 30, None, None,
    ]
    model = make_model()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    momentum = optimizer.variables[-1]
    momentum.assign(np.ones((6, 1), "f"))
    # 0.4 * (1 + cos(pi / 4)) = 0.68 of three weights: two, as above.
    rewiring(model, optimizer, 10)
    assert rows(get_mask(model)) == [0, 2, 3]
    kernel = get_state(model)["out/kernel"].ravel().tolist()
    assert kernel == [3, 0, 0, 0, 0, 0]
    assert np.asarray(momentum).ravel().tolist() == [1, 0, 0, 0, 0, 0]
    # At step 30 it is 0.4 * (1 - 0.71) = 0.12 of three: none.
    rewiring(model, optimizer, 30)
    assert rows(get_mask(model)) == [0, 2, 3]


def test_what_is_refused():
    with pytest.raises(ValueError, match="`method` must be one of set, rigl"):
        get_rewirer("x")
    assert get_rewirer("set") is REWIRERS["set"]
    with pytest.raises(ValueError, match="`x` must be given"):
        REWIRERS["rigl"].rewire(PruningContext(make_model()), 0.5)
    model = make_model()
    with pytest.raises(NotImplementedError, match="`growth` must be defined"):
        Rewirer().rewire(PruningContext(model), 0.5)

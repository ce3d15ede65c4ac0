"""SNIP, iterative SNIP and FORCE."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import get_pruner
from tf_lottery.pruners import prune
from tf_lottery.pruners import scores
from tf_lottery.pruners.snip import FORCE
from tf_lottery.pruners.snip import SNIP
from tf_lottery.pruners.snip import IterativeSNIP


def make_model(weights):
    x = keras.Input((len(weights),))
    layer = keras.layers.Dense(1, name="one", use_bias=False)
    model = mask_model(keras.Model(x, layer(x)))
    model.weights[0].assign(np.reshape(weights, (-1, 1)))
    return model


def square(y, outputs):
    return tf.square(outputs - y)[:, 0]


def kept(mask):
    return np.flatnonzero(mask["one/kernel"]).tolist()


def test_by_hand():
    # Outputs 2 - 3 = -1 and 4; residuals -2 and 2; gradients by the weights
    # (2, 1, -1): mean(2 r x) = (-2 * 1 + 2 * 2, -2 * 1, -2 * 3 + 2 * 0).
    model = make_model([2.0, 0.0, -1.0])
    x = np.array([[1.0, 1, 3], [2, 0, 0]])
    found = scores(model, "snip", x=x, y=np.array([[1.0], [2]]), loss=square)
    np.testing.assert_allclose(
        found["one/kernel"], [[2 * 2], [0 * 2], [1 * 6]], rtol=1e-6
    )


def test_a_pruned_weight_has_no_score_though_it_has_a_gradient():
    model = make_model([2.0, 1.0])
    set_mask(model, {"one/kernel": [[True], [False]]})
    found = scores(
        model, "snip", x=np.ones((1, 2)), y=np.zeros((1, 1)), loss=square
    )
    np.testing.assert_allclose(found["one/kernel"], [[8], [0]], rtol=1e-6)


def test_it_is_the_weight_times_its_gradient():
    model = mask_model(
        keras.Sequential(
            [
                keras.Input((4, 4, 1)),
                keras.layers.Conv2D(3, 3, activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.Flatten(),
                keras.layers.Dense(2),
            ]
        )
    )
    rng = np.random.default_rng(0)
    context = PruningContext(
        model,
        x=rng.normal(size=(6, 4, 4, 1)),
        y=rng.normal(size=(6, 2)),
        loss="mse",
    )
    gradients = context.gradients()
    for path, score in SNIP().scores(context).items():
        product = np.abs(context.kernels[path] * gradients[path])
        np.testing.assert_allclose(score, product, 1e-4, 1e-7)
        assert score.any()


def test_rounds_score_the_network_that_is_left():
    # Outputs 4, 5 and -2; residuals 0, 4.5 and -6, scores (0, 13.5, 9, 12).
    model = make_model([4.0, 3.0, 2.0, -2.0])
    x = np.array([[1.0, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1]])
    y = np.array([[4.0], [0.5], [4]])
    context = PruningContext(model, 1, x=x, y=y, loss=square)
    assert kept(SNIP().find_mask(context)) == [1]
    # Two of four are kept; without weight 2 the residuals are 2.5 and -6,
    # the scores (_, 7.5, _, 12).
    assert kept(IterativeSNIP(rounds=2).find_mask(context)) == [3]


def force_context():
    # Outputs 4 and 5; targets 4 and 0.5.
    model = make_model([4.0, 3.0, 2.0])
    x = np.array([[1.0, 0, 0], [0, 1, 1]])
    y = np.array([[4.0], [0.5]])
    return PruningContext(model, 1, x=x, y=y, loss=square)


def test_force_lets_weights_come_back():
    context = force_context()
    # Residuals 0 and 4.5, scores (0, 13.5, 9). Two of three are kept; without
    # weight 0 the residuals are -4 and 4.5, the scores (16, 13.5, 9).
    assert kept(FORCE(rounds=2).find_mask(context)) == [0]
    assert kept(IterativeSNIP(rounds=2).find_mask(context)) == [1]
    # The model's own mask stays in force.
    set_mask(context.model, {"one/kernel": [[False], [True], [True]]})
    assert kept(FORCE(rounds=2).find_mask(context)) == [1]


@pytest.mark.parametrize(
    "name, rounds, revives",
    [("snip", 1, False), ("iterative_snip", 100, False), ("force", 100, True)],
)
def test_registered(name, rounds, revives):
    pruner = get_pruner(name)
    assert (pruner.rounds, pruner.revives) == (rounds, revives)
    assert pruner.needs == ("x", "y", "loss")


def test_ties_go_to_the_first():
    model = make_model([1.0, -1.0, 1.0, -1.0])
    x, y = np.ones((2, 4)), np.ones((2, 1))
    assert kept(prune(model, 0.5, "snip", x=x, y=y, loss=square)) == [0, 1]


def test_gradients_that_are_not_finite():
    model = make_model([1.0, 2.0])
    x = np.array([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="`scores` must not be NaN"):
        prune(model, 0.5, "snip", x=x, y=np.ones((1, 1)), loss=square)

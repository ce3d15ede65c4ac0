"""The error on the line between two networks, on two-weight networks."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.analysis import Connectivity
from tf_lottery.analysis import LineEvaluator
from tf_lottery.analysis import Point
from tf_lottery.layers import get_state

RNG = np.random.default_rng(0)


def net(*layers, units=2, masked=False):
    keras.utils.clear_session()
    model = keras.Sequential(
        [keras.Input((2,)), *layers, keras.layers.Dense(units, name="out")]
    )
    return tfl.mask_model(model) if masked else model


X, Y = np.eye(2, dtype="float32"), np.arange(2)


def line_of(errors, split="test"):
    alphas = np.linspace(0, 1, len(errors)).tolist()
    return tuple(Point(a, split, e, 0.0) for a, e in zip(alphas, errors))


def test_the_barrier_is_the_top_above_the_mean_of_the_ends():
    line = Connectivity(
        line_of([0.1, 0.3, 0.2]) + line_of([0.0, 0.0, 0.0], "train")
    )
    assert line.barrier() == pytest.approx(0.15)
    assert line.barrier("train") == 0 and not line.stable
    # An end can be the top.
    assert Connectivity(line_of([0.1, 0.05, 0.12])).barrier() == (
        pytest.approx(0.01)
    )
    with pytest.raises(ValueError, match="`split` must be one of test, train"):
        line.barrier("validation")


@pytest.mark.parametrize("rise, stable", [(0.019, True), (0.021, False)])
def test_stable_is_below_two_percent_of_test_error(rise, stable):
    assert Connectivity(line_of([0.1, 0.1 + rise, 0.1])).stable is stable


def test_errors_and_losses_along_a_line_by_hand():
    model = net()
    before = get_state(model)
    zero = np.zeros(2, "float32")
    line = tfl.linear_connectivity(
        model,
        [np.eye(2) * 4, zero],
        [np.eye(2)[::-1] * 4, zero],
        {"test": (X, Y), "train": (X[:1], Y[:1])},
        points=5,
    )
    test = [p for p in line.points if p.split == "test"]
    assert [p.alpha for p in test] == [0, 0.25, 0.5, 0.75, 1]
    # At one half all outputs are equal: the first of equals is chosen.
    assert [p.error for p in test] == [0, 0, 0.5, 1, 1]
    margins = np.array([4, 2, 0, -2, -4])
    np.testing.assert_allclose(
        [p.loss for p in test], np.log1p(np.exp(-margins)), rtol=1e-5
    )
    assert line.barrier("test") == 0.5 and not line.stable
    assert [p.error for p in line.points if p.split == "train"] == [
        0, 0, 0, 1, 1,
    ]
    after = get_state(model)
    assert all(np.array_equal(after[k], v) for k, v in before.items())


def test_two_orders_of_the_units_are_not_connected():
    """One function, |x| > 1, of two networks that average to a constant."""
    model = net(keras.layers.Dense(2, activation="relu", use_bias=False))
    x = np.array([[-2, 0], [-0.5, 0], [0.5, 0], [2, 0]], "float32")
    y = np.array([1, 0, 0, 1])
    out = np.array([[0, 1], [0, 1]]), np.array([0.1, -0.9])
    ends = [[np.array([[s, -s], [0, 0]]), *out] for s in (1.0, -1.0)]
    line = tfl.linear_connectivity(model, *ends, {"test": (x, y)}, points=3)
    assert [p.error for p in line.points] == [0, 0.5, 0]
    assert line.barrier() == 0.5 and not line.stable


def test_the_ends_are_the_networks_to_the_bit(monkeypatch):
    model = net(keras.layers.Dense(3, activation="tanh"))
    ends = [
        [RNG.normal(size=w.shape).astype("float32") for w in model.weights]
        for _ in range(2)
    ]
    seen = []
    evaluator = LineEvaluator(model, {"test": (X, Y)})

    def look(staged):
        seen.append(model.get_weights())
        return 0.0, 1.0

    monkeypatch.setattr(evaluator, "_evaluate", look)
    evaluator(*ends, points=3)
    for end, found in zip(ends, (seen[0], seen[2])):
        assert all(map(np.array_equal, end, found))
    for one, other, half in zip(*ends, seen[1]):
        np.testing.assert_allclose(half, (one + other) / 2, rtol=1e-5)


def test_batch_statistics_are_taken_anew_at_every_point():
    model = net(keras.layers.BatchNormalization(name="bn"))
    x = RNG.normal(3.0, 2.0, (64, 2)).astype("float32")
    y = (x[:, 0] > 3).astype("int32")
    weights = model.get_weights()
    wrong = list(weights)
    # Of the running mean and variance, whatever they are.
    wrong[2:4] = [np.full(2, 1e3, "float32"), np.full(2, 1e-3, "float32")]
    data = {"train": (x, y), "test": (x, y)}
    right, same = (
        tfl.linear_connectivity(model, weights, end, data, points=3)
        for end in (weights, wrong)
    )
    assert right == same
    assert all(map(np.array_equal, model.get_weights(), weights))
    with pytest.raises(ValueError, match="must hold a train split"):
        tfl.linear_connectivity(model, weights, weights, {"test": (x, y)})


def test_of_two_masks_the_union_acts_and_the_model_is_left_as_it_was():
    model = net(masked=True)
    path, = tfl.get_mask(model)
    masks = [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]
    ends = []
    for mask in masks:
        tfl.set_mask(model, {path: np.array(mask, bool)})
        state = get_state(model)
        state[path] = np.array(mask, "float32")
        ends.append(
            tfl.Ticket(tfl.get_mask(model), rewind=state, trained=state)
        )
    lists = []
    for end in ends:
        end.apply_to(model, "trained")
        lists.append(model.get_weights())
    tfl.set_mask(model, {path: np.array([[1, 0], [0, 0]], bool)})
    before = model.get_weights()
    found = [
        tfl.linear_connectivity(model, *pair, {"test": (X, Y)}, points=3)
        for pair in (ends, lists)
    ]
    assert found[0] == found[1]
    # With either mask alone one end would be at chance, and so would be half
    # of the line.
    assert [p.error for p in found[0].points] == [0, 0.5, 1]
    assert all(map(np.array_equal, model.get_weights(), before))


def test_whole_numbers_are_the_first_networks():
    model = net(keras.layers.Dropout(0.5, seed=3), keras.layers.Dense(2))
    before = get_state(model)
    weights = model.get_weights()
    tfl.linear_connectivity(model, weights, weights, {"test": (X, Y)})
    after = get_state(model)
    assert all(np.array_equal(after[k], v) for k, v in before.items())


def test_a_line_has_two_ends():
    model = net()
    with pytest.raises(ValueError, match="`points` must be at least 2"):
        tfl.linear_connectivity(
            model, model.get_weights(), model.get_weights(),
            {"test": (X, Y)}, points=1,
        )
    before = model.get_weights()
    with pytest.raises(ValueError):
        tfl.linear_connectivity(
            model, before, before[:1], {"test": (X, Y)}
        )
    assert all(map(np.array_equal, model.get_weights(), before))


def test_labels_of_another_kind_are_refused():
    model = net()
    weights = model.get_weights()
    for data, message in (
        ({"test": (X, Y[:, None])}, r"labels of shape \(examples,\)\. Rec"),
        ({"test": (X, Y[:-1])}, "a label for each example"),
        ({"test": (X, Y + 1)}, "labels from 0 to 1,"),
        ({}, "at least one split"),
    ):
        with pytest.raises(ValueError, match=f"^`data` must have {message}"):
            tfl.linear_connectivity(model, weights, weights, data)
    lists = {"test": (X.tolist(), Y.tolist())}
    assert tfl.linear_connectivity(
        model, weights, weights, lists, points=2
    ) == tfl.linear_connectivity(
        model, weights, weights, {"test": (X, Y)}, points=2
    )

"""The criteria of final and initial weights."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.pruners import PRUNERS
from tf_lottery.pruners import prune
from tf_lottery.pruners import scores
from tf_lottery.pruners.zhou import MaskCriterion

INITIAL = [[1.0, -2.0], [0.5, 4.0]]
FINAL = [[3.0, 1.0], [-0.5, 2.0]]


def make_model(value=FINAL):
    x = keras.Input((2,))
    layer = keras.layers.Dense(2, name="one")
    model = keras.Model(x, layer(x))
    model.weights[0].assign(value)
    return model


@pytest.mark.parametrize(
    "name, expected",
    [
        ("large_final", [[3, 1], [0.5, 2]]),
        ("small_final", [[-3, -1], [-0.5, -2]]),
        ("large_init", [[1, 2], [0.5, 4]]),
        ("small_init", [[-1, -2], [-0.5, -4]]),
        # Ranks of |wi| are 2, 3, 1, 4 of 4; of |wf| 4, 2, 1, 3.
        ("large_init_large_final", [[0.5, 0.5], [0.25, 0.75]]),
        # Of -|wi| they are 3, 2, 4, 1; of -|wf| 1, 3, 4, 2.
        ("small_init_small_final", [[0.25, 0.5], [1, 0.25]]),
        ("magnitude_increase", [[2, -1], [0, -2]]),
        ("movement", [[2, 3], [1, 2]]),
        ("large_final_same_sign", [[3, 0], [0, 2]]),
        ("large_final_diff_sign", [[0, 1], [0.5, 0]]),
    ],
)
def test_by_hand(name, expected):
    initial = {"one/kernel": np.array(INITIAL)}
    found = scores(make_model(), name, initial=initial)
    assert found["one/kernel"].tolist() == expected
    mask = prune(make_model(), 0.75, name, initial=initial)
    assert np.argmax(mask["one/kernel"]) == np.argmax(expected)
    assert ("initial" in PRUNERS[name].needs) == ("final" != name[6:])


def test_ranks_are_those_of_the_survivors():
    model = mask_model(make_model())
    set_mask(model, {"one/kernel": [[1, 1], [1, 0]]})
    found = scores(
        model, "large_init_large_final", initial={"one/kernel": INITIAL}
    )["one/kernel"]
    # Ranks of |wi| are 2, 3, 1 of 3; of |wf| 3, 2, 1.
    np.testing.assert_allclose(found.ravel()[:3], [2 / 3, 2 / 3, 1 / 3])


@pytest.mark.parametrize("name, sign", [("large", 1), ("small", -1)])
def test_both_are_beyond_one_percentile(name, sign):
    """The rule of the paper's code, at a count that both ways reach."""
    rng = np.random.default_rng(0)
    initial, final = rng.normal(size=(2, 20, 20))
    x = keras.Input((20,))
    model = keras.Model(x, keras.layers.Dense(20, name="one")(x))
    model.weights[0].assign(final)
    final = get_state(model)["one/kernel"]
    ends = [sign * np.abs(initial), sign * np.abs(final)]
    for percentile in (20, 50, 80):
        expected = np.logical_and(
            *(end >= np.percentile(end, percentile) for end in ends)
        )
        mask = prune(
            mask_model(model),
            1 - expected.mean(),
            f"{name}_init_{name}_final",
            initial={"one/kernel": initial},
        )
        assert np.array_equal(mask["one/kernel"], expected)


def test_the_state_of_a_model_built_before():
    def build():
        x = keras.Input((2,))
        y = keras.layers.Dense(2)(x)
        return keras.Model(x, keras.layers.Dense(2)(y))

    before, model = build(), build()
    assert before.weights[0].path != model.weights[0].path
    found = scores(model, "large_init", initial=get_state(before))
    for score, value in zip(found.values(), before.get_weights()[::2]):
        assert np.array_equal(score, np.abs(value))


@pytest.mark.parametrize(
    "initial, text",
    [
        (None, "`initial` must be given.*initial=None.*rewind weights"),
        ({}, "`initial` must have one array.*missing: one/kernel"),
        ({"two/kernel": INITIAL}, "`initial`.*unknown: two/kernel"),
        ({"one/kernel": [[1.0, 2.0]]}, r"`initial`.*one/kernel \(1, 2\)"),
    ],
)
def test_wrong_initial_weights(initial, text):
    for call in (scores, lambda *a, **k: prune(a[0], 0.5, *a[1:], **k)):
        with pytest.raises(ValueError, match=text):
            call(make_model(), "movement", initial=initial)


def test_a_score_must_be_defined():
    with pytest.raises(NotImplementedError, match="by MaskCriterion. Return"):
        scores(make_model(), MaskCriterion(), initial={"one/kernel": INITIAL})

"""Scoring in rounds: the counts, the masks on trial, and what comes back."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.masks import Mask
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners.trial import round_counts
from tf_lottery.pruners.trial import trial_masks

ONES = Mask.ones({"a": (10, 10), "b": (8,)})


@pytest.mark.parametrize(
    "keep, rounds, expected",
    [
        (12, 1, [12]),
        # 108 * (1 / 9)^(k / 2) = 36, then 12.
        (12, 2, [36, 12]),
        ({"a": 1, "b": 8}, 2, [{"a": 10, "b": 8}, {"a": 1, "b": 8}]),
        # Rounds that would change nothing are left out: but not the last.
        (107, 5, [107]),
        (108, 5, [108]),
        ({"a": 98, "b": 7}, 3, [{"a": 99, "b": 8}, {"a": 99, "b": 7},
                                {"a": 98, "b": 7}]),
        # No fraction of the survivors leads to none.
        (0, 3, [0]),
        # What cannot be kept is refused by the selection.
        (109, 3, [109]),
        (-1, 3, [-1]),
        ("many", 3, ["many"]),
    ],
)
def test_round_counts(keep, rounds, expected):
    assert round_counts(ONES, keep, rounds) == expected


def test_rounds_go_on_from_what_is_pruned_already():
    mask = Mask({"a": np.arange(100) < 64})
    assert round_counts(mask, 1, 3) == [16, 4, 1]
    assert round_counts(mask, {"a": 1}, np.int64(3))[0] == {"a": 16}


@pytest.mark.parametrize("rounds", [0, -1, 2.0, True, None])
def test_wrong_rounds(rounds):
    with pytest.raises(ValueError, match="`rounds` must be a positive"):
        round_counts(ONES, 3, rounds)


def make_model(size=8):
    """A kernel of weights 1, 2, 3 and so on."""
    x = keras.Input((size,))
    layer = keras.layers.Dense(1, name="one", use_bias=False)
    model = mask_model(keras.Model(x, layer(x)))
    model.weights[0].assign(np.arange(1.0, size + 1)[:, None])
    return model


def of(model):
    raw, mask = masked_kernels(model)["one/kernel"]
    return np.ravel(raw).tolist(), np.ravel(mask).tolist()


@pytest.mark.parametrize("keep_pruned", [False, True])
def test_a_trial_leaves_the_model_and_its_optimizer_alone(keep_pruned):
    model = make_model(3)
    set_mask(model, {"one/kernel": [[True], [True], [False]]})
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.train_on_batch(np.ones((2, 3)), np.ones((2, 1)))
    before = of(model)
    slots = [np.array(v) for v in model.optimizer.variables]
    with pytest.raises(ZeroDivisionError):
        with trial_masks(model, keep_pruned=keep_pruned) as put:
            put(Mask({"one/kernel": [[True], [False], [False]]}))
            raw, mask = of(model)
            assert mask == [1, 0, 0]
            assert raw == [before[0][0], before[0][1] * keep_pruned, 0]
            # A mask that is tried later may keep more.
            put(Mask({"one/kernel": [[False], [True], [False]]}))
            assert of(model)[0] == [before[0][0] * keep_pruned, before[0][1], 0]
            1 / 0
    assert of(model) == before
    for variable, value in zip(model.optimizer.variables, slots):
        assert np.array_equal(variable, value)


class Recording(Pruner):
    """Scores by magnitude, but in even rounds the other way round."""

    def __init__(self, rounds, revives=False):
        self.rounds = rounds
        self.revives = revives
        self.seen = []

    def scores(self, context):
        (kernel,) = context.kernels.values()
        self.seen.append((context.mask.kept, context.keep, kernel.ravel()))
        sign = 1 if len(self.seen) % 2 else -1
        return {"one/kernel": sign * np.abs(kernel)}


def test_survivors_are_scored_anew_every_round():
    model, pruner = make_model(), Recording(3)
    mask = pruner.find_mask(PruningContext(model, 1))
    # 8 weights, then 4, 2 and 1: the largest four, of these the smallest two.
    assert [(kept, keep) for kept, keep, _ in pruner.seen] == [
        (8, 4), (4, 2), (2, 1)
    ]
    assert pruner.seen[1][2].tolist() == [0, 0, 0, 0, 5, 6, 7, 8]
    assert pruner.seen[2][2].tolist() == [0, 0, 0, 0, 5, 6, 0, 0]
    assert np.flatnonzero(mask["one/kernel"]).tolist() == [5]
    assert get_mask(model).kept == 8


def test_pruned_weights_may_come_back_but_not_those_of_the_model():
    model, pruner = make_model(), Recording(3, revives=True)
    set_mask(model, {"one/kernel": np.arange(8)[:, None] > 0})
    mask = pruner.find_mask(PruningContext(model, {"one/kernel": 1}))
    assert pruner.seen[2][2].tolist() == [0, 2, 3, 4, 5, 6, 7, 8]
    # Round 2 keeps the smallest, which round 1 had pruned; the last one the
    # largest, which round 2 had.
    assert np.flatnonzero(mask["one/kernel"]).tolist() == [7]
    assert get_mask(model).kept == 7


def test_a_kernel_may_be_empty_between_rounds_where_weights_come_back():
    x = keras.Input((4,))
    y = keras.layers.Dense(4, name="one", use_bias=False)(x)
    y = keras.layers.Dense(1, name="two", use_bias=False)(y)
    model = mask_model(keras.Model(x, y))

    class Turning(Pruner):
        rounds = 2
        calls = 0

        def scores(self, context):
            self.calls += 1
            low = self.calls == 1
            return {
                k: np.full(m.shape, -1.0 if low and k == "two/kernel" else 0.5)
                for k, m in context.mask.items()
            } | ({} if low else {"two/kernel": np.arange(4.0)[:, None]})

    with pytest.raises(ValueError, match="two/kernel would keep no weight"):
        Turning().find_mask(PruningContext(model, 5))
    pruner = Turning()
    pruner.revives = True
    mask = pruner.find_mask(PruningContext(model, 5))
    assert mask.kept == 5 and mask.kept_by_path["two/kernel"] == 3


@pytest.mark.parametrize(
    "keep, error", [(9, ValueError), (-1, ValueError), ("3", TypeError)]
)
def test_wrong_counts_are_refused_in_rounds_too(keep, error):
    with pytest.raises(error, match="`keep` must be"):
        Recording(3).find_mask(PruningContext(make_model(), keep))
    with pytest.raises(ValueError, match="`keep` must have one count"):
        Recording(3).find_mask(PruningContext(make_model(), {"two": 3}))

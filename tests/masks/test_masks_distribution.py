"""How many weights each kernel keeps."""

from fractions import Fraction

import numpy as np
import pytest

from tf_lottery.masks import SCOPES
from tf_lottery.masks import Mask
from tf_lottery.masks import PruningRates
from tf_lottery.masks import check_target
from tf_lottery.masks import keep_count
from tf_lottery.masks import select
from tf_lottery.masks import target_counts

LENET = {"1/kernel": (784, 300), "2/kernel": (300, 100), "3/kernel": (100, 10)}
# Conv-2 and Conv-4 of the paper on 32 x 32 x 3 images, 2 x 2 pooling.
CONV2 = {
    "conv1": (3, 3, 3, 64),
    "conv2": (3, 3, 64, 64),
    "fc1": (16 * 16 * 64, 256),
    "fc2": (256, 256),
    "out": (256, 10),
}
CONV4 = {
    "conv1": (3, 3, 3, 64),
    "conv2": (3, 3, 64, 64),
    "conv3": (3, 3, 64, 128),
    "conv4": (3, 3, 128, 128),
    "fc1": (8 * 8 * 128, 256),
    "fc2": (256, 256),
    "out": (256, 10),
}


@pytest.mark.parametrize(
    "size, rate, kept",
    [
        (10, 0.2, 8),
        (5, 0.1, 5),  # 0.5 rounds to even: 0 removed.
        (15, 0.1, 13),  # 1.5 rounds to 2.
        (25, 0.1, 23),  # 2.5 rounds to 2.
        (5, 0.5, 3),
        (7, 0.5, 3),
        (1, 0.2, 1),
        (1, 0.8, 0),
        (0, 0.2, 0),
        (266_200, 0.0, 266_200),
        (266_200, 1.0, 0),
        (266_200, 0.2, 212_960),
        (212_960, 0.2, 170_368),
    ],
)
def test_keep_count(size, rate, kept):
    assert keep_count(size, rate) == kept
    assert isinstance(keep_count(size, rate), int)


def paper_plan(shapes, rates, levels):
    """Kept counts per level by the rule in exact arithmetic."""
    counts = {k: int(np.prod(s)) for k, s in shapes.items()}
    plan = [counts]
    for _ in range(levels):
        counts = {
            k: n - round(Fraction(rates[k]) * n) for k, n in counts.items()
        }
        plan.append(counts)
    return plan


@pytest.mark.parametrize(
    "shapes, rates, published",
    [
        (
            LENET,
            {"1/kernel": "0.2", "2/kernel": "0.2", "3/kernel": "0.1"},
            {3: 51.3, 4: 41.1, 5: 32.9, 6: 26.3, 7: 21.1, 9: 13.5, 11: 8.7,
             13: 5.6, 15: 3.6},
        ),
        (
            CONV2,
            {"conv1": "0.1", "conv2": "0.1", "fc1": "0.2", "fc2": "0.2",
             "out": "0.1"},
            {11: 8.8, 14: 4.6},
        ),
        (
            CONV4,
            {"conv1": "0.1", "conv2": "0.1", "conv3": "0.1", "conv4": "0.1",
             "fc1": "0.2", "fc2": "0.2", "out": "0.1"},
            {11: 11.1, 12: 9.2},
        ),
    ],
    ids=["lenet", "conv2", "conv4"],
)
def test_densities_of_the_paper(shapes, rates, published):
    levels = max(published)
    plan = PruningRates(
        "layerwise", 0.2, {k: float(r) for k, r in rates.items()}
    ).plan(Mask.ones(shapes), levels)
    assert plan == paper_plan(shapes, rates, levels)
    size = sum(plan[0].values())
    for level, percent in published.items():
        kept = sum(plan[level].values())
        assert round(100 * kept / size, 1) == percent


def test_lenet_counts():
    plan = PruningRates("layerwise", 0.2, {"3/kernel": 0.1}).plan(
        Mask.ones(LENET), 3
    )
    assert plan == [
        {"1/kernel": 235_200, "2/kernel": 30_000, "3/kernel": 1_000},
        {"1/kernel": 188_160, "2/kernel": 24_000, "3/kernel": 900},
        {"1/kernel": 150_528, "2/kernel": 19_200, "3/kernel": 810},
        {"1/kernel": 120_422, "2/kernel": 15_360, "3/kernel": 729},
    ]


@pytest.mark.parametrize("collapse", ["stop", "floor", "allow"])
@pytest.mark.parametrize("scope", SCOPES)
def test_plan_equals_pruning_level_by_level(scope, collapse):
    rng = np.random.default_rng(5)
    shapes = {"a": (6, 7), "b": (3, 3, 2, 4), "c": (10, 2)}
    rates = PruningRates(scope, 0.3, {"c": 0.1} if scope == "layerwise" else {})
    mask = Mask.ones(shapes)
    plan = rates.plan(mask, 6, collapse)
    assert len(plan) == 7
    for counts in plan[1:]:
        scores = {k: rng.random(s) for k, s in shapes.items()}
        smaller = select(scores, mask, rates.keep(mask), collapse=collapse)
        assert smaller.is_subset_of(mask)
        mask = smaller
        if scope == "global":
            assert mask.kept == counts
        else:
            assert mask.kept_by_path == counts


@pytest.mark.parametrize("scope", [s for s in SCOPES if s != "global"])
def test_plan_with_a_floor_equals_pruning_far_below_it(scope):
    shapes = {"a": (4, 4), "b": (2, 2), "c": (3,)}
    rates = PruningRates(scope, 0.6)
    mask = Mask.ones(shapes)
    scores = {k: np.zeros(s) for k, s in shapes.items()}
    for counts in rates.plan(mask, 5, "floor")[1:]:
        mask = select(scores, mask, rates.keep(mask), collapse="floor")
        assert mask.kept_by_path == counts
        assert min(counts.values()) == 1 or counts["a"] > 1
    assert mask.kept_by_path == {"a": 1, "b": 1, "c": 1}


def test_plan_starts_from_the_given_mask():
    mask = Mask({"a": [1] * 10 + [0] * 90})
    assert PruningRates("uniform", 0.2).plan(mask, 2) == [
        {"a": 10}, {"a": 8}, {"a": 6}
    ]
    assert PruningRates("global", 0.2).plan(mask, 2) == [10, 8, 6]


def test_plan_stops_before_training_and_names_level_and_kernel():
    mask = Mask.ones({"big": (100,), "small": (2,)})
    with pytest.raises(ValueError, match="small would keep no.*at level 2"):
        PruningRates("uniform", 0.6).plan(mask, 4)
    with pytest.raises(ValueError, match="the network.*at level 2"):
        PruningRates("global", 0.9).plan(Mask.ones({"a": (30,)}), 3)
    plan = PruningRates("uniform", 0.6).plan(mask, 2, "allow")
    assert plan[2] == {"big": 16, "small": 0}


def test_plan_with_a_floor_stops_where_select_would():
    mask = Mask.ones({"a": (10,), "b": (10,)})
    rates = PruningRates("global", 0.7)
    assert rates.plan(mask, 2, "floor") == [20, 6, 2]
    with pytest.raises(ValueError, match="keep=1 for 2 kernels at level 3"):
        rates.plan(mask, 3, "floor")


def test_excluded_weights_leave_the_denominator():
    rates = PruningRates("global", 0.2)
    assert rates.keep(Mask.ones({"a": (10,), "b": (90,)})) == 80
    assert rates.keep(Mask.ones({"a": (10,)})) == 8


class TestTargetCounts:
    mask = Mask.ones({"a": (10, 10), "b": (4, 4)})

    def test_scopes(self):
        assert target_counts(self.mask, 0.5, "global") == 58
        for scope in ("uniform", "layerwise"):
            assert target_counts(self.mask, 0.75, scope) == {"a": 25, "b": 4}
        # 29 shared 20 : 8 is 20.7 and 8.3.
        assert target_counts(self.mask, 0.75, "erk") == {"a": 21, "b": 8}
        # 0.3 of b is 4.8.
        smart = target_counts(self.mask, 0.75, "smart_ratio")
        assert smart == {"a": 24, "b": 5}

    def test_zero_keeps_everything(self):
        for scope in ("uniform", "erk", "smart_ratio"):
            assert target_counts(self.mask, 0.0, scope) == {"a": 100, "b": 16}
        assert target_counts(self.mask, 0.0, "global") == 116

    def test_counts_what_is_pruned_already(self):
        half = Mask({"a": [1, 1, 0, 0], "b": [1, 1, 1, 1]})
        assert target_counts(half, 0.5, "global") == 4
        assert target_counts(half, 0.5, "uniform") == {"a": 2, "b": 2}
        text = r"^`scope` must be global, erk or smart_ratio .*and a pruned"
        with pytest.raises(ValueError, match=text):
            target_counts(half, 0.25, "uniform")
        assert target_counts(half, 0.25, "erk") == {"a": 2, "b": 4}

    def test_refuses_to_grow(self):
        half = Mask({"a": [1, 1, 0, 0]})
        with pytest.raises(ValueError, match="at least 0.500000.*sparsity=0.2"):
            target_counts(half, 0.2, "global")

    @pytest.mark.parametrize("sparsity", [1, 1.0, 80, -0.1, float("nan")])
    def test_refuses_percentages(self, sparsity):
        with pytest.raises(ValueError, match=r"`sparsity` must be in \[0, 1\)"):
            target_counts(self.mask, sparsity, "global")


@pytest.mark.parametrize("rate", [0, 1, -0.2, 20, float("nan"), float("inf")])
def test_rates_must_be_fractions(rate):
    with pytest.raises(ValueError, match=r"`prune_rate` must be in \(0, 1\)"):
        PruningRates("global", rate)
    with pytest.raises(ValueError, match=r"`prune_rate` must be in \(0, 1\)"):
        PruningRates("layerwise", 0.2, {"a": rate})


def test_unknown_words():
    with pytest.raises(ValueError, match="global, uniform, erk, smart_ratio"):
        PruningRates("layer", 0.2)
    with pytest.raises(ValueError, match="`scope` must.*scope='all'"):
        check_target(0.5, "all")
    with pytest.raises(ValueError, match="`collapse` must.*'never'"):
        check_target(0.5, "global", "never")
    with pytest.raises(ValueError, match="`collapse` must.*'never'"):
        PruningRates().plan(Mask.ones({"a": (9,)}), 1, "never")

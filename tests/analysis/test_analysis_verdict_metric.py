"""The verdict by other metrics than accuracy, by hand and by accuracy's."""

import dataclasses
import math

import numpy as np
import pytest

from tf_lottery.analysis import VERDICT_COLUMNS
from tf_lottery.analysis import best_level
from tf_lottery.analysis import judge
from tf_lottery.analysis import measure_generalisation
from tf_lottery.analysis import measure_speed
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import PERPLEXITY
from tf_lottery.metric import REWARD
from tf_lottery.metric import Metric

COST = Metric("cost", higher_is_better=False)
METRICS = [PERPLEXITY, REWARD, COST, Metric("speedup", ratio=True)]
DENSITY = {0: 1.0, 1: 0.5, 2: 0.2}
SPREAD = (-0.001, 0.0, 0.001)


def rows_of(metric, branch, level, values, stops=None):
    return [
        {
            "replicate": i, "branch": branch, "level": level,
            "density": DENSITY[level], metric.test: value,
            "early_stop_step": stops and stops[i],
            "early_stop_censored": None if stops is None else False,
        }
        for i, value in enumerate(values)
    ]


def drawn(seed):
    """Values around 2 of two levels, with controls."""
    generator = np.random.default_rng(seed)
    return {
        key: 2 + gain + generator.normal(0, 0.1, 4)
        for gain, key in [
            (0.0, ("main", 0)), (0.2, ("main", 1)), (-0.3, ("main", 2)),
            (0.0, ("reinit", 1)), (-0.5, ("reinit", 2)),
            (-0.4, ("random_mask", 2)),
        ]
    }


def all_rows(metric, values):
    return [
        row
        for (branch, level), some in values.items()
        for row in rows_of(metric, branch, level, some.tolist())
    ]


# The bound of three differences of sd 0.001 is 0.001686 from their mean, and
# the margin of one per cent is log(1.01) = 0.00995.
@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (0.0, "matching"), (-0.0082, "matching"), (-0.0083, "undecided"),
        (-0.0116, "undecided"), (-0.0117, "no ticket"),
    ],
)
def test_perplexities_by_hand(gain, verdict):
    tickets = [10 * math.exp(-gain - s) for s in SPREAD]
    found = judge([
        *rows_of(PERPLEXITY, "main", 0, [10.0] * 3),
        *rows_of(PERPLEXITY, "main", 2, tickets),
    ], metric=PERPLEXITY)
    assert found.primary.verdict == verdict and found.margin == 0.01
    paired = found.primary.comparisons["dense"].paired
    assert paired.mean == pytest.approx(gain, abs=1e-12)
    assert paired.lower == pytest.approx(gain - 0.001686, abs=1e-6)
    (flat,) = found.rows()
    assert tuple(flat) == VERDICT_COLUMNS
    assert flat["dense_difference"] == pytest.approx(math.expm1(gain))
    assert flat["dense_lower"] == pytest.approx(math.expm1(gain - 0.001686),
                                                abs=1e-6)


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_the_verdict_on_accuracies_that_are_the_scores(metric, seed):
    values = drawn(seed)
    scores = {
        key: np.array([metric.score(v) for v in some])
        for key, some in values.items()
    }
    found = judge(all_rows(metric, values), metric=metric, margin=0.1)
    margin = -metric.threshold(0.1)
    same = judge(all_rows(ACCURACY, scores), margin=margin)
    assert found.levels == same.levels and found.step == same.step
    assert {one.verdict for one in found.levels} != {"undecided"}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_cost_is_a_reward_turned_over(seed):
    values = drawn(seed)
    reward = judge(all_rows(REWARD, values), metric=REWARD)
    turned = {key: -some for key, some in values.items()}
    assert judge(all_rows(COST, turned), metric=COST).levels == reward.levels
    # The same values are as good by the one as they are bad by the other.
    cost = judge(all_rows(COST, values), metric=COST)
    assert [one.verdict for one in cost.levels] != [
        one.verdict for one in reward.levels
    ]
    for one, other in zip(cost.levels, reward.levels):
        for name, found in one.comparisons.items():
            theirs = other.comparisons[name].paired
            assert found.paired.mean == -theirs.mean
            assert found.paired.lower == pytest.approx(-theirs.upper)


def test_the_text_speaks_of_the_metric():
    tickets = [10 * math.exp(-0.02 - s) for s in SPREAD]
    found = judge([
        *rows_of(PERPLEXITY, "main", 0, [10.0] * 3),
        *rows_of(PERPLEXITY, "main", 2, tickets),
        *rows_of(PERPLEXITY, "reinit", 2, [11.0] * 3),
    ], metric=PERPLEXITY)
    text = found.text()
    assert text.startswith("Verdict: a winning ticket at level 2")
    assert (
        "dense / ticket - 1 is +2.02 % (95 % bounds +1.85 and +2.19, margin "
        "0.99, a factor of 1.01); reinit / ticket - 1 +12.22 % (at least "
        "+12.03): the init"
    ) in text
    assert "vary by no more than a step of perplexity, 0.10 %, which" in text
    assert "pp" not in text and "accuracy" not in text
    found = judge([
        *rows_of(COST, "main", 0, [3.0, 3.0]),
        *rows_of(COST, "main", 2, [2.5, 1.5]),
    ], metric=COST, margin=7.0)
    assert "dense - ticket is +1.00 (95 % bounds -2.16 and +4.16, marg" in (
        found.text()
    )
    assert "margin 7.00)" in found.text()


def test_early_stopping_that_nobody_told_is_not_spoken_of():
    rows = [
        *rows_of(REWARD, "main", 0, [1.0, 1.1, 1.2]),
        *rows_of(REWARD, "main", 2, [1.5, 1.7, 1.6]),
    ]
    found = judge(rows, metric=REWARD)
    assert set(found.primary.comparisons) == {"dense"}
    assert "arly stop" not in found.text()
    assert found.rows()[0]["early_stop_pairs"] == 0
    assert [one.left_out for one in measure_speed(rows)] == [3, 3]
    # One ticket alone that has told is no pair.
    rows[-1] |= {"early_stop_step": 10, "early_stop_censored": False}
    text = judge(rows, metric=REWARD).text()
    assert "Early stopping can not be compared: 3 of 3 pairs left" in text


def test_a_network_that_has_diverged_is_left_out():
    found = judge([
        *rows_of(PERPLEXITY, "main", 0, [10.0] * 4),
        *rows_of(PERPLEXITY, "main", 2, [9.0, 9.5, math.inf, math.inf]),
    ], metric=PERPLEXITY)
    one = found.primary.comparisons["dense"]
    assert (one.paired.pairs, one.left_out) == (2, 2)
    assert found.step == pytest.approx(math.log(10 / 9.5))


def test_margins_are_the_metrics_own():
    rows = all_rows(REWARD, drawn(0))
    slack = dataclasses.replace(REWARD, margin=5.0)
    assert judge(rows, metric=slack).margin == 5.0
    assert {v.verdict for v in judge(rows, metric=slack).levels} == {"winning"}
    assert judge(rows, metric=slack, margin=0.0).margin == 0.0
    with pytest.raises(ValueError, match="`margin` must be a number from 0 on"):
        judge(rows, metric=REWARD, margin=-1.0)


@pytest.mark.parametrize(
    ("metric", "level", "gap"),
    [
        (PERPLEXITY, 1, math.log(1.25)), (COST, 1, 2.0), (REWARD, 0, -2.0),
    ],
    ids=["perplexity", "cost", "reward"],
)
def test_the_top_of_the_hill_and_the_gap(metric, level, gap):
    rows = [
        {"branch": "main", "level": n, "density": DENSITY[n],
         metric.column("train"): train, metric.test: test}
        for n, train, test in [(0, 8.0, 12.0), (1, 8.0, 10.0), (2, None, 11.0)]
    ]
    found = measure_generalisation(rows, metric)
    assert best_level(found, metric).level == level
    assert found[1].gap.mean == pytest.approx(gap)
    # Of level 2 nothing is known on training examples.
    assert (found[2].train.count, found[2].gap.count) == (0, 0)
    assert found[2].test.mean == 11.0


def test_the_verdict_does_not_hang_on_the_unit():
    def found(scale):
        return judge([
            *rows_of(REWARD, "main", 0, [scale * v for v in (2, 3, 2.5)]),
            *rows_of(REWARD, "main", 2, [scale * v for v in (4, 5.1, 4.6)]),
        ], metric=REWARD).primary

    one, tiny = found(1.0), found(1e-9)
    assert one.verdict == tiny.verdict == "matching"
    assert tiny.comparisons["dense"].paired.lower == pytest.approx(
        1e-9 * one.comparisons["dense"].paired.lower
    )

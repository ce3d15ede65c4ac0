"""Generalisation gap, Occam's hill, speed."""

import math

import pytest

from tf_lottery.analysis import Spread
from tf_lottery.analysis import best_level
from tf_lottery.analysis import measure_generalisation
from tf_lottery.analysis import measure_speed


def row(replicate, level, **values):
    return {
        "replicate": replicate, "branch": "main", "level": level,
        "density": 0.5**level, "train_accuracy": 1.0, "test_accuracy": 0.9,
        "early_stop_step": 400, "early_stop_censored": False, **values,
    }


def test_spread_of_nothing():
    found = Spread.of([math.nan, math.inf])
    assert found.count == 0 and math.isnan(found.mean + found.low)


def test_gap_by_hand():
    rows = [
        row(1, 1, test_accuracy=0.75),
        row(0, 0),
        row(0, 1, train_accuracy=0.5, test_accuracy=0.5),
        row(0, 1, branch="reinit", test_accuracy=0.0),
    ]
    dense, one = measure_generalisation(rows)
    assert (dense.level, one.level, one.density) == (0, 1, 0.5)
    assert one.gap == Spread(0.125, 0.0, 0.25, 2)
    assert (one.train.mean, one.test.low, one.test.high) == (0.75, 0.5, 0.75)


def test_values_that_are_no_numbers():
    (one,) = measure_generalisation([
        row(0, 0, train_accuracy=math.nan), row(1, 0),
    ])
    assert (one.train.count, one.test.count, one.gap.count) == (1, 2, 1)


def test_the_top_of_the_hill():
    rows = [
        row(0, 0, test_accuracy=0.90), row(0, 1, test_accuracy=0.95),
        row(0, 2, test_accuracy=0.95 + 1e-9), row(0, 3, test_accuracy=0.8),
    ]
    # Of two as good the sparser.
    assert best_level(measure_generalisation(rows)).level == 2
    assert best_level([]) is None
    lost = [row(0, 0, test_accuracy=math.nan)]
    assert best_level(measure_generalisation(lost)) is None


def test_levels_that_are_half_done_are_no_top():
    rows = [row(0, 0), row(1, 0), row(0, 1, test_accuracy=0.99)]
    assert best_level(measure_generalisation(rows)).level == 0


def test_speed_by_hand():
    rows = [
        row(0, 0), row(1, 0, early_stop_step=800),
        row(0, 1, early_stop_step=100), row(1, 1, early_stop_step=800),
        row(0, 1, branch="reinit", early_stop_step=1),
    ]
    dense, one = measure_speed(rows)
    assert dense.ratio == Spread(1.0, 1.0, 1.0, 2) and dense.left_out == 0
    # The geometric mean of 1/4 and 1.
    assert one.ratio.mean == pytest.approx(0.5)
    assert one.ratio.low == pytest.approx(0.25)
    assert (one.ratio.high, one.left_out) == (1.0, 0)


CENSORED, AT_0 = {"early_stop_censored": True}, {"early_stop_step": 0}


@pytest.mark.parametrize(
    "others",
    [
        [row(1, 0), row(1, 1, **CENSORED)],
        [row(1, 0, **CENSORED), row(1, 1)],
        [row(1, 0), row(1, 1, **AT_0)],
        [row(1, 0, **AT_0), row(1, 1)],
        [row(1, 1)],
    ],
)
def test_minima_that_are_not_known_are_left_out(others):
    rows = [row(0, 0), row(0, 1, early_stop_step=100), *others]
    one = measure_speed(rows)[1]
    assert one.ratio.mean == pytest.approx(0.25)
    assert (one.ratio.count, one.left_out) == (1, 1)


def test_nothing_is_known():
    found = measure_speed([row(0, 1), row(0, 2)])
    assert [one.left_out for one in found] == [1, 1]
    assert all(math.isnan(one.ratio.mean) for one in found)

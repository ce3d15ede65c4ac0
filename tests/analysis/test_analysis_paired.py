"""Paired differences, Holm, and how many replicates, done by hand."""

import math

import pytest

from tf_lottery.analysis.paired import (
    Paired,
    holm,
    paired_differences,
    smallest_step,
)


def test_bounds_by_hand():
    found = paired_differences([0.01, 0.02, 0.03])
    assert found.pairs == 3
    assert (found.mean, found.sd) == pytest.approx((0.02, 0.01))
    # t(0.95, 2) = 2.920, sqrt(3) = 1.732
    assert found.lower == pytest.approx(0.02 - 2.920 * 0.01 / 1.732, abs=1e-5)
    assert found.upper == pytest.approx(0.02 + 2.920 * 0.01 / 1.732, abs=1e-5)


def test_p_values_by_hand():
    # t = 0.02 sqrt(3) / 0.01 = 2 sqrt(3); of two degrees of freedom
    # P(T > t) = 1/2 - t / (2 sqrt(2 + t^2)) = 1/2 - sqrt(12 / 14) / 2.
    found = Paired(3, 0.02, 0.01)
    p = 0.5 - math.sqrt(12 / 14) / 2
    assert found.p_above(0.0) == pytest.approx(p)
    assert found.p_below(0.0) == pytest.approx(1 - p)
    assert found.p_below(0.04) == pytest.approx(p)
    assert found.p_above(0.02) == pytest.approx(0.5)


@pytest.mark.parametrize("mean", [0.0168, 0.0169])
def test_a_bound_and_its_p_value_agree(mean):
    found = Paired(3, mean, 0.01)
    assert (found.lower > 0) == (found.p_above(0.0) < 0.05)
    turned = Paired(3, -mean, 0.01)
    assert (turned.upper < 0) == (turned.p_below(0.0) < 0.05)


def test_one_replicate_or_no_spread_tells_nothing():
    for found in (
        paired_differences([]),
        paired_differences([0.1]),
        paired_differences([0.1, 0.1, 0.1]),
        # Equal but for the last bits.
        paired_differences([0.3, 0.1 + 0.2, 0.3]),
    ):
        assert found.sd is None
        assert (found.lower, found.upper) == (None, None)
        assert (found.p_above(0.0), found.p_below(0.0)) == (None, None)
        assert found.more_replicates(0.0) is None


def test_the_floor_holds_small_deviations_only():
    assert paired_differences([0.1, 0.1], 0.02).sd == 0.02
    assert paired_differences([0.1, 0.2, 0.3], 0.02).sd == pytest.approx(0.1)


def test_more_replicates_by_hand():
    # |mean| / sd = 1: 2.920 / sqrt(3) = 1.69, 2.353 / 2 = 1.18,
    # 2.132 / sqrt(5) = 0.95.
    assert Paired(3, 0.01, 0.01).more_replicates(0.0) == 2
    assert Paired(2, 0.01, 0.01).more_replicates(0.0) == 3
    assert Paired(3, -0.03, 0.01).more_replicates(-0.02) == 2
    # 1.645^2 / 0.2^2 = 68 of the normal distribution.
    assert 64 <= Paired(3, 0.002, 0.01).more_replicates(0.0) <= 68
    assert Paired(3, 0.001, 0.01).more_replicates(0.0) == math.inf
    assert Paired(3, 0.0, 0.01).more_replicates(0.0) == math.inf
    assert Paired(3, 0.01, 0.01).more_replicates(0.0, 0.005) > 2


def test_smallest_step():
    assert smallest_step([k / 360 for k in (351, 349, 352, 349)]) == (
        pytest.approx(1 / 360)
    )
    # float32 and float64 of one accuracy.
    assert smallest_step([0.975, 0.9750000238]) == 0.0
    assert smallest_step([3]) == 0.0


def test_holm_by_hand():
    assert holm([]) == []
    assert holm([0.04]) == [0.04]
    # 4 x 0.005, 3 x 0.01, 2 x 0.03, and never below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx(
        [0.03, 0.06, 0.06, 0.02]
    )
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02, 0.02]) == [0.04, 0.04]

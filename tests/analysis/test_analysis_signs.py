"""Signs before and after training."""

import math

import numpy as np

from tf_lottery.analysis import count_signs


def test_by_hand():
    start = np.array([1.0, 1.0, -1.0, -1.0, 0.0, 1.0, -2.0, np.nan])
    end = np.array([2.0, -1.0, 1.0, -3.0, 1.0, 0.0, np.nan, -1.0])
    found = count_signs(start, end)
    # The second and the third; weights without a sign have not turned it.
    assert found.flipped == 2 / 8 and found.count == 8
    assert (found.positive_before, found.positive_after) == (3 / 8, 3 / 8)


def test_products_that_underflow_are_seen():
    tiny = np.array([1e-30], "float32")
    assert count_signs(tiny, -tiny).flipped == 1.0


def test_none():
    found = count_signs(np.zeros(0), np.zeros(0))
    assert found.count == 0 and math.isnan(found.flipped)
    assert math.isnan(found.positive_before + found.positive_after)

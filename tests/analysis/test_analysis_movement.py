"""How far weights moved, by hand."""

import math

import numpy as np
import pytest

from tf_lottery.analysis import compare_movement
from tf_lottery.analysis import displacement


def test_distances_have_the_sign_of_away():
    start = np.array([1.0, -1.0, 0.5, -0.5, 0.0, 2.0, 1.0])
    end = np.array([1.5, -3.0, 0.25, 0.25, 0.1, 2.0, -1.0])
    # The last passed 0 and is as far from it as before: it is not away.
    assert displacement(start, end).tolist() == [
        0.5, 2.0, -0.25, -0.75, np.float32(0.1), 0.0, -2.0,
    ]


def test_a_round_by_hand():
    moved = np.array([2.0, -1.0, 4.0, -0.5, 0.25, -0.75, 0.5])
    stays = np.array([1, 1, 1, 0, 0, 0, 0], bool)
    found = compare_movement(moved, stays)
    assert (found.stay, found.go, found.not_finite) == (3, 4, 0)
    assert found.stay_distance == pytest.approx(7 / 3)
    assert found.go_distance == 0.5
    assert found.ratio == pytest.approx(14 / 3)
    assert found.stay_away == pytest.approx(2 / 3)
    assert found.go_away == 0.5


@pytest.mark.parametrize("stays", [True, False])
def test_nothing_goes_or_stays(stays):
    found = compare_movement(np.ones(3), np.full(3, stays))
    one, other = found.stay_distance, found.go_distance
    if not stays:
        one, other = other, one
    assert one == 1.0 and math.isnan(other) and math.isnan(found.ratio)
    empty = compare_movement(np.zeros(0), np.zeros(0, bool))
    assert empty.stay == empty.go == 0 and math.isnan(empty.stay_away)


def test_values_that_are_no_numbers_are_left_out_and_counted():
    start = np.array([0.0, 1.0, 1.0, np.inf, 0.0], "float32")
    end = np.array([np.nan, 3.0, 2.0, np.inf, -np.inf], "float32")
    stays = np.array([True, True, False, False, True])
    found = compare_movement(displacement(start, end), stays)
    assert (found.stay, found.go, found.not_finite) == (3, 2, 3)
    assert (found.stay_distance, found.go_distance) == (2.0, 1.0)


def test_weights_that_did_not_move_have_no_ratio():
    found = compare_movement(np.array([1.0, 0.0]), np.array([True, False]))
    assert found.go_distance == 0.0 and math.isnan(found.ratio)


def test_shapes_that_differ():
    with pytest.raises(ValueError, match=r"`stays` must have the shape"):
        compare_movement(np.ones(3), np.ones(1, bool))

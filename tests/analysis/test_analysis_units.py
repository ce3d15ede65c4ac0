"""Degrees of units, by hand and against chance."""

import itertools
import math

import numpy as np
import pytest

from tf_lottery.analysis import unit_degrees


def test_a_dense_kernel_by_hand():
    mask = np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 1]], bool)
    incoming, outgoing = unit_degrees(mask)
    assert (incoming.units, incoming.possible, incoming.dead) == (4, 3, 1)
    assert (outgoing.units, outgoing.possible, outgoing.dead) == (3, 4, 1)
    # 2, 1, 0, 2 lead in; 3, 0, 2 lead out.
    assert (incoming.mean, outgoing.mean) == (1.25, pytest.approx(5 / 3))
    assert incoming.std == pytest.approx(np.std([2, 1, 0, 2]))
    assert incoming.quantiles[[0, 100]].tolist() == [0, 2]
    assert outgoing.quantiles[[0, 50, 100]].tolist() == [0, 2, 3]


def test_units_of_a_convolution_are_channels():
    mask = np.zeros((3, 3, 2, 4), bool)
    mask[:, :, 0, 1] = True
    mask[1, 1, 1, 1:3] = True
    incoming, outgoing = unit_degrees(mask)
    assert (incoming.units, incoming.possible, incoming.dead) == (4, 18, 2)
    assert (outgoing.units, outgoing.possible, outgoing.dead) == (2, 36, 0)
    assert incoming.quantiles[[0, 100]].tolist() == [0, 10]
    assert outgoing.quantiles[[0, 100]].tolist() == [2, 9]


def test_random_masks_are_as_uneven_as_chance():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        flat = np.arange(3000) < 700
        found.append(unit_degrees(rng.permutation(flat).reshape(50, 60)))
    for side in zip(*found):
        squares = np.mean([one.unevenness**2 for one in side])
        # Of 60 masks of 50 units or more: known to sqrt(2 / 3000) = 0.026.
        assert squares == pytest.approx(1.0, abs=0.13)


def test_chance_is_exact_where_units_are_few():
    # All 56 masks of 3 of the 8 weights: two units share what is kept.
    found = []
    for kept in itertools.combinations(range(8), 3):
        mask = np.isin(np.arange(8), kept).reshape(4, 2)
        found.append(unit_degrees(mask))
    for side in zip(*found):
        squares = np.mean([one.std**2 for one in side])
        # The variance around a unit's expected degree, about the mask's own.
        assert squares == pytest.approx(side[0].chance**2)


def test_a_clustered_mask_is_uneven():
    mask = np.zeros((50, 60), bool)
    mask[:10] = True
    incoming, outgoing = unit_degrees(mask)
    assert incoming.unevenness == 0.0 and outgoing.unevenness > 5
    assert outgoing.dead == 40 and incoming.dead == 0


@pytest.mark.parametrize("full", [True, False])
def test_full_and_empty_kernels(full):
    for one in unit_degrees(np.full((4, 5), full)):
        assert math.isnan(one.unevenness) and one.std == 0
        assert one.dead == (0 if full else one.units)


def test_one_weight_and_one_axis():
    for one in unit_degrees(np.ones((1, 1), bool)):
        assert (one.units, one.dead) == (1, 0)
    assert unit_degrees(np.ones(4, bool)) is None

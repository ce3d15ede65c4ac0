"""The initial values of survivors, and their bimodality."""

import math

import numpy as np
import pytest

from tf_lottery.analysis import BIMODAL
from tf_lottery.analysis import bimodality
from tf_lottery.analysis import describe_values
from tf_lottery.analysis import value_edges


# The two examples of Pfister et al. (2013), figure 1.
@pytest.mark.parametrize(
    "counts, coefficient",
    [
        ((3, 5, 5, 10, 17, 20, 17, 10, 5, 5, 3), 0.34),
        ((2, 26, 14, 6, 2, 0, 2, 6, 14, 26, 2), 0.79),
    ],
)
def test_published_examples(counts, coefficient):
    values = np.repeat(np.arange(1, 12), counts)
    assert round(bimodality(values), 2) == coefficient


def test_known_distributions():
    rng = np.random.default_rng(0)
    n = 100_000
    # Kurtosis is known to sqrt(24 / n) = 0.015, so the first to 0.002.
    assert bimodality(rng.normal(size=n)) == pytest.approx(1 / 3, abs=0.01)
    assert bimodality(rng.random(n)) == pytest.approx(BIMODAL, abs=0.01)
    assert bimodality(np.sign(rng.normal(size=n))) == pytest.approx(1, abs=0.01)


def test_scale_and_place_do_not_matter():
    values = np.random.default_rng(1).gamma(2.0, size=50)
    assert bimodality(1e-12 * values - 7e-12) == pytest.approx(
        bimodality(values)
    )
    assert bimodality(-values) == pytest.approx(bimodality(values))


@pytest.mark.parametrize("values", [[], [1.0, 2.0, 3.0], [2.0] * 9])
def test_no_coefficient(values):
    assert math.isnan(bimodality(np.array(values)))


def test_survivors_by_hand():
    edges = value_edges(np.array([-1.0, 0.3, 1.0]))
    assert edges.shape == (41,)
    assert np.allclose(np.diff(edges), 0.05)
    found = describe_values(np.array([-1.0, 0.51, 0.52, 1.0]), edges)
    assert np.flatnonzero(found.histogram).tolist() == [0, 30, 39]
    assert found.histogram[30] == 2 and found.count == 4
    assert found.mean == pytest.approx(0.2575)
    assert found.std == pytest.approx(np.std([-1.0, 0.51, 0.52, 1.0]))
    assert found.positive == 0.75 and found.not_finite == 0


def test_no_survivors_and_no_numbers():
    edges = value_edges(np.array([-1.0, np.nan, np.inf, 1.0]))
    assert edges[[0, -1]].tolist() == [-1.0, 1.0]
    for values, lost in (([], 0), ([np.nan, np.inf], 2)):
        found = describe_values(np.array(values), edges)
        assert found.histogram.sum() == 0
        assert (found.count, found.not_finite) == (len(values), lost)
        for number in (found.mean, found.std, found.positive):
            assert math.isnan(number)
        assert math.isnan(found.bimodality)
    assert value_edges(np.array([np.nan])).shape == (41,)


def test_values_outside_count_at_the_ends():
    found = describe_values(np.array([-9.0, 9.0, 9.0]), np.array([-1.0, 0, 1]))
    assert found.histogram.tolist() == [1, 2]

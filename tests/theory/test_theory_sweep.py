"""The sweep and its bounds."""

import math

import numpy as np
import pytest

from tf_lottery.theory import DISTRIBUTIONS
from tf_lottery.theory import counting_bound
from tf_lottery.theory import draw
from tf_lottery.theory import smallest_covering
from tf_lottery.theory import sweep
from tf_lottery.theory import theorem_order


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_fewer_candidates_are_the_first_of_more(name):
    many = draw(name, 50, seed=4, trial=2)
    assert many.shape == (50,) and many.dtype == np.float64
    assert (draw(name, 7, seed=4, trial=2) == many[:7]).all()
    assert (draw(name, 50, seed=4, trial=3) != many).all()
    assert (draw(name, 50, seed=5, trial=2) != many).all()


def test_distributions_have_their_moments():
    x = {name: draw(name, 100_000) for name in DISTRIBUTIONS}
    for name, variance in (("uniform", 1 / 3), ("normal", 1),
                           ("product", 1 / 9)):
        # Four standard errors at most.
        assert abs(x[name].mean()) < 0.013
        assert x[name].var() == pytest.approx(variance, rel=0.03)
    assert np.abs(x["uniform"]).max() <= 1 and np.abs(x["product"]).max() <= 1
    assert (np.abs(x["uniform"]) < 0.25).mean() == pytest.approx(0.25, abs=0.01)
    # P(|uv| < a) = a (1 + log(1 / a)).
    assert (np.abs(x["product"]) < 0.25).mean() == pytest.approx(
        0.25 * (1 + math.log(4)), abs=0.01
    )


def test_points_count_the_draws():
    options = dict(interval=(-0.3, 0.4), trials=20, max_candidates=7, seed=3)
    points = list(sweep([0.2, 0.02], [0, 1], ["product", "uniform"],
                        probability=0.35, **options))
    assert [(p.distribution, p.eta, p.ratio) for p in points] == [
        (name, eta, ratio) for name in ("product", "uniform")
        for eta in (0.2, 0.02) for ratio in (0.0, 1.0)
    ]
    for p in points:
        found = sorted(
            smallest_covering(
                draw(p.distribution, 7, seed=3, trial=i), eta=p.eta,
                epsilon=p.epsilon, interval=(-0.3, 0.4),
            ) or 99 for i in range(20)
        )
        assert p.epsilon == p.ratio * p.eta and p.trials == 20
        assert p.never == found.count(99)
        # 7 of 20 draws, 10 of 20, and the first.
        for value, index in ((p.candidates, 6), (p.median, 9), (p.fewest, 0)):
            assert value == (None if found[index] == 99 else found[index])
        assert p.order == theorem_order(eta=p.eta, epsilon=p.epsilon)
        assert p.bound == counting_bound(
            eta=p.eta, epsilon=p.epsilon, width=0.7
        )
    assert any(p.never for p in points)
    assert None in [p.candidates for p in points]


def test_a_share_is_not_lost_to_rounding():
    # 0.07 * 100 is 7.000000000000001.
    (p,) = sweep([0.1], [0], ["uniform"], probability=0.07, trials=100)
    found = sorted(
        smallest_covering(draw("uniform", 200, trial=i), eta=0.1)
        for i in range(100)
    )
    assert p.candidates == found[6]


def test_equal_seeds_give_equal_points():
    grid = [0.1, 0.02], [0.0, 0.7], ["normal", "uniform"]
    first = list(sweep(*grid, trials=5, seed=1))
    assert first == list(sweep(*grid, trials=5, seed=1))
    assert first != list(sweep(*grid, trials=5, seed=2))
    # A setting's result does not depend on the others.
    alone = list(sweep([0.02], [0.7], ["normal"], trials=5, seed=1))
    assert alone[0] in first


@pytest.mark.parametrize("size", [None, 4])
def test_more_perturbation_never_takes_more(size):
    points = list(sweep([0.05], [0, 0.5, 1, 2, 4], trials=15, size=size,
                        max_candidates=60))
    for name in DISTRIBUTIONS:
        one = [p for p in points if p.distribution == name]
        for field in ("candidates", "median", "fewest", "order", "bound"):
            values = [getattr(p, field) for p in one]
            assert values == sorted(values, reverse=True)
            assert values[0] > values[-1]
        assert all(p.fewest >= p.bound for p in one)


def test_counting_bound_by_hand():
    # 2^n * 0.2 >= 1; 2^n (0.2 + 0.1 n) >= 1 at n = 2: 1.6.
    assert counting_bound(eta=0.1) == 3
    assert counting_bound(eta=0.1, epsilon=0.1) == 2
    assert counting_bound(eta=0.1, width=0.2) == 0
    assert counting_bound(eta=0.1, width=0.0) == 0
    assert counting_bound(eta=0.05, width=3.2) == 5
    # C(n, 2) * 0.2 >= 1; C(n, 2) * 0.6 >= 1.
    assert counting_bound(eta=0.1, size=2) == 4
    assert counting_bound(eta=0.1, epsilon=0.1, size=2) == 3
    assert counting_bound(eta=0.5, size=2) == 2
    assert counting_bound(eta=0.1, size=0) is None
    assert counting_bound(eta=0.5, size=0) == 0
    assert counting_bound(eta=0.5e-6, size=1) == 1_000_000


@pytest.mark.parametrize("size", [1, 2, 3, 10])
def test_counting_bound_of_a_size_is_the_smallest(size):
    for eta in (0.1, 0.01, 1e-5, 1e-20 * (size > 2) or 1e-3):
        n = counting_bound(eta=eta, size=size)
        assert math.comb(n, size) * 2 * eta >= 1 - 1e-6
        if n > size:
            assert math.comb(n - 1, size) * 2 * eta < 1


def test_no_candidates_beat_the_counting_bound():
    # Powers of two meet it: their subsets do not overlap.
    for k in range(1, 12):
        eta = 2.0**-k
        width = 2 ** (k + 1) * eta
        n = smallest_covering(
            2 * eta * 2 ** np.arange(12.0), eta=eta,
            interval=(-eta, width - eta),
        )
        assert n == counting_bound(eta=eta, width=width) == k


def test_theorem_order_by_hand():
    assert theorem_order(eta=1 / math.e) == pytest.approx(1 / math.log(1.25))
    assert theorem_order(eta=0.01, epsilon=0.5) == pytest.approx(
        math.log(100) / math.log(1.5)
    )
    assert theorem_order(eta=1.0) == theorem_order(eta=2.0, epsilon=1) == 0.0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"etas": []}, "`etas` must be a list of at least one"),
        ({"etas": [0.1, 0.0]}, "`eta` must be finite and positive"),
        ({"ratios": [-1]}, "`ratio` must be finite and 0 or more"),
        ({"distributions": "uniform"}, "`distributions` must be a list"),
        ({"distributions": ["cauchy"]}, "`distribution` must be one of unif"),
        ({"probability": 0}, "`probability` must be finite and positive"),
        ({"probability": 1.1}, r"`probability` must be in \(0, 1\]"),
        ({"trials": 0}, r"`trials` must be an integer in \[1, "),
        ({"max_candidates": 0}, "`max_candidates` must be an integer"),
        ({"size": 8}, r"`size` must be an integer in \[0, 7\]"),
        ({"interval": (1, -1)}, "`interval` must be its lowest"),
    ],
)
def test_bad_arguments_are_found_before_any_work(values, message):
    good = dict(etas=[0.1], ratios=[0], distributions=["uniform"],
                max_candidates=7)
    with pytest.raises(ValueError, match=message):
        sweep(**{**good, **values})

"""How many candidates it takes: unions of intervals against all subsets."""

import numpy as np
import pytest

from tf_lottery.theory import coverage
from tf_lottery.theory import smallest_covering
from tf_lottery.theory import smallest_reaching
from tf_lottery.theory import solve


def by_all_subsets(x, eta, epsilon, low, high, size):
    """Covers every gap of what all subsets reach, at its middle too."""
    for n in range(len(x) + 1):
        if size is not None and size > n:
            continue
        bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
        count = bits.sum(axis=1)
        if size is not None:
            bits, count = bits[count == size], count[count == size]
        reach = eta + epsilon * count
        ends = np.concatenate([bits @ x[:n] - reach, bits @ x[:n] + reach])
        ends = np.append(ends, [low, high])
        ends = np.sort(ends[(ends >= low) & (ends <= high)])
        points = np.concatenate([ends, (ends[1:] + ends[:-1]) / 2])
        gaps = np.abs(points[:, None] - bits @ x[:n]) - reach
        if (gaps.min(axis=1) <= 1e-12).all():
            return n
    return None


@pytest.mark.parametrize("seed", range(25))
def test_all_subsets_agree(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, 9)
    for eta, epsilon in ((0.3, 0.0), (0.1, 0.0), (0.1, 0.05), (0.05, 0.2)):
        low, high = np.sort(rng.uniform(-0.7, 0.7, 2))
        for size in (None, rng.integers(0, 6)):
            expected = by_all_subsets(x, eta, epsilon, low, high, size)
            found = smallest_covering(
                x, eta=eta, epsilon=epsilon, interval=(low, high), size=size
            )
            assert found == expected


@pytest.mark.parametrize("size", [None, 3, 6])
@pytest.mark.parametrize("seed", range(5))
def test_the_solver_on_a_fine_grid_agrees(seed, size):
    x = np.random.default_rng(seed).normal(size=14)
    eta, epsilon = 0.04, 0.02
    n = smallest_covering(x, eta=eta, epsilon=epsilon, size=size)
    grid = np.linspace(-0.5, 0.5, 2001)
    worst = [
        solve(x[:k], grid, epsilon=epsilon, size=size).errors.max()
        for k in (n, n - 1)
    ]
    assert worst[0] <= eta + 1e-12 < worst[1]


@pytest.mark.parametrize("size", [None, 0, 2])
@pytest.mark.parametrize("seed", range(10))
def test_single_targets_agree_with_the_solver(seed, size):
    rng = np.random.default_rng(seed)
    x, z = rng.uniform(-1, 1, 9), rng.uniform(-1.5, 1.5, 20)
    z[7] = 99.0
    eta, epsilon = 0.05, 0.02 * (seed % 2)
    found = smallest_reaching(x, z, eta=eta, epsilon=epsilon, size=size)
    expected = np.full(20, -1)
    for n in range(9, -1, -1):
        if size is None or size <= n:
            errors = solve(x[:n], z, epsilon=epsilon, size=size).errors
            expected[errors <= eta] = n
    assert found.tolist() == expected.tolist()
    assert found[7] == -1


def test_by_hand():
    reached = smallest_reaching([0.4, 0.3], [0.0, 0.5, 0.7, 9.0], eta=0.11)
    assert reached.tolist() == [0, 1, 2, -1]
    x = [0.4, -0.4, 0.2, 0.1]
    assert smallest_covering(x, eta=0.5) == 0
    assert smallest_covering(x, eta=0.3) == 2
    assert smallest_covering(x, eta=0.1) == 3
    assert smallest_covering(x, eta=0.01) is None
    assert smallest_covering(x, eta=0.1, epsilon=0.1) == 2
    assert smallest_covering(x, eta=0.1, interval=(0.3, 0.5)) == 1
    assert smallest_covering(x, eta=0.1, interval=(0.2, 0.2)) == 3
    assert smallest_covering([], eta=1.0) == 0
    assert smallest_covering([], eta=0.1) is None


def test_size_by_hand():
    x = [0.4, 0.1, -0.4, -0.1]
    one = dict(interval=(-0.4, 0.4), size=1)
    assert smallest_covering(x, eta=0.2, **one) == 4
    assert smallest_covering(x, eta=0.14, **one) is None
    # Pairs: 0.5 at 2, 0.0 and -0.3 at 3, 0.3, 0.0 and -0.5 at 4.
    two = dict(interval=(-0.5, 0.5), size=2)
    assert smallest_covering(x, eta=0.15, **two) == 4
    assert smallest_covering(x, eta=0.09, **two) is None
    # Moving by 0.03 each is as good as 0.06 more error.
    assert smallest_covering(x, eta=0.09, epsilon=0.03, **two) == 4
    none = dict(interval=(-0.1, 0.1), size=0)
    assert smallest_covering(x, eta=0.1, epsilon=9.0, **none) == 0
    assert smallest_covering(x, eta=0.09, epsilon=9.0, **none) is None


def test_intervals_that_touch_are_one():
    # 0.1 + 0.2 is not 0.3 in floats; the exact sums touch at 0.1, 0.3, ...
    x = [0.2, 0.4, 0.8, 1.6]
    assert smallest_covering(x, eta=0.1, interval=(-0.1, 3.1)) == 4
    assert smallest_covering(x, eta=0.0999, interval=(0, 3)) is None
    assert smallest_covering(
        x, eta=0.1 * (1 - 1e-7), interval=(0, 3)
    ) is None


def test_targets_just_reached_are_reached():
    for tenths in range(3, 30):
        x, ends = [tenths / 10], [(tenths - 1) / 10, (tenths + 1) / 10]
        # 0.7 + 0.1 and 0.8 - 0.1 are not 0.8 and 0.7.
        assert (smallest_reaching(x, ends, eta=0.1) == 1).all()
        outside = [ends[0] - 1e-9, ends[1] + 1e-9]
        assert (smallest_reaching(x, outside, eta=0.1) == -1).all()
        assert smallest_covering(x, eta=0.1, interval=ends) == 1


def test_sums_that_leave_the_interval_come_back():
    x, interval = [5.0, -4.6, -4.8], (0.2, 0.4)
    assert smallest_covering(x, eta=0.1, interval=interval) == 3
    assert smallest_covering(x, eta=0.09, interval=interval) is None
    assert smallest_reaching([5.0, -4.6], [0.4], eta=0.01).tolist() == [2]
    assert smallest_reaching([5.0, -4.6], [0.4], eta=0.01,
                             size=2).tolist() == [2]


@pytest.mark.parametrize("seed", range(20))
def test_it_never_grows_with_what_is_allowed(seed):
    x = np.random.default_rng(seed).uniform(-1, 1, 60)
    last = 61
    for ratio in (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0):
        n = smallest_covering(x, eta=0.02, epsilon=ratio * 0.02)
        assert n <= last
        last = n
    sizes = [smallest_covering(x, eta=eta) for eta in (0.01, 0.02, 0.05, 0.2)]
    assert sizes == sorted(sizes, reverse=True)


def test_scale_does_not_matter():
    x = np.random.default_rng(1).uniform(-1, 1, 40)
    n = smallest_covering(x, eta=0.01, epsilon=0.005)
    for scale in (2.0**-30, 2.0**30):
        assert n == smallest_covering(
            scale * x, eta=scale * 0.01, epsilon=scale * 0.005,
            interval=(-0.5 * scale, 0.5 * scale),
        )


def test_many_candidates_are_cheap():
    # Twelve of them reach 2 - 2^-11; 998 more, 1000 - 2^-11.
    x = np.concatenate([0.5 ** np.arange(12), np.ones(2000)])
    assert smallest_covering(x, eta=1e-3, interval=(0, 1000)) == 1010
    assert smallest_covering(-x, eta=1e-3, interval=(-1000, 0)) == 1010


def test_too_many_intervals_are_refused(monkeypatch):
    monkeypatch.setattr(coverage, "_MOST_INTERVALS", 1000)
    x = np.random.default_rng(0).uniform(-1, 1, 40)
    with pytest.raises(ValueError, match="`eta` must be larger for these"):
        smallest_covering(x, eta=1e-9)


@pytest.mark.parametrize("eta", [0.0, -1.0, np.nan, np.inf, None])
def test_bad_eta(eta):
    for call in (smallest_covering, lambda x, eta: smallest_reaching(
            x, [0.0], eta=eta)):
        with pytest.raises(ValueError, match="`eta` must be finite and pos"):
            call([0.1], eta=eta)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": -1.0}, "`epsilon` must be finite and 0 or more"),
        ({"size": 2}, r"`size` must be an integer in \[0, 1\]"),
        ({"interval": (1.0, 0.0)}, "`interval` must be its lowest"),
        ({"interval": (1.0,)}, "`interval` must be its lowest"),
        ({"interval": (0.0, np.nan)}, "`interval` must be finite numbers"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        smallest_covering([0.1], eta=0.1, **options)

"""The solver against values by hand and against all subsets."""

import dataclasses
import itertools
import tracemalloc

import numpy as np
import pytest

from tf_lottery.theory import solve
from tf_lottery.theory import subset_sum

TARGETS = np.linspace(-1.5, 1.5, 13)


def by_brute_force(x, z, epsilon=0.0, size=None):
    """The errors, one subset after the other."""
    best = np.full(len(z), np.inf)
    for chosen in itertools.product([0, 1], repeat=len(x)):
        if size in (None, sum(chosen)):
            total = sum(a for a, c in zip(x, chosen) if c)
            error = np.abs(z - total) - epsilon * sum(chosen)
            best = np.minimum(best, np.maximum(error, 0.0))
    return best


def check(found, x, z, epsilon, size, atol=1e-13):
    """A solution is what it says, and none is better."""
    assert found.subsets.shape == found.perturbations.shape == (len(z), len(x))
    assert found.subsets.dtype == bool and found.errors.dtype == np.float64
    kept = np.where(found.subsets, x, 0.0)
    count = found.subsets.sum(axis=1)
    left = np.abs(z - kept.sum(axis=1))
    expected = np.maximum(left - epsilon * count, 0.0)
    assert found.errors.tolist() == expected.tolist()
    if size is not None:
        assert (count == size).all()
    assert (np.abs(found.perturbations) <= epsilon).all()
    assert not found.perturbations[~found.subsets].any()
    moved = kept.sum(axis=1) + found.perturbations.sum(axis=1)
    np.testing.assert_allclose(np.abs(z - moved), found.errors, atol=1e-13)
    np.testing.assert_allclose(
        found.errors, by_brute_force(x, z, epsilon, size), rtol=0, atol=atol
    )


def test_by_hand():
    x, z = [0.5, -0.25, 1.0], [0.0, 0.75, 0.3, 2.0, -1.0]
    found = solve(x, z)
    np.testing.assert_allclose(found.errors, [0, 0, 0.05, 0.5, 0.75])
    assert found.subsets.astype(int).tolist() == [
        [0, 0, 0], [0, 1, 1], [1, 1, 0], [1, 0, 1], [0, 1, 0],
    ]
    assert not found.perturbations.any()
    # Two that move by 0.1 each: 0.5 + 1 reaches 1.7, -0.25 reaches -0.35.
    found = solve(x, z, epsilon=0.1)
    np.testing.assert_allclose(found.errors, [0, 0, 0, 0.3, 0.65], atol=1e-15)
    np.testing.assert_allclose(found.perturbations[3], [0.1, 0, 0.1])
    np.testing.assert_allclose(found.perturbations[4], [0, -0.1, 0])


def test_size_by_hand():
    x, z = [0.5, -0.25, 1.0], [0.0]
    for size, error in ((0, 0.0), (1, 0.25), (2, 0.25), (3, 1.25)):
        found = solve(x, z, size=size)
        assert found.errors.tolist() == [error]
        assert found.subsets.sum() == size


@pytest.mark.parametrize("half", [None, 1, 2, 3])
@pytest.mark.parametrize("seed", range(6))
def test_all_subsets_give_no_less(seed, half, monkeypatch):
    """`half` makes the sorted part small, so that both parts matter."""
    if half is not None:
        monkeypatch.setattr(subset_sum, "_LARGEST_HALF", half)
        monkeypatch.setattr(subset_sum, "_CHUNK", 7 * half)
    rng = np.random.default_rng(seed)
    for n in range(0, 9 if half is None else 2 * half + 1):
        x = rng.uniform(-1, 1, n)
        z = rng.permutation(np.append(TARGETS, x))
        for epsilon in (0.0, 0.001, 0.03, 0.5):
            size = rng.choice([None, *range(n + 1)])
            check(solve(x, z, epsilon=epsilon), x, z, epsilon, None)
            found = solve(x, z, epsilon=epsilon, size=size)
            check(found, x, z, epsilon, size)


@pytest.mark.parametrize("seed", range(4))
def test_ties_duplicates_and_zeros_are_exact(seed):
    """Multiples of 1/8 have sums without rounding."""
    rng = np.random.default_rng(seed)
    for n in (1, 2, 5, 10):
        x = rng.integers(-4, 5, n) / 8
        x[n // 2:] = x[0]
        z = np.arange(-20, 21) / 16
        for epsilon in (0.0, 1 / 16, 1 / 4):
            for size in (None, n // 2):
                found = solve(x, z, epsilon=epsilon, size=size)
                check(found, x, z, epsilon, size, atol=0)


def test_twelve_candidates():
    rng = np.random.default_rng(12)
    x, z = rng.normal(size=12), rng.uniform(-1, 1, 9)
    check(solve(x, z), x, z, 0.0, None)
    check(solve(x, z, epsilon=1e-4, size=5), x, z, 1e-4, 5)


@pytest.mark.parametrize("n", [24, 30])
def test_a_planted_subset_is_found(n):
    """Exact sums, and a target that a known subset alone comes near."""
    rng = np.random.default_rng(n)
    x = rng.integers(-(2**40), 2**40, n) / 2**40
    planted = rng.random((3, n)) < 0.5
    z = (planted @ x)
    assert solve(x, z).errors.tolist() == [0.0, 0.0, 0.0]
    sized = solve(x, z[:1], size=int(planted[0].sum()))
    assert sized.errors.tolist() == [0.0]
    assert sized.subsets.sum() == planted[0].sum()


def test_thirty_candidates_against_sets_of_sums():
    """All sums of 15 and 15, by two pointers instead of searches."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, 30)
    sums = [np.zeros(1), np.zeros(1)]
    for i, value in enumerate(x):
        sums[i % 2] = np.concatenate([sums[i % 2], sums[i % 2] + value])
    one, two = map(np.sort, sums)
    for z in (0.123, -0.45):
        at = np.searchsorted(two, z - one)
        near = [two[np.clip(at + d, 0, len(two) - 1)] for d in (-1, 0)]
        best = min(np.abs(z - one - other).min() for other in near)
        np.testing.assert_allclose(solve(x, [z]).errors, best, atol=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_more_of_anything_is_no_worse(seed):
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, 10)
    last = np.full(13, np.inf)
    for epsilon in (0.0, 0.01, 0.02, 0.1):
        errors = solve(x, TARGETS, epsilon=epsilon).errors
        assert (errors <= last + 1e-14).all()
        last = errors
    last = np.full(13, np.inf)
    for n in range(11):
        errors = solve(x[:n], TARGETS, epsilon=0.01).errors
        assert (errors <= last + 1e-14).all()
        last = errors


def test_order_of_targets_and_of_candidates_does_not_matter():
    rng = np.random.default_rng(3)
    x, z = rng.uniform(-1, 1, 9), rng.uniform(-1, 1, 30)
    errors = solve(x, np.sort(z), epsilon=0.001).errors
    found = solve(x[::-1], z, epsilon=0.001)
    np.testing.assert_allclose(found.errors[np.argsort(z)], errors, atol=1e-14)


def test_the_same_subset_each_time():
    z = np.linspace(-0.5, 0.5, 50)
    one, two = (solve(np.full(6, 0.25), z, epsilon=0.02) for _ in range(2))
    assert (one.subsets == two.subsets).all()


def test_nothing_to_choose_or_to_reach():
    found = solve([], [0.25, -2], epsilon=1)
    assert found.errors.tolist() == [0.25, 2.0]
    assert found.subsets.shape == (2, 0)
    assert solve([1.0], []).subsets.shape == (0, 1)
    assert solve([0.5], [0.5, 0.1]).errors.tolist() == [0.0, 0.1]


def test_memory_is_bounded(monkeypatch):
    """Not all pairs of a sum and a target are held at once."""
    monkeypatch.setattr(subset_sum, "_LARGEST_HALF", 10)
    x, z = np.random.default_rng(0).normal(size=20), np.linspace(0, 1, 2001)
    tracemalloc.start()
    solve(x, z)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # All pairs of 2^10 and 2,001 would be 16 MB for each array.
    assert peak < 5e6


def test_what_is_reached_is_not_looked_up_again(monkeypatch):
    seen, gaps = [], subset_sum._Table.gaps

    def counted(self, low, high):
        seen.append(low.shape[1])
        return gaps(self, low, high)

    monkeypatch.setattr(subset_sum._Table, "gaps", counted)
    monkeypatch.setattr(subset_sum, "_LARGEST_HALF", 6)
    monkeypatch.setattr(subset_sum, "_CHUNK", 1)
    x = np.ones(12)
    # Sums 0 to 6 are there without the small half, 7 with one of it.
    assert solve(x, [0.0, 3.0, 7.0]).errors.tolist() == [0.0, 0.0, 0.0]
    assert seen == [3, 1]


def test_forty_candidates_are_accepted():
    # The first lookup reaches it: 2^20 sums of 2^40.
    found = solve(np.append(np.full(39, 0.25), 4.0), [2.5], epsilon=1e-9)
    assert found.errors.tolist() == [0.0] and found.subsets.sum() == 10


def test_solutions_are_not_compared_by_arrays():
    one, two = solve([0.1], [0.0]), solve([0.1], [0.0])
    assert one != two and one == one
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.errors = two.errors


def test_the_sorted_part_stays_small_and_takes_at_least_half():
    for n in range(subset_sum.MOST_CANDIDATES + 1):
        halves = [subset_sum._split(n, t) for t in (0, 1, 2001, 10**6)]
        assert all(n - half <= half <= min(n, 20) for half in halves)
        assert halves == sorted(halves)
    assert subset_sum._split(24, 2001) in (16, 17, 18)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]], [0]), r"`candidates` must be finite .*shape=\(1, 1\)"),
        (([1, [2]], [0]), "`candidates` must be finite numbers in one"),
        ((["a"], [0]), "`candidates` must be finite .*dtype=<U1"),
        (([0.1, np.nan], [0]), "`candidates` .* nan at position 1"),
        (([1e305], [0]), "`candidates` .* 1e[+]305 at position 0"),
        (([True], [0]), "`candidates` .*dtype=bool"),
        ((0.5, [0]), r"`candidates` .*shape=\(\)"),
        (([0.1], [0, np.inf]), "`targets` .* inf at position 1"),
        (([0.1], 0.0), r"`targets` must be .*shape=\(\)"),
        ((np.ones(41), [0]), r"`candidates` must be at most 40\. Received: "
         r"41, which have 2\^41 = 2\.2e\+12 subsets; "
         r"this solver looks up 2\^21 sums per target"),
    ],
)
def test_bad_arrays(arguments, message):
    with pytest.raises(ValueError, match=message):
        solve(*arguments)


@pytest.mark.parametrize("epsilon", [-0.1, np.nan, np.inf, "1", None, True])
def test_bad_epsilon(epsilon):
    with pytest.raises(ValueError, match="`epsilon` must be finite and 0 or"):
        solve([0.1], [0.0], epsilon=epsilon)


@pytest.mark.parametrize("size", [-1, 3, 1.0, "1", True, np.nan])
def test_bad_size(size):
    with pytest.raises(ValueError, match=r"`size` must be .* in \[0, 2\]"):
        solve([0.1, 0.2], [0.0], size=size)

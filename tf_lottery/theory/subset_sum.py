"""The random subset-sum problem whose chosen candidates may move, exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_lottery.theory import arguments

#: More candidates than this are refused.
MOST_CANDIDATES = 40
# log2 of the sums that are sorted and held at once.
_LARGEST_HALF = 20
# Pairs of a sum of the small half and a target that are looked up at once.
_CHUNK = 2**15


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """The best subset for each target.

    Args:
        errors: `(targets,)` float64, what is left of `|z - sum|` after the
            perturbation, in the unit of the candidates.
        subsets: `(targets, n)` bool, True = chosen.
        perturbations: `(targets, n)` float64, how far each chosen candidate
            moves, at most `epsilon`; 0 for the others. One of many ways to
            reach `errors`: all chosen ones move equally.
    """

    errors: np.ndarray
    subsets: np.ndarray
    perturbations: np.ndarray


def solve(
    candidates: Any,
    targets: Any,
    *,
    epsilon: float = 0.0,
    size: int | None = None,
) -> Solution:
    """Finds the subset of perturbed candidates that is nearest each target.

    The error of target `z` is

        min over S of max(0, |z - sum_{i in S} x_i| - epsilon |S|),

    which is the least of `|z - sum_{i in S} (x_i + y_i)|` over the subsets
    `S` of the candidates `x` and over all `|y_i| <= epsilon`. The empty
    subset, of sum 0, is one of them.

    It is exact, up to the rounding of float64 sums, by meeting in the
    middle. Subset `S` reaches the interval from `l_S = sum (x_i - epsilon)`
    to `r_S = sum (x_i + epsilon)`, so

        error(z) = max(0, min(z - R, L - z)),
        R = max {r_S : l_S <= z},  L = min {l_S : l_S > z}.

    The candidates are split in two. The sums of one part are sorted by `l`
    and carry the largest `r` so far; for each sum of the other part one
    binary search of `z - l` among them gives both `R` and `L`. At most 2^20
    sums are sorted at a time, so the memory is bounded for any number of
    candidates: below 150 MB, plus 9 bytes per target and candidate. The time
    is that of 2^n / 2^20 searches per target beyond 20 candidates.

    Args:
        candidates: `x`, shape `(n,)`, finite numbers, `n` at most 40.
        targets: `z`, shape `(targets,)`, finite numbers.
        epsilon: the largest perturbation of a chosen candidate, 0 or more,
            in the unit of the candidates.
        size: `|S|`, so that only subsets of so many candidates count; None
            for any size.

    Returns:
        A `Solution`. Its errors are those of its subsets, computed anew from
        them: `max(0, |z - sum| - epsilon |S|)` with the chosen candidates
        added in one NumPy sum over the row, others as 0.

    Raises:
        ValueError: `candidates` or `targets` are not finite numbers in one
            dimension, there are more than 40 candidates, `epsilon` is
            negative or not finite, or `size` is no integer in `[0, n]`.

    Example:
        >>> found = solve([0.5, -0.2, 0.3], [0.33, 0.8], epsilon=0.01)
        >>> found.errors.round(3).tolist()
        [0.01, 0.0]
        >>> found.subsets[0].tolist()
        [True, True, False]
        >>> found.perturbations[0].round(3).tolist()
        [0.01, 0.01, 0.0]

    Reference:
        Lueker, Exponentially small bounds on the expected optimum of the
        partition and subset sum problems, 1998. The perturbed problem is that
        of Xiong, Liao and Kyrillidis, 2023, arXiv:2210.16589; that the best
        perturbation only widens each sum by `epsilon |S|` follows from the
        problem's statement. Meeting in the middle: Horowitz and Sahni, 1974.
    """
    x = arguments.finite_vector("candidates", candidates)
    z = arguments.finite_vector("targets", targets)
    epsilon = arguments.finite_number("epsilon", epsilon, zero=True)
    n = len(x)
    if size is not None:
        size = arguments.whole_number("size", size, 0, n)
    if n > MOST_CANDIDATES:
        raise ValueError(
            f"`candidates` must be at most {MOST_CANDIDATES}. Received: "
            f"{n}, which have 2^{n} = {2.0**n:.1e} subsets; this solver "
            f"looks up 2^{n - _LARGEST_HALF} sums per target. Pass fewer, or "
            "ask smallest_reaching, which needs no subset."
        )
    order = np.argsort(z, kind="stable")
    subsets = np.empty((len(z), n), bool)
    subsets[order] = _best_subsets(x, z[order], epsilon, size)
    chosen = subsets.sum(axis=1)
    missing = z - np.where(subsets, x, 0.0).sum(axis=1)
    move = np.clip(missing / np.maximum(chosen, 1), -epsilon, epsilon)
    return Solution(
        np.maximum(np.abs(missing) - epsilon * chosen, 0.0),
        subsets,
        np.where(subsets, move[:, None], 0.0),
    )


@dataclasses.dataclass(frozen=True)
class _Sums:
    """The ends of what some subsets reach, and which subsets they are."""

    low: np.ndarray
    high: np.ndarray
    index: np.ndarray

    @classmethod
    def groups(
        cls, x: np.ndarray, epsilon: float, by_size: bool
    ) -> dict[int, _Sums]:
        """All subsets of `x`, those of each size apart if `by_size`."""
        sums, counts = np.zeros(1), np.zeros(1, np.int8)
        # Bit i of a subset's position says whether it has candidate i.
        for value in x:
            sums = np.concatenate([sums, sums + value])
            counts = np.concatenate([counts, counts + np.int8(1)])
        index = np.arange(len(sums), dtype=np.int32)
        reach = epsilon * counts
        if not by_size:
            return {0: cls(sums - reach, sums + reach, index)}
        groups = {}
        for count in range(len(x) + 1):
            i = index[counts == count]
            groups[count] = cls((sums - reach)[i], (sums + reach)[i], i)
        return groups

    def by_low(self) -> _Sums:
        # Stable, so that the subset does not depend on the processor.
        order = np.argsort(self.low, kind="stable")
        return _Sums(self.low[order], self.high[order], self.index[order])


class _Table:
    """Sums of the large half, to be looked up by target."""

    def __init__(self, sums: _Sums):
        ordered = sums.by_low()
        farthest = np.maximum.accumulate(ordered.high)
        position = np.arange(len(farthest), dtype=np.int32)
        # Where the largest end so far was met.
        position[ordered.high < farthest] = 0
        self._farthest = np.maximum.accumulate(position)
        self._index = ordered.index
        # With what is below all and above all.
        self._low = np.append(ordered.low, np.inf)
        self._high = np.concatenate([[-np.inf], farthest])

    def gaps(
        self, low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The distance to the nearest interval, and a code for it.

        Args:
            low: targets less the other half's `l`.
            high: targets less the other half's `r`.
        """
        position = np.searchsorted(self._low[:-1], low, side="right")
        below = high - self._high[position]
        above = self._low[position] - low
        return (
            np.minimum(below, above),
            np.where(below <= above, -position, position),
        )

    def subset(self, code: np.ndarray) -> np.ndarray:
        """The subset that a code of `gaps` stands for."""
        return np.where(
            code < 0,
            self._index[self._farthest[np.maximum(-code - 1, 0)]],
            self._index[np.maximum(code, 0)],
        )


def _best_subsets(
    x: np.ndarray, z: np.ndarray, epsilon: float, size: int | None
) -> np.ndarray:
    """`(len(z), len(x))` bool; `z` is in order, which keeps searches fast."""
    half = _split(len(x), len(z))
    least = np.full(len(z), np.inf)
    of_large = np.zeros(len(z), np.int64)
    of_small = np.zeros(len(z), np.int64)
    for small, large in _pairs(x, half, epsilon, size):
        table, start = _Table(large), 0
        while start < len(small.low):
            # A target that is reached needs no better subset.
            left = np.flatnonzero(least > 0.0)
            if not len(left):
                break
            stop = start + max(1, _CHUNK // len(left))
            gaps, codes = table.gaps(
                z[left] - small.low[start:stop, None],
                z[left] - small.high[start:stop, None],
            )
            row = gaps.argmin(axis=0)
            columns = np.arange(len(left))
            better = gaps[row, columns] < least[left]
            row, columns, left = row[better], columns[better], left[better]
            least[left] = gaps[row, columns]
            of_small[left] = small.index[start + row]
            of_large[left] = table.subset(codes[row, columns])
            start = stop
    bits = of_large + (of_small << half)
    return (bits[:, None] >> np.arange(len(x))) & 1 == 1


def _pairs(
    x: np.ndarray, half: int, epsilon: float, size: int | None
) -> Iterator[tuple[_Sums, _Sums]]:
    """Groups of the small half and of the large half that go together."""
    large = _Sums.groups(x[:half], epsilon, size is not None)
    small = _Sums.groups(x[half:], epsilon, size is not None)
    for count, sums in small.items():
        other = 0 if size is None else size - count
        if other in large:
            yield sums.by_low(), large[other]


def _split(n: int, targets: int) -> int:
    """How many candidates the sorted half takes, for the least time."""

    def cost(half: int) -> float:
        # A sorted sum takes about as long as two searches.
        return 2.0 * 2.0**half + 2.0 ** (n - half) * max(targets, 1)

    return min(range((n + 1) // 2, min(n, _LARGEST_HALF) + 1), key=cost)

"""How many candidates it takes to reach an interval, or single targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tf_lottery.theory import arguments

# Gaps narrower than this share of eta are closed. Two ways to one sum differ
# by less, so intervals that touch would else be apart by rounding.
_ROUNDING = 1e-9
# Some hundred megabytes while two such sets are merged.
_MOST_INTERVALS = 2**22

_Union = tuple[np.ndarray, np.ndarray]


def smallest_covering(
    candidates: Any,
    *,
    eta: float,
    epsilon: float = 0.0,
    interval: tuple[float, float] = (-0.5, 0.5),
    size: int | None = None,
) -> int | None:
    """Returns how many candidates it takes to reach a whole interval.

    The smallest `n` such that for every `z` of the interval some subset `S`
    of the first `n` candidates has

        |z - sum_{i in S} x_i| - epsilon |S| <= eta.

    What `n` candidates reach to within `eta` is a union of intervals,

        U_0 = [-eta, eta],
        U_n = U_{n-1} united with U_{n-1} + [x_n - epsilon, x_n + epsilon],

    kept as intervals that do not overlap; there are at most as many as fit
    the sums' range at `2 eta` each, whatever `n`. So no grid is needed, and
    the cost grows with `n` and not with `2^n`. It goes over all sums, also
    outside the interval, since they may come back.

    Gaps below `1e-9 eta` count as closed, at each candidate, because two ways
    to one end differ by rounding: the interval is covered to within
    `eta (1 + 1e-9 n)`, and one that is just covered is never said not to be.

    Args:
        candidates: `x`, shape `(n,)`, finite numbers.
        eta: the error that is allowed, positive, in the unit of the
            candidates.
        epsilon: the largest perturbation of a chosen candidate, 0 or more,
            in the same unit.
        interval: `(lowest, highest)` target.
        size: only subsets of so many candidates count; None for any size.

    Returns:
        `n`, or None if all of the candidates do not reach the interval.

    Raises:
        ValueError: an argument is outside its range, or `eta` is so small
            that the union has over 4 million intervals.

    Example:
        >>> smallest_covering([0.4, -0.4, 0.2, 0.1], eta=0.1)
        3
        >>> smallest_covering([0.4, -0.4, 0.2, 0.1], eta=0.1, epsilon=0.1)
        2

    Reference:
        The quantity that Xiong, Liao and Kyrillidis, 2023, arXiv:2210.16589,
        bound.
    """
    low, high = _interval(interval)
    slack = _ROUNDING * arguments.finite_number("eta", eta)
    for n, (starts, ends) in _growing(candidates, eta, epsilon, size):
        first = np.searchsorted(starts, low + slack, side="right") - 1
        if first >= 0 and ends[first] >= high - slack:
            return n
    return None


def smallest_reaching(
    candidates: Any,
    targets: Any,
    *,
    eta: float,
    epsilon: float = 0.0,
    size: int | None = None,
) -> np.ndarray:
    """Returns how many candidates it takes to reach each target.

    As `smallest_covering`, for single targets.

    Args:
        candidates: `x`, shape `(n,)`, finite numbers.
        targets: `z`, shape `(targets,)`, finite numbers.
        eta: the error that is allowed, positive, in the unit of the
            candidates.
        epsilon: the largest perturbation of a chosen candidate, 0 or more.
        size: only subsets of so many candidates count; None for any size.

    Returns:
        `(targets,)` int64; -1 where all of the candidates do not reach it.

    Raises:
        ValueError: as `smallest_covering`.

    Example:
        >>> smallest_reaching([0.4, 0.3], [0.0, 0.5, 0.7, 9.0], eta=0.1)
        array([ 0,  1,  2, -1])
    """
    z = arguments.finite_vector("targets", targets)
    slack = _ROUNDING * arguments.finite_number("eta", eta)
    smallest = np.full(len(z), -1)
    left = np.arange(len(z))
    for n, (starts, ends) in _growing(candidates, eta, epsilon, size):
        if len(starts):
            at = np.searchsorted(starts, z[left] + slack, side="right") - 1
            there = (at >= 0) & (ends[at] >= z[left] - slack)
            smallest[left[there]] = n
            left = left[~there]
        if not len(left):
            break
    return smallest


def _interval(interval: tuple[float, float]) -> tuple[float, float]:
    ends = arguments.finite_vector("interval", interval)
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ValueError(
            "`interval` must be its lowest and its highest number. Received: "
            f"interval={interval}. Write for example (-0.5, 0.5)."
        )
    return float(ends[0]), float(ends[1])


def _growing(
    candidates: Any, eta: float, epsilon: float, size: int | None
) -> Iterator[tuple[int, _Union]]:
    """Yields `n` and what the first `n` candidates reach, `n` = 0, 1, ..."""
    x = arguments.finite_vector("candidates", candidates)
    epsilon = arguments.finite_number("epsilon", epsilon, zero=True)
    largest = 0
    if size is not None:
        largest = arguments.whole_number("size", size, 0, len(x))
    nothing = np.zeros(0), np.zeros(0)
    # One union for all sizes, or one for each size up to `size`.
    unions: list[_Union] = [(np.array([-eta]), np.array([eta]))]
    unions += [nothing] * largest
    yield 0, unions[-1]
    for n, value in enumerate(x, 1):
        step = value - epsilon, value + epsilon
        # From the largest size down: each reads the one below unchanged.
        for count in range(largest, 0 if size is not None else -1, -1):
            source = unions[count - 1 if size is not None else count]
            unions[count] = _united(unions[count], source, step, eta)
        yield n, unions[-1]


def _united(
    union: _Union, source: _Union, step: tuple[float, float], eta: float
) -> _Union:
    """`union`, with all of `source` moved by what lies in `step`."""
    starts = np.concatenate([union[0], source[0] + step[0]])
    if not len(starts):
        return union
    if len(starts) > _MOST_INTERVALS:
        raise ValueError(
            "`eta` must be larger for these candidates. Received: "
            f"eta={eta}, with {len(starts):,} separate intervals. Allow more "
            "error or pass fewer candidates."
        )
    order = np.argsort(starts, kind="stable")
    starts = starts[order]
    ends = np.concatenate([union[1], source[1] + step[1]])[order]
    ends = np.maximum.accumulate(ends)
    apart = starts[1:] > ends[:-1] + _ROUNDING * eta
    return (
        starts[np.concatenate([[True], apart])],
        ends[np.concatenate([apart, [True]])],
    )

"""The keep-th largest score of many, without sorting or copying them."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

# Flat scores, and which of them count.
Part = tuple[np.ndarray, np.ndarray]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Entries that are worked on at once: small enough to stay in a core's cache.
_CHUNK = 2**18
_SAMPLE = 2**16
# Standard errors of a sample's rank on either side; missed about once in
# 10**9 samples, and then a full selection is made.
_ERRORS = 6.0


def cutoff(parts: Sequence[Part], keep: int) -> np.ndarray:
    """Returns the `keep`-th largest of the scores that count.

    A sample brackets it, one pass counts what lies above the bracket and
    collects what lies inside, and a selection among these few is exact. Where
    the bracket misses, all scores are selected from; the result is the same.

    Args:
        parts: flat `(scores, alive)` pairs; only `scores[alive]` count, and
            they are not NaN.
        keep: from 1 to their number.

    Returns:
        A zero-dimensional array of the scores' type.

    Example:
        >>> parts = [(np.array([5.0, 9.0, 1.0]), np.array([True, False, True]))]
        >>> float(cutoff(parts, 2))
        1.0

    Reference:
        Floyd and Rivest, Expected time bounds for selection, 1975,
        doi:10.1145/360680.360691.
    """
    low, high = _bracket(parts, keep)
    above, inside = 0, []
    for count, values in threaded(
        lambda part: _split(part, low, high), _chunks(parts), _size(parts)
    ):
        above += count
        inside.append(values)
    values = np.concatenate(inside)
    if not above < keep <= above + values.size:
        above = 0
        values = np.concatenate([scores[alive] for scores, alive in parts])
    place = values.size - (keep - above)
    return np.partition(values, place)[place]


def has_nan(parts: Sequence[Part]) -> bool:
    """Whether a score that counts is NaN."""
    # A minimum is NaN where any entry is, and needs no array of its own.
    return any(
        threaded(
            lambda part: np.isnan(part[0].min())
            and np.isnan(part[0][part[1]]).any(),
            _chunks(parts),
            _size(parts),
        )
    )


def threaded(
    work: Callable[[_Item], _Result], items: Iterable[_Item], size: int
) -> Iterator[_Result]:
    """Maps in order, and in threads: NumPy works on large arrays in parallel.

    Args:
        work: of one item.
        items: what to work on.
        size: numbers in all items; few are not worth a thread.
    """
    if size <= _CHUNK:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(work, items)


def _size(parts: Sequence[Part]) -> int:
    return sum(scores.size for scores, _ in parts)


def _chunks(parts: Sequence[Part]) -> Iterator[Part]:
    for scores, alive in parts:
        for start in range(0, scores.size, _CHUNK):
            chunk = slice(start, start + _CHUNK)
            yield scores[chunk], alive[chunk]


def _bracket(parts: Sequence[Part], keep: int) -> tuple[np.ndarray, ...]:
    """Two scores that the wanted one almost surely lies between."""
    stride = max(1, _size(parts) // _SAMPLE)
    sample = np.sort(
        np.concatenate([s[::stride][a[::stride]] for s, a in parts])
    )
    total = sum(int(np.count_nonzero(alive)) for _, alive in parts)
    if not sample.size:
        return np.asarray(-np.inf), np.asarray(np.inf)
    share = keep / total
    width = _ERRORS * math.sqrt(share * (1 - share) * sample.size) + 2
    place = (1 - share) * sample.size
    last = sample.size - 1
    low = sample[min(last, max(0, int(place - width)))]
    high = sample[min(last, max(0, math.ceil(place + width)))]
    return low, high


def _split(part: Part, low, high) -> tuple[int, np.ndarray]:
    """How many scores lie above `high`, and those from `low` to `high`."""
    scores, alive = part
    over = scores > high
    over &= alive
    inside = scores >= low
    inside &= alive
    inside ^= over
    return int(np.count_nonzero(over)), scores[inside]

"""The best of many scores, without sorting or copying them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from tf_lottery.cores import cores

# Flat values, and which of them count.
Part = tuple[np.ndarray, np.ndarray]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# Entries that are worked on at once: they stay in a core's cache.
_CHUNK = 2**17
# Entries that are worth the start of a thread.
_PIECE = 2**19
_SAMPLE = 2**16
# Standard errors of a random sample's rank on either side. Where the scores
# lie in a pattern that misses it, all of them are selected from.
_ERRORS = 6.0


def top(
    parts: Sequence[Part], keep: int, key: Callable = np.asarray
) -> list[np.ndarray]:
    """Marks the `keep` best of the scores that count.

    A sample brackets the `keep`-th largest, one pass marks what lies above
    the bracket and finds what lies inside, and a selection among these few is
    exact. Ties go to the lowest index, of the first part first.

    Args:
        parts: flat `(values, alive)` pairs; only `values[alive]` count.
        keep: from 0 to their number.
        key: from values to scores, entry by entry. They are never in memory
            all at once; by default the values are the scores.

    Returns:
        One boolean array per part.

    Raises:
        FloatingPointError: a score that counts is NaN.

    Example:
        >>> scores = np.array([5.0, 9.0, 1.0])
        >>> top([(scores, np.array([True, False, True]))], 1)[0].tolist()
        [True, False, False]

    Reference:
        Floyd and Rivest, Expected time bounds for selection, 1975,
        doi:10.1145/360680.360691.
    """
    size = sum(values.size for values, _ in parts)
    results = [np.empty(values.size, bool) for values, _ in parts]
    pieces = [
        (values[i : i + _PIECE], alive[i : i + _PIECE], out[i : i + _PIECE])
        for (values, alive), out in zip(parts, results)
        for i in range(0, values.size, _PIECE)
    ]
    everything = (-math.inf, math.inf)
    for low, high in (_bracket(parts, size, keep, key), everything):
        inside = list(
            threaded(lambda piece: _split(piece, low, high, key), pieces, size)
        )
        missing = keep - sum(np.count_nonzero(out) for _, _, out in pieces)
        if 0 <= missing <= sum(places.size for places in inside):
            break
    if missing == 0:
        return results
    scores = [
        key(values[places]) for (values, _, _), places in zip(pieces, inside)
    ]
    near = np.concatenate(scores)
    least = np.partition(near, near.size - missing)[near.size - missing]
    missing -= int(np.count_nonzero(near > least))
    for (_, _, out), places, here in zip(pieces, inside, scores):
        out[places[here > least]] = True
        ties = places[here == least][:missing]
        out[ties] = True
        missing -= ties.size
    return results


def threaded(
    work: Callable[[_Item], _Result], items: Iterable[_Item], size: int
) -> Iterator[_Result]:
    """Maps in order, and in threads: NumPy works on large arrays in parallel.

    Args:
        work: of one item.
        items: what to work on.
        size: numbers in all items; few are not worth a thread.
    """
    if size <= _PIECE:
        yield from map(work, items)
        return
    with ThreadPoolExecutor(len(cores())) as pool:
        yield from pool.map(work, items)


def _bracket(
    parts: Sequence[Part], size: int, keep: int, key: Callable
) -> tuple:
    """Two scores that the `keep`-th largest almost surely lies between."""
    # Odd: an even one would meet the same few columns of a kernel again and
    # again.
    stride = max(1, size // _SAMPLE) | 1
    sample = np.sort(
        np.concatenate([key(v[::stride][a[::stride]]) for v, a in parts])
    )
    total = sum(int(np.count_nonzero(alive)) for _, alive in parts)
    if not (sample.size and keep):
        return -math.inf, math.inf
    share = keep / total
    width = _ERRORS * math.sqrt(share * (1 - share) * sample.size) + 2
    place = (1 - share) * sample.size
    last = sample.size - 1
    low = sample[min(last, max(0, int(place - width)))]
    high = sample[min(last, max(0, math.ceil(place + width)))]
    return low, high


def _split(
    piece: tuple[np.ndarray, ...], low, high, key: Callable
) -> np.ndarray:
    """Marks the scores above `high`; where those from `low` to `high` are."""
    inside = []
    for start in range(0, piece[0].size, _CHUNK):
        values, alive, out = (a[start : start + _CHUNK] for a in piece)
        scores = key(values)
        # A minimum is NaN where any entry is, and needs no array of its own.
        if np.isnan(scores.min()) and np.isnan(scores[alive]).any():
            raise FloatingPointError
        np.greater(scores, high, out=out)
        near = scores >= low
        if not alive.all():
            out &= alive
            near &= alive
        near ^= out
        inside.append(np.flatnonzero(near) + start)
    return np.concatenate(inside)

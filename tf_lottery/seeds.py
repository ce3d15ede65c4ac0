"""Sub-seeds: independent streams derived from a seed by a stable digest.

`hash()` is salted per process and sums of seeds collide (seed 1, level 2 and
seed 2, level 1), so every stream is named and its name is digested.
"""

from __future__ import annotations

import hashlib
import operator
from typing import SupportsIndex

import numpy as np


def derive(*parts: SupportsIndex | str) -> int:
    """Returns a seed that is a pure function of `parts`.

    Args:
        *parts: integers and strings that name the stream, such as
            `(seed, replicate, "data", level)`.

    Returns:
        An integer in `[0, 2**31)`, the range that NumPy, Keras and
        TensorFlow all accept.

    Example:
        >>> derive(0, "data", 1) == derive(0, "data", 1)
        True
        >>> derive(0, "data", 1) == derive(0, "data", 2)
        False
    """
    return int.from_bytes(_digest(parts)[:4], "little") >> 1


def generator(*parts: SupportsIndex | str) -> np.random.Generator:
    """Returns a NumPy generator for the stream named by `parts`."""
    return np.random.Generator(
        np.random.Philox(key=int.from_bytes(_digest(parts)[:16], "little"))
    )


def permutation(size: int, *parts: SupportsIndex | str) -> np.ndarray:
    """Returns a permutation of `range(size)` for the stream named by `parts`.

    It sorts raw Philox draws, whose stream NumPy guarantees from version to
    version; it gives no such promise for `Generator.permutation`.

    Args:
        size: number of entries.
        *parts: as in `derive`.

    Returns:
        `(size,)` int32.

    Example:
        >>> sorted(permutation(4, 0, "order", 2).tolist())
        [0, 1, 2, 3]
    """
    draws = generator(*parts).bit_generator.random_raw(size)
    return np.argsort(draws, kind="stable").astype(np.int32)


def _digest(parts: tuple[SupportsIndex | str, ...]) -> bytes:
    # A NumPy integer's repr is not an int's, and differs between versions.
    plain = (p if isinstance(p, str) else operator.index(p) for p in parts)
    return hashlib.sha256(repr(tuple(plain)).encode()).digest()

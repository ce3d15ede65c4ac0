"""Structures: which weights of a kernel stay or go together.

Kernels are read as Keras stores them: inputs on the axis before the last,
outputs on the last. Kernels that lie otherwise (transposed convolutions,
einsum kernels of several output axes) are taken by these axes all the same.
"""

from __future__ import annotations

import re
from numbers import Real

import numpy as np

from tf_lottery.masks.mask import Mask

# A third is written 0.33 or 0.333.
_ROUNDING = 0.005


def group_shape(structure: str) -> tuple[int, int] | None:
    """Returns `(N, M)` of an "N:M" structure, None of any other.

    Args:
        structure: `"N:M"`: of every M consecutive inputs of an output, at
            most N are kept. `"AxB"`: blocks of A inputs and B outputs stay or
            go whole. `"channel"`: likewise all inputs of an output.

    Raises:
        ValueError: not one of these.

    Example:
        >>> group_shape("2:4"), group_shape("1x4")
        ((2, 4), None)
    """
    return _read(structure)[0]


def block_shape(structure: str) -> tuple[int, int] | None:
    """Returns `(A, B)` of blocks of A inputs and B outputs, None of N:M.

    A is 0 for `"channel"`, which is all inputs.

    Args:
        structure: as in `group_shape`.

    Raises:
        ValueError: not a structure.

    Example:
        >>> block_shape("4x1"), block_shape("channel"), block_shape("2:4")
        ((4, 1), (0, 1), None)
    """
    return _read(structure)[1]


def structured_sparsity(
    sparsity: float | None, structure: str | None
) -> float:
    """Returns the sparsity that is asked for, or that a structure stands for.

    Args:
        sparsity: fraction of the weights to be zero; None where the structure
            fixes it.
        structure: as in `group_shape`, or None for single weights.

    Raises:
        ValueError: an unknown structure, no sparsity where the structure
            leaves it open, or one that is not N:M's by more than 0.005.

    Example:
        >>> structured_sparsity(None, "1:4"), structured_sparsity(0.9, "1x4")
        (0.75, 0.9)
    """
    groups = group_shape(structure) if structure is not None else None
    if groups is None:
        if sparsity is None:
            raise ValueError(
                "`sparsity` must be in [0, 1) where structure does not fix "
                f"it. Received: sparsity=None, structure={structure!r}. Give "
                "the fraction of weights to remove."
            )
        return sparsity
    kept, size = groups
    fixed = 1 - kept / size
    if sparsity is not None and not (
        isinstance(sparsity, Real) and abs(sparsity - fixed) <= _ROUNDING
    ):
        raise ValueError(
            f"`sparsity` must be {fixed:.4g} for structure {structure}. "
            f"Received: sparsity={sparsity!r}. Give that, or choose another "
            "structure."
        )
    return fixed


def structured_counts(mask: Mask, structure: str) -> dict[str, int] | None:
    """Returns how many weights an N:M structure leaves: it fixes the count.

    A group of which fewer than N weights are alive keeps them all; where M
    does not divide the number of inputs, the last group is smaller.

    Args:
        mask: the current mask.
        structure: as in `group_shape`.

    Returns:
        `{path: count}`, or None for blocks, whose number is free.

    Raises:
        ValueError: an unknown structure, or a kernel of one axis.

    Example:
        >>> structured_counts(Mask.ones({"dense/kernel": (6, 3)}), "2:4")
        {'dense/kernel': 12}
    """
    if (shape := group_shape(structure)) is None:
        return None
    kept, size = shape
    result = {}
    for path, keep in mask.items():
        alive = np.add.reduceat(
            _inputs_last(path, keep).astype(np.intp),
            np.arange(0, keep.shape[-2], size),
            axis=-1,
        )
        result[path] = int(np.minimum(alive, kept).sum())
    return result


def best_in_groups(
    path: str, scores: np.ndarray, keep: np.ndarray, structure: str
) -> np.ndarray:
    """Keeps the N best of every M consecutive inputs of a kernel's output.

    Ties keep the lowest input.

    Args:
        path: the kernel's, for errors.
        scores: `(..., inputs, outputs)`, larger = keep.
        keep: boolean, of this shape; what may be kept.
        structure: "N:M".

    Returns:
        A boolean array of this shape, a subset of `keep`.

    Raises:
        ValueError: `structure` is not N:M, or the kernel has one axis.
    """
    shape = group_shape(structure)
    if shape is None:
        raise ValueError(
            "`structure` must be N:M for groups of weights. Received: "
            f"structure={structure!r}. Write for example 2:4."
        )
    count, size = shape
    alive, values = _inputs_last(path, keep), _inputs_last(path, scores)
    inputs = alive.shape[-1]
    groups = -(-inputs // size)
    # Places beyond the last input are dead.
    pad = [(0, 0)] * (alive.ndim - 1) + [(0, groups * size - inputs)]
    split = (*alive.shape[:-1], groups, size)
    alive = np.pad(alive, pad).reshape(split)
    values = np.pad(values, pad).reshape(split)
    # Stable: the living before the dead, and by falling score.
    order = np.lexsort((-values, ~alive))
    best = np.zeros(split, bool)
    np.put_along_axis(best, order[..., :count], True, axis=-1)
    best &= alive
    best = best.reshape(*split[:-2], groups * size)[..., :inputs]
    return np.ascontiguousarray(np.moveaxis(best, -1, -2))


def _read(structure: str) -> tuple:
    """`((N, M), None)`, or `(None, (A, B))` with A = 0 for all inputs."""
    if structure == "channel":
        return None, (0, 1)
    text = structure if isinstance(structure, str) else ""
    if found := re.fullmatch(r"([0-9]{1,6})([:x])([0-9]{1,6})", text):
        one, two = int(found[1]), int(found[3])
        if found[2] == ":" and 1 <= one < two:
            return (one, two), None
        if found[2] == "x" and one > 0 and two > 0:
            return None, (one, two)
    raise ValueError(
        "`structure` must be N:M with 0 < N < M, AxB, or channel. Received: "
        f"structure={structure!r}. Write for example 2:4, 1x4 or 4x1."
    )


def check_axes(path: str, array: np.ndarray) -> None:
    """Raises ValueError for a kernel without inputs and outputs."""
    if np.ndim(array) < 2:
        raise ValueError(
            "`structure` must be None for kernels of one axis. Received: "
            f"{path} of shape {np.shape(array)}. Exclude it, or leave out "
            "structure."
        )


def _inputs_last(path: str, array: np.ndarray) -> np.ndarray:
    check_axes(path, array)
    return np.moveaxis(array, -2, -1)

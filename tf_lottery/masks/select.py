"""From scores to a mask with an exact number of weights kept."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tf_lottery.masks.blocks import Blocks
from tf_lottery.masks.blocks import best_blocks
from tf_lottery.masks.mask import Mask
from tf_lottery.masks.structure import best_in_groups
from tf_lottery.masks.structure import structured_counts
from tf_lottery.masks.top import Part
from tf_lottery.masks.top import top

COLLAPSE = ("stop", "floor", "allow")


def select(
    scores: Mapping[str, np.ndarray],
    mask: Mask,
    keep: Mapping[str, int] | int,
    *,
    collapse: str = "stop",
    key: Callable = np.asarray,
    structure: str | None = None,
) -> Mask:
    """Keeps the best-scored weights among those that `mask` keeps.

    Ties break by flat index, lowest kept; across kernels, in the order of
    `mask`'s paths.

    Args:
        scores: `{path: array}` of the mask's shapes; larger = keep.
        mask: the current mask; the result is a subset of it.
        keep: how many weights to keep: `{path: count}`, or one total over all
            kernels, which then compete with each other.
        collapse: what to do where a kernel would be left without any weight:
            `"stop"` raises, `"floor"` keeps that kernel's best weight
            (counted in the total), `"allow"` leaves it empty.
        key: makes scores of `scores`, entry by entry, such as `np.abs`; so
            that they need not be in memory all at once.
        structure: what stays or goes together, None for single weights.
            `"N:M"`, such as `"2:4"`: of every M consecutive inputs of an
            output the N best are kept; `keep` must be what that leaves, see
            `structured_counts`. `"AxB"`, such as `"1x4"`: blocks of A inputs
            and B outputs. `"channel"`: all inputs of an output.

    Returns:
        A `Mask` that keeps exactly `keep` weights; under `"floor"` with
        counts by path, one per kernel where `keep` asks for fewer in all.
        Of blocks it keeps as many of the best, by the sum of their scores, as
        do not exceed `keep`, so fewer weights by less than a block; under
        `"floor"` with counts by path, each kernel's best block at least.

    Raises:
        TypeError: a count is not an integer.
        ValueError: an unknown `collapse` or `structure`, a score is NaN,
            `keep` is not for the mask's paths or not what N:M leaves, a count
            is not between 0 and what the mask keeps, or a kernel would be
            left empty under `"stop"`.

    Example:
        >>> mask = Mask.ones({"dense/kernel": (1, 4)})
        >>> scores = {"dense/kernel": np.array([[3.0, 1.0, 2.0, 2.0]])}
        >>> select(scores, mask, 2)["dense/kernel"].tolist()
        [[True, False, True, False]]

    Reference:
        Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021,
        arXiv:2104.08378 (2:4); Gray et al., "GPU Kernels for Block-Sparse
        Weights", 2017 (blocks).
    """
    check_collapse(collapse)
    mask.check_shapes({k: np.shape(v) for k, v in scores.items()}, "scores")
    if isinstance(keep, Mapping):
        if keep.keys() != mask.keys():
            raise ValueError(
                "`keep` must have one count per kernel of the mask. Received: "
                f"keep={dict(keep)}. Give counts for {', '.join(mask)}."
            )
        keep = {k: _count(n) for k, n in keep.items()}
    else:
        keep = _count(keep)
    if structure is not None:
        chosen = _structured(
            scores, mask, keep, structure, collapse == "floor", key
        )
    elif isinstance(keep, Mapping):
        keep = floored(keep, mask.kept_by_path) if collapse == "floor" else keep
        chosen = [
            _best([part], keep[path], path, key)[0]
            for path, part in zip(mask, _parts(scores, mask))
        ]
    else:
        parts = _parts(scores, mask)
        chosen = _best_of_all(parts, keep, collapse == "floor", key)
    for array, shape in zip(chosen, mask.shapes.values()):
        # In place, and read-only: so the mask need not copy it.
        array.shape = shape
        array.flags.writeable = False
    result = Mask(dict(zip(mask, chosen)))
    if collapse == "stop":
        check_emptied(result.kept_by_path, mask.kept_by_path)
    return result


def floored(
    keep: Mapping[str, int], before: Mapping[str, int]
) -> dict[str, int]:
    """Returns the counts raised to one where a kernel would become empty.

    The kernels that still keep most give up what the others gain, so the
    total stays as it was, or is one per kernel where it was less.

    Args:
        keep: `{path: count}` asked for.
        before: `{path: count}` now; a kernel that is empty already stays so.
    """
    counts = {k: max(n, min(1, before[k])) for k, n in keep.items()}
    for _ in range(sum(counts.values()) - sum(keep.values())):
        largest = max(counts, key=lambda k: counts[k])
        if counts[largest] > 1:
            counts[largest] -= 1
    return counts


def check_collapse(collapse: str) -> None:
    """Raises ValueError unless `collapse` is one of `COLLAPSE`."""
    if collapse not in COLLAPSE:
        raise ValueError(
            f"`collapse` must be one of {', '.join(COLLAPSE)}. Received: "
            f"collapse={collapse!r}. Choose one of these."
        )


def check_emptied(
    after: Mapping[str, int],
    before: Mapping[str, int],
    level: int | None = None,
) -> None:
    """Raises where pruning empties a kernel that had weights left.

    Args:
        after: `{path: count}` after pruning.
        before: `{path: count}` before.
        level: pruning level, for the error.

    Raises:
        ValueError: naming the kernels that are left without any weight.
    """
    empty = [k for k, n in after.items() if n == 0 and before[k] > 0]
    if empty:
        where = "" if level is None else f" at level {level}"
        raise ValueError(
            "`collapse` must be 'floor' or 'allow' for pruning that empties a "
            f"kernel. Received: collapse='stop', and {', '.join(empty)} would "
            f"keep no weight{where}. Prune fewer levels or at a lower rate, or "
            "set collapse='floor'."
        )


def check_floor(keep: int, kernels: int, level: int | None = None) -> None:
    """Raises ValueError where a total is less than one weight per kernel.

    Args:
        keep: total to keep under the global scope.
        kernels: number of kernels that keep at least one weight now.
        level: pruning level, for the error.
    """
    if keep < kernels:
        where = "" if level is None else f" at level {level}"
        raise ValueError(
            "`keep` must leave one weight per kernel under collapse='floor'. "
            f"Received: keep={keep} for {kernels} kernels{where}. Prune less."
        )


def _count(value: int) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(
            "`keep` must be a whole number of weights. Received: "
            f"keep={value!r}. Round it, or give a sparsity to tfl.prune."
        ) from None


def _parts(scores: Mapping[str, np.ndarray], mask: Mask) -> list[Part]:
    return [(np.ravel(scores[k]), np.ravel(m)) for k, m in mask.items()]


def _best_of_all(
    parts: Sequence[Part], keep: int, floor: bool, key: Callable
) -> list[np.ndarray]:
    """The best of all kernels together; under `floor` at least one each."""
    if not floor:
        return _best(parts, keep, "the network", key)
    reserved = [
        _best([part], int(part[1].any()), "the network", key)[0]
        for part in parts
    ]
    count = sum(map(np.count_nonzero, reserved))
    check_floor(keep, int(count))
    others = [
        (scores, alive & ~first)
        for (scores, alive), first in zip(parts, reserved)
    ]
    rest = _best(others, keep - int(count), "the network", key)
    return [first | other for first, other in zip(reserved, rest)]


def _structured(
    scores: Mapping[str, np.ndarray],
    mask: Mask,
    keep: Mapping[str, int] | int,
    structure: str,
    floor: bool,
    key: Callable,
) -> list[np.ndarray]:
    """The best groups or blocks, per kernel."""
    fixed = structured_counts(mask, structure)
    if fixed is None:
        blocks = {
            path: Blocks(path, key(scores[path]), alive, structure)
            for path, alive in mask.items()
        }
        for path, one in blocks.items():
            _check_numbers(one.scores, path)
        chosen = _chosen_blocks(blocks, keep, floor)
        return [one.mask(chosen[path]) for path, one in blocks.items()]
    wanted = fixed if isinstance(keep, Mapping) else sum(fixed.values())
    if keep != wanted:
        raise ValueError(
            f"`keep` must be what structure {structure} leaves, {wanted}. "
            f"Received: keep={keep}. Take it from structured_counts, or leave "
            "out the sparsity of tfl.prune."
        )
    result = []
    for path, alive in mask.items():
        values = key(scores[path])
        _check_numbers(values[alive], path)
        result.append(best_in_groups(path, values, alive, structure))
    return result


def _chosen_blocks(
    blocks: Mapping[str, Blocks], keep: Mapping[str, int] | int, floor: bool
) -> dict[str, np.ndarray]:
    sizes = {path: int(one.sizes.sum()) for path, one in blocks.items()}
    if isinstance(keep, Mapping):
        result = {}
        for path, one in blocks.items():
            _check_count(keep[path], sizes[path], path)
            result.update(best_blocks({path: one}, keep[path], floor))
        return result
    _check_count(keep, sum(sizes.values()), "the network")
    result = best_blocks(blocks, keep, floor)
    if floor:
        kept = sum(int(one.sizes[result[k]].sum()) for k, one in blocks.items())
        if kept > keep:
            raise ValueError(
                "`keep` must leave one block per kernel under "
                f"collapse='floor'. Received: keep={keep} for blocks of {kept} "
                "weights. Prune less."
            )
    return result


def _check_count(keep: int, size: int, where: str) -> None:
    if not 0 <= keep <= size:
        raise ValueError(
            f"`keep` must be between 0 and the {size} weights that "
            f"the mask keeps in {where}. Received: keep={keep}. A mask can "
            "only shrink."
        )


def _check_numbers(scores: np.ndarray, where: str) -> None:
    if np.isnan(scores).any():
        raise _not_a_number(where)


def _not_a_number(where: str) -> ValueError:
    return ValueError(
        f"`scores` must not be NaN. Received: NaN scores in {where}. "
        "The weights or gradients behind them are not finite."
    )


def _best(
    parts: Sequence[Part], keep: int, where: str, key: Callable
) -> list[np.ndarray]:
    """The `keep` best of the entries that are alive, per part."""
    size = sum(int(np.count_nonzero(alive)) for _, alive in parts)
    _check_count(keep, size, where)
    try:
        return top(parts, keep, key)
    except FloatingPointError:
        raise _not_a_number(where) from None

"""Blocks of a kernel that stay or go whole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tf_lottery.masks.structure import block_shape
from tf_lottery.masks.structure import check_axes


class Blocks:
    """The blocks of a kernel that stay or go whole.

    The kernel is taken as a matrix of inputs (of a convolution: of its
    positions and channels) by outputs. Blocks at the edges are smaller where
    their sizes do not divide the matrix. Of a block that is pruned in part
    already, what is left counts.

    Args:
        path: the kernel's, for errors.
        scores: of the kernel's shape; larger = keep.
        keep: boolean, of this shape; what may be kept.
        structure: "AxB" or "channel".

    Attributes:
        scores: `(blocks,)` float64, the sum of the living weights' scores.
        sizes: `(blocks,)` int, the number of living weights.

    Raises:
        ValueError: `structure` is not of blocks, or the kernel has one axis.

    Example:
        >>> kernel = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
        >>> blocks = Blocks("kernel", kernel, np.ones((2, 3), bool), "2x2")
        >>> blocks.scores.tolist(), blocks.sizes.tolist()
        ([12.0, 9.0], [4, 2])
    """

    def __init__(
        self, path: str, scores: np.ndarray, keep: np.ndarray, structure: str
    ):
        shape = block_shape(structure)
        if shape is None:
            raise ValueError(
                "`structure` must be AxB or channel for blocks. Received: "
                f"structure={structure!r}. Write for example 1x4."
            )
        check_axes(path, keep)
        self._keep = keep
        self._alive = keep.reshape(-1, keep.shape[-1])
        rows, columns = self._alive.shape
        self._block = (shape[0] or max(rows, 1), shape[1])
        values = np.where(
            self._alive, np.reshape(scores, self._alive.shape), 0
        ).astype("float64")
        starts = [
            np.arange(0, n, step)
            for n, step in zip((rows, columns), self._block)
        ]
        self._grid = (len(starts[0]), len(starts[1]))
        # An infinite score and its opposite make NaN, which is refused.
        with np.errstate(invalid="ignore"):
            self.scores = _sums(values, starts)
        self.sizes = _sums(self._alive.astype(np.intp), starts)

    def mask(self, chosen: np.ndarray) -> np.ndarray:
        """Returns the kernel's mask that is left of the chosen blocks.

        Args:
            chosen: `(blocks,)` boolean.
        """
        grid = chosen.reshape(self._grid)
        for axis, step in enumerate(self._block):
            grid = np.repeat(grid, step, axis=axis)
        rows, columns = self._alive.shape
        return (grid[:rows, :columns] & self._alive).reshape(self._keep.shape)


def best_blocks(
    blocks: Mapping[str, Blocks], keep: int, reserve: bool = False
) -> dict[str, np.ndarray]:
    """Chooses as many of the best blocks as `keep` weights hold.

    In the order of their scores, ties by lowest index and in the order of
    the kernels, blocks are kept until the next one would make it more than
    `keep` weights. So fewer may be kept than asked for, by less than a block.

    Args:
        blocks: `{path: Blocks}`, which compete with each other.
        keep: most weights to keep in all.
        reserve: whether each kernel first keeps its best block, even if these
            are more than `keep`.

    Returns:
        `{path: (blocks,) boolean}`.
    """
    if not blocks:
        return {}
    scores = np.concatenate([b.scores for b in blocks.values()])
    sizes = np.concatenate([b.sizes for b in blocks.values()])
    ends = np.cumsum([len(b.sizes) for b in blocks.values()])
    order = np.argsort(-scores, kind="stable")
    order = order[sizes[order] > 0]
    if reserve:
        kernel = np.searchsorted(ends, order, side="right")
        _, first = np.unique(kernel, return_index=True)
        rest = np.delete(order, first)
        count = _fitting(sizes[rest], keep - int(sizes[order[first]].sum()))
        best = np.concatenate([order[first], rest[:count]])
    else:
        best = order[: _fitting(sizes[order], keep)]
    chosen = np.zeros(len(sizes), bool)
    chosen[best] = True
    return dict(zip(blocks, np.split(chosen, ends[:-1])))


def _fitting(sizes: np.ndarray, keep: int) -> int:
    """How many of the first sizes sum to at most `keep`."""
    return int(np.searchsorted(np.cumsum(sizes), keep, side="right"))


def _sums(values: np.ndarray, starts: list[np.ndarray]) -> np.ndarray:
    for axis, start in enumerate(starts):
        values = np.add.reduceat(values, start, axis=axis)
    return values.ravel()

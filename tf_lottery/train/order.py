"""The order of the training examples: a function of the seed alone."""

from __future__ import annotations

import dataclasses

import numpy as np

from tf_lottery import seeds


@dataclasses.dataclass(frozen=True)
class Fork:
    """The seed of a training that leaves another's data order at a step.

    It serves wherever a seed does: as a number it is the later seed. The
    epoch under way at the step goes on with the examples that it has not
    taken yet, in the order of the later seed: it still takes every example at
    most once.

    Args:
        before: seed of the order up to the step.
        step: first step that has the later order.
        after: seed from there on.

    Example:
        >>> order = DataOrder(size=6, batch_size=2)
        >>> there = order.batches(0, 6, seed=1)
        >>> here = order.batches(0, 6, seed=Fork(1, 2, 8))
        >>> bool((here[:2] == there[:2]).all())
        True
        >>> sorted(here[:3].ravel().tolist())
        [0, 1, 2, 3, 4, 5]
    """

    before: int
    step: int
    after: int

    def __index__(self) -> int:
        return self.after


#: What a data order is a function of.
Seed = int | Fork


class DataOrder:
    """Says which examples every step of a training takes.

    An epoch takes every example once, in an order of its own, and drops the
    remainder that does not fill a batch. Any step can be asked for, so a
    training that goes on in the middle meets the batches that it would have.

    Args:
        size: number of training examples.
        batch_size: examples per step, at most `size`.

    Example:
        >>> order = DataOrder(size=6, batch_size=2)
        >>> whole = order.batches(0, 6, seed=1)
        >>> sorted(whole[:3].ravel().tolist())
        [0, 1, 2, 3, 4, 5]
        >>> bool((order.batches(2, 4, seed=1) == whole[2:4]).all())
        True
    """

    def __init__(self, size: int, batch_size: int):
        self.size = size
        self.batch_size = batch_size
        self._last: tuple[tuple[Seed, int] | None, np.ndarray] = (
            None,
            np.zeros(0, np.int32),
        )

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass, the remainder dropped."""
        return self.size // self.batch_size

    def batches(self, start: int, stop: int, seed: Seed) -> np.ndarray:
        """Returns the examples of the steps from `start` to `stop`.

        Args:
            start: first step, from 0 at the start of the first epoch.
            stop: one past the last step; more than `start`.
            seed: of the order.

        Returns:
            `(stop - start, batch_size)` indices of examples.
        """
        per_epoch = self.steps_per_epoch
        parts = []
        for epoch in range(start // per_epoch, (stop - 1) // per_epoch + 1):
            order = self._epoch(seed, epoch)[: per_epoch * self.batch_size]
            order = order.reshape(per_epoch, self.batch_size)
            low = max(start - epoch * per_epoch, 0)
            parts.append(order[low : stop - epoch * per_epoch])
        return np.concatenate(parts)

    def _epoch(self, seed: Seed, epoch: int) -> np.ndarray:
        # Kept: an epoch is longer than a call, and sorting takes time.
        if self._last[0] != (seed, epoch):
            order = seeds.permutation(self.size, seed, "order", epoch)
            if isinstance(seed, Fork):
                done = max(seed.step - epoch * self.steps_per_epoch, 0)
                before = seeds.permutation(
                    self.size, seed.before, "order", epoch
                )
                taken = before[: done * self.batch_size]
                rest = order[np.isin(order, taken, invert=True)]
                order = np.concatenate([taken, rest])
            self._last = ((seed, epoch), order)
        return self._last[1]

"""Where the training examples lie: on the device, or on the host."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_lottery.train.order import DataOrder
from tf_lottery.train.order import Seed
from tf_lottery.train.replicas import per_replica

# What is sent to the devices at a time, over all replicas.
BLOCK_BYTES = 64 * 2**20
PLACEMENTS = ("auto", "device", "host")


def on_host(
    placement: str, splits: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> bool:
    """Decides whether the data stay on the host while training.

    Args:
        placement: `"device"`, `"host"`, or `"auto"`: on the device, unless
            they would take more than a quarter of its memory.
        splits: `{name: (examples, labels)}`.

    Raises:
        ValueError: another word.

    Example:
        >>> on_host("auto", {"train": (np.zeros((9, 4)), np.zeros(9))})
        False
    """
    if placement not in PLACEMENTS:
        raise ValueError(
            f"`data_placement` must be one of {', '.join(PLACEMENTS)}. "
            f"Received: data_placement={placement!r}. Choose one of these."
        )
    if placement != "auto":
        return placement == "host"
    needed = {k: x.nbytes + y.nbytes for k, (x, y) in splits.items()}
    # Training examples lie there twice: in batches to be evaluated, too.
    return sum(needed.values()) + needed["train"] > _device_bytes() // 4


def _device_bytes() -> int:
    """Memory of the smallest GPU, or of the host where there is none."""
    if tf.config.list_logical_devices("GPU"):
        # TensorFlow has no public way to ask.
        from tensorflow.python.client import device_lib

        return min(
            device.memory_limit
            for device in device_lib.list_local_devices()
            if device.device_type == "GPU"
        )
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class DeviceFeed:
    """All examples lie on every replica's device and are taken by number.

    Args:
        x: examples as stored.
        y: their labels.
        order: which examples a step takes.
        strategy: where training runs.
        length: steps of the longest call.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        order: DataOrder,
        strategy: tf.distribute.Strategy,
        length: int,
    ):
        self.length = length
        self._order = order
        self._strategy = strategy
        self._data = per_replica(
            strategy, lambda _: (tf.constant(x), tf.constant(y))
        )

    def end(self, step: int) -> int:
        """Returns the step that a call from `step` on must end before."""
        return step + self.length

    def __call__(self, start: int, stop: int, seed: Seed) -> tuple:
        """Returns what the steps from `start` to `stop` take.

        Args:
            start: first step.
            stop: one past the last step; at most `end(start)`.
            seed: of the order.

        Returns:
            `(x, y, order)` of every replica, as `compile_steps` takes them;
            `order` is padded to `length`, so that one compiled loop serves.
        """
        _check_end(stop, self.end(start))
        rows = np.zeros((self.length, self._order.batch_size), np.int32)
        rows[: stop - start] = self._order.batches(start, stop, seed)
        return *self._data, _shares(rows, self._strategy)


class HostFeed:
    """The examples lie on the host; blocks of them follow the training.

    A block holds what a number of steps take, in their order; while one is
    trained on, tf.data gathers the next and sends every replica its share.
    The order is that of a `DeviceFeed`: training gives the same bits.

    Args:
        x: examples as stored, in memory or memory-mapped.
        y: their labels.
        order: as in `DeviceFeed`.
        strategy: as in `DeviceFeed`.
        length: steps of the longest call.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        order: DataOrder,
        strategy: tf.distribute.Strategy,
        length: int,
    ):
        batch_bytes = order.batch_size * (x[0].nbytes + y[0].nbytes)
        self.length = max(1, min(length, BLOCK_BYTES // batch_bytes))
        self._x, self._y = x, y
        self._order = order
        self._strategy = strategy
        self._local = order.batch_size // strategy.num_replicas_in_sync
        self._at: tuple[Seed, int] | None = None
        self._blocks: Any = None
        self._block: Any = None

    def end(self, step: int) -> int:
        """Returns the step that a call from `step` on must end before."""
        return (step // self.length + 1) * self.length

    def __call__(self, start: int, stop: int, seed: Seed) -> tuple:
        """Returns what the steps from `start` to `stop` take.

        Args:
            start: first step.
            stop: one past the last step; at most `end(start)`.
            seed: of the order.

        Returns:
            As in `DeviceFeed`; `x` and `y` are the block of these steps.
        """
        _check_end(stop, self.end(start))
        number = start // self.length
        if self._at != (seed, number):
            if self._at != (seed, number - 1):
                self._blocks = iter(self._dataset(seed, number))
            self._block = next(self._blocks)
            self._at = seed, number
        first = (start - number * self.length) * self._local
        rows = first + np.arange(self.length * self._local, dtype=np.int32)
        # Rows after the last step of the call are not taken.
        rows = np.minimum(rows, self.length * self._local - 1)
        rows = rows.reshape(self.length, self._local)
        order = per_replica(self._strategy, lambda _: tf.constant(rows))
        return *self._block, order

    def _dataset(self, seed: Seed, number: int) -> Any:
        """The shares of all blocks from this number on, replica by replica."""
        gather = self._gather(seed)
        shapes = [
            (self.length * self._local, *a.shape[1:])
            for a in (self._x, self._y)
        ]

        def pipeline(context):
            here = context.num_replicas_in_sync // context.num_input_pipelines
            low = context.input_pipeline_id * here

            def share(i):
                arrays = tf.numpy_function(
                    gather,
                    [i // here, low + i % here],
                    [self._x.dtype, self._y.dtype],
                )
                return tuple(map(tf.ensure_shape, arrays, shapes))

            dataset = tf.data.Dataset.range(number * here, tf.int64.max)
            return dataset.map(share).prefetch(here)

        return self._strategy.distribute_datasets_from_function(pipeline)

    def _gather(self, seed: Seed) -> Callable:
        # Its own: it is called in a thread of tf.data's.
        order = DataOrder(self._order.size, self._order.batch_size)

        def gather(block, replica):
            start = int(block) * self.length
            rows = order.batches(start, start + self.length, seed)
            low = int(replica) * self._local
            rows = rows[:, low : low + self._local].ravel()
            return self._x[rows], self._y[rows]

        return gather


def _check_end(stop: int, end: int) -> None:
    if stop > end:
        raise ValueError(
            f"`stop` must be at most {end}, where what one call takes ends. "
            f"Received: stop={stop}. Take these steps in several calls."
        )


def _shares(rows: np.ndarray, strategy: tf.distribute.Strategy) -> Any:
    """Every replica's columns of the batches."""
    local = rows.shape[1] // strategy.num_replicas_in_sync
    return per_replica(
        strategy, lambda r: tf.constant(rows[:, r * local : (r + 1) * local])
    )

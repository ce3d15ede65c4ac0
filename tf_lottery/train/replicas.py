"""What the replicas of a model share, and in what they differ."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from typing import SupportsIndex

import keras
import numpy as np
import tensorflow as tf

from tf_lottery import seeds
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import named_variables


def per_replica(
    strategy: tf.distribute.Strategy, value: Callable[[int], Any]
) -> Any:
    """Returns a value for each replica, on its device.

    Args:
        strategy: whose replicas.
        value: from a replica's number to its tensor, or tuple of tensors.

    Example:
        >>> int(per_replica(tf.distribute.get_strategy(), tf.constant))
        0
    """
    def placed(context):
        replica = context.replica_id_in_sync_group
        if context.num_replicas_in_sync == 1:
            return value(replica)
        devices = strategy.extended.worker_devices
        with tf.device(devices[replica % len(devices)]):
            return value(replica)

    return strategy.experimental_distribute_values_from_function(placed)


class Table:
    """Numbers of every replica, seen by all: a row of each.

    Args:
        strategy: whose replicas.

    Example:
        >>> Table(tf.distribute.get_strategy())(lambda replica: [3, 4])
        array([[3, 4]], dtype=int32)
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        def add(rows):
            replica = tf.distribute.get_replica_context()
            # The sum goes to the device of what is added; an argument has
            # none.
            return replica.all_reduce("SUM", tf.identity(rows))

        self._strategy = strategy
        self._add = tf.function(lambda rows: strategy.run(add, args=(rows,)))

    def __call__(self, row: Callable[[int], Any]) -> np.ndarray:
        """Returns `(replicas, n)` int32.

        Args:
            row: from a replica's number to its `(n,)` int32; called for the
                replicas of this process. `n` is the same for all.
        """
        count = self._strategy.num_replicas_in_sync

        def alone(replica):
            values = np.asarray(row(replica), np.int32)
            rows = np.zeros((count, values.size), np.int32)
            rows[replica] = values
            return tf.constant(rows)

        total = self._add(per_replica(self._strategy, alone))
        return self._strategy.experimental_local_results(total)[0].numpy()


class ReplicaCheck:
    """Checks that all replicas hold the same masks and weights.

    Args:
        model: made in the scope of `strategy`.
        strategy: whose replicas; with one there is nothing to check.
    """

    def __init__(self, model: keras.Model, strategy: tf.distribute.Strategy):
        self._strategy = strategy
        self._table = Table(strategy)
        # Kernels first: a mask that differs is named before what it causes.
        kernels = masked_kernels(model)
        trainable = {id(v) for v in model.trainable_variables}
        variables = named_variables(model)
        self._variables = {
            **{f"the mask of {k}": mask for k, (_, mask) in kernels.items()},
            **{k: v for k, v in variables.items() if id(v) in trainable},
        }

    def __call__(self) -> None:
        """Raises RuntimeError naming what differs between the replicas."""
        if self._strategy.num_replicas_in_sync == 1:
            return
        copies = [
            self._strategy.experimental_local_results(v.value)
            for v in self._variables.values()
        ]

        def digests(replica):
            # The copies of this process; every process has as many.
            local = [c[replica % len(c)].numpy().tobytes() for c in copies]
            words = [hashlib.blake2b(c, digest_size=8).digest() for c in local]
            return np.frombuffer(b"".join(words), np.int32)

        rows = self._table(digests)
        same = (rows == rows[0]).all(0).reshape(-1, 2).all(1)
        wrong = [name for name, ok in zip(self._variables, same) if not ok]
        if wrong:
            more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
            raise RuntimeError(
                "All replicas must hold the same masks and weights. Received: "
                f"others in {', '.join(wrong[:4])}{more}. Set them in the "
                "scope of the strategy, on every worker alike."
            )


def seed_generators(
    model: keras.Model,
    seed: SupportsIndex,
    strategy: tf.distribute.Strategy,
    *,
    restart: bool,
) -> None:
    """Makes the randomness inside a model a function of the seed.

    Every generator (of a dropout layer, say) has a stream of its own on every
    replica. The first replica's are those of a training on one device.

    Args:
        model: made in the scope of `strategy`.
        seed: of the streams.
        strategy: whose replicas.
        restart: begin the streams; otherwise they stand where the first
            replica's do.
    """
    weights = {id(v) for v in model.weights}
    states = [v for v in model.variables if id(v) not in weights]
    for i, state in enumerate(states):
        value = np.array(np.asarray(state))
        if restart:
            value[:] = 0

        def of_replica(replica, i=i, value=value):
            stream = (i, replica) if replica else (i,)
            value[0] = seeds.derive(seed, "generator", *stream)
            return tf.constant(value)

        strategy.run(state.assign, args=(per_replica(strategy, of_replica),))

"""The k largest numbers as a mask, inside a compiled step."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

# An int32 has so many bits, each decided by one count.
_BITS = 32


def hard_top(
    values: Sequence[tf.Tensor],
    alive: Sequence[tf.Tensor],
    counts: tf.Tensor,
) -> list[tf.Tensor]:
    """Marks the k largest numbers of every array, exactly k.

    Ties break by index, lowest kept, as in `tf_lottery.masks.select`. The
    k-th largest is found bit by bit: 32 counts of what is at least as large,
    which reads the numbers 32 times but sorts nothing. XLA makes one loop of
    each count; a sort of as many takes about ten times as long there.

    Args:
        values: `(n_i,)` float32 arrays, finite.
        alive: `(n_i,)` boolean arrays; others are not marked.
        counts: `(arrays,)` int32, of each at most what is alive.

    Returns:
        `(n_i,)` boolean arrays.

    Example:
        >>> x = tf.constant([1.0, 3.0, 2.0, 3.0])
        >>> hard_top([x], [x > 0], tf.constant([1]))[0].numpy().tolist()
        [False, True, False, False]
    """
    # XLA's where TensorFlow's own operations would each read and write it
    # all; XLA compiles for one device.
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    found = _by_bits if replicas > 1 else _compiled
    return list(found(tuple(values), tuple(alive), counts))


def _by_bits(values, alive, counts):
    keys = [
        tf.where(keep, _ordered(v), tf.int32.min)
        for v, keep in zip(values, alive)
    ]
    sizes = tf.constant([v.shape[0] for v in values])
    places = [tf.range(v.shape[0]) for v in values]

    def count(marked):
        return tf.stack([tf.reduce_sum(tf.cast(m, tf.int32)) for m in marked])

    # At least k keys reach `low`, fewer than k reach `high`.
    low = tf.fill([len(keys)], tf.int32.min)
    high = tf.fill([len(keys)], tf.int32.max)
    for_all = range(len(keys))

    def halve(i, low, high):
        middle = (low & high) + tf.bitwise.right_shift(low ^ high, 1)
        enough = count([keys[j] >= middle[j] for j in for_all]) >= counts
        return (
            i + 1,
            tf.where(enough, middle, low),
            tf.where(enough, high, middle),
        )

    _, low, _ = tf.while_loop(
        lambda i, low, high: i < _BITS, halve, (0, low, high)
    )
    above = [keys[j] > low[j] for j in for_all]
    ties = [keys[j] == low[j] for j in for_all]
    missing = counts - count(above)

    # Fewer than are missing lie before `first`, at least so many before `end`.
    def narrow(first, end):
        middle = first + (end - first) // 2
        before = count([ties[j] & (places[j] < middle[j]) for j in for_all])
        return (
            tf.where(before >= missing, first, middle),
            tf.where(before >= missing, middle, end),
        )

    # Mostly there are no more ties than are missing, and nothing to do.
    exact = tf.reduce_all(count(ties) == missing)
    first = tf.where(exact, sizes - 1, tf.fill([len(keys)], -1))
    _, end = tf.while_loop(
        lambda first, end: tf.reduce_any(end - first > 1),
        narrow,
        (first, sizes),
    )
    return tuple(
        above[j] | (ties[j] & (places[j] < end[j]) & (missing[j] > 0))
        for j in for_all
    )


_compiled = tf.function(_by_bits, jit_compile=True)


def _ordered(values):
    """Integers in the order of the numbers; both zeros are the same."""
    bits = tf.bitcast(values, tf.int32)
    # By its bits: compared as a number, what is nearly 0 may equal it.
    bits = tf.where(bits == tf.int32.min, 0, bits)
    return tf.where(bits >= 0, bits, bits ^ tf.int32.max)

"""The k largest, exactly, with ties by index; compiled and not."""

import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.masks import Mask
from tf_lottery.masks import select
from tf_lottery.search.hard_top import _by_bits
from tf_lottery.search.hard_top import hard_top

RNG = np.random.default_rng(0)


def chosen(find, values, alive, counts):
    found = find(
        [tf.constant(v, tf.float32) for v in values],
        [tf.constant(a) for a in alive],
        tf.constant(counts),
    )
    return [np.asarray(f) for f in found]


@pytest.mark.parametrize("kinds", [3, 50, 10**6])
def test_it_is_what_select_keeps(kinds):
    """Few kinds of numbers: many ties, of either sign, and zeros of both."""
    for _ in range(12):
        sizes = RNG.integers(1, 40, 2)
        values = [
            np.float32(RNG.integers(-kinds, kinds + 1, n)) * sign
            for n, sign in zip(sizes, (1, -0.5))
        ]
        alive = [RNG.random(n) < 0.8 for n in sizes]
        counts = [int(RNG.integers(0, a.sum() + 1)) for a in alive]
        found = chosen(_by_bits, values, alive, counts)
        for v, a, k, mask in zip(values, alive, counts, found):
            wanted = select({"k": v}, Mask({"k": a}), k, collapse="allow")
            assert np.array_equal(mask, wanted["k"])


def test_compiled_it_is_the_same():
    values = [RNG.normal(size=500), np.round(RNG.normal(size=70))]
    alive = [RNG.random(500) < 0.5, RNG.random(70) < 0.9]
    for counts in ([100, 20], [0, 1], [alive[0].sum(), alive[1].sum()]):
        one = chosen(hard_top, values, alive, counts)
        other = chosen(_by_bits, values, alive, counts)
        for a, b, k in zip(one, other, counts):
            assert np.array_equal(a, b) and a.sum() == k


def test_extreme_numbers():
    tiny, huge = np.float32(1e-45), np.finfo(np.float32).max
    values = [np.array([0.0, tiny, -tiny, -huge, huge, -0.0], np.float32)]
    alive = [np.ones(6, bool)]
    order = [4, 1, 0, 5, 2, 3]
    for k in range(7):
        (mask,) = chosen(hard_top, values, alive, [k])
        assert sorted(np.flatnonzero(mask)) == sorted(order[:k])

"""How much masks have in common: by hand, against enumeration, by chance."""

import itertools
import math

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.masks import Mask
from tf_lottery.masks import Overlap
from tf_lottery.masks import compare_masks

ONE = Mask({
    "a/kernel": [[1, 1, 1, 0], [0, 0, 0, 0]],
    "b/kernel": [1, 1, 1, 1],
})
OTHER = Mask({
    "a/kernel": [[0, 1, 1, 1], [1, 0, 0, 0]],
    "b/kernel": [1, 0, 0, 0],
})


def test_by_hand():
    found = tfl.compare_masks(ONE, OTHER)
    assert list(found.kernels) == ["a/kernel", "b/kernel"]
    a, b, total = *found.kernels.values(), found.total
    assert (a.size, a.kept, a.other_kept, a.both) == (8, 3, 4, 2)
    assert (a.jaccard, a.hamming, a.differing) == (2 / 5, 3 / 8, 3)
    assert a.expected == 3 * 4 / 8
    assert a.variance == pytest.approx(1.5 * 5 * 4 / (8 * 7))
    assert a.chance_jaccard == pytest.approx(1.5 / 5.5)
    assert a.chance_hamming == 4 / 8
    assert a.z == pytest.approx(0.5 / math.sqrt(30 / 56))
    # One mask keeps all: whatever the other does, chance gives the same.
    assert (b.jaccard, b.chance_jaccard, b.variance, b.z) == (
        0.25, 0.25, 0.0, None,
    )
    assert (total.size, total.kept, total.other_kept, total.both) == (
        12, 7, 5, 3,
    )
    assert (total.jaccard, total.hamming) == (3 / 9, 6 / 12)
    assert total.expected == 2.5
    # Not n m / N of the sums, which would be 35 / 12.
    assert total.chance_jaccard == pytest.approx(2.5 / 9.5)
    assert total.variance == a.variance
    assert found == compare_masks(ONE, OTHER)


def test_chance_is_the_mean_over_all_masks():
    size, n, m = 7, 3, 4
    fixed = np.arange(size) < n
    common, hamming = [], []
    for kept in itertools.combinations(range(size), m):
        other = np.isin(np.arange(size), kept)
        found = Overlap.of(fixed, other)
        common.append(found.both)
        hamming.append(found.hamming)
    assert found.expected == pytest.approx(np.mean(common))
    assert found.variance == pytest.approx(np.var(common))
    assert found.chance_hamming == pytest.approx(np.mean(hamming))


def test_jaccard_by_chance_is_near_its_mean_where_masks_are_large():
    rng = np.random.default_rng(0)
    indices, z = [], []
    for _ in range(400):
        one, other = (
            rng.permutation(2000) < kept for kept in (300, 500)
        )
        found = Overlap.of(one, other)
        indices.append(found.jaccard)
        z.append(found.z)
    error = np.std(indices) / math.sqrt(len(indices))
    assert np.mean(indices) == pytest.approx(found.chance_jaccard, abs=4*error)
    # Mean 0 and variance 1, within four standard errors of 400 draws.
    assert abs(np.mean(z)) < 4 / 20 and abs(np.var(z) - 1) < 4 * 0.07


def test_pairs_that_share_a_mask_are_pooled_without_bias():
    rng = np.random.default_rng(1)
    z = []
    for _ in range(400):
        masks = [rng.permutation(1000) < 200 for _ in range(4)]
        pairs = itertools.combinations(masks, 2)
        z.append(Overlap.pooled(Overlap.of(*pair) for pair in pairs).z)
    assert abs(np.mean(z)) < 4 / 20 and abs(np.var(z) - 1) < 4 * 0.1


def test_bounds_and_symmetry():
    rng = np.random.default_rng(2)
    for density in (0.0, 0.3, 1.0):
        one, other = (
            Mask({"k": rng.random((5, 4)) < d}) for d in (density, 0.5)
        )
        there, back = compare_masks(one, other), compare_masks(other, one)
        for name in ("jaccard", "hamming", "expected", "variance", "z"):
            assert getattr(there.total, name) == getattr(back.total, name)
        assert 0 <= there.total.jaccard <= 1
        same = compare_masks(one, one)
        assert (same.total.jaccard, same.total.hamming) == (1.0, 0.0)
        assert same.nested
    empty = Mask({"k": np.zeros((0, 3), bool)})
    assert compare_masks(empty, empty).total.hamming == 0.0


def test_nested_in_every_kernel_the_same_way():
    assert not compare_masks(ONE, OTHER).nested
    inner = Mask({"a": [1, 0, 0], "b": [1, 0]})
    outer = Mask({"a": [1, 1, 0], "b": [1, 1]})
    assert compare_masks(inner, outer).nested
    assert compare_masks(outer, inner).nested
    crossed = Mask({"a": [1, 1, 0], "b": [0, 0]})
    assert not compare_masks(inner, crossed).nested


def test_the_same_architecture_built_anew_is_matched():
    one = Mask({"dense/kernel": [[1, 0]], "dense_1/kernel": [[1], [1]]})
    other = Mask({"dense_4/kernel": [[1, 0]], "dense_5/kernel": [[0], [1]]})
    found = compare_masks(one, other)
    assert [k.both for k in found.kernels.values()] == [1, 1]
    assert list(found.kernels) == list(one)


def test_other_kernels_are_named():
    other = Mask({"a/kernel": [[1, 1]], "c/kernel": [1]})
    with pytest.raises(ValueError) as error:
        compare_masks(ONE, other)
    text = str(error.value)
    assert text.startswith("`b` must") and "\n" not in text
    assert (
        "missing: b/kernel; unknown: c/kernel; other shape: a/kernel (1, 2) "
        "instead of (2, 4)"
    ) in text


@pytest.mark.parametrize("name", ["a", "b"])
def test_masks_are_masks(name):
    given = {"a": ONE, "b": ONE, name: {"a/kernel": [[1]]}}
    with pytest.raises(TypeError, match=f"`{name}` must be a Mask.*=dict"):
        compare_masks(**given)


def test_text():
    lines = str(compare_masks(ONE, OTHER)).splitlines()
    assert lines[0].split() == [
        "kernel", "weights", "kept", "other", "both", "expected", "Jaccard",
        "chance", "Hamming", "chance", "z",
    ]
    assert lines[2].split() == [
        "b/kernel", "4", "4", "1", "1", "1.0", "0.2500", "0.2500", "0.7500",
        "0.7500", "-",
    ]
    assert lines[3].split()[:6] == ["all", "12", "7", "5", "3", "2.5"]
    assert len({len(line) for line in lines}) == 1

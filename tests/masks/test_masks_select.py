"""Exact counts and ties of `select`."""

import numpy as np
import pytest

from tf_lottery.masks import Mask
from tf_lottery.masks import select


def kept(mask, path="a"):
    """Flat indices that `mask` keeps."""
    return np.flatnonzero(mask[path]).tolist()


def by_sorting(scores, mask, keep):
    """`select` once more, by a full stable sort, in global competition."""
    entries = [
        (-float(scores[path].ravel()[i]), number, i, path)
        for number, path in enumerate(mask)
        for i in np.flatnonzero(mask[path].ravel())
    ]
    arrays = {path: np.zeros(m.size, bool) for path, m in mask.items()}
    for _, _, i, path in sorted(entries)[:keep]:
        arrays[path][i] = True
    return Mask({k: v.reshape(mask[k].shape) for k, v in arrays.items()})


def test_larger_scores_are_kept():
    scores = {"a": np.array([[3.0, 1.0], [2.0, 5.0]])}
    mask = select(scores, Mask.ones({"a": (2, 2)}), {"a": 2})
    assert mask["a"].tolist() == [[True, False], [False, True]]


def test_ties_keep_the_lowest_flat_index():
    mask = Mask.ones({"a": (2, 3)})
    scores = {"a": np.array([[1.0, 2.0, 1.0], [1.0, 1.0, 1.0]])}
    assert kept(select(scores, mask, {"a": 3})) == [0, 1, 2]
    assert kept(select(scores, mask, 4)) == [0, 1, 2, 3]


def test_ties_across_kernels_follow_the_order_of_the_mask():
    scores = {"b": np.ones(2), "a": np.ones(3)}
    mask = select(
        scores, Mask({"b": [1, 1], "a": [1, 1, 1]}), 3, collapse="allow"
    )
    assert (kept(mask, "b"), kept(mask)) == ([0, 1], [0])
    mask = select(scores, Mask({"a": [1, 1, 1], "b": [1, 1]}), 4)
    assert (kept(mask), kept(mask, "b")) == ([0, 1, 2], [0])


def test_global_scores_compete_and_counts_by_path_do_not():
    scores = {"a": np.array([9.0, 8.0, 7.0]), "b": np.array([1.0, 2.0, 8.5])}
    ones = Mask.ones({"a": (3,), "b": (3,)})
    together = select(scores, ones, 3)
    assert (kept(together), kept(together, "b")) == ([0, 1], [2])
    apart = select(scores, ones, {"a": 1, "b": 2})
    assert (kept(apart), kept(apart, "b")) == ([0], [1, 2])


def test_only_what_the_mask_keeps_can_be_kept():
    scores = {"a": np.array([9.0, 8.0, 1.0, 2.0])}
    assert kept(select(scores, Mask({"a": [0, 0, 1, 1]}), 1)) == [3]
    assert kept(select(scores, Mask({"a": [0, 1, 1, 1]}), {"a": 2})) == [1, 3]


@pytest.mark.parametrize("keep", [5, {"a": 5}, -1, {"a": -1}])
def test_a_mask_can_only_shrink(keep):
    mask = Mask({"a": [1, 1, 1, 1, 0]})
    with pytest.raises(ValueError, match="between 0 and the 4 weights.*-?[15]"):
        select({"a": np.arange(5.0)}, mask, keep)


@pytest.mark.parametrize("seed", range(40))
def test_equals_a_full_sort(seed):
    # Few distinct scores over many weights: nearly every cut is inside a tie.
    rng = np.random.default_rng(seed)
    shapes = {"b": (3, 4), "a": (5,), "c": (2, 3, 2)}
    scores = {k: rng.integers(-2, 2, s) / 2 for k, s in shapes.items()}
    mask = Mask({k: rng.random(s) < 0.7 for k, s in shapes.items()})
    for keep in range(mask.kept + 1):
        found = select(scores, mask, keep, collapse="allow")
        assert found == by_sorting(scores, mask, keep)
        assert found.kept == keep
    counts = {k: int(rng.integers(0, n + 1)) for k, n in
              mask.kept_by_path.items()}
    found = select(scores, mask, counts, collapse="allow")
    for path, count in counts.items():
        one = Mask({path: mask[path]})
        assert np.array_equal(
            found[path], by_sorting(scores, one, count)[path]
        )


def test_infinite_scores_are_ordered():
    scores = {"a": np.array([-np.inf, 0.0, np.inf, -np.inf])}
    assert kept(select(scores, Mask.ones({"a": (4,)}), 3)) == [0, 1, 2]


def test_minus_zero_ties_with_zero():
    scores = {"a": np.array([-0.0, 0.0, -0.0, 0.0])}
    assert kept(select(scores, Mask.ones({"a": (4,)}), 2)) == [0, 1]


@pytest.mark.parametrize("keep", [2, {"a": 2}])
def test_nan_scores_are_refused(keep):
    scores = {"a": np.array([1.0, np.nan, 2.0])}
    with pytest.raises(ValueError, match="`scores` must not be NaN"):
        select(scores, Mask.ones({"a": (3,)}), keep)
    # A pruned weight's score does not matter.
    assert kept(select(scores, Mask({"a": [1, 0, 1]}), keep)) == [0, 2]


class TestCollapse:
    scores = {"a": np.array([9.0, 8.0, 7.0]), "b": np.array([1.0, 2.0])}
    ones = Mask.ones({"a": (3,), "b": (2,)})

    @pytest.mark.parametrize("keep", [3, {"a": 3, "b": 0}])
    def test_stop_names_the_kernel(self, keep):
        with pytest.raises(ValueError, match="'stop', and b would keep no"):
            select(self.scores, self.ones, keep)

    def test_stop_lets_an_empty_kernel_be(self):
        empty = Mask({"a": [1, 1, 1], "b": [0, 0]})
        assert select(self.scores, empty, 2).kept_by_path == {"a": 2, "b": 0}

    @pytest.mark.parametrize("keep", [3, {"a": 3, "b": 0}])
    def test_floor_keeps_the_best_weight_within_the_total(self, keep):
        mask = select(self.scores, self.ones, keep, collapse="floor")
        assert (kept(mask), kept(mask, "b")) == ([0, 1], [1])

    def test_floor_takes_from_the_fullest_and_never_empties_one(self):
        scores = {"a": np.ones(4), "b": np.ones(2), "c": np.ones(1)}
        ones = Mask.ones({"a": (4,), "b": (2,), "c": (1,)})
        keep = {"a": 3, "b": 1, "c": 0}
        mask = select(scores, ones, keep, collapse="floor")
        assert mask.kept_by_path == {"a": 2, "b": 1, "c": 1}
        keep = {"a": 1, "b": 0, "c": 0}
        mask = select(scores, ones, keep, collapse="floor")
        assert mask.kept_by_path == {"a": 1, "b": 1, "c": 1}

    def test_floor_lets_an_empty_kernel_be(self):
        empty = Mask({"a": [1, 1, 1], "b": [0, 0]})
        for keep in (2, {"a": 2, "b": 0}):
            mask = select(self.scores, empty, keep, collapse="floor")
            assert mask.kept_by_path == {"a": 2, "b": 0}

    def test_floor_needs_one_weight_per_kernel(self):
        with pytest.raises(ValueError, match="keep=1 for 2 kernels. Prune"):
            select(self.scores, self.ones, 1, collapse="floor")

    @pytest.mark.parametrize("keep", [3, {"a": 3, "b": 0}])
    def test_allow_empties(self, keep):
        mask = select(self.scores, self.ones, keep, collapse="allow")
        assert mask.kept_by_path == {"a": 3, "b": 0}
        nothing = select(self.scores, self.ones, 0, collapse="allow")
        assert nothing.kept == 0

    def test_unknown_word(self):
        with pytest.raises(ValueError, match="stop, floor, allow.*'never'"):
            select(self.scores, self.ones, 4, collapse="never")


class TestArguments:
    scores = {"a": np.arange(3.0), "b": np.arange(2.0)}
    ones = Mask.ones({"a": (3,), "b": (2,)})

    def test_scores_must_fit(self):
        with pytest.raises(ValueError, match="`scores`.*unknown: b"):
            select({"a": np.arange(3.0)}, self.ones, 2)

    @pytest.mark.parametrize("keep", [{"a": 1}, {"a": 1, "b": 1, "c": 1}])
    def test_counts_must_be_for_the_kernels(self, keep):
        with pytest.raises(ValueError, match="`keep`.*Give counts for a, b"):
            select(self.scores, self.ones, keep)

    @pytest.mark.parametrize("keep", [2.5, 3.0, {"a": 1.0, "b": 1}])
    def test_counts_must_be_whole(self, keep):
        with pytest.raises(TypeError, match="`keep` must be a whole number"):
            select(self.scores, self.ones, keep)

    def test_numpy_counts(self):
        assert select(self.scores, self.ones, np.int64(4)).kept == 4

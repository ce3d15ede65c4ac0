"""Groups, blocks and channels that stay or go together."""

import numpy as np
import pytest

from tf_lottery.masks import Mask
from tf_lottery.masks import group_shape
from tf_lottery.masks import select
from tf_lottery.masks import structured_counts
from tf_lottery.masks.structure import block_shape

STRUCTURES = ("2:4", "1:4", "3:5", "1x4", "4x1", "3x2", "channel")


def choose(scores, structure, keep=None, mask=None, **kwargs):
    """The kept places of one kernel, as 0 and 1."""
    scores = {"a": np.asarray(scores, float)}
    mask = Mask({"a": mask}) if mask else Mask.ones({"a": scores["a"].shape})
    if keep is None:
        keep = structured_counts(mask, structure)
    found = select(scores, mask, keep, structure=structure, **kwargs)
    return found["a"].astype(int).tolist()


def column(*values):
    return [[v] for v in values]


class TestGroups:
    def test_the_best_of_consecutive_inputs(self):
        scores = column(1, 4, 3, 2, 9, 8, 7, 6)
        assert choose(scores, "2:4") == column(0, 1, 1, 0, 1, 1, 0, 0)
        assert choose(scores, "1:4") == column(0, 1, 0, 0, 1, 0, 0, 0)
        assert choose(scores, "3:4") == column(0, 1, 1, 1, 1, 1, 1, 0)
        assert choose(scores, "1:2") == column(0, 1, 1, 0, 1, 0, 1, 0)

    def test_each_output_has_groups_of_its_own(self):
        scores = [[1, 4], [2, 3], [3, 2], [4, 1]]
        assert choose(scores, "2:4") == [[0, 1], [0, 1], [1, 0], [1, 0]]

    def test_the_last_group_may_be_smaller(self):
        assert choose(column(1, 2, 3, 4, 5, 6), "1:4") == (
            column(0, 0, 0, 1, 0, 1)
        )
        assert choose(column(1, 2, 3, 4, 5), "2:4") == column(0, 0, 1, 1, 1)
        assert structured_counts(Mask.ones({"a": (6, 3)}), "3:4") == {"a": 15}

    def test_ties_keep_the_lowest_input(self):
        assert choose(column(1, 1, 1, 1), "2:4") == column(1, 1, 0, 0)
        assert choose(column(0, 1, 0, 1, 1), "1:5") == column(0, 1, 0, 0, 0)

    def test_convolutions_have_groups_at_every_place(self):
        # 1 x 2 places, 4 inputs, 1 output.
        scores = np.array([[4, 3, 2, 1], [1, 2, 3, 4]]).reshape(1, 2, 4, 1)
        found = np.reshape(choose(scores, "2:4"), (2, 4)).tolist()
        assert found == [[1, 1, 0, 0], [0, 0, 1, 1]]
        # Three inputs are a group, which does not reach to the next place.
        scores = np.arange(6.0).reshape(1, 2, 3, 1)
        found = np.reshape(choose(scores, "1:4"), (2, 3)).tolist()
        assert found == [[0, 0, 1], [0, 0, 1]]

    def test_only_what_the_mask_keeps(self):
        mask = column(0, 1, 1, 1, 0, 0, 0, 1)
        assert choose(column(9, 1, 2, 3, 9, 9, 9, 1), "2:4", mask=mask) == (
            column(0, 0, 1, 1, 0, 0, 0, 1)
        )
        # Minus infinity is alive all the same.
        low = column(*[-np.inf] * 4)
        assert choose(low, "2:4", mask=column(0, 0, 1, 1)) == (
            column(0, 0, 1, 1)
        )

    @pytest.mark.parametrize("keep", [3, {"a": 3}, 5, {"a": 8}])
    def test_the_count_is_fixed(self, keep):
        with pytest.raises(ValueError, match="`keep` must.*2:4 leaves.*4"):
            choose(np.ones((8, 1)), "2:4", keep)

    def test_a_total_will_do(self):
        assert choose(column(1, 2, 3, 4), "2:4", 2) == column(0, 0, 1, 1)


class TestBlocks:
    def test_the_best_by_sum(self):
        scores = [[9, 0, 3, 3, 3, 3, 1, 1]]
        # 15, 8 and the sums of pairs 9, 6, 6, 2.
        assert choose(scores, "1x4", 4) == [[1, 1, 1, 1, 0, 0, 0, 0]]
        assert choose(scores, "1x2", 4) == [[1, 1, 1, 1, 0, 0, 0, 0]]
        assert choose(scores, "1x3", 3) == [[1, 1, 1, 0, 0, 0, 0, 0]]
        turned = np.transpose([scores[0][::-1]])
        assert choose(turned, "4x1", 4) == column(0, 0, 0, 0, 1, 1, 1, 1)

    def test_blocks_of_inputs_by_outputs(self):
        scores = [[1, 1, 2, 2], [1, 1, 2, 2], [5, 0, 1, 1], [0, 0, 1, 1]]
        assert choose(scores, "2x2", 8) == [
            [0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]
        ]
        assert choose(scores, "4x2", 8) == [[0, 0, 1, 1]] * 4
        assert choose(scores, "1x4", 4) == [
            [0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]
        ]

    def test_as_many_of_the_best_as_fit(self):
        scores = [[4, 4, 4, 3, 3, 3, 2]]
        for keep, kept in ((3, 3), (5, 3), (6, 6), (7, 7)):
            found = choose(scores, "1x3", keep)
            assert found == [[1] * kept + [0] * (7 - kept)]
        # The next best does not fit, and no worse one takes its place.
        assert choose([[5, 5, 4, 4, 9]], "1x2", 2) == [[1, 1, 0, 0, 0]]
        assert choose([[5, 5, 4, 4, 11]], "1x2", 2) == [[0, 0, 0, 0, 1]]

    def test_ties_keep_the_lowest_block(self):
        assert choose([[1] * 6], "1x2", 4) == [[1, 1, 1, 1, 0, 0]]

    def test_only_what_is_left_counts(self):
        mask = [[1, 0, 0, 1, 1, 1]]
        # Left are 1 of the first pair, 9 of the second, and the third.
        scores = [[1, 99, np.nan, 9, 4, 4]]
        assert choose(scores, "1x2", 3, mask) == [[0, 0, 0, 1, 1, 1]]
        assert choose(scores, "1x2", 2, mask) == [[0, 0, 0, 1, 0, 0]]

    def test_channels(self):
        scores = [[1, 5, 3], [1, 0, 3]]
        assert choose(scores, "channel", 2) == [[0, 0, 1], [0, 0, 1]]
        assert choose(scores, "channel", 5) == [[0, 1, 1], [0, 1, 1]]
        kernel = np.zeros((3, 3, 2, 4))
        kernel[..., 2] = 1
        found = np.array(choose(kernel, "channel", 18))
        assert found[..., 2].all() and found.sum() == 18

    def test_kernels_compete_under_a_total(self):
        ones = Mask.ones({"b": (1, 4), "a": (1, 6)})
        scores = {"a": np.array([[3.0, 3, 1, 1, 1, 1]]),
                  "b": np.array([[2.0, 2, 1, 1]])}
        found = select(scores, ones, 6, structure="1x2")
        assert found["a"].tolist() == [[1, 1, 0, 0, 0, 0]]
        # Its pair ties with those of a, and b stands first.
        assert found["b"].tolist() == [[1, 1, 1, 1]]
        apart = select(scores, ones, {"a": 4, "b": 2}, structure="1x2")
        assert apart.kept_by_path == {"b": 2, "a": 4}


class TestCollapse:
    ones = Mask.ones({"a": (1, 4), "b": (2, 2)})
    scores = {"a": np.array([[4.0, 3, 2, 2]]), "b": np.zeros((2, 2))}

    def select(self, keep, collapse, structure="1x2"):
        return select(
            self.scores, self.ones, keep, collapse=collapse,
            structure=structure,
        ).kept_by_path

    @pytest.mark.parametrize("keep", [4, {"a": 4, "b": 1}])
    def test_stop_and_allow(self, keep):
        with pytest.raises(ValueError, match="'stop', and b would keep no"):
            self.select(keep, "stop")
        assert self.select(keep, "allow") == {"a": 4, "b": 0}

    def test_floor(self):
        assert self.select(4, "floor") == {"a": 2, "b": 2}
        assert self.select(5, "floor") == {"a": 2, "b": 2}
        assert self.select(6, "floor") == {"a": 4, "b": 2}
        assert self.select({"a": 4, "b": 1}, "floor") == {"a": 4, "b": 2}
        with pytest.raises(ValueError, match="one block per kernel.*keep=3"):
            self.select(3, "floor")

    def test_floor_keeps_the_best_block(self):
        found = select(
            {"a": np.array([[1.0, 1, 2, 2]])}, Mask.ones({"a": (1, 4)}), 0,
            collapse="allow", structure="1x2",
        )
        assert found.kept == 0
        found = select(
            {"a": np.array([[1.0, 1, 2, 2]])}, Mask.ones({"a": (1, 4)}),
            {"a": 0}, collapse="floor", structure="1x2",
        )
        assert found["a"].tolist() == [[False, False, True, True]]

    def test_floor_keeps_a_living_block(self):
        found = select(
            {"a": np.full((1, 4), -1.0)}, Mask({"a": [[0, 0, 1, 1]]}),
            {"a": 0}, collapse="floor", structure="1x2",
        )
        assert found["a"].tolist() == [[False, False, True, True]]

    def test_floor_lets_an_empty_kernel_be(self):
        mask = Mask({"a": [[1, 1, 1, 1]], "b": [[0, 0], [0, 0]]})
        found = select(
            self.scores, mask, 2, collapse="floor", structure="1x2"
        )
        assert found.kept_by_path == {"a": 2, "b": 0}


def groups_of(array, size):
    """Every group of consecutive inputs, place by place."""
    matrix = np.moveaxis(array, -2, -1)
    for row in matrix.reshape(-1, matrix.shape[-1]):
        yield from (row[i : i + size] for i in range(0, len(row), size))


def blocks_of(array, structure):
    matrix = array.reshape(-1, array.shape[-1])
    rows, columns = block_shape(structure)
    rows = rows or len(matrix)
    for i in range(0, matrix.shape[0], rows):
        for j in range(0, matrix.shape[1], columns):
            yield matrix[i : i + rows, j : j + columns]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("structure", STRUCTURES)
def test_properties(structure, seed):
    rng = np.random.default_rng(seed)
    shapes = {"b": (7, 5), "a": (3, 2, 4, 6), "c": (1, 9)}
    before = Mask({k: rng.random(s) < 0.8 for k, s in shapes.items()})
    # Few distinct scores: nearly every cut is inside a tie.
    scores = {k: rng.integers(0, 3, s).astype(float) for k, s in shapes.items()}
    counts = structured_counts(before, structure)
    for keep in (
        [counts, sum(counts.values())]
        if counts
        else [0, 7, before.kept // 2, before.kept]
        + [{k: int(n * rng.random()) for k, n in before.kept_by_path.items()}]
    ):
        args = (scores, before, keep)
        found = select(*args, collapse="allow", structure=structure)
        assert found.is_subset_of(before)
        assert found == select(*args, collapse="allow", structure=structure)
        if counts:
            assert found.kept_by_path == counts
            count, size = group_shape(structure)
            for path, keep_now in found.items():
                for new, old in zip(
                    groups_of(keep_now, size), groups_of(before[path], size)
                ):
                    assert new.sum() == min(count, old.sum())
            continue
        kept, lost = [], []
        for path, keep_now in found.items():
            parts = zip(
                blocks_of(keep_now, structure),
                blocks_of(before[path], structure),
                blocks_of(scores[path], structure),
            )
            mine, gone = [], []
            for new, old, score in parts:
                assert not new.any() or np.array_equal(new, old)
                if old.any():
                    (mine if new.any() else gone).append(
                        ((score * old).sum(), int(old.sum()))
                    )
            if isinstance(keep, dict):
                check_filled(mine, gone, keep[path])
            kept += mine
            lost += gone
        if not isinstance(keep, dict):
            check_filled(kept, lost, keep)


def check_filled(kept, lost, keep):
    """The best are kept, and the best that is lost would be too many."""
    weights = sum(size for _, size in kept)
    assert weights <= keep
    if lost:
        best = max(score for score, _ in lost)
        assert all(score >= best for score, _ in kept)
        assert any(
            weights + size > keep for score, size in lost if score == best
        )


def test_single_weights_are_blocks_of_one():
    rng = np.random.default_rng(3)
    shapes = {"b": (4, 5), "a": (2, 2, 3, 3)}
    mask = Mask({k: rng.random(s) < 0.7 for k, s in shapes.items()})
    scores = {k: rng.integers(0, 4, s).astype(float) for k, s in shapes.items()}
    for keep in range(8, mask.kept):
        found = select(scores, mask, keep, structure="1x1", collapse="allow")
        assert found == select(scores, mask, keep, collapse="allow")


@pytest.mark.parametrize("structure", ["2:4", "1x2"])
def test_a_key_makes_scores(structure):
    values = np.array([[-9.0, -9], [1, 1], [2, 2], [-8, -8]])
    found = choose(values, structure, 4, key=np.abs)
    assert found == [[1, 1], [0, 0], [0, 0], [1, 1]]


@pytest.mark.parametrize("structure", ["2:4", "1x2", "channel"])
def test_nan_is_refused_where_it_counts(structure):
    scores = [[1.0, 2.0], [3.0, np.nan], [1.0, 1.0], [1.0, 1.0]]
    with pytest.raises(ValueError, match="`scores` must not be NaN.*in a. "):
        choose(scores, structure, 4)
    mask = [[1, 1], [1, 0], [1, 1], [1, 1]]
    choose(scores, structure, 4, mask, collapse="allow")
    if structure != "2:4":
        with pytest.raises(ValueError, match="`scores` must not be NaN"):
            choose([[np.inf, -np.inf], [-np.inf, np.inf]], "2x2", 4)


@pytest.mark.parametrize("keep", [-1, 9, {"a": -1}, {"a": 9}])
def test_a_mask_can_only_shrink(keep):
    with pytest.raises(ValueError, match="between 0 and the 8 weights"):
        choose(np.ones((2, 4)), "1x2", keep)


@pytest.mark.parametrize(
    "structure",
    ["4:2", "2:2", "0:4", "2:0", "0x4", "1x0", "2-4", "", "2:4:8", "x4",
     "channels", " 2:4", "-1:4", "2.0:4", 24, ("2", "4")],
)
def test_unknown_structures(structure):
    with pytest.raises(ValueError, match="^`structure` must be N:M with"):
        choose(np.ones((4, 4)), structure, 8)


@pytest.mark.parametrize("structure", ["2:4", "1x4", "channel"])
def test_kernels_of_one_axis_have_no_structure(structure):
    scores, mask = {"a": np.ones(4)}, Mask.ones({"a": (4,)})
    with pytest.raises(ValueError, match=r"one axis.*a of shape \(4,\)"):
        select(scores, mask, 2, structure=structure)

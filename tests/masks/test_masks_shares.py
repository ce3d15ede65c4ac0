"""How a total is shared out among kernels."""

import numpy as np
import pytest

from tf_lottery.masks import Mask
from tf_lottery.masks import PruningRates
from tf_lottery.masks.shares import erk_counts
from tf_lottery.masks.shares import smart_ratio_counts
from tf_lottery.masks.shares import uniform_counts


class TestErk:
    def test_by_hand(self):
        # Densities 0.2 and 0.5 are in the ratio of (20 / 100) to (8 / 16).
        shapes = {"a": (10, 10), "b": (4, 4)}
        full = {"a": 100, "b": 16}
        assert erk_counts(shapes, 28, full) == {"a": 20, "b": 8}
        # b's share would be 17.1 of 16, so it stays whole.
        assert erk_counts(shapes, 60, full) == {"a": 44, "b": 16}
        assert erk_counts(shapes, 0, full) == {"a": 0, "b": 0}
        assert erk_counts(shapes, 116, full) == full

    def test_remainders_go_to_the_largest_fractions(self):
        shapes = {"a": (3, 3), "b": (5, 4), "c": (6, 6)}
        full = {"a": 9, "b": 20, "c": 36}
        # 10 shared 6 : 9 : 12 is 2.22, 3.33 and 4.44.
        assert erk_counts(shapes, 10, full) == {"a": 2, "b": 3, "c": 5}

    def test_convolutions_count_all_their_dimensions(self):
        shapes = {"conv": (3, 3, 2, 4), "dense": (6, 6)}
        full = {"conv": 72, "dense": 36}
        assert erk_counts(shapes, 24, full) == {"conv": 12, "dense": 12}


class TestSmartRatio:
    shapes = {"a": (5, 8), "b": (10, 20), "c": (20, 5)}
    full = {"a": 40, "b": 200, "c": 100}

    def counts(self, total):
        found = smart_ratio_counts(self.shapes, total, self.full)
        return tuple(found.values())

    def test_by_hand(self):
        # Densities are 12 : 6 : 0.3, so 40 * 12 = 480 and 200 * 6 = 1200
        # share what is left beside 30: 84 in 480 / 1680 and 1200 / 1680.
        assert self.counts(114) == (24, 60, 30)
        # a's share of 310 - 30 would be 80, so it stays whole.
        assert self.counts(270) == (40, 200, 30)
        assert self.counts(190) == (40, 120, 30)

    def test_the_last_kernel_gets_what_no_other_has_room_for(self):
        assert self.counts(290) == (40, 200, 50)
        assert self.counts(340) == (40, 200, 100)

    def test_the_last_kernel_gets_half_of_a_small_budget(self):
        # 30 of 60 is half; below, each side gets half: 480 : 1200 is 2 : 5.
        assert self.counts(60) == (9, 21, 30)
        assert self.counts(28) == (4, 10, 14)
        assert self.counts(15) == (2, 6, 7)
        assert self.counts(1) == (0, 1, 0)
        assert self.counts(0) == (0, 0, 0)

    def test_the_first_of_many_is_densest(self):
        shapes = {str(i): (30, 40) for i in range(6)}
        full = {k: 1200 for k in shapes}
        counts = smart_ratio_counts(shapes, 360 + 4 * 110, full)
        # L = 6: 42, 30, 20, 12, 6, which sum to 110.
        assert list(counts.values()) == [168, 120, 80, 48, 24, 360]

    def test_one_kernel_gets_all(self):
        assert smart_ratio_counts({"a": (9,)}, 7, {"a": 9}) == {"a": 7}

    def test_a_count_never_grows_as_the_total_falls(self):
        before = self.counts(340)
        for total in range(339, -1, -1):
            after = self.counts(total)
            assert sum(after) == total
            # Rounding moves one weight from the one to the other.
            assert all(m <= n + 1 for m, n in zip(after, before))
            assert after[2] <= before[2]
            before = after

    def test_levels(self):
        mask = Mask.ones(self.shapes)
        plan = PruningRates("smart_ratio", 0.2).plan(mask, 12)
        for before, after in zip(plan, plan[1:]):
            total = sum(before.values())
            assert sum(after.values()) == total - round(0.2 * total)
            assert all(after[k] <= before[k] for k in after)
        assert plan[1] == {"a": 40, "b": 200, "c": 32}


class TestUniform:
    def test_by_hand(self):
        shapes = {"a": (10, 10), "b": (4, 5), "c": (3, 2)}
        # 50 : 10 : 3, then 0.79, 0.16 and 0.05 more.
        assert uniform_counts(shapes, 63) == {"a": 50, "b": 10, "c": 3}
        assert uniform_counts(shapes, 64) == {"a": 51, "b": 10, "c": 3}
        assert uniform_counts(shapes, 126) == {"a": 100, "b": 20, "c": 6}


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("rule", [erk_counts, smart_ratio_counts])
def test_adds_up_within_capacity(rule, seed):
    rng = np.random.default_rng(seed)
    shapes = {
        f"k{i}": tuple(rng.integers(1, 9, rng.integers(1, 5)).tolist())
        for i in range(rng.integers(1, 7))
    }
    capacity = {
        k: int(rng.integers(0, np.prod(s) + 1)) for k, s in shapes.items()
    }
    for total in range(sum(capacity.values()) + 1):
        counts = rule(shapes, total, capacity)
        assert counts.keys() == shapes.keys()
        assert sum(counts.values()) == total
        assert all(0 <= n <= capacity[k] for k, n in counts.items())

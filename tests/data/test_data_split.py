"""How a training set is divided."""

import numpy as np
import pytest

from tf_lottery.data import split


def test_permutation_is_the_same_on_every_machine():
    # Written down once: these must not change with NumPy or the machine.
    assert split.permutation(8, seed=0).tolist() == [0, 3, 7, 5, 1, 2, 6, 4]
    assert split.permutation(6, seed=1).tolist() == [2, 0, 1, 4, 5, 3]


@pytest.mark.parametrize("test_size", [0, 4])
def test_parts_are_disjoint_exhaustive_and_ordered(test_size):
    parts = split.carve(20, test_size=test_size, validation_size=6, seed=5)
    assert [part.size for part in parts] == [14 - test_size, 6, test_size]
    assert sorted(np.concatenate(parts)) == list(range(20))
    for part in parts:
        assert np.all(np.diff(part) > 0)


def test_test_part_stays_and_validation_is_nested():
    small = split.carve(50, test_size=10, validation_size=5, seed=2)
    large = split.carve(50, test_size=10, validation_size=9, seed=2)
    np.testing.assert_array_equal(small[2], large[2])
    assert set(small[1]) < set(large[1])


def test_seed_alone_decides():
    np.random.seed(0)
    first = split.carve(50, test_size=0, validation_size=9, seed=2)
    np.random.seed(1)
    again = split.carve(50, test_size=0, validation_size=9, seed=2)
    other = split.carve(50, test_size=0, validation_size=9, seed=3)
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


@pytest.mark.parametrize(
    ("train_size", "asked", "expected"),
    [
        (60_000, 5000, 5000),
        (50_000, 5000, 5000),
        (49_999, 5000, 4999),
        (1437, 5000, 143),
        (1437, 144, 144),
        (60_000, 30_000, 30_000),
        (20, 1, 1),
    ],
)
def test_validation_size_rule(train_size, asked, expected):
    assert split.resolve_validation_size(train_size, asked) == expected


@pytest.mark.parametrize(
    ("train_size", "asked", "received"),
    [(1437, 719, 719), (60_000, 30_001, 30_001), (9, 5000, 0)],
)
def test_validation_must_leave_half(train_size, asked, received):
    pattern = (
        rf"^`validation_size` must be .* {train_size} training examples\. "
        rf"Received: validation_size={received}\. Choose a number from 1 to "
        rf"{train_size // 2}\.$"
    )
    with pytest.raises(ValueError, match=pattern):
        split.resolve_validation_size(train_size, asked)


@pytest.mark.parametrize("value", [0, -1])
def test_validation_size_below_one(value):
    pattern = rf"^`validation_size` must .*Received: validation_size={value}\."
    with pytest.raises(ValueError, match=pattern):
        split.check_sizes(value)


def test_split_seed_below_zero():
    with pytest.raises(ValueError, match=r"Received: split_seed=-1\."):
        split.check_sizes(5, -1)


@pytest.mark.parametrize("value", [1.0, True, None, "5"])
@pytest.mark.parametrize("name", ["validation_size", "split_seed"])
def test_sizes_must_be_integers(name, value):
    kwargs = {"validation_size": 5, "split_seed": 0, name: value}
    with pytest.raises(TypeError, match=rf"^`{name}` must be an integer\."):
        split.check_sizes(**kwargs)

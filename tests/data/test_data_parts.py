"""Halves of a data set, and ranges of its classes."""

import numpy as np
import pytest

from tf_lottery.data import describe
from tf_lottery.data import digits
from tf_lottery.data import load
from tf_lottery.data.facts import Facts
from tf_lottery.data.parts import half_of
from tf_lottery.data.parts import split_name

WHOLE = Facts("fake", (2, 2, 1), 3, ("x", "y", "z"), 1.0, 7, 4)
TRAIN, TEST = np.array([0, 1, 2, 1, 1, 0, 2]), np.array([2, 0, 1, 1])


def no_labels():
    raise AssertionError("read")


@pytest.mark.parametrize(
    ("name", "whole", "part"),
    [
        ("mnist", "mnist", None),
        ("mnist:a", "mnist", (0, 0, 0)),
        ("emnist/letters:b", "emnist/letters", (1, 0, 0)),
        ("cifar10:3.0.2", "cifar10:3.0.2", None),
        ("cifar10:3.*.*", "cifar10:3.*.*", None),
        ("cifar10:3.0.2:2-7", "cifar10:3.0.2", (None, 2, 7)),
        ("digits:0-14", "digits", (None, 0, 14)),
        (":a", ":a", None),
        ("digits:c", "digits:c", None),
        ("digits:-1-2", "digits:-1-2", None),
    ],
)
def test_what_a_name_means(name, whole, part):
    found, one = split_name(name)
    assert found == whole
    assert part == (one and (one.half, one.first, one.last))


def test_halves_are_disjoint_whole_and_have_every_class_alike():
    labels = np.repeat(np.arange(5), [7, 8, 1, 30, 2])
    halves = [half_of(labels, n) for n in (0, 1)]
    assert sorted(np.concatenate(halves)) == list(range(48))
    assert all((np.diff(half) > 0).all() for half in halves)
    a, b = (np.bincount(labels[half], minlength=5) for half in halves)
    assert np.abs(a - b).max() <= 1 and (len(halves[0]), len(halves[1])) == (
        24, 24
    )
    # For good: another split would be another data set of that name.
    assert half_of(np.zeros(12, int), 0).tolist() == [0, 3, 7, 9, 10, 11]
    # Random in a class: neighbours may come from one source.
    assert halves[0].tolist() != list(range(0, 48, 2))


def test_facts_of_a_half_are_known_without_labels():
    for half, size in (("a", 4), ("b", 3)):
        _, part = split_name(f"fake:{half}")
        facts = part.facts(WHOLE, no_labels)
        assert (facts.train_size, facts.test_size) == (size, 4)
        assert facts.num_classes == 3 and facts.source == f"fake, half {half}"
        x = np.arange(7)
        taken = part.take((x, TRAIN, TEST, TEST))
        assert len(taken[0]) == size and taken[2] is TEST
        assert (TRAIN[taken[0]] == taken[1]).all()


def test_facts_of_classes():
    _, part = split_name("fake:1-2")
    facts = part.facts(WHOLE, lambda: (TRAIN, TEST))
    assert (facts.train_size, facts.test_size, facts.num_classes) == (5, 3, 2)
    assert facts.class_names == ("y", "z")
    assert facts.source == "fake, classes 1 to 2"
    x, y, x_test, y_test = part.take(
        (np.arange(7), TRAIN, np.arange(4), TEST)
    )
    assert x.tolist() == [1, 2, 3, 4, 6] and y.tolist() == [0, 1, 0, 0, 1]
    assert x_test.tolist() == [0, 2, 3] and y_test.tolist() == [1, 0, 0]


@pytest.mark.parametrize("suffix", ["1-3", "2-1", "1-1"])
def test_classes_that_are_not_there(suffix):
    with pytest.raises(ValueError, match="at least two of the classes 0 to 2"):
        split_name(f"fake:{suffix}")[1].facts(WHOLE, no_labels)


def test_a_set_without_test_is_not_halved():
    import dataclasses

    whole = dataclasses.replace(WHOLE, test_size=None)
    with pytest.raises(ValueError, match="must have a test split of its own"):
        split_name("fake:a")[1].facts(whole, no_labels)
    facts = split_name("fake:0-1")[1].facts(whole, lambda: (TRAIN, TEST[:0]))
    assert (facts.train_size, facts.test_size) == (5, None)


@pytest.mark.parametrize("name", ["digits:0-4", "digits:5-9", "digits:a"])
def test_what_is_described_is_what_is_loaded(name):
    info, data = describe(name), load(name)
    assert info == data.info and info.name == name
    for split in ("train", "validation", "test"):
        part = getattr(data, split)
        assert part.size == getattr(info, f"{split}_size")
        assert np.unique(part.y).tolist() == list(range(info.num_classes))


def test_classes_are_the_images_of_the_whole():
    data, (_, _, x, y) = load("digits:5-9"), digits.arrays()
    assert np.array_equal(data.test.x, x[y >= 5])
    assert np.array_equal(data.test.y + 5, y[y >= 5])
    assert np.array_equal(load("digits:b").test.x, x)

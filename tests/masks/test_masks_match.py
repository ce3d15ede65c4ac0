"""Paths: the same, renumbered, or refused by name."""

import pytest

from tf_lottery.masks import match_paths

WANTED = {"net/dense/kernel": (2, 3), "net/dense_1/kernel": (3, 3)}


def check(given):
    found = match_paths(WANTED, dict(given), "state")
    assert found == dict(zip(WANTED, [path for path, _ in given]))


def test_accepts_the_same_paths_in_any_order():
    given = dict(reversed(WANTED.items()))
    found = match_paths(WANTED, given, "state")
    assert found == {k: k for k in WANTED}


@pytest.mark.parametrize(
    "paths",
    [
        ("net/dense_4/kernel", "net/dense_5/kernel"),
        ("net_2/dense/kernel", "net_2/dense_1/kernel"),
        ("dense/kernel", "dense_1/kernel"),
        ("outer/net/dense/kernel", "outer/net/dense_1/kernel"),
        ("dense/kernel", "dense/kernel#2"),
    ],
    ids=["numbers", "model", "without prefix", "more prefix", "repeated"],
)
def test_accepts_new_numbers_and_prefixes(paths):
    check(list(zip(paths, WANTED.values())))


@pytest.mark.parametrize(
    "given",
    [
        {"net/a/kernel": (2, 3), "net/dense_1/kernel": (3, 3)},
        {"net/dense/bias": (2, 3), "net/dense_1/kernel": (3, 3)},
        {"net/dense_4/kernel": (3, 3), "net/dense_5/kernel": (2, 3)},
        {"net/dense_4/kernel": (2, 3)},
        {"kernel": (2, 3), "net/dense_1/kernel": (3, 3)},
        {"my_net/dense/kernel": (2, 3), "net/dense_1/kernel": (3, 3)},
    ],
    ids=["name", "variable", "shapes", "fewer", "bare", "other model"],
)
def test_refuses_the_rest_by_name(given):
    with pytest.raises(ValueError, match="`state` must have") as error:
        match_paths(WANTED, given, "state")
    for path in given.keys() ^ WANTED.keys():
        assert path in str(error.value)


def twelve(first, prefix=""):
    names = [f"{prefix}dense_{n}/kernel" for n in range(first, first + 12)]
    return {name.replace("dense_0", "dense"): (4, 4) for name in names}


@pytest.mark.parametrize("prefix", ["", "net/"])
def test_refuses_numbers_in_another_order(prefix):
    wanted, given = twelve(8, prefix), twelve(0)
    found = match_paths(wanted, given, "mask")
    assert found == dict(zip(wanted, given))
    for one, other in [(wanted, sorted(given)), (sorted(wanted), given)]:
        with pytest.raises(ValueError, match="in another order: .*dense_"):
            match_paths(
                dict.fromkeys(one, (4, 4)), dict.fromkeys(other, (4, 4)),
                "mask",
            )


def test_numbers_of_outer_models_count_first():
    wanted = dict.fromkeys(["a_1/dense_5/kernel", "a_2/dense_4/kernel"], (2,))
    given = dict.fromkeys(["a/dense_3/kernel", "a_9/dense_1/kernel"], (2,))
    found = match_paths(wanted, given, "b")
    assert found == dict(zip(wanted, given))
    with pytest.raises(ValueError, match="another order: a_9/dense_1"):
        match_paths(wanted, dict(reversed(given.items())), "b")

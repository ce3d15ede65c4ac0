"""The mask: what it accepts, counts and compares."""

import subprocess
import sys

import numpy as np
import pytest

from tf_lottery.masks import Mask


def test_counts():
    mask = Mask({"a": [[1, 0], [1, 1]], "b": [True, False, False, False]})
    assert mask.kept_by_path == {"a": 3, "b": 1}
    assert (mask.kept, mask.size) == (4, 8)
    assert (mask.density, mask.sparsity) == (0.5, 0.5)
    assert mask.shapes == {"a": (2, 2), "b": (4,)}
    assert "4 of 8" in repr(mask)


def test_is_a_mapping_in_the_given_order():
    mask = Mask({"b": [1], "a": [0]})
    assert list(mask) == ["b", "a"]
    assert len(mask) == 2
    assert mask["a"].dtype == bool
    with pytest.raises(KeyError):
        mask["c"]


def test_copies_and_cannot_be_changed():
    array = np.array([True, False])
    mask = Mask({"a": array})
    array[:] = True
    assert mask["a"].tolist() == [True, False]
    with pytest.raises(ValueError, match="read-only"):
        mask["a"][0] = False


def test_equality():
    mask = Mask({"a": [1, 0], "b": [1]})
    assert mask == Mask({"b": [1], "a": [1, 0]})
    assert mask != Mask({"a": [0, 1], "b": [1]})
    assert mask != Mask({"a": [1, 0]})
    assert mask != {"a": [1, 0], "b": [1]}
    with pytest.raises(TypeError, match="unhashable"):
        hash(mask)


def test_subset():
    outer = Mask({"a": [1, 1, 0]})
    assert Mask({"a": [1, 0, 0]}).is_subset_of(outer)
    assert outer.is_subset_of(outer)
    assert not Mask({"a": [1, 0, 1]}).is_subset_of(outer)
    with pytest.raises(ValueError, match="`other`.*missing: b; unknown: a"):
        Mask({"b": [1, 0, 0]}).is_subset_of(outer)


def test_ones():
    mask = Mask.ones({"a": (2, 3), "b": (4,)})
    assert mask.kept == mask.size == 10
    assert mask.shapes == {"a": (2, 3), "b": (4,)}


@pytest.mark.parametrize(
    "value", [[0.5, 1.0], [2, 0], [np.nan, 1.0], ["1", "0"], [-1, 0]]
)
def test_refuses_what_is_no_mask(value):
    with pytest.raises(ValueError, match="`arrays`.*zeros and ones.*layer/k"):
        Mask({"layer/k": value})


def test_refuses_no_mapping_and_no_array():
    with pytest.raises(TypeError, match="`arrays`.*Received: arrays=list"):
        Mask([[True]])
    with pytest.raises(ValueError, match="at least one mask"):
        Mask({})


def test_check_shapes_names_every_kind_of_fault():
    mask = Mask({"a": [1, 0], "b": [[1]], "c": [1]})
    mask.check_shapes({"c": (1,), "b": (1, 1), "a": (2,)})
    with pytest.raises(ValueError) as error:
        mask.check_shapes({"a": (2,), "b": (1, 2), "d": (1,)}, "ticket")
    text = str(error.value)
    assert text.startswith("`ticket` must")
    assert "missing: d; unknown: c; other shape: b is (1, 1), not (1, 2)" in (
        text
    )
    assert "\n" not in text


def test_check_shapes_stays_short_for_many_paths():
    mask = Mask({f"layer{i}": [1] for i in range(40)})
    with pytest.raises(ValueError, match="layer4 and 35 more") as error:
        mask.check_shapes({"other": (1,)})
    assert "layer5" not in str(error.value)


def test_needs_neither_tensorflow_nor_keras():
    code = (
        "import sys, tf_lottery.masks;"
        "sys.exit(sum(m in sys.modules for m in ('tensorflow', 'keras')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

"""The bundled digits: counts, pairing, and a test set that stays."""

import dataclasses
import subprocess
import sys

import numpy as np

from tf_lottery.data import describe
from tf_lottery.data import load
from tf_lottery.data import per_class
from tf_lottery.metric import ACCURACY

DIGITS_TEST_COUNTS = [32, 39, 25, 48, 36, 45, 38, 31, 28, 38]


def test_digits_counts_and_metadata():
    info = describe("digits")
    assert dataclasses.asdict(info) == {
        "name": "digits",
        "source": "scikit-learn digits",
        "input_shape": (8, 8, 1),
        "num_classes": 10,
        "train_size": 1294,
        "validation_size": 143,
        "test_size": 360,
        "scale": 1 / 16,
        "class_names": tuple("0123456789"),
        "notes": (),
        "noun": "images",
        "metric": dataclasses.asdict(ACCURACY),
        "tokens": None,
        "vocabulary": None,
        "tokens_per_character": None,
        "digest": None,
    }


def test_digits_arrays_agree_with_the_metadata():
    data = load("digits")
    assert data.info == describe("digits")
    for split, size in (
        (data.train, 1294),
        (data.validation, 143),
        (data.test, 360),
    ):
        assert split.x.shape == (size, 8, 8, 1)
        assert split.y.shape == (size,)
        assert split.size == size
        assert split.x.dtype == np.uint8
        assert split.y.dtype == np.int32
    assert data.train.x.max() == 16
    # The whole source, each image once.
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = sum(
        int(s.x.sum()) for s in (data.train, data.validation, data.test)
    )
    assert pixels == int(bunch.images.sum())


def test_digits_test_set_is_fixed_and_pairs_images_with_labels():
    from sklearn.datasets import load_digits

    bunch = load_digits()
    label = {i.tobytes(): t for i, t in zip(bunch.images, bunch.target)}
    first = load("digits", split_seed=0)
    other = load("digits", split_seed=1, validation_size=7)
    np.testing.assert_array_equal(first.test.x, other.test.x)
    for split in (first.train, first.validation, first.test):
        for x, y in zip(split.x[..., 0], split.y):
            assert label[x.astype(np.float64).tobytes()] == y
    # Written down once: another test set would make old results wrong.
    assert np.bincount(first.test.y).tolist() == DIGITS_TEST_COUNTS


def test_validation_depends_on_the_split_seed():
    first, again, other = (load("digits", split_seed=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.validation.x, again.validation.x)
    assert not np.array_equal(first.validation.x, other.validation.x)


def test_describe_of_digits_needs_neither_tensorflow_nor_sklearn():
    code = (
        "import sys; from tf_lottery.data import describe;"
        "describe('digits');"
        "print([m for m in ('tensorflow', 'sklearn', 'tensorflow_datasets')"
        " if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_any_first_part_of_a_draw_per_class_is_balanced():
    test = load("digits").test
    x, y = per_class(test, 3, seed=0)
    assert y.tolist() == 3 * [*range(10)]
    # Of class 2 there are 25.
    _, labels = per_class(test, 26, seed=0)
    assert labels[250:].tolist() == [0, 1, *range(3, 10)]
    pairs = {(image.tobytes(), label) for image, label in zip(test.x, test.y)}
    assert len({row.tobytes() for row in x}) == 30
    assert all((image.tobytes(), label) in pairs for image, label in zip(x, y))

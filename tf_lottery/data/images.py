"""Image-classification data sets by name, as uint8 arrays in memory."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from tf_lottery import seeds
from tf_lottery.data import digits
from tf_lottery.data import split
from tf_lottery.data import tfds_source
from tf_lottery.data.facts import Facts
from tf_lottery.data.parts import split_name
from tf_lottery.paths import is_remote


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one split.

    Attributes:
        x: images, `(n, height, width, channels)` uint8, unscaled.
        y: labels, `(n,)` int32 in `[0, num_classes)`.

    Example:
        >>> Split(np.zeros((2, 8, 8, 1), np.uint8), np.zeros(2, np.int32)).size
        2
    """

    x: np.ndarray
    y: np.ndarray

    @property
    def size(self) -> int:
        """Number of examples."""
        return len(self.y)


@dataclasses.dataclass(frozen=True)
class DataInfo:
    """What is known of a data set without reading an example.

    Attributes:
        name: the name that it was asked for by.
        source: where it comes from, with its version.
        input_shape: `(height, width, channels)`, pixels.
        num_classes: number of classes.
        train_size: training examples after validation was carved.
        validation_size: validation examples, carved from train.
        test_size: test examples.
        scale: factor by which the training step multiplies the uint8 pixels:
            1/255, or 1/16 for digits.
        class_names: one name per class, or None.
        notes: one-line facts that the user must be told.

    Example:
        >>> describe("digits").train_size
        1294
    """

    name: str
    source: str
    input_shape: tuple[int, int, int]
    num_classes: int
    train_size: int
    validation_size: int
    test_size: int
    scale: float
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class ImageData:
    """A data set in memory.

    Attributes:
        info: its metadata.
        train: training split.
        validation: validation split, carved from the source's train.
        test: test split.

    Example:
        >>> load("digits").test.x.shape
        (360, 8, 8, 1)
    """

    info: DataInfo
    train: Split
    validation: Split
    test: Split


def describe(
    name: str,
    *,
    data_dir: str | None = None,
    validation_size: int = split.DEFAULT_VALIDATION_SIZE,
) -> DataInfo:
    """Returns a data set's metadata; reads no examples.

    A TFDS set that is not prepared yet is downloaded first, because TFDS
    does not know the size of a split before that.

    Args:
        name: "digits", or a TFDS name with an optional configuration and
            version, such as "mnist", "emnist/letters" or "cifar10:3.0.2";
            ":a" or ":b" after it means a half, ":0-4" some classes, for which
            labels are read.
        data_dir: TFDS data directory; None is TFDS's own default (the
            variable TFDS_DATA_DIR if it is set).
        validation_size: examples to carve from train. The default of 5000
            becomes 10 % of sets with fewer than 50,000 training examples;
            any other value is taken exactly.

    Returns:
        A `DataInfo`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `name` is unknown or no image-classification set,
            `data_dir` does not exist, `validation_size` does not fit, or the
            arrays would exceed 8 GiB.
        RuntimeError: the set is not prepared and cannot be downloaded.

    Example:
        >>> describe("digits", validation_size=200).validation_size
        200
    """
    split.check_sizes(validation_size)
    return _info(name, _facts(name, data_dir), validation_size)


def load(
    name: str,
    *,
    data_dir: str | None = None,
    validation_size: int = split.DEFAULT_VALIDATION_SIZE,
    split_seed: int = 0,
) -> ImageData:
    """Returns a data set as uint8 arrays: train, validation and test.

    Pixels stay uint8 in memory; the training step multiplies them by
    `info.scale` on the device. Validation is carved from train by
    `split.permutation`, that is by `np.random.Philox(split_seed)` alone.
    Within a split the examples keep the source's order.

    Args:
        name: as in `describe`.
        data_dir: as in `describe`.
        validation_size: as in `describe`.
        split_seed: seed of the validation split (and of the test split of
            sets without one), an integer of at least 0.

    Returns:
        An `ImageData`.

    Raises:
        TypeError: as in `describe`.
        ValueError: as in `describe`, or a label lies outside
            `[0, num_classes)`.
        RuntimeError: as in `describe`.

    Example:
        >>> data = load("digits", split_seed=1)
        >>> data.train.size, data.validation.size, data.test.size
        (1294, 143, 360)
    """
    split.check_sizes(validation_size, split_seed)
    facts = _facts(name, data_dir)
    info = _info(name, facts, validation_size)
    whole, part = split_name(name)
    if whole == "digits":
        arrays = digits.arrays()
    else:
        arrays = tfds_source.arrays(whole, data_dir)
    x, y, x_test, y_test = part.take(arrays) if part else arrays
    _check_labels(name, np.concatenate([y, y_test]), info.num_classes)
    carved = 0 if facts.test_size is not None else info.test_size
    train, validation, test = split.carve(
        len(y),
        test_size=carved,
        validation_size=info.validation_size,
        seed=split_seed,
    )
    if carved:
        x_test, y_test = x[test], y[test]
    return ImageData(
        info=info,
        train=Split(x[train], y[train]),
        validation=Split(x[validation], y[validation]),
        test=Split(x_test, y_test),
    )


def _facts(name: str, data_dir: str | None) -> Facts:
    if not isinstance(name, str):
        raise TypeError(
            "`dataset` must be a string. Received: "
            f"dataset={name!r}. Pass 'digits' or a TFDS name."
        )
    # A bucket ("gs://...") is TFDS's to check: the os module cannot see it.
    if data_dir is not None and not is_remote(data_dir):
        if not os.path.isdir(data_dir):
            raise ValueError(
                "`data_dir` must be an existing directory. Received: "
                f"data_dir={str(data_dir)!r}. Create it, or leave it out to "
                "use TFDS's default."
            )
    whole, part = split_name(name)
    if whole == "digits":
        facts = digits.facts()
        return part.facts(facts, digits.labels) if part else facts
    facts = tfds_source.facts(whole, data_dir)
    if part is None:
        return facts
    return part.facts(facts, lambda: tfds_source.labels(whole, data_dir))


def _info(name: str, facts: Facts, validation_size: int) -> DataInfo:
    train_size, test_size = facts.train_size, facts.test_size
    notes = facts.notes
    if test_size is None:
        test_size = train_size // split.TEST_SHARE
        train_size -= test_size
        notes += (
            f"no test split: {100 // split.TEST_SHARE} % of train, chosen by "
            "split_seed, serve as test",
        )
    validation = split.resolve_validation_size(train_size, validation_size)
    return DataInfo(
        name=name,
        source=facts.source,
        input_shape=facts.input_shape,
        num_classes=facts.num_classes,
        train_size=train_size - validation,
        validation_size=validation,
        test_size=test_size,
        scale=facts.scale,
        class_names=facts.class_names,
        notes=notes,
    )


def _check_labels(name: str, labels: np.ndarray, num_classes: int) -> None:
    wrong = np.unique(labels[(labels < 0) | (labels >= num_classes)])
    if wrong.size:
        raise ValueError(
            f"`dataset` must have labels from 0 to {num_classes - 1}. "
            f"Received: dataset={name!r}, which has the label "
            f"{int(wrong[0])}. Its test labels may be withheld: choose a "
            "data set whose examples are all labelled."
        )


def per_class(
    examples: Split, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws as many examples of every class.

    Args:
        examples: to draw from.
        count: of each class; all of a class that has fewer.
        seed: of the draw.

    Returns:
        `(x, y)`, class by class in turn: any first part is balanced too.

    Example:
        >>> load("digits").test.x.shape
        (360, 8, 8, 1)
        >>> x, y = per_class(load("digits").test, 2, seed=0)
        >>> sorted(y.tolist()) == sorted([*range(10), *range(10)])
        True
    """
    order = seeds.permutation(len(examples.y), seed, "per class")
    place = np.zeros(len(order), int)
    for label in np.unique(examples.y):
        of_class = order[examples.y[order] == label]
        place[of_class] = np.arange(len(of_class))
    rows = np.flatnonzero(place < count)
    rows = rows[np.lexsort((examples.y[rows], place[rows]))]
    return examples.x[rows], examples.y[rows]

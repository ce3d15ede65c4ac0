"""Data sets by name: images and texts, in memory."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from tf_lottery import seeds
from tf_lottery.data import images
from tf_lottery.data import split
from tf_lottery.data import text
from tf_lottery.data import tfds_text
from tf_lottery.data.facts import DataInfo
from tf_lottery.data.facts import DataSet
from tf_lottery.data.facts import Split
from tf_lottery.data.parts import split_name
from tf_lottery.data.text import TextSettings
from tf_lottery.paths import is_remote


def describe(
    name: str,
    *,
    data_dir: str | None = None,
    validation_size: int = split.DEFAULT_VALIDATION_SIZE,
    text_settings: TextSettings = TextSettings(),
) -> DataInfo:
    """Returns a data set's metadata; reads no images, but a text.

    A TFDS set that is not prepared yet is downloaded first, because TFDS
    does not know the size of a split before that.

    Args:
        name: "digits", "grammar" (a generated text), "text_file", or a TFDS
            name with an optional configuration and version, such as "mnist",
            "emnist/letters", "cifar10:3.0.2" or "tiny_shakespeare". It is
            text where TFDS has a text and no image of it. Of images, ":a" or
            ":b" after it means a half, ":0-4" some classes, for which labels
            are read.
        data_dir: TFDS data directory; None is TFDS's own default (the
            variable TFDS_DATA_DIR if it is set).
        validation_size: examples to carve from train. The default of 5000
            becomes 10 % of sets with fewer than 50,000 training examples;
            any other value is taken exactly. Text has a validation part:
            there it is how many sequences of it are used, by default all.
        text_settings: how a text becomes examples.

    Returns:
        A `DataInfo`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `name` is unknown, is a part of a text, or has neither
            classified images nor text, `data_dir` does not exist,
            `validation_size` does not fit, a text cannot be read or options
            of text were given for images, or the arrays would exceed 8 GiB.
        RuntimeError: the set is not prepared and cannot be downloaded.

    Example:
        >>> describe("digits", validation_size=200).validation_size
        200
        >>> describe("grammar").num_classes
        33
    """
    split.check_sizes(validation_size)
    how: dict = dict(data_dir=data_dir, validation_size=validation_size)
    if _is_text(name, data_dir, text_settings):
        return text.describe(name, text_settings, **how)
    return images.describe(name, **how)


def load(
    name: str,
    *,
    data_dir: str | None = None,
    validation_size: int = split.DEFAULT_VALIDATION_SIZE,
    split_seed: int = 0,
    text_settings: TextSettings = TextSettings(),
) -> DataSet:
    """Returns a data set as arrays: train, validation and test.

    Images stay uint8 in memory; the training step multiplies them by
    `info.scale` on the device. A text is windows of int32 tokens.

    Args:
        name: as in `describe`.
        data_dir: as in `describe`.
        validation_size: as in `describe`.
        split_seed: seed of the validation split (and of the test split of
            sets without one), an integer of at least 0. The parts of a text
            are contiguous, whatever it is.
        text_settings: as in `describe`.

    Returns:
        A `DataSet`.

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
    how: dict = dict(data_dir=data_dir, validation_size=validation_size)
    if _is_text(name, data_dir, text_settings):
        return text.load(name, text_settings, **how)
    return images.load(name, split_seed=split_seed, **how)


def per_class(
    examples: Split, count: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draws as many examples of every class; of text so many sequences.

    Args:
        examples: to draw from.
        count: of each class; all of a class that has fewer. Sequences have no
            class: it is their number.
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
    if examples.y.ndim > 1:
        return examples.x[order[:count]], examples.y[order[:count]]
    place = np.zeros(len(order), int)
    for label in np.unique(examples.y):
        of_class = order[examples.y[order] == label]
        place[of_class] = np.arange(len(of_class))
    rows = np.flatnonzero(place < count)
    rows = rows[np.lexsort((examples.y[rows], place[rows]))]
    return examples.x[rows], examples.y[rows]


def _is_text(
    name: str, data_dir: str | None, settings: TextSettings
) -> bool:
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
    if (name == "text_file") == (settings.text_file is None):
        wanted = "given" if name == "text_file" else "left out"
        raise ValueError(
            f"`text_file` must be {wanted} for this data set. Received: "
            f"dataset={name!r}, text_file={settings.text_file!r}. It is of "
            "dataset=text_file alone."
        )
    whole, part = split_name(name)
    if whole in text.TEXTS or (
        whole != "digits" and tfds_text.is_text(whole, data_dir)
    ):
        if part is not None:
            raise ValueError(
                "`dataset` must be the whole of a text. Received: "
                f"dataset={name!r}. Halves and classes are of images: use "
                f"{whole!r}."
            )
        return True
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            raise ValueError(
                f"`{field.name}` must be left out for images. Received: "
                f"{field.name}={value!r} for dataset={name!r}. It is of text, "
                "such as grammar or tiny_shakespeare."
            )
    return False

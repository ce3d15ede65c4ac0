"""Sets of classified images, as uint8 arrays in memory."""

from __future__ import annotations

import numpy as np

from tf_lottery.data import digits
from tf_lottery.data import split
from tf_lottery.data import tfds_source
from tf_lottery.data.facts import DataInfo
from tf_lottery.data.facts import DataSet
from tf_lottery.data.facts import Facts
from tf_lottery.data.facts import Split
from tf_lottery.data.parts import split_name


def describe(
    name: str,
    *,
    data_dir: str | None = None,
    validation_size: int = split.DEFAULT_VALIDATION_SIZE,
) -> DataInfo:
    """Returns the metadata of a set of images; reads none of them.

    Args:
        name: as in `tf_lottery.data.describe`.
        data_dir: as there.
        validation_size: as there.

    Raises:
        ValueError: as there.
        RuntimeError: as there.

    Example:
        >>> describe("digits", validation_size=200).validation_size
        200
    """
    return _info(name, _facts(name, data_dir), validation_size)


def load(
    name: str,
    *,
    data_dir: str | None = None,
    validation_size: int = split.DEFAULT_VALIDATION_SIZE,
    split_seed: int = 0,
) -> DataSet:
    """Returns images as uint8 arrays, which the training step scales.

    Validation is carved from train by `split.permutation`, that is by
    `np.random.Philox(split_seed)` alone. Within a split the examples keep the
    source's order.

    Args:
        name: as in `tf_lottery.data.load`.
        data_dir: as there.
        validation_size: as there.
        split_seed: as there.

    Raises:
        ValueError: as there.
        RuntimeError: as there.

    Example:
        >>> data = load("digits", split_seed=1)
        >>> data.train.size, data.validation.size, data.test.size
        (1294, 143, 360)
    """
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
    return DataSet(
        info=info,
        train=Split(x[train], y[train]),
        validation=Split(x[validation], y[validation]),
        test=Split(x_test, y_test),
    )


def _facts(name: str, data_dir: str | None) -> Facts:
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

"""Texts of TensorFlow Datasets, whole splits as one string each."""

from __future__ import annotations

import functools
from typing import Any

from tf_lottery.data import tfds_source
from tf_lottery.data.facts import MAX_BYTES

# A token and its target, both int32.
_BYTES_PER_CHARACTER = 8


@functools.lru_cache(maxsize=32)
def is_text(name: str, data_dir: str | None) -> bool:
    """Whether a TFDS set has a text and no image, by its features.

    Args:
        name: as in `tfds_source.facts`.
        data_dir: as there.

    Raises:
        ValueError: the name is unknown.

    Example:
        >>> is_text("tiny_shakespeare", None)  # doctest: +SKIP
        True
    """
    import tensorflow_datasets as tfds

    features = tfds_source.make_builder(name, data_dir).info.features
    found = dict(features) if hasattr(features, "keys") else {}
    image = any(
        isinstance(feature, tfds.features.Image) for feature in found.values()
    )
    return not image and bool(_text_features(features))


@functools.lru_cache(maxsize=2)
def texts(name: str, data_dir: str | None) -> tuple[str, dict[str, str]]:
    """Returns the text of every split that is needed.

    Args:
        name: of a set with a text, as in `is_text`.
        data_dir: as there.

    Returns:
        `(source, {split: text})` of the splits "train", "validation" and
        "test" that there are. Texts of one split are joined by newlines, in
        the order of its files.

    Raises:
        ValueError: there is no train split or more than one text, or the text
            would exceed 8 GiB as tokens.
        RuntimeError: the set is not prepared and cannot be downloaded.
    """
    builder = tfds_source.open_builder(name, data_dir, _check)
    (feature,) = _text_features(builder.info.features)
    splits = [
        split
        for split in ("train", "validation", "test")
        if split in builder.info.splits
    ]
    tfds_source.check_train(name, builder.info.splits)
    size = _BYTES_PER_CHARACTER * sum(
        builder.info.splits[split].num_bytes for split in splits
    )
    if size > MAX_BYTES:
        raise ValueError(
            "`dataset` must fit into 8 GiB as tokens. Received: "
            f"dataset={name!r}, which may take {size / 2**30:.1f} GiB. Choose "
            "a smaller data set, or write a part of it to a text_file."
        )
    found = {}
    for split in splits:
        (values,) = tfds_source.read(builder, split, (feature,))
        found[split] = "\n".join(value.decode("utf-8") for value in values)
    return f"TFDS {builder.info.full_name}", found


def _text_features(features: Any) -> tuple[str, ...]:
    """The one feature that is read: "text" where there are several."""
    import tensorflow_datasets as tfds

    found = dict(features) if hasattr(features, "keys") else {}
    names = tuple(
        key
        for key, feature in found.items()
        if isinstance(feature, tfds.features.Text)
    )
    return ("text",) if "text" in names else names


def _check(name: str, features: Any) -> None:
    names = _text_features(features)
    if len(names) != 1:
        raise ValueError(
            "`dataset` must have one text, or one named 'text'. Received: "
            f"dataset={name!r}, which has {', '.join(names)}. Choose another "
            "data set, or write the text to a text_file."
        )

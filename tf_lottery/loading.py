"""The data of an experiment, from its configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tf_lottery import data
from tf_lottery import seeds
from tf_lottery.config import Config

# Controls and changes that make sense of images alone.
_OF_IMAGES = ("random_labels", "random_pixels")


def describe_data(config: Config) -> data.DataInfo:
    """Returns what is known of the data before they are read.

    Args:
        config: names them.

    Raises:
        TypeError, ValueError, RuntimeError: as `data.describe`; or the
            configuration asks for what the data do not have.
    """
    info = data.describe(
        config.dataset,
        data_dir=config.data_dir,
        validation_size=config.validation_size,
        text_settings=_text_settings(config),
    )
    if info.is_text:
        _check_text(config)
    return info


def load_data(config: Config) -> data.DataSet:
    """Reads the data.

    Args:
        config: names them.
    """
    return data.load(
        config.dataset,
        data_dir=config.data_dir,
        validation_size=config.validation_size,
        split_seed=config.split_seed,
        text_settings=_text_settings(config),
    )


def preprocess(info: data.DataInfo) -> Callable:
    """Returns what makes a model's inputs of stored examples.

    Args:
        info: of the data; tokens stay as they are.
    """
    if info.is_text:
        return lambda x: x
    return lambda x: tf.cast(x, tf.float32) * info.scale


def scored_by(
    config: Config, data_set: data.DataSet, loss: Callable, seed: int
) -> dict[str, Any]:
    """Returns the examples and the loss of criteria that look at some.

    Args:
        config: says how many.
        data_set: the data.
        loss: that of the training.
        seed: of the replicate.
    """
    x, y = data.per_class(
        data_set.train, config.score_per_class, seeds.derive(seed, "score")
    )
    if not data_set.info.is_text:
        x = x.astype("float32") * data_set.info.scale
    return dict(x=x, y=y, loss=loss)


def _text_settings(config: Config) -> data.TextSettings:
    return data.TextSettings(
        text_file=config.text_file,
        tokens=config.tokens,
        vocabulary_size=config.vocabulary_size,
        sequence_length=config.sequence_length,
    )


def _check_text(config: Config) -> None:
    if config.augment is not None:
        raise ValueError(
            "`augment` must be left out for text. Received: "
            f"augment={config.augment}, dataset={config.dataset}. It changes "
            "images."
        )
    wrong = [name for name in config.branches if name in _OF_IMAGES]
    if wrong:
        raise ValueError(
            f"`branches` must be without {', '.join(wrong)} for text. "
            f"Received: dataset={config.dataset}. Use inverted, or controls "
            "that need no examples."
        )
    if config.split_seed:
        raise ValueError(
            "`split_seed` must be left out for text, whose parts are "
            f"contiguous. Received: split_seed={config.split_seed}. Other "
            "replicates differ by --seed."
        )

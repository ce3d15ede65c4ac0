"""The fields of a configuration that say what data there are."""

from __future__ import annotations

import dataclasses

from tf_lottery.fields import flag


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """What a network is trained on; the first fields of `Config`."""

    dataset: str = flag(
        "digits",
        "'digits' (embedded, 8x8 handwritten digits), 'grammar' (embedded, "
        "sentences of a made-up language), or the name of any data set of "
        "TFDS with classified images, such as mnist or cifar10, or with text, "
        "such as tiny_shakespeare; mnist:0-4 has some of its classes, mnist:a "
        "and mnist:b are halves of its training set.",
    )
    data_dir: str | None = flag(
        None, "TFDS data directory; TFDS's own default (TFDS_DATA_DIR) if "
        "none.", identity=False,
    )
    text_file: str | None = flag(
        None,
        "A UTF-8 text to learn in place of a dataset: its last tenth is for "
        "validation and test.", identity=False, later=True,
    )
    tokens: str = flag(
        "char",
        "What a text is cut into: char, or subword (byte pairs, learned from "
        "the training part; pip install 'tf_lottery[text]').",
        choices=("char", "subword"), later=True,
    )
    vocabulary_size: int | None = flag(
        None, "Number of subwords; 512 if none.", later=True,
    )
    sequence_length: int = flag(
        50, "Tokens of text that an example has.", later=True,
    )
    validation_size: int = flag(
        5000,
        "Examples taken from train for validation; the default of 5000 "
        "becomes 10 % of training sets below 50,000 examples. Of text, "
        "sequences of its validation part; all by default.",
    )
    split_seed: int = flag(0, "Seed of the validation split.")

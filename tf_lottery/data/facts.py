"""What is known of a data set before any example is read; and the examples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric

MAX_BYTES = 8 * 2**30


@dataclasses.dataclass(frozen=True)
class Facts:
    """Metadata of a data set as its source offers it, before splitting.

    Attributes:
        source: where it comes from, with its version, for provenance.
        input_shape: `(height, width, channels)`, pixels.
        num_classes: number of classes; labels lie in `[0, num_classes)`.
        class_names: one name per class, or None where the source has none.
        scale: factor that brings the uint8 pixels into [0, 1].
        train_size: examples in the source's training split.
        test_size: examples in its test split; None means that it has none.
        notes: one-line facts that the user must be told.
    """

    source: str
    input_shape: tuple[int, int, int]
    num_classes: int
    class_names: tuple[str, ...] | None
    scale: float
    train_size: int
    test_size: int | None
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Examples of one split.

    Attributes:
        x: images, `(n, height, width, channels)` uint8, unscaled; or tokens,
            `(n, length)` int32.
        y: labels, `(n,)` int32 in `[0, num_classes)`; or the next token of
            every one, `(n, length)` int32.

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
    """What is known of a data set.

    Attributes:
        name: the name that it was asked for by.
        source: where it comes from, with its version.
        input_shape: `(height, width, channels)`, pixels; or `(length,)`,
            tokens.
        num_classes: number of classes; of text the size of the vocabulary.
        train_size: training examples after validation was carved.
        validation_size: validation examples.
        test_size: test examples.
        scale: factor by which the training step multiplies the uint8 pixels:
            1/255, or 1/16 for digits; 1 for text.
        class_names: one name per class, or None.
        notes: one-line facts that the user must be told.
        noun: what the examples are, "images" or "sequences".
        metric: what networks are judged by on it.
        tokens: "char" or "subword" of text, None of images.
        vocabulary: JSON values from which `read_tokens` makes the tokens.
        tokens_per_character: of text, in each split.
        digest: SHA-256 of a text file, which stands for its path.

    Example:
        >>> from tf_lottery.data import describe
        >>> describe("digits").train_size
        1294
    """

    name: str
    source: str
    input_shape: tuple[int, ...]
    num_classes: int
    train_size: int
    validation_size: int
    test_size: int
    scale: float
    class_names: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    noun: str = "images"
    metric: Metric = ACCURACY
    tokens: str | None = None
    vocabulary: Any = None
    tokens_per_character: Mapping[str, float] | None = None
    digest: str | None = None

    @property
    def is_text(self) -> bool:
        """Whether the examples are sequences of tokens."""
        return self.tokens is not None


@dataclasses.dataclass(frozen=True, eq=False)
class DataSet:
    """A data set in memory.

    Attributes:
        info: its metadata.
        train: training split.
        validation: validation split.
        test: test split.

    Example:
        >>> from tf_lottery.data import load
        >>> load("digits").test.x.shape
        (360, 8, 8, 1)
    """

    info: DataInfo
    train: Split
    validation: Split
    test: Split

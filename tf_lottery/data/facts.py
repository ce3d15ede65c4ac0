"""What a source of images states before any example is read."""

from __future__ import annotations

import dataclasses


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

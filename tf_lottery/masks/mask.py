"""The mask: which weights a ticket keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np


class Mask(Mapping[str, np.ndarray]):
    """An immutable map from variable path to a boolean array; True = keep.

    Args:
        arrays: `{path: array}`, for example `{"dense/kernel": ...}`. Boolean,
            or numbers that are all 0 or 1. Copied. The order of the paths is
            the order in which a global selection breaks ties.

    Raises:
        TypeError: `arrays` is not a mapping.
        ValueError: an array holds something other than 0 and 1, or there is
            no array.

    Example:
        >>> mask = Mask({"dense/kernel": [[True, False], [True, True]]})
        >>> mask.kept, mask.size, mask.density
        (3, 4, 0.75)
    """

    def __init__(self, arrays: Mapping[str, np.ndarray]):
        if not isinstance(arrays, Mapping):
            raise TypeError(
                "`arrays` must map variable paths to boolean arrays. Received:"
                f" arrays={type(arrays).__name__}. Pass a dict."
            )
        self._arrays = {k: _boolean(k, v) for k, v in arrays.items()}
        if not self._arrays:
            raise ValueError(
                "`arrays` must hold at least one mask. Received: arrays={}. "
                "Give the masks of the prunable kernels by variable path."
            )

    @classmethod
    def ones(cls, shapes: Mapping[str, tuple[int, ...]]) -> Mask:
        """Returns the dense mask of `{path: shape}`."""
        return cls({k: np.ones(s, bool) for k, s in shapes.items()})

    def __getitem__(self, path: str) -> np.ndarray:
        return self._arrays[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __eq__(self, other: object) -> bool:
        """True for the same paths with the same entries."""
        if not isinstance(other, Mask):
            return NotImplemented
        return self.keys() == other.keys() and all(
            np.array_equal(m, other[k]) for k, m in self.items()
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return (
            f"Mask({self.kept:,} of {self.size:,} weights kept, "
            f"density {self.density:.4f}, {len(self)} kernels)"
        )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """`{path: shape}`."""
        return {k: m.shape for k, m in self.items()}

    @property
    def kept_by_path(self) -> dict[str, int]:
        """`{path: number of weights kept}`."""
        return {k: int(np.count_nonzero(m)) for k, m in self.items()}

    @property
    def kept(self) -> int:
        """Number of weights kept."""
        return sum(self.kept_by_path.values())

    @property
    def size(self) -> int:
        """Number of prunable weights, kept or not."""
        return sum(m.size for m in self.values())

    @property
    def density(self) -> float:
        """Fraction of the prunable weights that is kept, in [0, 1]."""
        return self.kept / self.size

    @property
    def sparsity(self) -> float:
        """Fraction of the prunable weights that is zero, in [0, 1]."""
        return (self.size - self.kept) / self.size

    def is_subset_of(self, other: Mask) -> bool:
        """True when every weight kept here is kept by `other` too."""
        other.check_shapes(self.shapes, "other")
        return not any((m & ~other[k]).any() for k, m in self.items())

    def check_shapes(
        self, shapes: Mapping[str, tuple[int, ...]], name: str = "mask"
    ) -> None:
        """Checks that this mask fits kernels of these shapes.

        Args:
            shapes: `{path: shape}` of the kernels.
            name: the argument's name, for the error.

        Raises:
            ValueError: naming the paths that are missing, unknown or of
                another shape.
        """
        missing = [k for k in shapes if k not in self]
        extra = [k for k in self if k not in shapes]
        shaped = [
            f"{k} is {self[k].shape}, not {tuple(shapes[k])}"
            for k in shapes
            if k in self and self[k].shape != tuple(shapes[k])
        ]
        if missing or extra or shaped:
            found = "; ".join(
                f"{word}: {', '.join(items[:5])}"
                + (f" and {len(items) - 5} more" if len(items) > 5 else "")
                for word, items in (
                    ("missing", missing),
                    ("unknown", extra),
                    ("other shape", shaped),
                )
                if items
            )
            raise ValueError(
                f"`{name}` must have one entry per prunable kernel, of its "
                f"shape. Received: {found}. Use the mask of this very "
                "architecture."
            )


def _boolean(path: str, value: np.ndarray) -> np.ndarray:
    array = np.asarray(value)
    flags = array.flags
    if array.dtype == bool and flags.owndata and not flags.writeable:
        return array  # As immutable as a copy would be.
    if array.dtype != bool:
        if array.dtype.kind not in "iuf" or not np.isin(array, (0, 1)).all():
            raise ValueError(
                "`arrays` must hold booleans, or zeros and ones. Received: "
                f"{path} of dtype {array.dtype}. Threshold the scores first."
            )
    array = np.array(array, bool)
    array.setflags(write=False)
    return array

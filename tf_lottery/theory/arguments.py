"""What the functions of this room accept."""

from __future__ import annotations

import numbers
import operator
from typing import Any

import numpy as np

# Sums of a few hundred of them are still finite.
_LARGEST = 1e300


def finite_vector(name: str, values: Any) -> np.ndarray:
    """Returns numbers as a float64 vector.

    Args:
        name: the argument's name, for the error.
        values: array or sequence of numbers, shape `(any,)`.

    Returns:
        A float64 array of the same shape.

    Raises:
        ValueError: not one-dimensional, not numbers, or not finite.

    Example:
        >>> finite_vector("targets", [1, 2])
        array([1., 2.])
    """
    try:
        array = np.asarray(values)
    except ValueError:
        # Rows of unequal lengths.
        array = np.empty((0, 0), object)
    if array.size == 0 and array.ndim == 1:
        return np.zeros(0)
    what = f"shape={array.shape}, dtype={array.dtype}"
    good = array.ndim == 1 and array.dtype.kind in "iuf"
    if good:
        array = array.astype(np.float64)
        # False for NaN too.
        fine = np.abs(array) < _LARGEST
        good = bool(fine.all())
        if not good:
            what = f"{array[~fine][0]} at position {np.argmin(fine)}"
    if not good:
        raise ValueError(
            f"`{name}` must be finite numbers in one dimension. Received: "
            f"{what}. Pass an array of shape (n,)."
        )
    return array


def finite_number(name: str, value: Any, *, zero: bool = False) -> float:
    """Returns a finite number that is positive, or not negative.

    Args:
        name: the argument's name, for the error.
        value: the number.
        zero: whether 0 is accepted.

    Returns:
        The number as a float.

    Raises:
        ValueError: it is no number, not finite, or negative; or 0, where
            that is not accepted.
    """
    good = isinstance(value, numbers.Real) and not isinstance(value, bool)
    # False for NaN too.
    if not good or not (0 < value < _LARGEST or zero and value == 0):
        least = "0 or more" if zero else "positive"
        raise ValueError(
            f"`{name}` must be finite and {least}. Received: {name}={value}. "
            "Give another number."
        )
    return float(value)


def whole_number(name: str, value: Any, least: int, most: int) -> int:
    """Returns an integer of a range.

    Args:
        name: the argument's name, for the error.
        value: the integer, a NumPy one too.
        least: the smallest that is accepted.
        most: the largest that is accepted.

    Returns:
        The integer as an int.

    Raises:
        ValueError: it is no integer or outside the range.
    """
    try:
        whole = None if isinstance(value, bool) else operator.index(value)
    except TypeError:
        whole = None
    if whole is None or not least <= whole <= most:
        raise ValueError(
            f"`{name}` must be an integer in [{least}, {most}]. Received: "
            f"{name}={value}. Choose one of them."
        )
    return whole

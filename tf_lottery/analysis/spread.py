"""A mean and its range."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True)
class Spread:
    """The mean of some values, and how far they reach.

    Args:
        mean: NaN of no value.
        low: the smallest; NaN of no value.
        high: the largest; NaN of no value.
        count: of values that are numbers.
    """

    mean: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Returns the spread of the values that are finite.

        Args:
            values: any of them may be NaN or infinite; those are left out.

        Example:
            >>> Spread.of([1.0, 4.0, math.nan])
            Spread(mean=2.5, low=1.0, high=4.0, count=2)
        """
        finite = [float(value) for value in values if math.isfinite(value)]
        if not finite:
            return cls(math.nan, math.nan, math.nan, 0)
        mean = math.fsum(finite) / len(finite)
        return cls(mean, min(finite), max(finite), len(finite))

"""Signs of weights, and how many training turns."""

from __future__ import annotations

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Signs:
    """The signs of a kernel's kept weights before and after training.

    Args:
        count: weights kept.
        flipped: share whose sign training turned; NaN of none.
        positive_before: share above 0 where training started; NaN of none.
        positive_after: the same of the trained weights.
    """

    count: int
    flipped: float
    positive_before: float
    positive_after: float


def count_signs(start: np.ndarray, end: np.ndarray) -> Signs:
    """Counts the signs of kept weights, and those that training turned.

    A weight that is 0 or not a number, before or after, has not turned its
    sign.

    Args:
        start: the kept weights that training started from, `(n,)` floating;
            n may be 0.
        end: the same weights after training, `(n,)`.

    Returns:
        A `Signs`.

    Example:
        >>> found = count_signs(np.array([1.0, -1.0, 2.0, 0.0]),
        ...                     np.array([3.0, 0.5, 2.0, 1.0]))
        >>> found.flipped, found.positive_before, found.positive_after
        (0.25, 0.5, 1.0)

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.1; Zhou et al.,
        "Deconstructing Lottery Tickets", 2019, arXiv:1905.01067, section 4;
        Gadhikar and Burkholz, "Masks, Signs, and Learning Rate Rewinding",
        2024, arXiv:2402.19262.
    """
    count = int(np.size(start))
    if not count:
        return Signs(0, math.nan, math.nan, math.nan)
    # Not the sign of a product, which can underflow to 0.
    up, down = start > 0, start < 0
    now_up, now_down = end > 0, end < 0
    turned = (up & now_down) | (down & now_up)
    return Signs(
        count,
        float(turned.mean()),
        float(up.mean()),
        float(now_up.mean()),
    )

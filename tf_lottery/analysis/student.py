"""Student's t distribution, for a few replicates."""

from __future__ import annotations

import functools
import math

# The continued fraction needs some sqrt(freedom) terms; far above that.
_MOST_TERMS = 10_000
_PRECISION = 1e-15


def student_tail(t: float, freedom: int) -> float:
    """Returns the probability that Student's t exceeds a value.

    For t >= 0 it is `P(T > t) = I_x(v / 2, 1 / 2) / 2`, where v is
    `freedom`, `x = v / (v + t^2)`, and I the regularized incomplete beta
    function; for t < 0 it is `1 - P(T > -t)`.

    Args:
        t: any number, infinite too.
        freedom: degrees of freedom, at least 1.

    Returns:
        A probability.

    Raises:
        ValueError: `freedom` is below 1, or `t` is NaN.

    Example:
        >>> round(student_tail(1.0, 1), 12)
        0.25

    Reference:
        Abramowitz and Stegun, 1964, equations 26.7.1 and 26.5.27.
    """
    if not freedom >= 1:
        raise ValueError(
            f"`freedom` must be at least 1. Received: freedom={freedom}. "
            "One replicate has no spread."
        )
    if math.isnan(t):
        raise ValueError(
            "`t` must be a number. Received: t=nan. Leave out what is not "
            "known."
        )
    if math.isinf(t):
        return float(t < 0)
    # Of the two forms the one in which no digits cancel.
    square = t * t
    tail = 0.5 * _beta(
        freedom / 2, 0.5, freedom / (freedom + square),
        square / (freedom + square),
    )
    return tail if t >= 0 else 1.0 - tail


@functools.lru_cache(maxsize=4096)
def student_quantile(level: float, freedom: int) -> float:
    """Returns the value that Student's t is below with a probability.

    Args:
        level: the probability, in (0, 1); 0.95 for a one-sided 95 % bound.
        freedom: degrees of freedom, at least 1.

    Returns:
        t with `P(T < t) = level`, to about 12 digits.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> round(student_quantile(0.95, 2), 3)
        2.92
    """
    if not 0 < level < 1:
        raise ValueError(
            f"`level` must be in (0, 1). Received: level={level}. 0.95 is "
            "usual."
        )
    if level < 0.5:
        return -student_quantile(1 - level, freedom)
    tail, low, high = 1 - level, 0.0, 1.0
    while student_tail(high, freedom) > tail:
        low, high = high, 2 * high
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        if student_tail(middle, freedom) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta(a: float, b: float, x: float, rest: float) -> float:
    """The regularized incomplete beta function I_x(a, b); rest is 1 - x."""
    if x <= 0 or rest <= 0:
        return float(rest <= 0)
    if x > (a + 1) / (a + b + 2):
        # There the fraction converges slowly, and its mirror image fast.
        return 1.0 - _beta(b, a, rest, x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
        + a * math.log(x) + b * math.log(rest)
    )
    return front * _fraction(a, b, x) / a


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of I_x(a, b), by Lentz's method."""
    # Denominators that vanish are moved by less than the precision.
    tiny = 1e-300
    c, d = 1.0, 1.0 / ((1 - (a + b) * x / (a + 1)) or tiny)
    value = d
    for m in range(1, _MOST_TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1.0 / ((1 + term * d) or tiny)
            c = (1 + term / c) or tiny
            value *= c * d
        if abs(c * d - 1) < _PRECISION:
            break
    return value

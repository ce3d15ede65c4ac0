"""What theory says about the number of candidates."""

from __future__ import annotations

import itertools
import math

from tf_lottery.theory import arguments


def counting_bound(
    *,
    eta: float,
    epsilon: float = 0.0,
    width: float = 1.0,
    size: int | None = None,
) -> int | None:
    """Returns a number of candidates below which no draw covers an interval.

    A subset of `k` candidates reaches an interval of length
    `2 eta + 2 epsilon k`. Together those of `n` candidates reach at most

        sum_k C(n, k) (2 eta + 2 epsilon k) = 2^n (2 eta + epsilon n),

    which must be at least `width`. So the smallest such `n` is a lower bound,
    for whatever candidates. It is not tight: subsets overlap, and reach
    beyond the interval.

    Args:
        eta: the error that is allowed, positive.
        epsilon: the largest perturbation of a chosen candidate, 0 or more.
        width: length of the interval, 0 or more.
        size: only subsets of so many candidates count; None for any size.

    Returns:
        `n`; None if no number of candidates is enough (`size` 0).

    Raises:
        ValueError: an argument is outside its range.

    Example:
        >>> counting_bound(eta=0.01), counting_bound(eta=0.01, epsilon=0.04)
        (6, 3)
    """
    eta = arguments.finite_number("eta", eta)
    epsilon = arguments.finite_number("epsilon", epsilon, zero=True)
    width = arguments.finite_number("width", width, zero=True)
    # What just fits must not fail by rounding.
    width *= 1 - 1e-9
    if size is None:
        for n in itertools.count():
            if math.ldexp(2 * eta + epsilon * n, n) >= width:
                return n
    size = arguments.whole_number("size", size, 0, 10**5)
    each = 2 * eta + 2 * epsilon * size
    if each >= width:
        return size
    if size == 0:
        return None
    # An integer: a number of subsets may exceed the largest float.
    needed = math.ceil(width / each)
    low, high = size, size + 1
    while math.comb(high, size) < needed:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if math.comb(middle, size) < needed:
            low = middle
        else:
            high = middle
    return high


def theorem_order(*, eta: float, epsilon: float = 0.0) -> float:
    """Returns the order of the number of candidates that suffice.

        log(1 / eta) / log(5/4 + epsilon / 2)

    For candidates uniform on [-1, 1], a constant times this many suffice
    with high probability, for all targets of an interval. The constant is
    not known here and is left out: only how it changes with `eta` and
    `epsilon` means anything. The statement is recalled from summaries; it has
    not been checked against the paper's body.

    Args:
        eta: the error that is allowed, positive.
        epsilon: the largest perturbation of a chosen candidate, 0 or more.

    Returns:
        A number of candidates up to a constant; 0 where `eta` is 1 or more.

    Raises:
        ValueError: an argument is outside its range.

    Example:
        >>> round(theorem_order(eta=0.01), 2)
        20.64

    Reference:
        Xiong, Liao and Kyrillidis, 2023, arXiv:2210.16589.
    """
    eta = arguments.finite_number("eta", eta)
    epsilon = arguments.finite_number("epsilon", epsilon, zero=True)
    return max(0.0, -math.log(eta)) / math.log(1.25 + epsilon / 2)

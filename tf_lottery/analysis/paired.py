"""Mean differences over paired replicates, and how sure they are."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from tf_lottery.analysis.student import student_quantile
from tf_lottery.analysis.student import student_tail

#: Probability of a wrong claim: bounds are one-sided, of 95 %.
ALPHA = 0.05
#: Of so many more replicates it is said how many; beyond, "more than".
MOST_MORE = 100
# In proportion: two float32 of one number, and a standard deviation of
# differences of such numbers, are less.
_TIE, _NO_SPREAD = 2e-7, 1e-5


@dataclasses.dataclass(frozen=True)
class Paired:
    """A mean difference over replicates, with Student's t for its error.

    Args:
        pairs: how many differences, n.
        mean: of the differences; 0 where there is none.
        sd: their standard deviation (n - 1 in the denominator), raised to
            the floor that `paired_differences` was given. None where nothing
            is known of it: fewer than two differences, or no spread and no
            floor.
    """

    pairs: int
    mean: float
    sd: float | None

    @property
    def lower(self) -> float | None:
        """The one-sided 95 % lower confidence bound; None without `sd`."""
        if self.sd is None:
            return None
        return self.mean - self._half(ALPHA, self.pairs)

    @property
    def upper(self) -> float | None:
        """The one-sided 95 % upper confidence bound; None without `sd`."""
        if self.sd is None:
            return None
        return self.mean + self._half(ALPHA, self.pairs)

    def p_above(self, threshold: float) -> float | None:
        """Returns the p-value of "the mean is at most `threshold`".

        `P(T > (mean - threshold) sqrt(n) / sd)`, T Student's t with n - 1
        degrees of freedom: below 0.05 exactly where `lower` is above the
        threshold.

        Args:
            threshold: in the unit of the differences.
        """
        if self.sd is None:
            return None
        t = (self.mean - threshold) * math.sqrt(self.pairs) / self.sd
        return student_tail(t, self.pairs - 1)

    def p_below(self, threshold: float) -> float | None:
        """Returns the p-value of "the mean is at least `threshold`".

        Args:
            threshold: as of `p_above`.
        """
        return Paired(self.pairs, -self.mean, self.sd).p_above(-threshold)

    def more_replicates(
        self, threshold: float, alpha: float = ALPHA
    ) -> float | None:
        """Returns how many more replicates are expected to decide.

        The smallest m for which `|mean - threshold|` is more than
        `t(1 - alpha, n + m - 1) sd / sqrt(n + m)`, that is: for which the
        bound would be on the mean's side of the threshold, should mean and
        standard deviation stay as they are. They will not quite: half of
        the time it takes more.

        Args:
            threshold: in the unit of the differences.
            alpha: of the test.

        Returns:
            An integer from 1 on; `math.inf` for more than 100, and None
            where `sd` is not known.

        Example:
            >>> Paired(3, 0.01, 0.01).more_replicates(0.0)
            2
        """
        if self.sd is None:
            return None
        far = abs(self.mean - threshold)
        for more in range(1, MOST_MORE + 1):
            if far > self._half(alpha, self.pairs + more):
                return more
        return math.inf

    def _half(self, alpha: float, pairs: int) -> float:
        quantile = student_quantile(1 - alpha, pairs - 1)
        return quantile * (self.sd or 0.0) / math.sqrt(pairs)


def paired_differences(
    differences: Sequence[float], floor: float = 0.0
) -> Paired:
    """Returns mean and standard deviation of differences of replicates.

    Args:
        differences: one per replicate; none may be NaN.
        floor: what the standard deviation is at least, in the unit of the
            differences; 0 if nothing is known.

    Example:
        >>> paired_differences([0.25, 0.5, 0.75])
        Paired(pairs=3, mean=0.5, sd=0.25)
        >>> paired_differences([0.5, 0.5], floor=0.125).sd
        0.125
    """
    n = len(differences)
    if n == 0:
        return Paired(0, 0.0, None)
    mean = float(np.mean(differences))
    if n == 1:
        return Paired(1, mean, None)
    sd = float(np.std(differences, ddof=1))
    # Equal differences of unequal floats leave some 1e-17.
    least = _NO_SPREAD * float(np.max(np.abs(differences)))
    sd = max(sd if sd > least else 0.0, floor)
    return Paired(n, mean, sd or None)


def smallest_step(values: Sequence[float]) -> float:
    """Returns the smallest distance of two values, 0 if all are equal.

    Of test accuracies, which are multiples of 1 / N for N test examples, it
    is 1 / N or a multiple.

    Args:
        values: at least one; those that differ by less than 2e-7 of the
            largest are equal.

    Example:
        >>> smallest_step([0.5, 0.25, 0.5, 1.0])
        0.25
    """
    ordered = np.sort(np.asarray(values, "float64"))
    steps = np.diff(ordered)
    steps = steps[steps > _TIE * np.max(np.abs(ordered))]
    return float(steps.min()) if steps.size else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Returns p-values adjusted for their number, by Holm's step-down.

    With the m values in rising order, `p'_k = max_{j <= k} (m - j + 1) p_j`,
    at most 1. Those at most 0.05 are then wrong in none of the m claims with
    probability 95 %, whatever their dependence.

    Args:
        p_values: of one family.

    Returns:
        The adjusted values, in the order given.

    Example:
        >>> holm([0.01, 0.5, 0.02])
        [0.03, 0.5, 0.04]

    Reference:
        Holm, "A simple sequentially rejective multiple test procedure", 1979,
        Scandinavian Journal of Statistics 6.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, least = [0.0] * len(order), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * p_values[i]))
        adjusted[i] = least
    return adjusted

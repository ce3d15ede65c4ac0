"""Which initial values survive pruning."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

#: Sarle's coefficient of a uniform distribution; a normal one has 1/3.
BIMODAL = 5 / 9
_BINS = 40


@dataclasses.dataclass(frozen=True)
class InitialValues:
    """The initial values of a kernel's surviving weights.

    Args:
        histogram: counts in the bins, `(bins,)` integers.
        edges: of the bins, `(bins + 1,)`, ascending.
        count: number of survivors.
        mean: NaN of none.
        std: standard deviation; NaN of none.
        positive: share above 0; NaN of none.
        bimodality: Sarle's coefficient, see `bimodality`.
        not_finite: survivors that are left out of all but `count`, as their
            value is not a number.
    """

    histogram: np.ndarray
    edges: np.ndarray
    count: int
    mean: float
    std: float
    positive: float
    bimodality: float
    not_finite: int = 0


def value_edges(values: np.ndarray) -> np.ndarray:
    """Returns edges of 40 bins of equal width over the values.

    Args:
        values: a kernel's weights before any is pruned; any shape.

    Returns:
        `(41,)` float64, from the smallest finite value to the largest; from
        -0.5 to 0.5 around a single one.

    Example:
        >>> value_edges(np.array([-1.0, 3.0]))[[0, 10, 40]].tolist()
        [-1.0, 0.0, 3.0]
    """
    return np.histogram_bin_edges(_finite(values), _BINS)


def describe_values(values: np.ndarray, edges: np.ndarray) -> InitialValues:
    """Describes the initial values of surviving weights.

    Args:
        values: of the survivors, `(n,)` floating; n may be 0.
        edges: of the bins, as `value_edges` returned them for all weights.
            Values outside, as of another start, count in the outermost bins.

    Returns:
        An `InitialValues`.

    Example:
        >>> found = describe_values(np.array([-1.0, 3.0, 3.0]),
        ...                         np.array([-1.0, 1.0, 3.0]))
        >>> found.histogram.tolist(), round(found.positive, 3)
        ([1, 2], 0.667)

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.1.
    """
    finite = _finite(values)
    counts, _ = np.histogram(np.clip(finite, edges[0], edges[-1]), edges)
    some = finite.size > 0
    return InitialValues(
        counts,
        edges,
        int(np.size(values)),
        float(finite.mean()) if some else math.nan,
        float(finite.std()) if some else math.nan,
        float(np.mean(finite > 0)) if some else math.nan,
        bimodality(finite),
        int(np.size(values) - finite.size),
    )


def bimodality(values: np.ndarray) -> float:
    """Returns Sarle's bimodality coefficient of a sample.

    `(g^2 + 1) / (k + 3 (n - 1)^2 / ((n - 2) (n - 3)))`, where n is the number
    of `values`, g their skewness and k their excess kurtosis, both corrected
    for the bias of a sample. It is 1/3 of a normal distribution, 5/9 of a
    uniform one and at most 1, of two points. Above 5/9 a distribution may
    have two modes; a skewed one of a single mode can be above, too.

    Args:
        values: any shape, floating, finite.

    Returns:
        The coefficient; NaN of fewer than 4 values, or of equal ones.

    Example:
        >>> round(bimodality(np.array([-1.0] * 50 + [1.0] * 50)), 2)
        0.95

    Reference:
        SAS Institute, "SAS/STAT User's Guide", 1990, procedure CLUSTER;
        Pfister et al., "Good things peak in pairs: a note on the bimodality
        coefficient", 2013, Frontiers in Psychology 4:700,
        doi:10.3389/fpsyg.2013.00700.
    """
    values = np.asarray(values, "float64").ravel()
    n = values.size
    if n < 4 or values.min() == values.max():
        return math.nan
    z = (values - values.mean()) / values.std()
    skewness = math.sqrt(n * (n - 1)) / (n - 2) * (z**3).mean()
    kurtosis = (n - 1) / ((n - 2) * (n - 3)) * (
        (n + 1) * ((z**4).mean() - 3) + 6
    )
    correction = 3 * (n - 1) ** 2 / ((n - 2) * (n - 3))
    return float((skewness**2 + 1) / (kurtosis + correction))


def _finite(values: np.ndarray) -> np.ndarray:
    flat = np.asarray(values, "float64").ravel()
    return flat[np.isfinite(flat)]

"""A ticket beside another network, replicate by replicate."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from tf_lottery.analysis.paired import ALPHA
from tf_lottery.analysis.paired import Paired
from tf_lottery.analysis.paired import holm
from tf_lottery.analysis.paired import paired_differences
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric

DENSE, EARLY_STOP = "dense", "early_stop"
#: Controls that a ticket is compared with, and what is asked of each.
COMPARED = {
    "reinit": "the initialisation matters",
    "shuffle_mask": "the structure matters",
    "random_mask": "the structure matters",
}

_Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A ticket and another network of the same replicates.

    Args:
        paired: of test values the advantages of the ticket, as of
            `Metric.advantage`: of accuracies ticket - other, as fractions; of
            early-stop steps the logarithm of their ratio, ticket / dense.
        threshold: what the mean is held against.
        left_out: replicates of which one of the two is missing or, of early
            stopping, not known.
        p_above: p-value of "the mean is at most the threshold", corrected
            where the level is secondary; None where there is no spread to
            judge by.
        p_below: the same of "the mean is at least the threshold".
    """

    paired: Paired
    threshold: float
    left_out: int
    p_above: float | None
    p_below: float | None

    @property
    def above(self) -> bool:
        """Whether it is shown that the mean is above the threshold."""
        return self.p_above is not None and self.p_above <= ALPHA

    @property
    def below(self) -> bool:
        """Whether it is shown that the mean is below the threshold."""
        return self.p_below is not None and self.p_below <= ALPHA


def compare_values(
    run: Mapping[int, _Row],
    other: Mapping[int, _Row],
    threshold: float,
    step: float,
    metric: Metric = ACCURACY,
) -> Comparison:
    """Returns how much better the ticket is on the test set.

    Args:
        run: rows of the ticket, by replicate.
        other: of the other network, by replicate; of both those are left out
            that the other lacks, or whose value is not a number.
        threshold: that the mean is held against.
        step: the least standard deviation that is believed.
        metric: what is compared.
    """
    differences = advantages(run, other, metric)
    paired = paired_differences(list(differences.values()), step)
    return _comparison(paired, threshold, len(set(run) | set(other)))


def advantages(
    run: Mapping[int, _Row],
    other: Mapping[int, _Row],
    metric: Metric = ACCURACY,
    column: str | None = None,
) -> dict[int, float]:
    """Returns how much better networks are, `{replicate: advantage}`.

    Args:
        run: rows by replicate.
        other: of the other network, by replicate; of both those are left out
            that the other lacks, or whose value is not a number.
        metric: what is compared.
        column: of results.csv, with values of the metric; that of the test
            set after training if None.
    """
    column = column or metric.test
    differences = {
        key: metric.advantage(run[key][column], other[key][column])
        for key in sorted(set(run) & set(other))
    }
    return {k: v for k, v in differences.items() if math.isfinite(v)}


def compare_early_stops(
    run: Mapping[int, _Row], dense: Mapping[int, _Row], apart: float
) -> Comparison:
    """Returns how early-stop steps differ: log(ticket / dense).

    Args:
        run: rows of the ticket, by replicate.
        dense: of the dense network. Pairs are left out of which one is not
            known or censored, or has its minimum at step 0.
        apart: steps between two evaluations; in proportion to the smallest
            step it is the least standard deviation that is believed.
    """
    logs, floor = early_stop_ratios(run, dense, apart)
    paired = paired_differences(list(logs.values()), floor)
    return _comparison(paired, 0.0, len(set(run) | set(dense)))


def early_stop_ratios(
    run: Mapping[int, _Row], other: Mapping[int, _Row], apart: float
) -> tuple[dict[int, float], float]:
    """Returns how early-stop steps differ, and what spread is believed.

    Args:
        run: rows by replicate.
        other: of the other network; pairs are left out as in
            `compare_early_stops`.
        apart: steps between two evaluations.

    Returns:
        `{replicate: log(run / other)}`, and the least standard deviation of
        these logarithms.
    """
    pairs = {
        key: (run[key]["early_stop_step"], other[key]["early_stop_step"])
        for key in sorted(set(run) & set(other))
        if not run[key]["early_stop_censored"]
        and not other[key]["early_stop_censored"]
    }
    pairs = {
        key: pair for key, pair in pairs.items()
        if None not in pair and min(pair) > 0
    }
    # The derivative of the logarithm, where the steps are smallest.
    floor = apart / min(map(min, pairs.values())) if pairs else 0.0
    logs = {key: math.log(one / two) for key, (one, two) in pairs.items()}
    return logs, floor


def _comparison(paired: Paired, threshold: float, count: int) -> Comparison:
    return Comparison(
        paired, threshold, count - paired.pairs,
        paired.p_above(threshold), paired.p_below(threshold),
    )


def nearest_level(
    densities: Mapping[int, float], density: float
) -> int | None:
    """Returns the level of density nearest to one; of two, the denser.

    Args:
        densities: fractions by level.
        density: a fraction.

    Returns:
        None where there is no level.

    Example:
        >>> nearest_level({1: 0.8, 2: 0.64, 3: 0.51}, 0.575)
        2
    """
    # Rounded, or the last bits would tell two apart that are as near.
    return min(
        densities,
        key=lambda n: (round(abs(densities[n] - density), 9), n),
        default=None,
    )


def correct(
    found: Mapping[int, dict[str, Comparison]], primary: int | None
) -> int:
    """Corrects p-values, in place, by Holm; returns the number of levels.

    Args:
        found: `{level: comparisons}`. Of each comparison and side the levels
            that can be tested are a family.
        primary: the level that is tested alone, and stays as it is.
    """
    others = [level for level in found if level != primary]
    for name in (DENSE, *COMPARED, EARLY_STOP):
        for side in ("p_above", "p_below"):
            tested = [
                level
                for level in others
                if name in found[level]
                and getattr(found[level][name], side) is not None
            ]
            raw = [getattr(found[level][name], side) for level in tested]
            for level, value in zip(tested, holm(raw)):
                change: dict[str, Any] = {side: value}
                found[level][name] = dataclasses.replace(
                    found[level][name], **change
                )
    return len(others)


def columns(
    comparisons: Mapping[str, Comparison], metric: Metric = ACCURACY
) -> dict[str, Any]:
    """Returns the columns of verdict.csv that are of comparisons.

    Args:
        comparisons: of a level; columns of others have None.
        metric: what was compared; differences are `metric.comparison`.
    """
    result: dict[str, Any] = {}
    for name in (DENSE, *COMPARED, EARLY_STOP):
        one = comparisons.get(name)
        paired = one.paired if one else Paired(0, 0.0, None)
        values: list[float | None] = [None] * 3
        if paired.pairs:
            values = [paired.mean, paired.lower, paired.upper]
        kind = "difference"
        plain: Callable[[float], float] = metric.fraction
        if name == EARLY_STOP:
            kind, plain = "ratio", math.exp
        values = [None if v is None else plain(v) for v in values]
        result |= {
            f"{name}_pairs": paired.pairs,
            f"{name}_left_out": one.left_out if one else None,
            **dict(zip(
                (f"{name}_{kind}", f"{name}_lower", f"{name}_upper"), values
            )),
            f"{name}_p_above": one.p_above if one else None,
            f"{name}_p_below": one.p_below if one else None,
        }
    return result

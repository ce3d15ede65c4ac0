"""The area between the curves of tickets and of a control."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tf_lottery.analysis.comparison import COMPARED
from tf_lottery.analysis.paired import Paired
from tf_lottery.analysis.paired import paired_differences
from tf_lottery.methods import ticket_branch
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric

#: Densities of sparse networks, for which the area is told.
SPARSE = 0.3


@dataclasses.dataclass(frozen=True)
class Area:
    """How much better tickets are than a control, over a range of densities.

    Args:
        control: name of its branch.
        by_replicate: `{replicate: mean advantage}`, above 0 where the
            tickets are better.
        levels: that it is over.
        densities: highest and lowest of these, fractions.
    """

    control: str
    by_replicate: Mapping[int, float]
    levels: tuple[int, ...]
    densities: tuple[float, float]

    @property
    def paired(self) -> Paired:
        """Mean over replicates, with its error."""
        return paired_differences(list(self.by_replicate.values()))

    @property
    def above(self) -> int:
        """In how many replicates the tickets' curve is the better one."""
        return sum(value > 0 for value in self.by_replicate.values())

    def text(self, metric: Metric = ACCURACY) -> str:
        """Returns what it is, in a sentence.

        Args:
            metric: what the networks are judged by.

        Example:
            >>> Area("reinit", {0: 0.02}, (1, 2), (0.2, 0.1)).text()
            'From 20.0 to 10.0 % of the weights ticket - reinit is +2.00 pp \
in the mean over the curve (along the logarithm of density), above 0 in 1 of 1 \
replicates.'
        """
        paired = self.paired
        bound = ""
        if paired.lower is not None:
            bound = f", at least {metric.signed(paired.lower)}"
        high, low = (f"{100 * density:.1f}" for density in self.densities)
        return (
            f"From {high} to {low} % of the weights "
            f"{metric.comparison('ticket', self.control)} is "
            f"{metric.signed(paired.mean)}{bound} in the mean over the curve "
            "(along the logarithm of density), above 0 in "
            f"{self.above} of {len(self.by_replicate)} replicates."
        )


def area_between(
    rows: Iterable[Mapping[str, Any]],
    control: str,
    *,
    metric: Metric = ACCURACY,
    most_density: float = SPARSE,
    tickets: str = "main",
) -> Area | None:
    """Returns the area between the curves of tickets and of a control.

    A single level of a task with much noise, such as reinforcement learning,
    says little. Of each replicate it is the mean of the advantage a of the
    ticket over the control along the logarithm of the density d, by the
    trapezoidal rule: `sum_i (a_i + a_i+1) / 2 log(d_i / d_i+1)` over
    `log(d_1 / d_n)`, in the unit of the advantage.

    Args:
        rows: of results.csv.
        control: name of a branch.
        metric: what the networks are judged by.
        most_density: levels with more weights are left out; a fraction.
        tickets: the branch that holds the tickets.

    Returns:
        None where no replicate has two levels to go between. A replicate
        counts if it has all of the levels that any has.

    Example:
        >>> rows = [
        ...     {"replicate": 0, "branch": b, "level": n, "density": d,
        ...      "test_accuracy": a}
        ...     for n, d, t, c in [(1, 0.2, 0.5, 0.4), (2, 0.1, 0.5, 0.2)]
        ...     for b, a in [("main", t), ("reinit", c)]]
        >>> round(area_between(rows, "reinit").by_replicate[0], 3)
        0.2

    Reference:
        Yu et al., 2020, arXiv:1906.02768, whose figures have these curves.
    """
    found: dict[str, dict[int, dict[int, Mapping[str, Any]]]] = {}
    for row in rows:
        if 0.0 < row["density"] <= most_density:
            runs = found.setdefault(row["branch"], {})
            runs.setdefault(row["replicate"], {})[row["level"]] = row
    curves: dict[int, list[tuple[int, float, float]]] = {}
    for replicate, mine in found.get(tickets, {}).items():
        others = found.get(control, {}).get(replicate, {})
        curves[replicate] = [
            (level, mine[level]["density"], metric.advantage(
                mine[level][metric.test], others[level][metric.test]
            ))
            for level in sorted(set(mine) & set(others))
        ]
    levels = {level for curve in curves.values() for level, _, _ in curve}
    if len(levels) < 2:
        return None
    curves = {k: c for k, c in sorted(curves.items()) if len(c) == len(levels)}
    means = {
        replicate: mean
        for replicate, curve in curves.items()
        if math.isfinite(mean := _mean_along(curve))
    }
    if not means:
        return None
    first = curves[next(iter(means))]
    return Area(
        control,
        means,
        tuple(level for level, _, _ in first),
        (first[0][1], first[-1][1]),
    )


def areas(
    rows: Iterable[Mapping[str, Any]],
    metric: Metric = ACCURACY,
    *,
    method: str = "imp",
    retrain: str = "rewind",
) -> list[Area]:
    """Returns the areas between tickets and the controls that there are.

    There are none of networks that were not trained as a ticket is, which
    are not compared with controls; see `judge`.

    Args:
        rows: of results.csv.
        metric: what the networks are judged by.
        method: that found the tickets.
        retrain: as in `--retrain`.

    Example:
        >>> areas([])
        []
    """
    rows = list(rows)
    branches = {row["branch"] for row in rows}
    tickets, alone = ticket_branch(method, retrain, branches)
    found = (
        area_between(rows, name, metric=metric, tickets=tickets)
        for name in (COMPARED if alone else ())
    )
    return [area for area in found if area is not None]


def _mean_along(curve: list[tuple[int, float, float]]) -> float:
    x = -np.log([density for _, density, _ in curve])
    y = np.array([advantage for _, _, advantage in curve])
    if not x[-1] > x[0]:
        return math.nan
    return float(np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)) / (x[-1] - x[0]))

"""Transferred tickets beside random tickets: the cells of a matrix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tf_lottery.analysis.comparison import compare_values
from tf_lottery.analysis.comparison import nearest_level
from tf_lottery.analysis.paired import holm
from tf_lottery.analysis.paired import smallest_step
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric

_Row = Mapping[str, Any]


def transfer_columns(metric: Metric = ACCURACY) -> tuple[str, ...]:
    """Returns the names of the columns of transfer.csv, in order.

    Args:
        metric: what networks are judged by.

    Example:
        >>> transfer_columns()[6:9]
        ('ticket_accuracy', 'random_accuracy', 'dense_accuracy')
    """
    values = (f"{who}_{metric.name}" for who in ("ticket", "random", "dense"))
    return (
        "source", "target", "own", "level", "density", "replicates", *values,
        "difference", "lower", "upper", "p_above", "run_dir",
    )


def transfer_cell(
    rows: Iterable[_Row], density: float, metric: Metric = ACCURACY
) -> dict[str, Any] | None:
    """Returns how a run's tickets compare with random ones, at one level.

    d = test accuracy of the ticket - that of branch random_mask, or its
    advantage by another metric. The branch has as many weights in every
    layer, and is paired over replicates as in `judge`.

    Args:
        rows: of results.csv.
        density: the level of density nearest to it is looked at, among those
            with both branches; a fraction.
        metric: what the networks are judged by.

    Returns:
        Plain values by the names of `transfer_columns` that are of the run's
        results: the means are over the pairs, `difference`, `lower` and
        `upper` (one-sided bounds of 95 %) are fractions, or
        `metric.comparison` of ticket and random ticket, `p_above` is of "d is
        at most 0". None where no level has both branches.

    Example:
        >>> rows = [{"replicate": r, "branch": b, "level": 1, "density": 0.2,
        ...          "test_accuracy": a + r / 8}
        ...         for r in (0, 1) for b, a in (("main", 0.75),
        ...                                      ("random_mask", 0.5))]
        >>> cell = transfer_cell(rows, 0.2)
        >>> cell["difference"], cell["replicates"], cell["dense_accuracy"]
        (0.25, 2, None)
    """
    rows, name = list(rows), metric.test
    runs: dict[tuple[str, int], dict[int, _Row]] = {}
    for row in rows:
        run = runs.setdefault((row["branch"], row["level"]), {})
        run[row["replicate"]] = row
    pairs = {
        level: [
            replicate
            for replicate, other in sorted(
                runs.get(("random_mask", level), {}).items()
            )
            if replicate in run
            and math.isfinite(
                metric.advantage(run[replicate][name], other[name])
            )
        ]
        for (branch, level), run in runs.items()
        if branch == "main"
    }
    densities = {
        level: _mean([runs["main", level][n]["density"] for n in both])
        for level, both in pairs.items()
        if both
    }
    level = nearest_level(densities, density)
    if level is None:
        return None
    both, main = pairs[level], runs["main", level]
    other = runs["random_mask", level]
    scores = [metric.score(row[name]) for row in rows]
    step = smallest_step([s for s in scores if math.isfinite(s)])
    paired = compare_values(main, other, 0.0, step, metric).paired
    dense = runs.get(("main", 0), {})
    there = [dense[n][name] for n in both if n in dense]
    lower, upper = (
        None if bound is None else metric.fraction(bound)
        for bound in (paired.lower, paired.upper)
    )
    return {
        "level": level,
        "density": densities[level],
        "replicates": paired.pairs,
        f"ticket_{metric.name}": _mean([main[n][name] for n in both]),
        f"random_{metric.name}": _mean([other[n][name] for n in both]),
        f"dense_{metric.name}": _mean(there) if there else None,
        "difference": metric.fraction(paired.mean),
        "lower": lower,
        "upper": upper,
        "p_above": paired.p_above(0.0),
    }


def corrected_cells(cells: Sequence[_Row]) -> list[dict[str, Any]]:
    """Returns the cells with p-values corrected for their number, by Holm.

    Args:
        cells: of a matrix. Those of transferred tickets (not `own`) that can
            be tested are one family; the others keep their p-values.
    """
    result = [dict(cell) for cell in cells]
    family = [
        cell for cell in result
        if not cell["own"] and cell["p_above"] is not None
    ]
    for cell, value in zip(family, holm([c["p_above"] for c in family])):
        cell["p_above"] = value
    return result


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)

"""Transferred tickets beside random tickets: the cells of a matrix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tf_lottery.analysis.comparison import compare_values
from tf_lottery.analysis.paired import holm
from tf_lottery.analysis.paired import smallest_step

#: Columns of transfer.csv.
TRANSFER_COLUMNS = (
    "source", "target", "own", "level", "density", "replicates",
    "ticket_accuracy", "random_accuracy", "dense_accuracy", "difference",
    "lower", "upper", "p_above", "run_dir",
)

_Row = Mapping[str, Any]


def transfer_cell(
    rows: Iterable[_Row], density: float
) -> dict[str, Any] | None:
    """Returns how a run's tickets compare with random ones, at one level.

    d = test accuracy of the ticket - that of branch random_mask, which has
    as many weights in every layer, paired over replicates as in `judge`.

    Args:
        rows: of results.csv.
        density: the level of density nearest to it is looked at, among those
            with both branches; a fraction.

    Returns:
        Plain values by the names of `TRANSFER_COLUMNS` that are of the run's
        results: the means are over the pairs, `difference`, `lower` and
        `upper` (one-sided bounds of 95 %) are fractions, `p_above` is of "d is
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
    rows = list(rows)
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
                run[replicate]["test_accuracy"] - other["test_accuracy"]
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
    if not densities:
        return None
    # Rounded, or the last bits would tell two apart that are as near.
    level = min(
        densities, key=lambda n: (round(abs(densities[n] - density), 9), n)
    )
    both, main = pairs[level], runs["main", level]
    other = runs["random_mask", level]
    step = smallest_step([row["test_accuracy"] for row in rows])
    paired = compare_values(main, other, 0.0, step).paired
    dense = runs.get(("main", 0), {})
    there = [dense[n]["test_accuracy"] for n in both if n in dense]
    return {
        "level": level,
        "density": densities[level],
        "replicates": paired.pairs,
        "ticket_accuracy": _mean([main[n]["test_accuracy"] for n in both]),
        "random_accuracy": _mean([other[n]["test_accuracy"] for n in both]),
        "dense_accuracy": _mean(there) if there else None,
        "difference": paired.mean,
        "lower": paired.lower,
        "upper": paired.upper,
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

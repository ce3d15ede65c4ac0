"""Are tickets stable to SGD noise, and do they stay in one valley?"""

from __future__ import annotations

import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery import report
from tf_lottery.analysis import STABLE_BELOW
from tf_lottery.metric import density_percent
from tf_lottery.page.run import Run
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table

_HOW = (
    "Barrier: the highest error on the line between two trained networks, "
    "less the mean error of its ends; 30 points, the whole test set and at "
    "most 10,000 training examples. The statistics of batch normalisation are "
    "taken anew at every point, ends included; the denser of two masks acts. "
    f"Below {STABLE_BELOW:.0%} of test error a pair counts as connected "
    "(Frankle et al., 2020, arXiv:1912.05671)."
)
# What it means that the pairs of a kind are connected.
_FOUND = {
    "reorder": "Trained in two data orders, tickets end connected, and so are "
    "stable to SGD noise, at {}.",
    "next_level": "Tickets are connected to those of the next level (Paul et "
    "al., 2023, arXiv:2210.03044: while they match) at {}.",
    "instability": "Dense networks that part in data order at step k end "
    "connected for {}.",
}
_COLUMNS = (
    "run", "pair", "step", "level", "density", "replicates", "barrier_test",
    "barrier_train", "stable",
)


def connectivity(runs: Sequence[Run]) -> Section | None:
    """Shows barriers against density, and the error along some lines.

    Args:
        runs: whose reports may hold lines, as `--connectivity` leaves them.

    Returns:
        None where no run has any.

    Reference:
        Frankle et al., 2020, arXiv:1912.05671, figures 3 and 5; Paul et al.,
        2023, arXiv:2210.03044.
    """
    text: list[str] = []
    figures: list[Figure] = []
    rows: list[list[Any]] = []
    for run in runs:
        try:
            points, barriers = report.read_lines(
                os.path.join(run.path, "report")
            )
        except FileNotFoundError:
            continue
        except ValueError as error:
            text.append(f"{run.label}: {error}")
            continue
        if not barriers:
            continue
        means = _means(run.label, barriers)
        rows += means
        found = [
            words.format(_where(means, pair))
            for pair, words in _FOUND.items()
            if any(row[1] == pair for row in means)
        ]
        text.append(f"{run.label}: {' '.join(found)}")
        if run.instability:
            text += run.told_rewind()
        number = len(figures) + 1
        figures.append(
            Figure(
                "connectivity" if number == 1 else f"connectivity_{number}",
                report.connectivity_figure(points, barriers, title=run.label),
                "Left: barriers between pairs of trained networks, against "
                "the weights remaining. Right: error along some of the lines. "
                f"{' '.join(found)}",
            )
        )
    if not text:
        return None
    return Section(
        "Linear mode connectivity",
        [*text, _HOW] if figures else text,
        figures,
        [Table("connectivity_barriers", _COLUMNS, rows)] if rows else [],
    )


def _means(
    label: str, barriers: Sequence[Mapping[str, Any]]
) -> list[list[Any]]:
    """Rows of the table: means over replicates."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in barriers:
        key = row["pair"], row["step"], row["level"]
        groups.setdefault(key, []).append(row)
    rows = []
    for key, group in sorted(groups.items()):
        test, train = (
            statistics.fmean(row[f"barrier_{split}"] for row in group)
            for split in ("test", "train")
        )
        density, stable = group[0]["density"], test < STABLE_BELOW
        rows.append(
            [label, *key, density, len(group), test, train, stable]
        )
    return rows


def _where(rows: Sequence[Sequence[Any]], pair: str) -> str:
    """Where the pairs of a kind are connected, in words."""
    steps = pair == "instability"
    names = {True: [], False: []}  # type: dict[bool, list[str]]
    for _, kind, step, _, density, *_, stable in rows:
        if kind == pair:
            name = str(step) if steps else density_percent(density)
            names[stable].append(name)
    unit = "" if steps else " % of the weights"
    if not names[False]:
        return f"all of {', '.join(names[True])}{unit}"
    if not names[True]:
        return f"none of {', '.join(names[False])}{unit}"
    return f"{', '.join(names[True])}, and not {', '.join(names[False])}{unit}"

"""Accuracy, or another metric, by density; early stop; learning curves."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from tf_lottery import report
from tf_lottery.metric import Metric
from tf_lottery.metric import density_percent
from tf_lottery.page.drawing import legend_below
from tf_lottery.page.drawing import new_figure
from tf_lottery.page.drawing import spread
from tf_lottery.page.run import Run
from tf_lottery.page.run import by_metric
from tf_lottery.page.run import listed
from tf_lottery.page.run import suffix
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table
from tf_lottery.plan import MAIN
from tf_lottery.report.styles import FONT_SIZE
from tf_lottery.report.styles import STYLES
from tf_lottery.report.summary import mean
from tf_lottery.tickets import Key

# More lines could not be told apart.
_MOST_CURVES = 5
# More points than these are noise at the width of a phone.
_MOST_POINTS = 60

_Curve = list[tuple[int, float, float, float]]


def accuracy(runs: Sequence[Run]) -> Section | None:
    """Makes the section on test accuracy, or another metric, by density.

    Args:
        runs: of one, its controls too; of several, the tickets of each. Those
            of each metric have a figure and a table of their own.
    """
    figures, tables, words = [], [], []
    for number, group in enumerate(by_metric(runs)):
        rows = _rows(group, len(runs) == 1)
        if not any(row["density"] > 0.0 for row in rows):
            continue
        metric = group[0].metric
        entries = report.summarize(rows, metric)
        # Two metrics may have one name, and yet another direction.
        again = suffix(number) if metric.words in words else ""
        words.append(metric.words)
        name = f"{metric.name}_by_density{again}"
        drawn = report.accuracy_figure(
            rows, title="", panels=["accuracy"], metric=metric
        )
        names = sorted({e["branch"] for e in entries} - {MAIN})
        who = "the tickets" + (f" and of {', '.join(names)}" if names else "")
        figures.append(
            Figure(
                name,
                drawn,
                f"Test {metric.words} of "
                f"{who if len(runs) == 1 else ', '.join(names)} "
                "against the weights remaining, from all on the left to few "
                "on the right (logarithmic).",
            )
        )
        columns = (
            "density", "kept_weights", "replicates", f"{metric.test}_mean",
            f"{metric.test}_min", f"{metric.test}_max",
        )
        tables.append(_table(name, entries, len(runs) == 1, columns, metric))
    if not figures:
        return None
    return Section(
        f"{_capital(listed(words))} against density",
        [
            f"Mean test {listed(words)} at the end of the whole training "
            "budget, with the range from the lowest to the highest replicate.",
            *(
                f"{run.label}: {area.text(run.metric)}"
                if len(runs) > 1 else area.text(run.metric)
                for run in runs for area in run.results.areas()
            ),
        ],
        figures,
        tables,
    )


def early_stop(runs: Sequence[Run]) -> Section | None:
    """Makes the section on the step at which training could have stopped.

    Args:
        runs: one or several; those of each metric have a figure and a table
            of their own. Trainings that tell of no such step are left out.
    """
    figures, tables = [], []
    for number, group in enumerate(by_metric(runs)):
        rows = [
            row for row in _rows(group, len(runs) == 1)
            if row["train_steps"] and row["early_stop_step"] is not None
        ]
        if not any(row["density"] > 0.0 for row in rows):
            continue
        metric = group[0].metric
        entries = report.summarize(rows, metric)
        name = f"early_stop_by_density{suffix(number)}"
        drawn = report.accuracy_figure(
            rows, title="", panels=["early_stop"], metric=metric
        )
        figures.append(
            Figure(
                name,
                drawn,
                "Step of minimum validation loss against the weights "
                "remaining.",
            )
        )
        columns = (
            "density", "replicates", "early_stop_step_median",
            "early_stop_step_min", "early_stop_step_max",
            "early_stop_is_bound", f"{metric.early_stop}_mean",
        )
        tables.append(_table(name, entries, len(runs) == 1, columns, metric))
    if not figures:
        return None
    return Section(
        "Early stop",
        [
            "Median step of minimum validation loss, which is decided "
            "afterwards: training always runs the whole budget. A minimum at "
            "the last evaluation is a lower bound, and drawn hollow."
        ],
        figures,
        tables,
    )


def learning_curves(runs: Sequence[Run]) -> Section | None:
    """Makes the section on accuracy, or another metric, by step.

    Args:
        runs: of one, some of its levels are drawn; of several, the level that
            the verdict is on, of each. Those of each metric have figures and
            a table of their own.

    Raises:
        ValueError, OSError: a metrics.csv is missing or damaged.
    """
    figures, tables, metrics, longest = [], [], [], 0
    for number, group in enumerate(by_metric(runs)):
        metric = group[0].metric
        curves = _curves(group, len(runs) == 1)
        if not curves:
            continue
        metrics.append(metric)
        figures += [
            _figure(f"learning_{_plain(split)}{suffix(number)}", split, found,
                    group[0])
            for split, found in _drawn(curves).items()
        ]
        tables.append(
            Table(
                f"learning_curves{suffix(number)}",
                ("split", "curve", "step", metric.name, "lowest", "highest"),
                [
                    (split, label, *point)
                    for split, found in curves.items()
                    for label, curve in found.items()
                    for point in curve
                ],
                shown=0,
                metric=metric,
            )
        )
        longest = max(longest, *(
            len(curve) for found in curves.values() for curve in found.values()
        ))
    if not figures:
        return None
    below = any(metric.higher_is_better for metric in metrics)
    above = not all(metric.higher_is_better for metric in metrics)
    side = " or ".join(["below"] * below + ["above"] * above)
    text = (
        f"{_capital(listed([metric.words for metric in metrics]))} during "
        "training: the mean over replicates, and the range from the lowest to "
        "the highest as a band. The steep beginning may be cut off "
        f"{side}."
    )
    if longest > _MOST_POINTS:
        text += (
            f" A point is drawn for every {-(-longest // _MOST_POINTS)} "
            "evaluations in a row, with their mean and the range of all; the "
            "file has each."
        )
    return Section("Learning curves", [text], figures, tables)


def verdict_level(run: Run) -> int | None:
    """Returns the level that a run's verdict is on, if it has one.

    Args:
        run: finished or not.
    """
    if run.settings is None:
        return None
    primary = run.results.verdict().primary
    return None if primary is None else primary.level


def some_levels(run: Run, most: int) -> list[int]:
    """Returns a few finished levels: the ends, and the verdict's.

    Args:
        run: finished or not.
        most: how many, from 3.
    """
    levels = sorted({key.level for key in run.keys()})
    chosen = spread(levels, most)
    level = verdict_level(run)
    if level in levels and level not in chosen:
        inner = chosen[1:-1]
        nearest = min(inner, key=lambda other: abs(other - level))
        chosen[chosen.index(nearest)] = level
    return chosen


def level_name(run: Run, level: int) -> str:
    """Returns a level's number and its density, for a legend.

    Args:
        run: it is of.
        level: finished in some replicate.
    """
    densities = [
        row["density"] for row in run.rows
        if (row["branch"], row["level"]) == (MAIN, level)
    ]
    return f"level {level}, {density_percent(mean(densities))} %"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(text: str) -> str:
    """A name of a split as a part of a file's."""
    return re.sub("[^A-Za-z0-9]+", "_", text)


def _rows(runs: Sequence[Run], alone: bool) -> list[dict[str, Any]]:
    """Of several runs the tickets', under the label in the branch's place."""
    if alone:
        return runs[0].rows
    return [
        {**row, "branch": run.label}
        for run in runs for row in run.rows if row["branch"] == MAIN
    ]


def _table(
    name: str,
    entries: Sequence[dict[str, Any]],
    alone: bool,
    columns: Sequence[str],
    metric: Metric,
) -> Table:
    names = ("branch" if alone else "run", "level", *columns)
    rows = [
        [entry["branch"], entry["level"], *(entry[c] for c in columns)]
        for entry in entries
    ]
    return Table(name, names, rows, metric=metric)


def _lines(
    runs: Sequence[Run], alone: bool
) -> list[tuple[str, Run, int]]:
    if alone:
        return [
            (level_name(runs[0], level), runs[0], level)
            for level in some_levels(runs[0], _MOST_CURVES)
        ]
    return [
        (f"{run.label}: {level_name(run, level)}", run, level)
        for run in runs
        if (level := verdict_level(run)) is not None
    ]


def _drawn(
    curves: dict[str, dict[str, _Curve]],
) -> dict[str, dict[str, _Curve]]:
    """The splits that have curves; if there are only points, all."""
    several = {
        split: lines for split, lines in curves.items()
        if any(len(curve) > 1 for curve in lines.values())
    }
    return several or curves


def _curves(
    runs: Sequence[Run], alone: bool
) -> dict[str, dict[str, _Curve]]:
    """Mean, lowest and highest value by step, of every line of a split."""
    found: dict[str, dict[str, dict[int, list[float]]]] = {
        # These first, if they are there; a training may tell of others.
        "validation": {}, "test": {},
    }
    for label, run, level in _lines(runs, alone):
        name = run.metric.name
        for key in run.keys():
            if key.level != level:
                continue
            for row in run.metrics(Key(key.replicate, MAIN, level)):
                # One that is no number has no place on an axis.
                if math.isfinite(row.get(name, math.nan)):
                    steps = found.setdefault(row["split"], {}).setdefault(
                        label, {}
                    )
                    steps.setdefault(row["step"], []).append(row[name])
    return {
        split: {
            label: [
                (step, mean(values), min(values), max(values))
                for step, values in sorted(steps.items())
            ]
            for label, steps in lines.items()
        }
        for split, lines in found.items()
        if lines
    }


def _figure(
    name: str, split: str, curves: dict[str, _Curve], run: Run
) -> Figure:
    metric = run.metric
    figure, (axes,) = new_figure(height=4.2)
    curves = {label: _thinned(curve) for label, curve in curves.items()}
    for number, (label, curve) in enumerate(curves.items()):
        color, marker, dashes = STYLES[number % len(STYLES)]
        steps = [point[0] for point in curve]
        middle, low, high = (
            [metric.shown(point[n]) for point in curve] for n in (1, 2, 3)
        )
        axes.fill_between(
            steps, low, high, color=color, alpha=0.15, linewidth=0
        )
        axes.plot(
            steps, middle, color=color, linestyle=dashes, linewidth=1.4,
            marker=marker, markersize=4,
            markevery=max(1, len(steps) // 8), label=label,
        )
    axes.set_ylim(*_limits(list(curves.values()), metric))
    axes.set_xlabel("step", fontsize=FONT_SIZE)
    axes.set_ylabel(
        f"{split} {metric.words}{' (%)' if metric.percent else ''}",
        fontsize=FONT_SIZE,
    )
    axes.xaxis.set_major_formatter("{x:,.0f}")
    legend_below(figure, axes, columns=2 if max(map(len, curves)) < 30 else 1)
    return Figure(
        name,
        figure,
        f"{_capital(split)} {metric.words} by "
        f"{'step' if 'task' in run.config else 'optimizer step'} of "
        f"{'; '.join(curves)}.",
    )


def _thinned(curve: _Curve) -> _Curve:
    """A point for so many evaluations in a row that few are left."""
    size = -(-len(curve) // _MOST_POINTS)
    groups = [curve[n : n + size] for n in range(0, len(curve), size)]
    return [
        (
            group[len(group) // 2][0],
            mean([point[1] for point in group]),
            min(point[2] for point in group),
            max(point[3] for point in group),
        )
        for group in groups
    ]


def _limits(
    curves: Sequence[_Curve], metric: Metric
) -> tuple[float, float]:
    """An axis without the first tenth of training, if that is steep."""
    late = [
        metric.shown(point[n])
        for curve in curves for point in curve for n in (2, 3)
        if 10 * point[0] >= curve[-1][0]
    ]
    pad = 0.05 * (max(late) - min(late)) or 0.5
    return min(late) - pad, max(late) + pad

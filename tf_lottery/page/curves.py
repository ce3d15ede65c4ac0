"""Accuracy against density, early stopping, and learning curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tf_lottery import report
from tf_lottery.page.drawing import FONT_SIZE
from tf_lottery.page.drawing import STYLES
from tf_lottery.page.drawing import legend_below
from tf_lottery.page.drawing import new_figure
from tf_lottery.page.drawing import spread
from tf_lottery.page.run import Run
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table
from tf_lottery.plan import MAIN
from tf_lottery.report.summary import mean
from tf_lottery.tickets import Key

# More lines could not be told apart.
_MOST_CURVES = 5
# More points than these are noise at the width of a phone.
_MOST_POINTS = 60

_Curve = list[tuple[int, float, float, float]]


def accuracy(runs: Sequence[Run]) -> Section | None:
    """Makes the section on test accuracy against density.

    Args:
        runs: of one, its controls too; of several, the tickets of each.
    """
    rows = _rows(runs)
    if not any(row["density"] > 0.0 for row in rows):
        return None
    entries = report.summarize(rows)
    alone = len(runs) == 1
    drawn = report.accuracy_figure(rows, title="", panels=["accuracy"])
    names = sorted({e["branch"] for e in entries} - {MAIN})
    who = "the tickets" + (f" and of {', '.join(names)}" if names else "")
    return Section(
        "Accuracy against density",
        [
            "Mean test accuracy at the end of the whole training budget, with "
            "the range from the lowest to the highest replicate."
        ],
        [
            Figure(
                "accuracy_by_density",
                drawn,
                f"Test accuracy of {who if alone else ', '.join(names)} "
                "against the weights remaining, from all on the left to few "
                "on the right (logarithmic).",
            )
        ],
        [_table("accuracy_by_density", entries, alone, (
            "density", "kept_weights", "replicates", "test_accuracy_mean",
            "test_accuracy_min", "test_accuracy_max",
        ))],
    )


def early_stop(runs: Sequence[Run]) -> Section | None:
    """Makes the section on the step at which training could have stopped.

    Args:
        runs: one or several.
    """
    rows = [row for row in _rows(runs) if row["train_steps"]]
    if not any(row["density"] > 0.0 for row in rows):
        return None
    entries = report.summarize(rows)
    alone = len(runs) == 1
    drawn = report.accuracy_figure(rows, title="", panels=["early_stop"])
    return Section(
        "Early stop",
        [
            "Median step of minimum validation loss, which is decided "
            "afterwards: training always runs the whole budget. A minimum at "
            "the last evaluation is a lower bound, and drawn hollow."
        ],
        [
            Figure(
                "early_stop_by_density",
                drawn,
                "Step of minimum validation loss against the weights "
                "remaining.",
            )
        ],
        [_table("early_stop_by_density", entries, alone, (
            "density", "replicates", "early_stop_step_median",
            "early_stop_step_min", "early_stop_step_max",
            "early_stop_is_bound", "early_stop_test_accuracy_mean",
        ))],
    )


def learning_curves(runs: Sequence[Run]) -> Section | None:
    """Makes the section on accuracy by step, of some levels.

    Args:
        runs: of one, some of its levels are drawn; of several, the level that
            the verdict is on, of each.

    Raises:
        ValueError, OSError: a metrics.csv is missing or damaged.
    """
    lines = _lines(runs)
    curves = {
        split: {
            label: curve for label, run, level in lines
            if (curve := _curve(run, level, split))
        }
        for split in ("validation", "test")
    }
    if not any(curves.values()):
        return None
    figures = [
        _figure(split, found) for split, found in curves.items() if found
    ]
    rows = [
        (split, label, *point)
        for split, found in curves.items()
        for label, curve in found.items()
        for point in curve
    ]
    names = ("split", "curve", "step", "accuracy", "lowest", "highest")
    text = (
        "Accuracy during training: the mean over replicates, and the range "
        "from the lowest to the highest as a band. The steep beginning may be "
        "cut off below."
    )
    longest = max(
        len(curve) for found in curves.values() for curve in found.values()
    )
    if longest > _MOST_POINTS:
        text += (
            f" A point is drawn for every {-(-longest // _MOST_POINTS)} "
            "evaluations in a row, with their mean and the range of all; the "
            "file has each."
        )
    return Section(
        "Learning curves",
        [text],
        figures,
        [Table("learning_curves", names, rows, shown=0)],
    )


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
    return f"level {level}, {report.density_percent(mean(densities))} %"


def _rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Of several runs the tickets', under the label in the branch's place."""
    if len(runs) == 1:
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
) -> Table:
    names = ("branch" if alone else "run", "level", *columns)
    rows = [
        [entry["branch"], entry["level"], *(entry[c] for c in columns)]
        for entry in entries
    ]
    return Table(name, names, rows)


def _lines(runs: Sequence[Run]) -> list[tuple[str, Run, int]]:
    if len(runs) == 1:
        return [
            (level_name(runs[0], level), runs[0], level)
            for level in some_levels(runs[0], _MOST_CURVES)
        ]
    return [
        (f"{run.label}: {level_name(run, level)}", run, level)
        for run in runs
        if (level := verdict_level(run)) is not None
    ]


def _curve(
    run: Run, level: int, split: str
) -> _Curve:
    """Mean, lowest and highest accuracy by step."""
    points: dict[int, list[float]] = {}
    for key in run.keys():
        if key.level == level:
            for row in run.metrics(Key(key.replicate, MAIN, level)):
                if row["split"] == split and "accuracy" in row:
                    points.setdefault(row["step"], []).append(row["accuracy"])
    return [
        (step, mean(values), min(values), max(values))
        for step, values in sorted(points.items())
    ]


def _figure(split: str, curves: dict[str, _Curve]) -> Figure:
    figure, (axes,) = new_figure(height=4.2)
    curves = {label: _thinned(curve) for label, curve in curves.items()}
    for number, (label, curve) in enumerate(curves.items()):
        color, marker, dashes = STYLES[number % len(STYLES)]
        steps = [point[0] for point in curve]
        middle, low, high = (
            [100 * point[n] for point in curve] for n in (1, 2, 3)
        )
        axes.fill_between(
            steps, low, high, color=color, alpha=0.15, linewidth=0
        )
        axes.plot(
            steps, middle, color=color, linestyle=dashes, linewidth=1.4,
            marker=marker, markersize=4,
            markevery=max(1, len(steps) // 8), label=label,
        )
    axes.set_ylim(*_limits(list(curves.values())))
    axes.set_xlabel("step", fontsize=FONT_SIZE)
    axes.set_ylabel(f"{split} accuracy (%)", fontsize=FONT_SIZE)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    legend_below(figure, axes, columns=2 if max(map(len, curves)) < 30 else 1)
    return Figure(
        f"learning_{split}",
        figure,
        f"{split.capitalize()} accuracy by optimizer step of "
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


def _limits(curves: Sequence[_Curve]) -> tuple[float, float]:
    """An axis without the first tenth of training, if that is steep."""
    late = [
        100 * point[n]
        for curve in curves for point in curve for n in (2, 3)
        if 10 * point[0] >= curve[-1][0]
    ]
    pad = 0.05 * (max(late) - min(late)) or 0.5
    return min(late) - pad, max(late) + pad

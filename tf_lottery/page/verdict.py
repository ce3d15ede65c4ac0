"""The verdict: what a run has shown, first of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tf_lottery import analysis
from tf_lottery.metric import Metric
from tf_lottery.metric import density_percent
from tf_lottery.page.drawing import new_figure
from tf_lottery.page.run import Run
from tf_lottery.page.run import by_metric
from tf_lottery.page.run import suffix
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table
from tf_lottery.report.styles import FONT_SIZE
from tf_lottery.report.styles import SMALL
from tf_lottery.report.styles import STYLES

_CONTROLS = ("dense", "reinit", "shuffle_mask", "random_mask")


@dataclasses.dataclass(frozen=True)
class Ruling:
    """The verdict on a run, in a word and a line.

    Args:
        label: of the run.
        word: "winning", "matching", "no ticket", "undecided"; or "no verdict"
            where there is nothing to judge.
        line: the network that it is on.
        facts: `(what, how much)`: the differences and their bounds.
        measured: what the differences are of.
    """

    label: str
    word: str
    line: str
    facts: Sequence[tuple[str, str]] = ()
    measured: str = "test accuracy"


def ruling(run: Run) -> Ruling:
    """Returns the verdict on a run, in a word and a line.

    Args:
        run: finished or not.
    """
    found = _judged(run)
    one = found.primary if found else None
    if found is None or one is None:
        why = "No ticket and its dense network have finished."
        if run.settings is None:
            why = "What was run is not known, so it cannot be judged."
        return Ruling(run.label, "no verdict", why)
    count = one.comparisons["dense"].paired.pairs
    replicates = "replicate" if count == 1 else "replicates"
    line = (
        f"at level {one.level}, {density_percent(one.density)} % of "
        f"the weights, over {count} {replicates}"
    )
    metric, facts = found.metric, []
    for name, what in (("dense", "dense"), ("reinit", "reinit"),
                       ("shuffle_mask", "shuffled mask"),
                       ("random_mask", "random mask")):
        if name in one.comparisons:
            paired = one.comparisons[name].paired
            text = _minus(metric.signed(paired.mean))
            if paired.lower is not None and paired.upper is not None:
                bounds = (paired.lower, paired.upper)
                low, high = (_points(value, metric) for value in bounds)
                text += f" [{low}, {high}]"
            facts.append((_minus(metric.comparison("ticket", what)), text))
    margin = metric.signed(metric.threshold(found.margin))
    facts.append(("margin", _minus(margin)))
    measured = f"test {metric.words}"
    if not metric.higher_is_better:
        measured += " (above 0 the ticket is better)"
    return Ruling(run.label, one.verdict, line, facts, measured)


def verdict(runs: Sequence[Run]) -> Section:
    """Makes the section on the verdict: its sentences, bounds and levels.

    Args:
        runs: one or several.
    """
    judged = [(run, found) for run in runs if (found := _judged(run))]
    texts: list[str] = []
    groups = by_metric([run for run, _ in judged])
    if len(runs) > 1:
        texts.append(
            "Each run is judged against its own dense network. The runs are "
            "not tested against each other."
        )
        if len(groups) > 1:
            texts.append(
                "They are judged by different metrics, whose values cannot be "
                "compared: each metric has figures and tables of its own, with "
                "its runs alone."
            )
    elif judged and judged[0][1].primary:
        run, found = judged[0]
        # The headline stands above, as a word and a line.
        texts += [found.text().partition("\n")[2], run.results.finding()]
    figures, tables = [], []
    for number, group in enumerate(groups):
        some = [(run, found) for run, found in judged if run in group]
        rows = [
            (run.label, *_numbers(one, found.metric)) for run, found in some
            for one in found.levels if len(runs) == 1 or one.primary
        ]
        if not rows:
            continue
        figures.append(_forest(f"verdict{suffix(number)}", some))
        names = (
            "run", "level", "density", "verdict", "pairs",
            *_bounds_columns(group[0].metric),
        )
        used = [
            n for n in range(len(runs) == 1, len(names))
            if any(row[n] is not None for row in rows)
        ]
        tables.append(
            Table(
                f"verdicts{suffix(number)}",
                [names[n] for n in used],
                [[row[n] for n in used] for row in rows],
            )
        )
    return Section("Verdict", texts, figures, tables)


def _judged(run: Run) -> analysis.Verdict | None:
    return run.results.verdict() if run.settings is not None else None


def _bounds_columns(metric: Metric) -> list[str]:
    mean, bound, unit = "ticket_minus_{}", "{}", "_pp"
    if not metric.percent:
        # `metric.comparison`: how much better the ticket is than another.
        mean = bound = "{}_gain"
        unit = "_percent" if metric.ratio else ""
    names = []
    for name in _CONTROLS:
        sides = ("lower", "upper") if name == "dense" else ("lower",)
        names.append(f"{mean.format(name)}{unit}")
        names += [f"{bound.format(name)}_{side}{unit}" for side in sides]
    return names


def _numbers(one: analysis.LevelVerdict, metric: Metric) -> list[Any]:
    values: list[Any] = [
        one.level, one.density, one.verdict,
        one.comparisons["dense"].paired.pairs,
    ]
    for name in _CONTROLS:
        found = one.comparisons.get(name)
        paired = found.paired if found else None
        values += [
            _scaled(paired.mean if paired else None, metric),
            _scaled(paired.lower if paired else None, metric),
        ]
        if name == "dense":
            values.append(_scaled(paired.upper if paired else None, metric))
    return values


def _forest(
    name: str, judged: Sequence[tuple[Run, analysis.Verdict]]
) -> Figure:
    """Differences with their bounds, a line each, and the margin."""
    lines, metric = [], judged[0][1].metric
    margins = [
        metric.points(metric.threshold(found.margin))
        for _, found in judged if found.primary
    ]
    for run, found in judged:
        for one in found.levels:
            if one.primary and len(judged) == 1:
                lines += [
                    (other, one.comparisons[other].paired)
                    for other in _CONTROLS if other in one.comparisons
                ]
            elif one.primary:
                lines.append((run.label, one.comparisons["dense"].paired))
    lines.reverse()
    figure, (axes,) = new_figure(height=1.1 + 0.38 * len(lines))
    axes.axvline(0.0, color="0.35", linewidth=0.9)
    dashed: dict[str, Any] = {
        "color": "0.35", "linewidth": 0.9, "linestyle": (0, (2, 2)),
    }
    if len(set(margins)) > 1:
        heights = range(len(lines) - 1, -1, -1)
        low, high = ([h + side for h in heights] for side in (-0.35, 0.35))
        axes.vlines(margins, low, high, label="margin of each run", **dashed)
    else:
        margin = margins[0]
        told = f"{margin:.2f}" if metric.ratio else f"{margin:g}"
        told = f"margin, {told} {metric.unit}".rstrip()
        axes.axvline(margin, label=told, **dashed)
    color, marker, _ = STYLES[0]
    for height, (_, paired) in enumerate(lines):
        if paired.lower is not None and paired.upper is not None:
            axes.plot(
                [metric.points(paired.lower), metric.points(paired.upper)],
                [height, height],
                color=color, linewidth=2.2, solid_capstyle="butt",
            )
        axes.plot(
            metric.points(paired.mean), height, marker=marker, color=color,
            markersize=6, linestyle="none",
        )
    axes.set_yticks(range(len(lines)), [_short(label) for label, _ in lines])
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    what = metric.comparison(
        "ticket", "other" if len(judged) == 1 else "dense"
    )
    unit = {"pp": "percentage points", "%": "%", "": ""}[metric.unit]
    axes.set_xlabel(
        f"test {metric.words}, {what}{f' ({unit})' if unit else ''}",
        fontsize=FONT_SIZE,
    )
    axes.legend(
        fontsize=SMALL, frameon=False, loc="lower left",
        bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0,
    )
    told = "; ".join(
        f"{label} {_points(paired.mean, metric)}"
        for label, paired in reversed(lines)
    )
    return Figure(
        name,
        figure,
        f"Mean of {what} at the level of the verdict,"
        f"{f' in {unit},' if unit else ''} with one-sided 95 % bounds where "
        f"there are some: {told}. Dashed: the margin.",
    )


def _scaled(advantage: float | None, metric: Metric) -> float | None:
    return None if advantage is None else metric.points(advantage)


def _points(advantage: float, metric: Metric) -> str:
    return _minus(metric.signed_number(advantage))


def _minus(text: str) -> str:
    return text.replace("-", "\N{MINUS SIGN}")


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:22]}..."

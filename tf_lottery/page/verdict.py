"""The verdict: what a run has shown, first of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tf_lottery import analysis
from tf_lottery import report
from tf_lottery.page.drawing import FONT_SIZE
from tf_lottery.page.drawing import SMALL
from tf_lottery.page.drawing import STYLES
from tf_lottery.page.drawing import new_figure
from tf_lottery.page.run import Run
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table

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
    """

    label: str
    word: str
    line: str
    facts: Sequence[tuple[str, str]] = ()


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
        f"at level {one.level}, {report.density_percent(one.density)} % of "
        f"the weights, over {count} {replicates}"
    )
    facts = []
    for name, what in (("dense", "dense"), ("reinit", "reinit"),
                       ("shuffle_mask", "shuffled mask"),
                       ("random_mask", "random mask")):
        if name in one.comparisons:
            paired = one.comparisons[name].paired
            text = f"{_points(paired.mean)} pp"
            if paired.lower is not None and paired.upper is not None:
                text += f" [{_points(paired.lower)}, {_points(paired.upper)}]"
            facts.append((f"ticket \N{MINUS SIGN} {what}", text))
    facts.append(("margin", f"{_points(-found.margin)} pp"))
    return Ruling(run.label, one.verdict, line, facts)


def verdict(runs: Sequence[Run]) -> Section:
    """Makes the section on the verdict: its sentences, bounds and levels.

    Args:
        runs: one or several.
    """
    judged = [(run, found) for run in runs if (found := _judged(run))]
    texts: list[str] = []
    if len(runs) > 1:
        texts.append(
            "Each run is judged against its own dense network. The runs are "
            "not tested against each other."
        )
    elif judged and judged[0][1].primary:
        run, found = judged[0]
        # The headline stands above, as a word and a line.
        texts += [found.text().partition("\n")[2], run.results.finding()]
    rows = [
        (run.label, *_numbers(one)) for run, found in judged
        for one in found.levels if len(runs) == 1 or one.primary
    ]
    names = ("run", "level", "density", "verdict", "pairs", *_bounds_columns())
    if len(runs) == 1:
        names, rows = names[1:], [row[1:] for row in rows]
    used = [
        n for n in range(len(names)) if any(row[n] is not None for row in rows)
    ]
    table = Table(
        "verdicts",
        [names[n] for n in used],
        [[row[n] for n in used] for row in rows],
    )
    figures = [_forest(judged)] if rows else []
    return Section(
        "Verdict", texts, figures, [table] if rows else []
    )


def _judged(run: Run) -> analysis.Verdict | None:
    return run.results.verdict() if run.settings is not None else None


def _bounds_columns() -> list[str]:
    names = []
    for name in _CONTROLS:
        names += [f"ticket_minus_{name}_pp", f"{name}_lower_pp"]
        names += [f"{name}_upper_pp"] if name == "dense" else []
    return names


def _numbers(one: analysis.LevelVerdict) -> list[Any]:
    values: list[Any] = [
        one.level, one.density, one.verdict,
        one.comparisons["dense"].paired.pairs,
    ]
    for name in _CONTROLS:
        found = one.comparisons.get(name)
        paired = found.paired if found else None
        values += [
            _times(paired.mean if paired else None),
            _times(paired.lower if paired else None),
        ]
        if name == "dense":
            values.append(_times(paired.upper if paired else None))
    return values


def _forest(judged: Sequence[tuple[Run, analysis.Verdict]]) -> Figure:
    """Differences with their bounds, a line each, and the margin."""
    lines = []
    for run, found in judged:
        for one in found.levels:
            if one.primary and len(judged) == 1:
                lines += [
                    (name, one.comparisons[name].paired)
                    for name in _CONTROLS if name in one.comparisons
                ]
            elif one.primary:
                lines.append((run.label, one.comparisons["dense"].paired))
    lines.reverse()
    figure, (axes,) = new_figure(height=1.1 + 0.38 * len(lines))
    margin = 100 * judged[0][1].margin
    axes.axvline(0.0, color="0.35", linewidth=0.9)
    axes.axvline(
        -margin, color="0.35", linewidth=0.9, linestyle=(0, (2, 2)),
        label=f"margin, -{margin:g} pp",
    )
    color, marker, _ = STYLES[0]
    for height, (_, paired) in enumerate(lines):
        if paired.lower is not None and paired.upper is not None:
            axes.plot(
                [100 * paired.lower, 100 * paired.upper], [height, height],
                color=color, linewidth=2.2, solid_capstyle="butt",
            )
        axes.plot(
            100 * paired.mean, height, marker=marker, color=color,
            markersize=6, linestyle="none",
        )
    axes.set_yticks(range(len(lines)), [_short(name) for name, _ in lines])
    axes.set_ylim(-0.6, len(lines) - 0.4)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    what = "ticket - other" if len(judged) == 1 else "ticket - dense"
    axes.set_xlabel(
        f"test accuracy, {what} (percentage points)", fontsize=FONT_SIZE
    )
    axes.legend(
        fontsize=SMALL, frameon=False, loc="lower left",
        bbox_to_anchor=(0.0, 1.0), borderaxespad=0.0,
    )
    told = "; ".join(
        f"{name} {_points(paired.mean)}" for name, paired in reversed(lines)
    )
    return Figure(
        "verdict",
        figure,
        f"Mean of {what} at the level of the verdict, in percentage points, "
        f"with one-sided 95 % bounds where there are some: {told}. The dashed "
        f"line is the margin.",
    )


def _times(fraction: float | None) -> float | None:
    return None if fraction is None else 100.0 * fraction


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.2f}".replace("-", "\N{MINUS SIGN}")


def _short(name: str) -> str:
    return name if len(name) <= 24 else f"{name[:22]}..."

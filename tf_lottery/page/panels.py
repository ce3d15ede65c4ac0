"""Panels of lines, one per kernel, against the weights remaining."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery.page.series import Point
from tf_lottery.page.series import Value
from tf_lottery.page.series import kernel_name
from tf_lottery.page.series import over_replicates
from tf_lottery.report import weights_axis
from tf_lottery.report.layout import solve_layout
from tf_lottery.report.styles import FONT_SIZE
from tf_lottery.report.styles import SMALL
from tf_lottery.report.styles import STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from tf_lottery.page.run import Run

# Lines in a panel at most.
_MOST_LINES = 6
_WIDTH, _HEIGHT, _LEGEND = 5.2, 3.2, 0.6


def panel_column(titles: Sequence[str]) -> tuple[Drawing, list[Axes]]:
    """Returns a figure of panels one below the other, as wide as a phone.

    Args:
        titles: of the panels, from the top; none where empty.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Figure(
        figsize=(_WIDTH, _HEIGHT * len(titles) + _LEGEND),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06),
    )
    panels = list(figure.subplots(len(titles), 1, squeeze=False).flat)
    for axes, title in zip(panels, titles):
        axes.set_title(title, fontsize=FONT_SIZE)
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, panels


def run_figure(
    runs: Sequence[Run], draw: Callable[[Axes, Run], None]
) -> Drawing:
    """Returns a figure with a panel per run.

    Args:
        runs: in order; of several each is named above its panel.
        draw: fills the panel of a run.
    """
    figure, panels = panel_column(
        [run.label if len(runs) > 1 else "" for run in runs]
    )
    for axes, run in zip(panels, runs):
        draw(axes, run)
    finish(figure, panels)
    return figure


def few_kernels(paths: Iterable[str], most: int = _MOST_LINES) -> list[str]:
    """Returns the kernels that a figure shows: evenly spread, ends included.

    Args:
        paths: of all, in order.
        most: how many there is room for.

    Example:
        >>> few_kernels("abcdefg", 3)
        ['a', 'd', 'g']
    """
    every = list(paths)
    if len(every) <= most:
        return every
    step = (len(every) - 1) / (most - 1)
    return [every[round(i * step)] for i in range(most)]


def draw_kernels(
    axes: Axes,
    run: Run,
    value: Value,
    label: str,
    *,
    factor: float = 1.0,
    dashed: Value | None = None,
    suffix: str = "",
    own: str = "",
) -> None:
    """Draws a line per kernel, with the range over replicates as a band.

    Args:
        axes: where.
        run: whose kernels they are; as many as there are styles.
        value: gives a number of a kernel.
        label: of the y axis, with its unit.
        factor: that numbers are multiplied by; 100 for percentages.
        dashed: gives a second number, for dotted lines.
        suffix: of the names of those in the legend.
        own: the same of the others.
    """
    series = over_replicates(run.measures, value)
    kernels = few_kernels(series)
    densities = _draw_lines(axes, [series[k] for k in kernels], factor, "-")
    names = list(map(kernel_name, kernels))
    if dashed is not None:
        series = over_replicates(run.measures, dashed)
        densities |= _draw_lines(
            axes, [series[k] for k in kernels], factor, ":"
        )
        names = [
            f"{name}{end}" for end in (own, suffix) for name in names
        ]
    for line, name in zip(axes.get_lines(), names):
        line.set_label(name)
    axes.set_ylabel(label, fontsize=FONT_SIZE)
    against_weights(axes, densities)


def _draw_lines(
    axes: Axes, kernels: Sequence[Sequence[Point]], factor: float, dashes: str
) -> set[float]:
    """Draws the lines, and returns the densities of their points."""
    densities = set()
    for i, (points, (color, marker, _)) in enumerate(zip(kernels, STYLES)):
        # A density of 0 has no place on a log axis.
        there = [p for p in points if p.density > 0 and p.spread.count]
        densities |= {p.density for p in there}
        x = [100.0 * p.density for p in there]
        spreads = [p.spread for p in there]
        if any(s.count > 1 for s in spreads):
            axes.fill_between(
                x, [factor * s.low for s in spreads],
                [factor * s.high for s in spreads],
                color=color, alpha=0.15, linewidth=0,
            )
        axes.plot(
            x, [factor * s.mean for s in spreads], color=color, marker=marker,
            # Of lines on one another the lower ones show at the edges.
            markersize=6.0 - 0.7 * i, linewidth=2.2 - 0.25 * i,
            linestyle=dashes,
            markerfacecolor=color if dashes == "-" else "white",
        )
    return densities


def against_weights(axes: Axes, densities: Iterable[float]) -> None:
    """Makes the axis of the weights remaining, or says that there is none.

    Args:
        axes: whose.
        densities: fractions above 0, of what is drawn there; if there is
            none it is said that nothing is.
    """
    if there := sorted(set(densities)):
        weights_axis(axes, there)
        return
    axes.set_xlabel("weights remaining (%)", fontsize=FONT_SIZE)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.text(
        0.5, 0.5, "no numbers", ha="center", va="center", fontsize=FONT_SIZE,
        transform=axes.transAxes,
    )


def level_line(axes: Axes, value: float, label: str) -> None:
    """Draws a thin horizontal line that something is held against.

    Args:
        axes: where.
        value: its height.
        label: its name in the legend.
    """
    axes.axhline(value, color="0.35", linewidth=0.9, label=label, zorder=1.5)


def finish(figure: Drawing, panels: Sequence[Axes]) -> None:
    """Adds one legend for all panels, and solves the layout.

    Args:
        figure: of the panels.
        panels: those whose lines are named; of equal names one is.
    """
    entries: dict[str, Any] = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        for handle, name in zip(handles, names):
            entries.setdefault(name, handle)
    if entries:
        longest = max(map(len, entries))
        # About 0.075 inch a letter at 9 points, and the sample line.
        room = figure.get_figwidth() / (0.075 * longest + 0.65)
        columns = max(1, min(len(entries), math.floor(room)))
        columns = -(-len(entries) // -(-len(entries) // columns))
        figure.legend(
            list(entries.values()), list(entries), frameon=False,
            loc="outside lower center", fontsize=SMALL, ncols=columns,
            handlelength=2.6, columnspacing=1.2,
        )
    solve_layout(figure)

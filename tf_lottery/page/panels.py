"""Panels of lines, one per kernel, against the weights remaining."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery.page.series import Point
from tf_lottery.page.series import kernel_name
from tf_lottery.report import weights_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

#: Colour (Okabe-Ito) and marker, by place.
STYLES = (
    ("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"),
    ("#E69F00", "v"), ("#56B4E9", "P"),
)
SIZE, SMALL = 10, 9
_WIDTH, _HEIGHT, _LEGEND = 3.6, 2.9, 0.5


def panel_grid(
    titles: Sequence[str], columns: int
) -> tuple[Drawing, list[Axes]]:
    """Returns a figure of panels, in rows.

    Args:
        titles: of the panels, in order.
        columns: panels in a row; the last row may have fewer.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    columns = min(columns, len(titles))
    rows = -(-len(titles) // columns)
    figure = Figure(
        figsize=(_WIDTH * columns, _HEIGHT * rows + _LEGEND),
        layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06),
    )
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[len(titles):]:
        axes.remove()
    for axes, title in zip(panels, titles):
        axes.set_title(title, fontsize=SIZE)
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, panels[: len(titles)]


def few_kernels(paths: Iterable[str], most: int = len(STYLES)) -> list[str]:
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


def draw_lines(
    axes: Axes,
    series: Mapping[str, Sequence[Point]],
    *,
    factor: float = 1.0,
    dashes: str = "-",
    suffix: str = "",
) -> None:
    """Draws a line per kernel, with the range over replicates as a band.

    Args:
        axes: where.
        series: `{path: points}` of at most `len(STYLES)` kernels.
        factor: that values are multiplied by; 100 for percentages.
        dashes: of the lines.
        suffix: of their names in the legend.
    """
    for (path, points), (color, marker) in zip(series.items(), STYLES):
        # A density of 0 has no place on a log axis.
        there = [p for p in points if p.density > 0 and p.spread.count]
        x = [100.0 * p.density for p in there]
        spreads = [p.spread for p in there]
        if any(s.count > 1 for s in spreads):
            axes.fill_between(
                x, [factor * s.low for s in spreads],
                [factor * s.high for s in spreads],
                color=color, alpha=0.15, linewidth=0,
            )
        solid = dashes == "-"
        axes.plot(
            x, [factor * s.mean for s in spreads], color=color, marker=marker,
            markersize=4.0, linewidth=1.5, linestyle=dashes,
            markerfacecolor=color if solid else "white",
            label=kernel_name(path) + suffix,
        )


def label_axes(
    axes: Axes, densities: Iterable[float], label: str
) -> None:
    """Labels the axes of a panel against the weights remaining.

    Args:
        axes: whose.
        densities: fractions; those above 0 have ticks.
        label: of the y axis, with its unit.
    """
    axes.set_ylabel(label, fontsize=SIZE)
    if there := sorted({d for d in densities if d > 0}):
        weights_axis(axes, there)


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
    # The layout shifts a little each time it is solved: solve it once, or
    # two saves of one figure would differ.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")

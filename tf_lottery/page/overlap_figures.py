"""How much masks share, drawn: against density, and run against run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tf_lottery.page.mask_pairs import ALL
from tf_lottery.page.mask_pairs import Group
from tf_lottery.report import weights_axis
from tf_lottery.report.layout import solve_layout
from tf_lottery.report.styles import FONT_SIZE
from tf_lottery.report.styles import SMALL
from tf_lottery.report.styles import STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Panels at most: the whole network, the first and the last kernels.
MOST_PANELS = 6


def overlap_figure(groups: Sequence[Group]) -> Figure:
    """Draws the Jaccard index against density, kernel by kernel.

    A line for each run (between its replicates) or two runs, the mean over
    pairs with the range from minimum to maximum as a band; a thin dotted line
    of the same colour is what chance gives.

    Args:
        groups: at least one; those of the same runs make a line. Where
            they have another number of kernels than the first, it is drawn
            for the whole network alone.

    Returns:
        A figure that belongs to no window and no pyplot state.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    lines: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        if group.densities[0] > 0:
            lines.setdefault(group.runs, []).append(group)
    # Of another run the same kernel may have another number.
    paths = next(iter(lines.values()), groups)[0].paths
    places = list(range(len(paths)))
    if len(places) > MOST_PANELS:
        last = (MOST_PANELS - 1) // 2
        places = [*places[: MOST_PANELS - last], *places[-last:]]
    tall = -(-len(places) // 2)
    figure = Figure(
        figsize=(6.4, 2.3 * tall + 0.7),
        layout=ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06, wspace=0.03),
    )
    panels = list(figure.subplots(tall, 2, squeeze=False, sharey=True).flat)
    for axes, place in zip(panels, places):
        name = paths[place]
        axes.set_title(
            "whole network" if name == ALL else name, fontsize=FONT_SIZE
        )
        drawn = []
        for index, line in enumerate(lines.values()):
            if name == ALL or len(line[0].paths) == len(paths):
                _draw(axes, line, place, *STYLES[index % len(STYLES)][:2])
                drawn += line
        densities = [group.densities[0] for group in drawn]
        weights_axis(axes, densities, gap=0.26)
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    # Of all panels, which share it, once all are drawn.
    panels[0].set_ylim(0, None)
    for axes in panels[: len(places) : 2]:
        axes.set_ylabel("Jaccard index", fontsize=FONT_SIZE)
    for axes in panels[len(places) :]:
        axes.set_visible(False)
    _legend(figure, panels[0], groups)
    solve_layout(figure)
    return figure


def overlap_matrix(labels: Sequence[str], groups: Sequence[Group]) -> Figure:
    """Draws the Jaccard index of every two runs as a matrix of cells.

    Below each index stands what chance gives. On the diagonal are the
    replicates of a run with each other, where there are several.

    Args:
        labels: of the runs, in order.
        groups: at most one for every two runs.

    Returns:
        A figure that belongs to no window and no pyplot state.
    """
    import numpy as np
    from matplotlib.figure import Figure

    values = np.full((len(labels), len(labels)), math.nan)
    chance = values.copy()
    for group in groups:
        if not set(group.runs) <= set(labels):
            continue
        i, j = map(labels.index, group.runs)
        for name, grid in (("jaccard", values), ("chance_jaccard", chance)):
            grid[i, j] = grid[j, i] = group.mean(ALL, name)
    side = max(3.6, 1.0 + 0.95 * len(labels))
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(
        np.ma.masked_invalid(values), cmap="cividis", vmin=0.0, vmax=1.0
    )
    for (i, j), value in np.ndenumerate(values):
        text = "" if math.isnan(value) else (
            f"{value:.2f}\n({chance[i, j]:.2f})"
        )
        axes.text(
            j, i, text, ha="center", va="center", fontsize=SMALL,
            color="black" if value > 0.5 else "white",
        )
    ticks = range(len(labels))
    axes.set_xticks(ticks, labels, rotation=35, ha="right", fontsize=SMALL)
    axes.set_yticks(ticks, labels, fontsize=SMALL)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, shrink=0.8)
    bar.set_label("Jaccard index (by chance)", fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=SMALL)
    solve_layout(figure)
    return figure


def _draw(
    axes: Axes, line: Sequence[Group], place: int, color: str, marker: str
) -> None:
    line = sorted(line, key=lambda group: group.densities[0])
    x = [100.0 * group.densities[0] for group in line]
    rows = [
        (
            group.mean(path, "jaccard"),
            group.mean(path, "chance_jaccard"),
            *(pick(o.jaccard for o in group.overlaps(path))
              for pick in (min, max)),
        )
        for group in line
        for path in (group.paths[place],)
    ]
    y, chance, low, high = map(list, zip(*rows))
    within = len(set(line[0].runs)) == 1
    axes.fill_between(x, low, high, color=color, alpha=0.18, linewidth=0)
    axes.plot(
        x, y, color=color, marker=marker, markersize=4.0, linewidth=1.6,
        linestyle="-" if within else "--", label=_label(line[0]),
    )
    axes.plot(x, chance, color=color, linewidth=0.9, linestyle=":")


def _label(group: Group) -> str:
    one, other = group.runs
    return f"replicates of {one}" if one == other else f"{one} and {other}"


def _legend(figure: Figure, axes: Axes, groups: Sequence[Group]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles, _ = axes.get_legend_handles_labels()
    if any(len(group.pairs) > 1 for group in groups):
        handles.append(Patch(
            color="0.35", alpha=0.18, linewidth=0, label="min to max of pairs"
        ))
    handles.append(Line2D(
        [], [], color="0.35", linewidth=0.9, linestyle=":",
        label="by chance",
    ))
    figure.legend(
        handles=handles, loc="outside lower center", frameon=False,
        fontsize=SMALL, ncols=min(len(handles), 2), handlelength=3.0,
    )

"""The figure of the lottery-ticket papers: accuracy and speed by density."""

import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery import atomic
from tf_lottery.metric import ACCURACY, Metric, density_percent, digits
from tf_lottery.report.layout import solve_layout
from tf_lottery.report.styles import FONT_SIZE, SMALL, STYLES
from tf_lottery.report.summary import (
    branch_order,
    summarize,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# The first of `STYLES` are these branches', with their names in the legend.
_BRANCHES = {
    "main": "ticket", "reinit": "reinit", "shuffle_mask": "shuffle_mask",
    "random_mask": "random_mask",
}
#: What `accuracy_figure` can draw, from left to right.
PANELS = ("accuracy", "early_stop")
# Share of the axis between tick labels: "51.3" at 9 points needs 0.1.
_TICK_GAP = 0.14


def accuracy_figure(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    panels: Sequence[str] = PANELS,
    metric: Metric = ACCURACY,
) -> "Figure":
    """Draws test accuracy and early-stop step against weights remaining.

    Left: mean test accuracy, or another metric, after the whole training
    budget. Right, where a row has an early-stop step: median
    step of minimum validation loss; hollow where it is only a lower bound,
    because the minimum was at the last evaluation. Both run from all weights
    on the left to few on the right (log scale), with the range from minimum
    to maximum over replicates as a band (ticket) or bars (controls), and
    the dense network as a thin horizontal line. If few points lie far below
    the rest the accuracy axis leaves them out: triangles at its lower edge
    (at the upper one of a metric that is better when less) mark where, and a
    note says how many.

    Args:
        rows: Rows of results.csv, in any order; some may be missing.
        title: The title above the panels; none if empty.
        panels: Which of `PANELS`, at least one.
        metric: What the networks are judged by.

    Returns:
        A figure of 9 x 4.2 inches, or 5.2 x 4.4 with one panel, that belongs
        to no window and no pyplot state, to be passed to `save_figure`.

    Raises:
        ValueError: `rows` is empty, or has no early-stop step to be drawn.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, figures 1, 3 and 4.
    """
    # A density of 0 (a collapsed network) has no place on a log axis.
    entries = [e for e in summarize(rows, metric) if e["density"] > 0.0]
    if not entries:
        raise ValueError(
            "`rows` must have at least one row with weights left. Received: "
            f"{len(rows)} rows. Finish a level first."
        )
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    stopped = [e for e in entries if e["early_stop_step_median"] is not None]
    if not stopped:
        panels = [name for name in panels if name != "early_stop"]
    if not panels:
        raise ValueError(
            "`rows` must have an early-stop step to be drawn alone. Received: "
            f"{len(rows)} rows without. Draw 'accuracy'."
        )
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.06, wspace=0.03)
    size = (9.0, 4.2) if len(panels) > 1 else (5.2, 4.4)
    figure = Figure(figsize=size, layout=layout)
    if title:
        figure.suptitle(title, fontsize=FONT_SIZE + 2)
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for name, axes in zip(panels, drawn):
        for branch, style in _styles(entries).items():
            there = entries if name == "accuracy" else stopped
            points = [e for e in there if e["branch"] == branch]
            if name == "accuracy":
                _draw(
                    axes, points, style, f"{metric.test}_{{}}", "mean",
                    metric.shown(1.0),
                )
            elif points:
                _draw(axes, points, style, "early_stop_step_{}", "median", 1.0)
        weights_axis(axes, [e["density"] for e in entries])
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        if name == "accuracy":
            _value_axis(axes, entries, _styles(entries), metric)
        else:
            _step_axis(axes, stopped)
    _legend(figure, drawn[0], entries, panels)
    solve_layout(figure)
    return figure


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Writes a figure as PNG in one step, with the same bytes each time.

    No date and no software version are written, so equal results give equal
    files (for one version of matplotlib).

    Args:
        figure: What `accuracy_figure` returned, or any matplotlib figure.
        path: The file to write, ending in ".png". Missing parent folders
            are created.

    Raises:
        ValueError: `path` does not end in ".png".
        OSError: The folder can not be written to.
    """
    if not os.fspath(path).lower().endswith(".png"):
        raise ValueError(
            "`path` must end in .png. Received: "
            f"path={os.fspath(path)}. Rename it."
        )
    buffer = io.BytesIO()
    figure.savefig(
        buffer, format="png", dpi=200, metadata={"Software": None}
    )
    atomic.replace_file(path, buffer.getvalue())


def _styles(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    branches = sorted({e["branch"] for e in entries}, key=branch_order)
    known = dict(zip(_BRANCHES, STYLES))
    others = [name for name in branches if name not in known]
    # Without these branches they are runs, side by side.
    free = STYLES[len(known):] if len(others) < len(branches) else STYLES
    styles: dict[str, Any] = {}
    for name in branches:
        if name in known:
            styles[name] = (*known[name], _BRANCHES[name])
        else:
            styles[name] = (*free[others.index(name) % len(free)], name)
    return styles


def _draw(
    axes: "Axes",
    points: Sequence[Mapping[str, Any]],
    style: tuple[str, str, Any, str],
    key: str,
    middle: str,
    factor: float,
) -> None:
    color, marker, dashes, label = style
    main = points[0]["branch"] == "main"
    x = [100.0 * e["density"] for e in points]
    y, low, high = (
        # A network that has diverged is at no height of the axis.
        [
            value if math.isfinite(value) else math.nan
            for value in (factor * e[key.format(name)] for e in points)
        ]
        for name in (middle, "min", "max")
    )
    if main and len(points) > 1:
        axes.fill_between(
            x, low, high, color=color, alpha=0.18, linewidth=0, zorder=2
        )
    elif any(e["replicates"] > 1 for e in points):
        # A band needs two levels; controls often have fewer.
        below = [max(a - b, 0.0) for a, b in zip(y, low)]
        above = [max(b - a, 0.0) for a, b in zip(y, high)]
        axes.errorbar(
            x, y, yerr=[below, above], fmt="none", ecolor=color,
            elinewidth=1.0, capsize=2.5, zorder=3,
        )
    hollow = middle == "median"
    axes.plot(
        x, y, color=color, linestyle=dashes, linewidth=1.6, label=label,
        marker=marker, markersize=4.5, zorder=4 if main else 3,
    )
    bounds = [
        (a, b) for a, b, e in zip(x, y, points)
        if hollow and e["early_stop_is_bound"]
    ]
    if bounds:
        axes.plot(
            *zip(*bounds), color=color, linestyle="none", marker=marker,
            markersize=4.5, markerfacecolor="white", zorder=5,
        )
    if main and points[0]["level"] == 0:
        axes.axhline(y[0], color="0.35", linewidth=0.9, zorder=1.5)


def weights_axis(
    axes: "Axes", densities: Sequence[float], gap: float = _TICK_GAP
) -> None:
    """Makes x the weights remaining: all on the left, few on the right.

    Args:
        axes: a panel whose x are densities in percent.
        densities: of its points, fractions above 0.
        gap: between two tick labels, as a share of the axis; larger for a
            narrower panel.
    """
    from matplotlib.ticker import NullFormatter

    percents = sorted({100.0 * d for d in densities}, reverse=True)
    most, least = percents[0], percents[-1]
    margin = 1.4 if most == least else (most / least) ** 0.04
    axes.set_xscale("log")
    axes.set_xlim(most * margin, least / margin)
    ticks = _spaced(percents, gap)
    axes.set_xticks(ticks, [_tick(percent) for percent in ticks])
    axes.set_xticks(percents, minor=True)
    # Below one decade matplotlib would label the minor ticks too.
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("weights remaining (%)", fontsize=FONT_SIZE)


def _spaced(percents: Sequence[float], share: float) -> list[float]:
    """Leaves out ticks, from large to small, until the labels fit."""
    gap = share * math.log(percents[0] / percents[-1])
    kept = [percents[0]]
    for percent in percents[1:]:
        if math.log(kept[-1] / percent) >= gap:
            kept.append(percent)
    # The sparsest level is the one people look for; it takes the place of
    # a neighbour that is too near.
    kept[-1] = percents[-1]
    return kept


def _tick(percent: float) -> str:
    text = density_percent(percent / 100.0)
    return text.removesuffix(".0") if percent >= 99.95 else text


def _value_axis(
    axes: "Axes",
    entries: Sequence[Mapping[str, Any]],
    styles: Mapping[str, Any],
    metric: Metric,
) -> None:
    axes.set_ylabel(metric.axis, fontsize=FONT_SIZE)
    # Heights are turned so that better is up; the axis is turned back.
    sign = 1.0 if metric.higher_is_better else -1.0

    def heights(name: str, some: Sequence[Mapping[str, Any]]) -> list[float]:
        found = [metric.shown(e[f"{metric.test}_{name}"]) for e in some]
        return [sign * value for value in found]

    best, worst = ("max", "min") if sign > 0 else ("min", "max")
    means = heights("mean", entries)
    finite = [value for value in means if math.isfinite(value)]
    if not finite:
        return
    main = heights("mean", [e for e in entries if e["branch"] == "main"])
    main = [value for value in main if math.isfinite(value)]
    top = max(filter(math.isfinite, heights(best, entries)))
    # A percentage point, or a quarter of the best.
    least = 1.0 if metric.percent else abs(max(finite)) / 4.0
    floor = _robust_floor(main or finite, finite, least)
    # Bars of points that are shown may reach lower, within reason.
    lows = [
        low for low, value in zip(heights(worst, entries), means)
        if value >= floor and math.isfinite(low)
    ]
    bottom = max(min([floor, *lows]), top - 1.3 * (top - floor))
    pad = 0.06 * (top - bottom) or 0.5
    edge = bottom - pad
    highest = min(top + pad, 100.0 + pad) if metric.percent else top + pad
    axes.set_ylim(*sorted((sign * edge, sign * highest)))
    hidden = [e for e, value in zip(entries, means) if value < edge]
    for e in hidden:
        axes.plot(
            100.0 * e["density"], sign * edge, marker="v" if sign > 0 else "^",
            markersize=6, color=styles[e["branch"]][0],
            markerfacecolor="white", clip_on=False, zorder=6,
            gid="hidden-point",
        )
    if hidden:
        plural = "" if len(hidden) == 1 else "s"
        side, y = ("below", 0.035) if sign > 0 else ("above", 0.965)
        axes.text(
            0.015, y,
            f"{len(hidden)} point{plural} {side} "
            f"{_edge(sign * edge, metric)} cut off",
            transform=axes.transAxes, fontsize=SMALL, color="0.25",
            gid="hidden-note", zorder=6,
            verticalalignment="baseline" if sign > 0 else "top",
            bbox={"color": "white", "alpha": 0.85, "pad": 1.0},
        )


def _edge(value: float, metric: Metric) -> str:
    if metric.percent:
        return f"{value:.1f} %"
    return f"{value:.1f}" if abs(value) >= 1.0 else digits(value)


def _robust_floor(
    main: Sequence[float], means: Sequence[float], least: float
) -> float:
    """Returns the lowest mean to show.

    Everything, unless the lowest point would take more than twice the range
    that three times the ticket's typical loss (upper quartile, at least
    `least`) needs.
    """
    best = max(means)
    losses = sorted(best - value for value in main)
    typical = losses[(3 * (len(losses) - 1)) // 4]
    span = 3.0 * max(typical, least)
    lowest = min(means)
    if span == 0.0 or best - lowest <= 2.0 * span:
        return lowest
    return min(value for value in means if best - value <= span)


def _step_axis(axes: "Axes", entries: Sequence[Mapping[str, Any]]) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axes.set_ylabel(
        "step of minimum validation loss", fontsize=FONT_SIZE
    )
    top = max(e["early_stop_step_max"] for e in entries)
    axes.set_ylim(0, 1.08 * top or 1)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _legend(
    figure: "Figure",
    axes: "Axes",
    entries: Sequence[Mapping[str, Any]],
    panels: Sequence[str],
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles, labels = axes.get_legend_handles_labels()
    if any(e["branch"] == "main" and e["level"] == 0 for e in entries):
        handles.insert(1, Line2D([], [], color="0.35", linewidth=0.9))
        labels.insert(1, "dense network")
    replicates = max(e["replicates"] for e in entries)
    if replicates > 1:
        handles.append(Patch(color="0.35", alpha=0.18, linewidth=0))
        labels.append(f"min to max of {replicates} replicates")
    late = any(e["early_stop_is_bound"] for e in entries)
    if late and "early_stop" in panels:
        handles.append(Line2D(
            [], [], color="0.35", linestyle="none", marker="o",
            markersize=4.5, markerfacecolor="white",
        ))
        labels.append("lower bound (loss still falling)")
    count = len(handles)
    columns = count if count <= 5 else (count + 1) // 2
    if len(panels) == 1:
        columns = 2
    figure.legend(
        handles, labels, loc="outside lower center", frameon=False,
        fontsize=SMALL, ncols=columns, handlelength=3.0,
    )

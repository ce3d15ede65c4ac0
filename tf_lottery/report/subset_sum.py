"""How many candidates subset sum took: a figure, a table, a file."""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery import atomic
from tf_lottery.report.layout import solve_layout
from tf_lottery.report.styles import FONT_SIZE, SMALL, STYLES
from tf_lottery.theory import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TITLES = {
    "uniform": "uniform on [-1, 1]",
    "normal": "standard normal",
    "product": "product of two uniforms",
}


def subset_sum_figure(points: Sequence[Point], *, title: str) -> Figure:
    """Draws the number of candidates against `epsilon / eta`.

    A panel for each distribution, with a line for each eta: solid and with
    markers what the draws took, dotted the counting bound below which no draw
    covers. Dashed is `log(1/eta) / log(5/4 + epsilon/2)`, the theorem's order
    with the constant 1, in the panel of the uniform distribution, which it is
    about. A hollow triangle near the upper edge: the share of the draws was
    not reached with the most candidates tried.

    Args:
        points: what `tf_lottery.theory.sweep` yields.
        title: the title above the panels.

    Returns:
        A figure that belongs to no window and no pyplot state, to be passed
        to `save_figure`.

    Raises:
        ValueError: `points` is empty.

    Reference:
        Xiong, Liao and Kyrillidis, 2023, arXiv:2210.16589, draw the required
        number against the relative scale epsilon / eta.
    """
    if not points:
        raise ValueError(
            "`points` must have at least one. Received: none. Pass what a "
            "sweep yields."
        )
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    names = list(dict.fromkeys(p.distribution for p in points))
    etas = sorted({p.eta for p in points}, reverse=True)
    ratios = _spaced(sorted({p.ratio for p in points}))
    styles = {e: STYLES[i % len(STYLES)][:2] for i, e in enumerate(etas)}
    figure = Figure(
        figsize=(max(5.0, 2.75 * len(names)), 4.0),
        layout=ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06, wspace=0.03),
    )
    figure.suptitle(title, fontsize=FONT_SIZE + 2)
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    top = _top(points)
    for axes, name in zip(panels, names):
        for eta in etas:
            line = sorted(
                (p for p in points if (p.distribution, p.eta) == (name, eta)),
                key=lambda p: p.ratio,
            )
            # Smaller ones lie upon larger ones: all can be seen.
            size = max(3.5, 7.5 - 1.5 * etas.index(eta))
            _draw(axes, line, *styles[eta], size)
            # Below each other where several were not reached.
            height = top * (1.0 - 0.05 * etas.index(eta))
            _draw_never(axes, line, styles[eta][0], height)
        axes.set_title(_TITLES.get(name, name), fontsize=FONT_SIZE)
        axes.set_xlabel("epsilon / eta", fontsize=FONT_SIZE)
        axes.set_ylim(0, top)
        axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    panels[0].set_ylabel("candidates n", fontsize=FONT_SIZE)
    panels[0].yaxis.get_major_locator().set_params(integer=True)
    _legend(figure, points, styles)
    solve_layout(figure)
    return figure


def subset_sum_table(points: Iterable[Point]) -> str:
    """Returns the points as aligned plain text, one line each.

    Args:
        points: what `tf_lottery.theory.sweep` yields.

    Returns:
        Lines joined by newlines: the smallest number of candidates that the
        share of the draws took (">": more than were tried), its median and
        its least over the draws, how many draws never covered, then the
        theorem's order, where it is about the distribution, and the counting
        bound.

    Example:
        >>> print(subset_sum_table([]))
        distribution  eta  epsilon/eta  n  median  fewest  never  order  bound
    """
    rows = [[
        "distribution", "eta", "epsilon/eta", "n", "median", "fewest",
        "never", "order", "bound",
    ]]
    for p in points:
        rows.append([
            p.distribution, f"{p.eta:g}", f"{p.ratio:g}",
            *(
                f"> {p.max_candidates}" if n is None else str(n)
                for n in (p.candidates, p.median, p.fewest)
            ),
            f"{p.never} of {p.trials}" if p.never else "0",
            f"{p.order:.1f}" if p.distribution == "uniform" else "-",
            "none" if p.bound is None else str(p.bound),
        ])
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Returns cells as lines of text, the first column to the left.

    Args:
        rows: the cells, equally many in each row.

    Returns:
        Lines joined by newlines.

    Example:
        >>> print(aligned([["a", "b"], ["long", "10"]]))
        a      b
        long  10
    """
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(
            [cells[0].ljust(widths[0])]
            + [c.rjust(w) for c, w in zip(cells[1:], widths[1:])]
        ).rstrip()
        for cells in rows
    )


def write_table(
    names: Sequence[str],
    rows: Iterable[Sequence[Any]],
    path: str | os.PathLike[str],
) -> None:
    """Writes rows as a CSV file, in one step, floats with all their digits.

    Args:
        names: of the columns.
        rows: their values; None is left empty.
        path: the file to write. Missing parent folders are created.

    Raises:
        OSError: the folder can not be written to.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    atomic.replace_file(path, text.getvalue().encode("utf-8"))


def write_points(
    points: Iterable[Point], path: str | os.PathLike[str]
) -> None:
    """Writes the points as a CSV file, one row each.

    Args:
        points: what `tf_lottery.theory.sweep` yields.
        path: the file to write; its columns are the fields of `Point`.

    Raises:
        OSError: the folder can not be written to.
    """
    names = [field.name for field in dataclasses.fields(Point)]
    write_table(names, map(dataclasses.astuple, points), path)


def _top(points: Sequence[Point]) -> float:
    """The end of the axis: all that is drawn, and a little more."""
    values = [float(p.bound or 0) for p in points]
    values += [p.order for p in points if p.distribution == "uniform"]
    values += [float(p.candidates or 0) for p in points]
    return 1.06 * max(max(values), 1.0)


def _draw(
    axes: Axes,
    line: Sequence[Point],
    color: str,
    marker: str,
    markersize: float,
) -> None:
    def curve(values: Sequence[float | None], **options: Any) -> None:
        # A gap where there is no number.
        numbers = [float("nan") if v is None else v for v in values]
        axes.plot([p.ratio for p in line], numbers, color=color, **options)

    curve(
        [p.candidates for p in line], marker=marker, markersize=markersize,
        linewidth=1.8, zorder=4, gid="measured",
    )
    curve(
        [p.bound for p in line], linestyle=":", linewidth=1.6, zorder=3,
        gid="bound",
    )
    if line and line[0].distribution == "uniform":
        curve(
            [p.order for p in line], linestyle=(0, (5, 3)), linewidth=1.2,
            zorder=2, gid="order",
        )


def _draw_never(
    axes: Axes, line: Sequence[Point], color: str, height: float
) -> None:
    for p in line:
        if p.candidates is None:
            axes.plot(
                p.ratio, height, marker="^", markersize=7, color=color,
                markerfacecolor="white", clip_on=False, zorder=5,
                gid="never",
            )


def _spaced(ratios: Sequence[float]) -> list[float]:
    """Leaves out ticks whose labels would touch."""
    gap = 0.09 * (ratios[-1] - ratios[0])
    kept = [ratios[0]]
    for ratio in ratios[1:]:
        if ratio - kept[-1] >= gap:
            kept.append(ratio)
    return kept


def _legend(
    figure: Figure, points: Sequence[Point], styles: dict[float, Any]
) -> None:
    from matplotlib.lines import Line2D

    def entry(label: str, **options: Any) -> Line2D:
        return Line2D([], [], label=label, **{"color": "0.25", **options})

    first = points[0]
    handles = [
        entry(f"eta = {eta:g}", color=color, marker=marker, markersize=5)
        for eta, (color, marker) in styles.items()
    ]
    handles += [
        entry(f"{100 * first.probability:g} % of {first.trials} draws cover"),
        entry("counting bound: none can cover below", linestyle=":"),
    ]
    if any(p.distribution == "uniform" for p in points):
        handles.append(
            entry("theorem, up to a constant (C = 1)", linestyle=(0, (5, 3)))
        )
    if any(p.candidates is None for p in points):
        handles.append(entry(
            f"more than {first.max_candidates}", marker="^", markersize=7,
            markerfacecolor="white", linestyle="none",
        ))
    figure.legend(
        handles=handles, loc="outside lower center", fontsize=SMALL,
        ncols=3 if figure.get_figwidth() > 7 else 2, frameon=False,
    )

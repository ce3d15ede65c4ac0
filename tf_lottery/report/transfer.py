"""The matrix of transferred tickets: table, sentence and figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery.metric import ACCURACY, Metric, density_percent, digits
from tf_lottery.report.styles import FONT_SIZE, STYLES
from tf_lottery.report.summary import mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_Cells = Sequence[Mapping[str, Any]]
# Below and above random tickets. Each cell has its number too.
_BELOW, _ABOVE = STYLES[1][0], STYLES[0][0]


def transfer_table(cells: _Cells, metric: Metric = ACCURACY) -> str:
    """Returns ticket - random ticket in percentage points, as text.

    Args:
        cells: dicts with the names of `transfer_columns`; sources are down,
            targets across. `*` marks what is shown to be above 0.
        metric: what the networks are judged by, in whose unit it is.

    Example:
        >>> cells = [{"source": s, "target": t, "own": s == t, "level": 1,
        ...     "density": 0.2, "replicates": 2, "difference": d,
        ...     "lower": d - 0.01, "upper": d + 0.01, "p_above": p}
        ...     for s, t, d, p in [("a", "a", 0.03, 0.01),
        ...                        ("a", "b", 0.005, 0.3)]]
        >>> print(transfer_table(cells))
        found on | trained on  a                        b
        a                      [+3.00* (+2.00, +4.00)]  +0.50 (-0.50, +1.50)
        In brackets a run's own tickets, not transferred. In parentheses
        one-sided 95 % bounds. *: above 0, of transferred tickets after
        Holm's correction for their number.
    """
    if not cells:
        return "Nothing finished yet."
    sources, targets, grid = _grid(cells)
    lines = [["found on | trained on", *targets]]
    for source in sources:
        line = [source]
        for target in targets:
            cell = grid.get((source, target))
            text = " ".join(_number(cell, metric)) if cell else ""
            line.append(f"[{text}]" if cell and cell["own"] else text)
        lines.append(line)
    return (
        f"{_left(lines)}\n"
        "In brackets a run's own tickets, not transferred. In parentheses\n"
        "one-sided 95 % bounds. *: above 0, of transferred tickets after\n"
        "Holm's correction for their number."
    )


def transfer_finding(cells: _Cells, metric: Metric = ACCURACY) -> str:
    """Returns in words whether transferred tickets beat random ones.

    Args:
        cells: as of `transfer_table`.
        metric: as of `transfer_table`.
    """
    moved = [cell for cell in cells if not cell["own"]]
    if not moved:
        return "Nothing has been transferred yet."
    above = sum(cell["difference"] > 0 for cell in moved)
    shown = sum(_shown(cell) for cell in moved)
    unit = f" {metric.unit}".rstrip()
    # Of a cost what is above is worse.
    side = "above" if metric.higher_is_better else "better than"
    text = (
        f"Of {len(moved)} transferred tickets {above} "
        f"{'is' if above == 1 else 'are'} {side} random tickets of equal layer "
        f"counts by the mean, {shown} of them shown to be; on average by "
        f"{_signed(mean([c['difference'] for c in moved]), metric)}{unit}"
    )
    own = [cell["difference"] for cell in cells if cell["own"]]
    if own:
        much = _signed(mean(own), metric)
        text += f", where the tickets were found by {much}{unit}"
    text += ". "
    if all(cell["p_above"] is None for cell in moved):
        text += "Replicates are too few to show anything. "
    return f"{text}Morcos et al. (2019) found transferred tickets above."


def transfer_figure(
    cells: _Cells, *, title: str, metric: Metric = ACCURACY
) -> Figure:
    """Draws the matrix: ticket - random ticket, sources down, targets across.

    Each cell has its number with its bounds, and a star where it is shown to
    be above 0; a run's own tickets, not transferred, have a frame.

    Args:
        cells: as of `transfer_table`, at least one.
        title: above it.
        metric: as of `transfer_table`.

    Returns:
        A figure that belongs to no pyplot state, for `save_figure`.

    Reference:
        Morcos et al., 2019, arXiv:1906.02773, figures 4 to 7, has the same
        comparisons as curves.
    """
    import numpy as np
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    sources, targets, grid = _grid(cells)
    values = np.full((len(sources), len(targets)), np.nan)
    for (source, target), cell in grid.items():
        place = sources.index(source), targets.index(target)
        values[place] = _factor(metric) * cell["difference"]
    far = float(np.nanmax(np.abs(values))) or 1.0
    if metric.unit:
        # One step of accuracy is no colour: at least a percentage point.
        far = max(1.0, far)
    figure = Figure(
        figsize=(2.8 + 1.35 * len(targets), 1.9 + 0.95 * len(sources)),
        layout="constrained",
    )
    axes = figure.subplots()
    colors = LinearSegmentedColormap.from_list(
        "transfer", [_BELOW, "#FFFFFF", _ABOVE]
    )
    image = axes.imshow(
        values, cmap=colors, vmin=-far, vmax=far, aspect="auto"
    )
    for (source, target), cell in grid.items():
        row, column = sources.index(source), targets.index(target)
        # Black reads better on all of the colours but the darkest blue.
        dark = values[row, column] > 0.9 * far
        axes.text(
            column, row, "\n".join(_number(cell, metric)), ha="center",
            va="center",
            fontsize=FONT_SIZE, color="white" if dark else "black",
        )
        if cell["own"]:
            axes.add_patch(Rectangle(
                (column - 0.47, row - 0.47), 0.94, 0.94, fill=False,
                edgecolor="black", linewidth=2, gid="own",
            ))
    axes.set_xticks(range(len(targets)), targets, fontsize=FONT_SIZE)
    axes.set_yticks(range(len(sources)), sources, fontsize=FONT_SIZE)
    if max(map(len, targets)) > 12:
        axes.tick_params(axis="x", rotation=30)
    axes.set_xlabel("trained on", fontsize=FONT_SIZE)
    axes.set_ylabel("ticket found on", fontsize=FONT_SIZE)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes)
    unit = f" ({metric.unit})" if metric.unit else ""
    bar.set_label(
        f"{metric.comparison('ticket', 'random ticket')}{unit}",
        fontsize=FONT_SIZE,
    )
    axes.set_title(
        f"{title}\n{_where(cells)}\nframe: own tickets, not transferred; "
        "*: above 0",
        fontsize=FONT_SIZE,
    )
    return figure


def _where(cells: _Cells) -> str:
    densities = [
        density_percent(n) for n in sorted(c["density"] for c in cells)
    ]
    counts = sorted(cell["replicates"] for cell in cells)
    return (
        f"{_span(densities)} % of the weights, "
        f"{_span(counts)} replicate(s)"
    )


def _span(values: Sequence[Any]) -> str:
    first, last = values[0], values[-1]
    return f"{first}" if first == last else f"{first} to {last}"


def _factor(metric: Metric) -> float:
    """What numbers of transfer.csv are multiplied by for people."""
    return 100.0 if metric.percent or metric.ratio else 1.0


def _signed(value: float, metric: Metric) -> str:
    number = _factor(metric) * value
    return f"{number:+.2f}" if metric.unit else digits(number, sign=True)


def _number(cell: Mapping[str, Any], metric: Metric) -> list[str]:
    star = "*" if _shown(cell) else ""
    parts = [f"{_signed(cell['difference'], metric)}{star}"]
    if cell["lower"] is not None:
        low, high = (_signed(cell[n], metric) for n in ("lower", "upper"))
        parts.append(f"({low}, {high})")
    return parts


def _shown(cell: Mapping[str, Any]) -> bool:
    # With it comes TensorFlow, which a sweep of subset sums does without.
    from tf_lottery.analysis import ALPHA

    return cell["p_above"] is not None and cell["p_above"] <= ALPHA


def _grid(cells: _Cells) -> tuple[list[str], list[str], dict]:
    sources = list(dict.fromkeys(cell["source"] for cell in cells))
    targets = list(dict.fromkeys(cell["target"] for cell in cells))
    return sources, targets, {(c["source"], c["target"]): c for c in cells}


def _left(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip()
        for line in lines
    )

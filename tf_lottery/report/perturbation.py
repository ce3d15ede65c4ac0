"""Table and figures of strong tickets against epsilon."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery.metric import density_percent
from tf_lottery.report.styles import FONT_SIZE, STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Rows = Sequence[Mapping[str, Any]]
# Columns of perturbation.csv.
_COLUMNS = (
    "epsilon", "replicate", "level", "density", "kept_weights",
    "test_accuracy", "val_accuracy", "train_accuracy", "train_steps",
)
_UNITS = {"absolute": "", "sigma": " (standard deviations)"}
_BLUE, _ORANGE, _GREY = STYLES[0][0], STYLES[1][0], "0.35"


def perturbation_table(rows: _Rows, unit: str = "absolute") -> str:
    """Returns mean test accuracies in percent: epsilon across, density down.

    The first line is the network before it is masked; the best density of
    every epsilon is marked.

    Args:
        rows: of `PerturbationResults`; controls are left out.
        unit: of epsilon.

    Example:
        >>> rows = [{"epsilon": e, "replicate": 0, "branch": "main",
        ...     "level": level, "density": d, "test_accuracy": a}
        ...     for e, level, d, a in [(0.0, 0, 1.0, 0.1), (0.0, 1, 0.5, 0.8),
        ...         (0.1, 0, 1.0, 0.9), (0.1, 1, 0.5, 0.85)]]
        >>> print(perturbation_table(rows))
        test accuracy %, mean of 1 replicate(s)
        density % | epsilon  0       0.1
        -----------------------------------
        before masking       10.00   90.00
        50.0                 80.00*  85.00*
        * the best density of its column
    """
    grid = _Grid(rows)
    if not grid.cells:
        return "Nothing finished yet."
    count = max(len(v) for v in grid.cells.values())
    lines = [[f"density % | epsilon{_UNITS[unit]}"]]
    lines[0] += [f"{e:g}" for e in grid.epsilons]
    for level, density in grid.density.items():
        line = [density_percent(density) if level else "before masking"]
        for epsilon in grid.epsilons:
            mark = "*" if grid.best.get(epsilon) == level else ""
            there = grid.has(epsilon, level)
            line.append(
                f"{grid.mean(epsilon, level):.2f}{mark}" if there else ""
            )
        lines.append(line)
    widths = [max(map(len, column)) for column in zip(*lines)]
    text = [
        "  ".join(c.ljust(w) for c, w in zip(line, widths)).rstrip()
        for line in lines
    ]
    text.insert(1, "-" * max(map(len, text)))
    return "\n".join([
        f"test accuracy %, mean of {count} replicate(s)",
        *text,
        "* the best density of its column",
    ])


def perturbation_finding(rows: _Rows) -> str:
    """Returns in words whether accuracy and best density rise with epsilon.

    Args:
        rows: as of `perturbation_table`.
    """
    grid = _Grid(rows)
    best = grid.best
    if len(best) < 2:
        return "Two values of epsilon at least are to be compared."
    masked = [level for level in grid.density if level]
    rising = 0
    for level in masked:
        means = [grid.mean(e, level) for e in best if grid.has(e, level)]
        rising += all(a <= b for a, b in zip(means, means[1:]))
    tops = [grid.mean(e, level) for e, level in best.items()]
    densities = [grid.density[level] for level in best.values()]
    more = all(a <= b for a, b in zip(tops, tops[1:]))
    denser = all(a <= b for a, b in zip(densities, densities[1:]))
    return (
        f"From one epsilon to the next accuracy never falls at {rising} of "
        f"{len(masked)} densities. Best accuracy goes from {tops[0]:.2f} to "
        f"{tops[-1]:.2f} % and {'never' if more else 'sometimes'} falls; the "
        f"best density goes from {density_percent(densities[0])} to "
        f"{density_percent(densities[-1])} % and "
        f"{'never' if denser else 'sometimes'} falls."
    )


def perturbation_csv(rows: _Rows) -> str:
    """Returns one line per epsilon, replicate and level of the tickets.

    Args:
        rows: as of `perturbation_table`.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, _COLUMNS, extrasaction="ignore", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(r for r in rows if r["branch"] == "main")
    return text.getvalue()


def perturbation_figure(
    rows: _Rows, unit: str = "absolute", *, title: str
) -> Figure:
    """Draws best accuracy (a) and best density (b) against epsilon.

    Lines are of the mean over replicates; dots, beside them, are of the
    replicates alone. In (a) the accuracy before the network is masked is
    drawn too.

    Args:
        rows: as of `perturbation_table`.
        unit: of epsilon.
        title: above both panels.

    Returns:
        A figure of 9 x 4.2 inches, as `accuracy_figure`.

    Raises:
        ValueError: no ticket is finished.
    """
    grid = _Grid(rows)
    best = grid.best
    if not best:
        raise ValueError(
            "`rows` must have a masked network. Received: "
            f"{len(rows)} rows. Finish a level first."
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=FONT_SIZE + 2)
    left, right = figure.subplots(1, 2)
    # Evenly spaced: epsilons span decades, and 0 is mostly among them.
    place = {e: i for i, e in enumerate(grid.epsilons)}
    before = [e for e in place if grid.has(e, 0)]
    left.plot(
        [place[e] for e in before], [grid.mean(e, 0) for e in before],
        color=_GREY, linestyle="--", marker="s", markersize=4,
        label="before masking",
    )
    line: dict[str, Any] = dict(color=_BLUE, marker="o", markersize=5)
    left.plot(
        [place[e] for e in best], [grid.mean(e, n) for e, n in best.items()],
        label="best masked", **line,
    )
    right.plot(
        [place[e] for e in best],
        [100 * grid.density[n] for n in best.values()],
        label="best by the mean", **line,
    )
    # One replicate has no spread to show.
    replicates = sorted({row["replicate"] for row in rows})
    alone = [
        _Grid([row for row in rows if row["replicate"] == n])
        for n in replicates if len(replicates) > 1
    ]
    dots: dict[str, Any] = dict(
        color=_ORANGE, linestyle="none", marker="x", markersize=5, zorder=4
    )
    for i, one in enumerate(alone):
        label = "" if i else "one replicate"
        left.plot(
            [place[e] for e in one.best],
            [one.mean(e, n) for e, n in one.best.items()],
            label=label, **dots,
        )
        right.plot(
            [place[e] for e in one.best],
            [100 * one.density[n] for n in one.best.values()],
            label=label, **dots,
        )
    _leave_out(
        left,
        [grid.mean(e, n) for e, n in best.items()],
        [grid.mean(e, 0) for e in before],
    )
    for axes, letter, label, corner in (
        (left, "a", "test accuracy (%)", "upper left"),
        (right, "b", "density of the best mask (%)", "lower right"),
    ):
        axes.set_xticks(range(len(place)), [f"{e:g}" for e in place])
        axes.set_xlim(-0.4, len(place) - 0.6)
        axes.set_xlabel(f"epsilon{_UNITS[unit]}", fontsize=FONT_SIZE)
        axes.set_ylabel(label, fontsize=FONT_SIZE)
        axes.set_title(f"({letter})", loc="left", fontsize=FONT_SIZE)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=FONT_SIZE - 1, loc=corner)
    right.set_ylim(0, 100)
    return figure


def _leave_out(
    axes: Axes, shown: Sequence[float], before: Sequence[float]
) -> None:
    """Ends the axis below the masked networks, and says what it leaves out.

    A network whose weights hardly moved is at chance before it is masked: on
    one axis with it all others would lie on one line.
    """
    span = max(max(shown) - min(shown), 1.0)
    bottom = min(shown) - span
    below = sum(value < bottom for value in before)
    if below:
        axes.set_ylim(bottom=bottom, top=max(shown) + 0.6 * span)
        axes.text(
            0.985, 0.03, f"{below} before masking below {bottom:.0f} %",
            transform=axes.transAxes, ha="right", fontsize=FONT_SIZE - 1,
            color="0.25",
        )


class _Grid:
    """Accuracies by epsilon and level, over the replicates.

    Of replicates that not every cell has, only those that all have count:
    means are to be compared.

    Args:
        rows: as of `perturbation_table`.

    Attributes:
        cells: `{(epsilon, level): accuracies}`.
        epsilons: in order.
        density: `{level: density}`, in order; level 0 is not masked.
    """

    def __init__(self, rows: _Rows):
        found: dict[tuple[float, int], dict[int, float]] = {}
        density = {}
        for row in rows:
            if row["branch"] == "main":
                cell = found.setdefault((row["epsilon"], row["level"]), {})
                cell[row["replicate"]] = row["test_accuracy"]
                density[row["level"]] = row["density"]
        common = set.intersection(*map(set, found.values())) if found else set()
        self.cells = {
            key: [v for n, v in cell.items() if n in common or not common]
            for key, cell in found.items()
        }
        self.epsilons = sorted({epsilon for epsilon, _ in self.cells})
        self.density = dict(sorted(density.items()))

    def mean(self, epsilon: float, level: int) -> float:
        """Mean accuracy in percent."""
        return 100 * statistics.fmean(self.cells[epsilon, level])

    def has(self, epsilon: float, level: int) -> bool:
        return (epsilon, level) in self.cells

    @property
    def best(self) -> dict[float, int]:
        """`{epsilon: masked level of the best mean accuracy}`."""
        result = {}
        for epsilon in self.epsilons:
            levels = [n for n in self.density if n and self.has(epsilon, n)]
            if levels:
                result[epsilon] = max(
                    levels, key=lambda n: self.mean(epsilon, n)
                )
        return result

"""Files, table and figure of the error on lines between networks."""

from __future__ import annotations

import csv
import io
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery import atomic
from tf_lottery import paths
from tf_lottery.metric import density_percent
from tf_lottery.report.styles import FONT_SIZE, SMALL, STYLES
from tf_lottery.report.subset_sum import aligned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Rows = Sequence[Mapping[str, Any]]
_LINE = {
    "replicate": int, "pair": str, "step": int, "level": int,
    "density": float,
}
_POINT = {**_LINE, "alpha": float, "split": str, "error": float, "loss": float}
_BARRIER = {
    **_LINE, "barrier_test": float, "barrier_train": float,
    "barrier_validation": float, "first": str, "second": str,
}
_SPLITS = ("test", "train", "validation")
_FILES = {"connectivity.csv": _POINT, "barriers.csv": _BARRIER}
# What the two networks of a pair are, for people.
_PAIRS = {
    "instability": "dense, two data orders from the step on",
    "reorder": "ticket, two data orders",
    "next_level": "ticket and that of the next level",
}
_STABLE = 0.02
_MOST_LINES = 4
_MOST_TICKS = 7


def write_lines(folder: str, points: _Rows, barriers: _Rows) -> None:
    """Writes connectivity.csv, then barriers.csv, each in one step.

    After a kill between them there are points of a line that has no barrier:
    it is not finished, and `read_lines` leaves them out.

    Args:
        folder: of the report.
        points: one per line, alpha and split, with the columns `replicate`,
            `pair`, `step` (that both networks were one up to, or were rewound
            to), `level`, `density`, `alpha`, `split`, `error`, `loss`.
        barriers: one per line, with the same columns up to `density`, then
            `barrier_test`, `barrier_train`, `barrier_validation`, and the
            digests of the tickets, `first` and `second`.

    Raises:
        OSError: the folder cannot be written.
    """
    for (name, columns), rows in zip(_FILES.items(), (points, barriers)):
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        path = os.path.join(folder, name)
        atomic.replace_file(path, text.getvalue().encode())


def read_lines(
    folder: str,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Returns the points and the barriers that `write_lines` wrote.

    Points of a line that has no barrier are left out: it is not finished.

    Args:
        folder: of the report.

    Raises:
        FileNotFoundError: there are none.
        ValueError: a file is truncated or altered.
    """
    found = []
    for name, columns in _FILES.items():
        path = os.path.join(folder, name)
        with paths.open_read(path) as file:
            data = file.read()
        try:
            text = io.StringIO(data.decode(), newline="")
            reader = csv.DictReader(text, strict=True)
            rows = list(reader)
            if reader.fieldnames != list(columns) or any(
                None in row.values() for row in rows
            ):
                raise ValueError
            found.append(
                [{k: kind(row[k]) for k, kind in columns.items()}
                 for row in rows]
            )
            if name == "barriers.csv":
                found[0] = _finished(*found)
        except (KeyError, TypeError, ValueError, csv.Error) as error:
            raise ValueError(
                "`folder` must hold lines as write_lines wrote them. "
                f"Received: {path}, which is truncated or altered. Delete "
                "it, and they are computed again."
            ) from error
    return found[0], found[1]


def _finished(points: _Rows, barriers: _Rows) -> list[dict[str, Any]]:
    """Points of the lines that have a barrier.

    Raises:
        KeyError: a barrier has no line, or half of one.
        ValueError: it is another than that of its points.
    """
    lines: dict[tuple[Any, ...], dict[float, float]] = {}
    for row in points:
        lines.setdefault(_line(row), {})[row["alpha"]] = row["error"]
    whole = set()
    for row in barriers:
        for split in _SPLITS:
            line = _line({**row, "split": split})
            e = lines[line]
            barrier = max(e.values()) - (e[0.0] + e[1.0]) / 2
            if barrier != row[f"barrier_{split}"] or line in whole:
                raise ValueError
            whole.add(line)
    return [dict(row) for row in points if _line(row) in whole]


def _line(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in (*_LINE, "split"))


def connectivity_table(barriers: _Rows) -> str:
    """Returns mean barriers in percentage points as text.

    Args:
        barriers: as in `write_lines`.

    Example:
        >>> print(connectivity_table([dict(replicate=0, pair="instability",
        ...     step=100, level=0, density=1.0, barrier_test=0.005,
        ...     barrier_train=0.001)]))
        barrier: error on the line above the mean of its ends, percentage points
        pair         step  level  weights %  test  train  replicates  stable
        instability   100      0      100.0  0.50   0.10           1     yes
        instability: dense, two data orders from the step on
        stable: mean test barrier below 2
    """
    if not barriers:
        return "No line is finished yet."
    table = [[
        "pair", "step", "level", "weights %", "test", "train", "replicates",
        "stable",
    ]]
    for (pair, step, level), rows in _grouped(barriers).items():
        test = _mean(rows, "barrier_test")
        table.append([
            pair, f"{step:,}", str(level), density_percent(rows[0]["density"]),
            _spread(rows, "barrier_test"), _spread(rows, "barrier_train"),
            str(len(rows)), "yes" if test < 100 * _STABLE else "no",
        ])
    lines = [
        "barrier: error on the line above the mean of its ends, percentage "
        "points",
        aligned(table),
        *(f"{pair}: {_PAIRS[pair]}" for pair in _pairs(barriers)),
        f"stable: mean test barrier below {100 * _STABLE:g}",
    ]
    return "\n".join(lines)


def connectivity_figure(
    points: _Rows, barriers: _Rows, *, title: str
) -> Figure:
    """Draws barriers (a), and the error along some of the lines (b).

    Barriers are means over replicates with the range from minimum to maximum,
    against the step up to which two copies were one, or against the weights
    remaining; the dotted line at 2 % is what the paper calls stable. Along
    the lines, thick is the test error and thin the training error.

    Args:
        points: as in `write_lines`.
        barriers: as in `write_lines`.
        title: above both panels.

    Returns:
        A figure of 9 x 4.2 inches, as `accuracy_figure`.

    Raises:
        ValueError: no line is finished.

    Reference:
        Frankle et al., 2020, arXiv:1912.05671, figures 2, 3 and 5.
    """
    if not barriers:
        raise ValueError(
            "`barriers` must have a line. Received: none. Finish one first."
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    figure.suptitle(title, fontsize=FONT_SIZE + 2)
    left, right = figure.subplots(1, 2)
    _draw_barriers(left, barriers)
    _draw_lines(right, points, barriers)
    for axes, letter in ((left, "a"), (right, "b")):
        axes.set_title(f"({letter})", loc="left", fontsize=FONT_SIZE)
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.legend(frameon=False, fontsize=SMALL)
    return figure


def _draw_barriers(axes: Axes, barriers: _Rows) -> None:
    places = sorted({_place(row) for row in barriers})
    number = {place: i for i, place in enumerate(places)}
    for pair, (color, marker, dashes) in zip(_pairs(barriers), STYLES):
        groups = [
            rows for key, rows in _grouped(barriers).items() if key[0] == pair
        ]
        for split, face in (("test", color), ("train", "white")):
            name = f"barrier_{split}"
            x = [number[_place(rows[0])] for rows in groups]
            y = [_mean(rows, name) for rows in groups]
            low = [m - 100 * min(r[name] for r in g)
                   for m, g in zip(y, groups)]
            high = [100 * max(r[name] for r in g) - m
                    for m, g in zip(y, groups)]
            label = f"{pair}, {split}".replace("_", " ")
            # Rounding may put a mean of equals outside of them.
            errors = [[max(v, 0.0) for v in side] for side in (low, high)]
            axes.errorbar(
                x, y, yerr=errors, color=color, marker=marker,
                markersize=5, markerfacecolor=face, capsize=2.5,
                linestyle=dashes if split == "test" else "none", label=label,
            )
    axes.axhline(
        100 * _STABLE, color="0.35", linewidth=0.9, linestyle=":",
        label="stable below",
    )
    every = -(-len(places) // _MOST_TICKS)
    shown = places[::every]
    steps = _of_steps(barriers)
    axes.set_xticks(
        [number[p] for p in shown],
        [f"{p:,}" if steps else density_percent(-p) for p in shown],
    )
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set_xlabel(
        "step of the fork" if steps else "weights remaining (%)",
        fontsize=FONT_SIZE,
    )
    axes.set_ylabel("barrier (percentage points)", fontsize=FONT_SIZE)


def _draw_lines(axes: Axes, points: _Rows, barriers: _Rows) -> None:
    pairs = _pairs(barriers)
    pair = "reorder" if "reorder" in pairs else pairs[0]
    places = sorted({_place(r) for r in barriers if r["pair"] == pair})
    # The ends and what lies evenly between: as many as there are styles.
    count = min(len(places), _MOST_LINES)
    chosen = [
        places[round(i * (len(places) - 1) / max(count - 1, 1))]
        for i in range(count)
    ]
    for place, (color, marker, dashes) in zip(chosen, STYLES):
        label = f"step {place:,}"
        if not _of_steps(barriers):
            label = f"{density_percent(-place)} %"
        for split, width in (("test", 2.0), ("train", 0.9)):
            errors: dict[float, list[float]] = {}
            for row in points:
                here = row["pair"], _place(row), row["split"]
                if here == (pair, place, split):
                    errors.setdefault(row["alpha"], []).append(row["error"])
            axes.plot(
                list(errors), [100 * statistics.fmean(e)
                               for e in errors.values()],
                color=color, linestyle=dashes, linewidth=width,
                marker=marker if split == "test" else None, markersize=4,
                markevery=6, label=label if split == "test" else None,
            )
    axes.set_xlabel(
        f"alpha, along the line ({pair})".replace("_", " "),
        fontsize=FONT_SIZE,
    )
    axes.set_ylabel(
        "error (%): thick test, thin train", fontsize=FONT_SIZE
    )
    axes.set_ylim(bottom=0.0)


def _of_steps(barriers: _Rows) -> bool:
    return barriers[0]["pair"] == "instability"


def _place(row: Mapping[str, Any]) -> float:
    # Few weights come last, as in the other figures.
    instability = row["pair"] == "instability"
    return row["step"] if instability else -row["density"]


def _pairs(barriers: _Rows) -> list[str]:
    present = {row["pair"] for row in barriers}
    return [pair for pair in _PAIRS if pair in present]


def _grouped(
    barriers: _Rows,
) -> dict[tuple[str, int, int], list[Mapping[str, Any]]]:
    groups: dict[tuple[str, int, int], list[Mapping[str, Any]]] = {}
    order = list(_PAIRS)
    for row in sorted(
        barriers,
        key=lambda r: (order.index(r["pair"]), r["step"], r["level"]),
    ):
        key = row["pair"], row["step"], row["level"]
        groups.setdefault(key, []).append(row)
    return groups


def _mean(rows: Iterable[Mapping[str, Any]], name: str) -> float:
    return 100 * statistics.fmean(row[name] for row in rows)


def _spread(rows: _Rows, name: str) -> str:
    mean = f"{_mean(rows, name):.2f}"
    if len(rows) == 1:
        return mean
    values = [100 * row[name] for row in rows]
    return f"{mean} ({min(values):.2f}-{max(values):.2f})"

"""What tickets of several replicates show, level by level."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery.analysis import KernelMeasures
from tf_lottery.analysis import Measures
from tf_lottery.analysis import Spread
from tf_lottery.page.section import Table

if TYPE_CHECKING:
    from tf_lottery.page.run import Run

#: A number of a kernel in a ticket; NaN where there is none.
Value = Callable[[KernelMeasures], float]
_SHOWN = 16


@dataclasses.dataclass(frozen=True)
class Point:
    """A number of a kernel at a level, over replicates.

    Args:
        level: from 0.
        density: of the network, a fraction, mean over replicates.
        spread: the number; of no value where no replicate has one.
    """

    level: int
    density: float
    spread: Spread


def over_replicates(
    measures: Measures, value: Value
) -> dict[str, list[Point]]:
    """Returns a number of every kernel, over the replicates of a level.

    Args:
        measures: of a run.
        value: gives the number.

    Returns:
        `{path: points}`, each by level, kernels in order.
    """
    found: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for one in measures.levels:
        for path, kernel in one.kernels.items():
            levels = found.setdefault(path, {})
            pair = (one.density, value(kernel))
            levels.setdefault(one.key.level, []).append(pair)
    return {
        path: [
            Point(
                level,
                Spread.of(density for density, _ in pairs).mean,
                Spread.of(number for _, number in pairs),
            )
            for level, pairs in sorted(levels.items())
        ]
        for path, levels in found.items()
    }


def pooled(measures: Measures, value: Value, count: Value) -> list[Point]:
    """Returns a mean over all weights of the network, over replicates.

    Args:
        measures: of a run.
        value: gives the mean of a kernel.
        count: gives the number of weights that it is of.

    Returns:
        By level, where there is a number.
    """
    levels: dict[int, list[tuple[float, float]]] = {}
    for one in measures.levels:
        pairs = [
            (count(kernel), number)
            for kernel in one.kernels.values()
            if math.isfinite(number := value(kernel))
        ]
        if total := math.fsum(weights for weights, _ in pairs):
            mean = math.fsum(a * b for a, b in pairs) / total
            levels.setdefault(one.key.level, []).append((one.density, mean))
    return [
        Point(
            level,
            Spread.of(density for density, _ in pairs).mean,
            Spread.of(mean for _, mean in pairs),
        )
        for level, pairs in sorted(levels.items())
    ]


def kernel_table(
    name: str, runs: Sequence[Run], columns: Mapping[str, Value]
) -> Table:
    """Returns a row per run, level and kernel: means over replicates.

    Args:
        name: of the table.
        runs: in order.
        columns: `{name: what it holds}`. Where no replicate has a number at
            all there is no row.
    """
    rows: list[list[Any]] = []
    for run in runs:
        series = [
            over_replicates(run.measures, value) for value in columns.values()
        ]
        places = sorted(
            (point.level, i, path, j)
            for i, path in enumerate(series[0])
            for j, point in enumerate(series[0][path])
        )
        for level, _, path, j in places:
            points = [one[path][j] for one in series]
            if count := max(point.spread.count for point in points):
                rows.append([
                    run.label, level, points[0].density, path, count,
                    *(plain(point.spread.mean) for point in points),
                ])
    names = ("run", "level", "density", "kernel", "replicates", *columns)
    return Table(name, names, rows, _SHOWN if len(rows) > _SHOWN else None)


def plain(value: float) -> float | None:
    """Returns a number of a table, None for NaN.

    Args:
        value: any.
    """
    return None if math.isnan(value) else value


def kernel_name(path: str) -> str:
    """Returns the name of a kernel for people, without "/kernel".

    Args:
        path: of its variable.

    Example:
        >>> kernel_name("dense_1/kernel"), kernel_name("lstm/recurrent_kernel")
        ('dense_1', 'lstm/recurrent_kernel')
    """
    return path.removesuffix("/kernel")


def unread(runs: Sequence[Run]) -> list[str]:
    """Returns a paragraph on the tickets that could not be read, if any.

    Args:
        runs: in order.
    """
    lines = [line for run in runs for line in run.measures.unread]
    if not lines:
        return []
    return [f"Left out, as not readable: {' '.join(lines)}"]


def not_known(runs: Sequence[Run]) -> list[str]:
    """Returns a paragraph on runs of which the method is not known, if any.

    What their tickets show of training cannot be told: it hangs on where
    each level started from, and on which training its mask was found by.

    Args:
        runs: in order; those without a ticket are not named.
    """
    names = [run.label for run in runs if run.method is None and run.keys()]
    if not names:
        return []
    return [f"Left out, as what was run is not known: {', '.join(names)}."]


def started(run: Run) -> str:
    """Returns what the `rewind` weights of tickets are, in a few words.

    Where weights are not rewound, a level starts from those that the level
    before was trained to; its ticket has those of the rewind point even so.

    Args:
        run: whose tickets they are.
    """
    step = str(run.config.get("rewind", "0it"))
    if run.config.get("ticket"):
        point = "the values that the transferred ticket came with"
    elif step.startswith("0"):
        point = "the initial values"
    else:
        point = f"the values of the rewind point ({step})"
    if run.results.retrain == "rewind":
        return point
    return (
        f"{point}, before all levels' trainings "
        f"(--retrain={run.results.retrain})"
    )

"""Do the weights that stay move farther than those that go?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tf_lottery.analysis import KernelMeasures
from tf_lottery.analysis import LevelMeasures
from tf_lottery.analysis import Movement
from tf_lottery.methods import METHODS
from tf_lottery.page.panels import draw_lines
from tf_lottery.page.panels import few_kernels
from tf_lottery.page.panels import finish
from tf_lottery.page.panels import label_axes
from tf_lottery.page.panels import level_line
from tf_lottery.page.panels import panel_grid
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.series import Value
from tf_lottery.page.series import kernel_table
from tf_lottery.page.series import over_replicates
from tf_lottery.page.series import started
from tf_lottery.page.series import unread

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

    from tf_lottery.page.run import Run


def movement(runs: Sequence[Run]) -> Section | None:
    """Shows how far weights moved that a round keeps, and those it prunes.

    Args:
        runs: to be shown.

    Returns:
        None where no run has a pruned level beside the training that it was
        found by.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.
    """
    shown = [run for run in runs if _moved(run)]
    if not shown:
        return None
    return Section(
        "Do the weights that stay move farther?",
        [
            *(_finding(run, len(shown) > 1) for run in shown),
            "The distance is |w_T - w_k|, from "
            f"{' or '.join(dict.fromkeys(map(started, shown)))} to the "
            "trained value, of the weights of one training: those that the "
            "next mask keeps against those that it prunes. A weight moved "
            "away from 0 if its magnitude grew. In part that is selection: "
            "pruning by magnitude keeps the weights that have become large.",
            *unread(shown),
        ],
        [
            Figure(
                "movement", _figure(shown),
                "How many times as far the weights that stay moved as those "
                "that go, and the share of both that moved away from 0, by "
                "kernel, against the weights remaining.",
            )
        ],
        [
            kernel_table(
                "movement", shown,
                {
                    name: _value(name)
                    for name in (
                        "stay", "go", "stay_distance", "go_distance", "ratio",
                        "stay_away", "go_away", "not_finite",
                    )
                },
            )
        ],
    )


def _value(name: str) -> Value:
    def value(kernel: KernelMeasures) -> float:
        one = kernel.movement
        return math.nan if one is None else getattr(one, name)

    return value


def _moved(run: Run) -> dict[int, list[list[Movement]]]:
    """By level, what moved in each replicate: one entry per kernel."""
    found: dict[int, list[list[Movement]]] = {}
    for one in run.measures.levels:
        if moved := _movements(one):
            found.setdefault(one.key.level, []).append(moved)
    return found


def _movements(one: LevelMeasures) -> list[Movement]:
    return [
        kernel.movement
        for kernel in one.kernels.values()
        if kernel.movement is not None
    ]


def _pooled(moved: Sequence[Movement], name: str, count: str) -> float:
    """Mean over all weights of the network, of `stay_...` or `go_...`."""
    pairs = [
        (getattr(one, count), getattr(one, name))
        for one in moved
        if math.isfinite(getattr(one, name))
    ]
    total = sum(number for number, _ in pairs)
    return math.fsum(a * b for a, b in pairs) / total if total else math.nan


def _finding(run: Run, several: bool) -> str:
    ratios, stay_away, go_away = [], [], []
    for replicates in _moved(run).values():
        means: dict[str, list[float]] = {}
        for moved in replicates:
            for side in ("stay", "go"):
                for what in ("distance", "away"):
                    name = f"{side}_{what}"
                    pooled = _pooled(moved, name, side)
                    if math.isfinite(pooled):
                        means.setdefault(name, []).append(pooled)
        means_of = {k: statistics.fmean(v) for k, v in means.items()}
        # Nothing has moved by which to divide, or nothing was pruned.
        if len(means_of) == 4 and means_of["go_distance"] > 0:
            ratios.append(means_of["stay_distance"] / means_of["go_distance"])
            stay_away.append(means_of["stay_away"])
            go_away.append(means_of["go_away"])
    name = f"{run.label}: " if several else ""
    if not ratios:
        return (
            f"{name}No level has both weights that stay and weights that go, "
            "with distances that are numbers."
        )
    farther = sum(ratio > 1 for ratio in ratios)
    levels = "round" if METHODS[run.results.method].rounds else "level"
    plural = "s" if len(ratios) > 1 else ""
    median = f" (median over {levels}s)" if len(ratios) > 1 else ""
    return (
        f"{name}Weights that stay moved {statistics.median(ratios):.2f} times "
        f"as far as those that go{median}, farther in {farther} of "
        f"{len(ratios)} {levels}{plural}. Away from 0 moved "
        f"{statistics.median(stay_away):.0%} of those that stay, "
        f"{statistics.median(go_away):.0%} of those that go."
    ).replace("%", " %")


def _figure(runs: Sequence[Run]) -> Drawing:
    titles = []
    for run in runs:
        name = f"{run.label}\n" if len(runs) > 1 else ""
        titles += [f"{name}distance, stay / go", f"{name}moved away from 0"]
    figure, panels = panel_grid(titles, 2)
    for i, run in enumerate(runs):
        ratio, away = panels[2 * i: 2 * i + 2]
        series = {
            name: over_replicates(run.measures, _value(name))
            for name in ("ratio", "stay_away", "go_away")
        }
        kernels = few_kernels(series["ratio"])
        few = {
            name: {path: one[path] for path in kernels}
            for name, one in series.items()
        }
        draw_lines(ratio, few["ratio"])
        level_line(ratio, 1.0, "as far")
        draw_lines(away, few["stay_away"], factor=100.0)
        draw_lines(
            away, few["go_away"], factor=100.0, dashes=":", suffix=", go"
        )
        densities = [
            point.density
            for points in few["ratio"].values()
            for point in points
            if point.spread.count
        ]
        label_axes(ratio, densities, "times as far")
        label_axes(away, densities, "share of weights (%)")
        ratio.set_ylim(bottom=0)
        away.set_ylim(-3, 103)
    finish(figure, panels)
    return figure

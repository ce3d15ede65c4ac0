"""Do the weights that stay move farther than those that go?"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tf_lottery.analysis import KernelMeasures
from tf_lottery.methods import METHODS
from tf_lottery.page.panels import draw_kernels
from tf_lottery.page.panels import level_line
from tf_lottery.page.panels import run_figure
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.series import Value
from tf_lottery.page.series import kernel_table
from tf_lottery.page.series import not_known
from tf_lottery.page.series import pooled
from tf_lottery.page.series import started
from tf_lottery.page.series import unread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tf_lottery.page.run import Run

_TITLE = "Do the weights that stay move farther?"


def movement(runs: Sequence[Run]) -> Section | None:
    """Shows how far weights moved that a round keeps, and those it prunes.

    Args:
        runs: to be shown.

    Returns:
        None where no run has a pruned level beside the training that it was
        found by. Runs of which the method is not known are named alone.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.5.
    """
    shown = [run for run in runs if _moved(run)]
    left_out = not_known(runs)
    if not shown:
        return Section(_TITLE, left_out) if left_out else None
    return Section(
        _TITLE,
        [
            *(_finding(run, len(shown) > 1) for run in shown),
            "The distance is |w_T - w_k|, from "
            f"{' or '.join(dict.fromkeys(map(started, shown)))} to the "
            "trained value, of the weights that a mask was found by: those "
            "that it keeps against those that it prunes. A weight moved away "
            "from 0 if its magnitude grew. In part that is selection: pruning "
            "by magnitude keeps the weights that have become large.",
            *unread(shown),
            *left_out,
        ],
        [
            Figure(
                "movement", run_figure(shown, _draw_ratio),
                "How many times as far the weights that stay moved as those "
                "that go, by kernel, against the weights remaining.",
            ),
            Figure(
                "moved_away", run_figure(shown, _draw_away),
                "Share of the weights that moved away from 0, of those that "
                "stay and of those that go, by kernel, against the weights "
                "remaining.",
            ),
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


def _moved(run: Run) -> bool:
    return any(
        kernel.movement is not None
        for one in run.measures.levels
        for kernel in one.kernels.values()
    )


def _means(run: Run, side: str, what: str) -> dict[int, float]:
    """Means over all weights of the network that stay, or go, by level."""
    points = pooled(run.measures, _value(f"{side}_{what}"), _value(side))
    return {point.level: point.spread.mean for point in points}


def _finding(run: Run, several: bool) -> str:
    stay, go = (_means(run, side, "distance") for side in ("stay", "go"))
    levels = [level for level in stay if go.get(level, 0.0) > 0]
    name = f"{run.label}: " if several else ""
    if not levels:
        return (
            f"{name}No level has both weights that stay and weights that go, "
            "with distances that are numbers."
        )
    ratios = [stay[level] / go[level] for level in levels]
    farther = sum(ratio > 1 for ratio in ratios)
    away = [
        statistics.median(means[level] for level in levels)
        for means in (_means(run, side, "away") for side in ("stay", "go"))
    ]
    some = "level"
    if run.method is not None and METHODS[run.method].rounds:
        some = "round"
    median = f" (median over {some}s)" if len(levels) > 1 else ""
    return (
        f"{name}Weights that stay moved {statistics.median(ratios):.2f} times "
        f"as far as those that go{median}, farther in {farther} of "
        f"{len(levels)} {some}{'s' if len(levels) > 1 else ''}. Away from 0 "
        f"moved {100 * away[0]:.0f} % of those that stay, "
        f"{100 * away[1]:.0f} % of those that go."
    )


def _draw_ratio(axes: Axes, run: Run) -> None:
    draw_kernels(
        axes, run, _value("ratio"), "distance, those that stay / that go"
    )
    level_line(axes, 1.0, "as far")
    axes.set_ylim(bottom=0)


def _draw_away(axes: Axes, run: Run) -> None:
    draw_kernels(
        axes, run, _value("stay_away"), "moved away from 0 (% of weights)",
        factor=100.0, dashed=_value("go_away"), suffix=", go",
    )
    axes.set_ylim(-3, 103)

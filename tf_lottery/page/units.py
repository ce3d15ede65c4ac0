"""Which units keep their weights?"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tf_lottery.analysis import Degrees
from tf_lottery.analysis import KernelMeasures
from tf_lottery.metric import density_percent
from tf_lottery.page.panels import draw_kernels
from tf_lottery.page.panels import few_kernels
from tf_lottery.page.panels import level_line
from tf_lottery.page.panels import run_figure
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.series import Value
from tf_lottery.page.series import kernel_name
from tf_lottery.page.series import kernel_table
from tf_lottery.page.series import over_replicates
from tf_lottery.page.series import unread
from tf_lottery.report.styles import FONT_SIZE
from tf_lottery.report.styles import STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tf_lottery.page.run import Run

_SIDES = {"incoming": "outputs", "outgoing": "inputs"}
_NAMED = 6


def units(runs: Sequence[Run]) -> Section | None:
    """Shows how kept weights are shared out among kernels and units.

    Args:
        runs: to be shown.

    Returns:
        None where no run has a ticket of a pruned level.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.6.
    """
    shown = [
        run
        for run in runs
        if any(one.key.level for one in run.measures.levels)
    ]
    if not shown:
        return None
    figures = [
        Figure(
            "dead_units", run_figure(shown, _draw_dead),
            "Share of a kernel's inputs without an outgoing weight, and of "
            "its outputs without an incoming one, against the weights "
            "remaining.",
        ),
    ]
    figures += [
        Figure(
            f"{side}_degrees", run_figure(shown, _degree_panel(side)),
            f"The {side} degrees of the {ends} of each kernel in ascending "
            "order, at the sparsest level with weights left.",
        )
        for side, ends in _SIDES.items()
    ]
    figures.append(
        Figure(
            "unevenness", run_figure(shown, _draw_unevenness),
            "Spread of the degrees of each kernel's inputs and outputs, in "
            "multiples of a random mask's, against the weights remaining.",
        )
    )
    return Section(
        "Which units keep their weights?",
        [
            *(_finding(run, len(shown) > 1) for run in shown),
            "The incoming degree of an output is the number of kept weights "
            "that lead into it, the outgoing degree of an input that of those "
            "that lead out; of a convolution these are channels. A unit is "
            "dead in a kernel that keeps none of its weights. Unevenness is "
            "the standard deviation of degrees over units, divided by that of "
            "a random mask of as many weights.",
            *unread(shown),
        ],
        figures,
        [kernel_table("units", shown, _columns())],
    )


def _columns() -> dict[str, Value]:
    columns: dict[str, Value] = {
        "kept": lambda kernel: kernel.kept,
        "kernel_density": lambda kernel: kernel.kept / kernel.size,
    }
    for side, ends in _SIDES.items():
        columns |= {
            ends: _number(side, "units"),
            f"dead_{ends}": _number(side, "dead"),
            f"{side}_mean": _number(side, "mean"),
            f"{side}_std": _number(side, "std"),
            f"{side}_unevenness": _number(side, "unevenness"),
        }
    return columns


def _number(side: str, name: str) -> Value:
    def value(kernel: KernelMeasures) -> float:
        degrees: Degrees | None = getattr(kernel, side)
        return math.nan if degrees is None else getattr(degrees, name)

    return value


def _dead_share(side: str) -> Value:
    dead, number = _number(side, "dead"), _number(side, "units")
    return lambda kernel: dead(kernel) / number(kernel)


def _finding(run: Run, several: bool) -> str:
    """What the sparsest level with weights left shows."""
    level, density = _sparsest(run)
    name = f"{run.label}: at" if several else "At"
    said = [f"{name} {density_percent(density)} % of the weights, dead are:"]
    for side, ends in _SIDES.items():
        dead = _at(run, _number(side, "dead"), level)
        number = _at(run, _number(side, "units"), level)
        few = [
            f"{dead[path]:.4g} of the {number[path]:.0f} of {kernel_name(path)}"
            for path in dead
            if dead[path]
        ]
        if len(few) > _NAMED:
            few[_NAMED:] = [f"some of {len(few) - _NAMED} more kernels"]
        said.append(f"of {ends} {', '.join(few) or 'none'};")
    said[-1] = said[-1].replace(";", ".")
    for side, ends in reversed(_SIDES.items()):
        uneven = _at(run, _number(side, "unevenness"), level)
        if uneven:
            most = max(uneven, key=lambda path: uneven[path])
            said.append(
                f"The {side} degrees of {ends} spread up to "
                f"{uneven[most]:.1f} times as far as by chance, in "
                f"{kernel_name(most)}."
            )
    return " ".join(said)


def _sparsest(run: Run) -> tuple[int, float]:
    """The sparsest level with weights left, or the sparsest there is."""
    levels = run.measures.levels
    one = min(
        [one for one in levels if one.density > 0] or levels,
        key=lambda one: (one.density, one.key.replicate),
    )
    return one.key.level, one.density


def _at(run: Run, value: Value, level: int) -> dict[str, float]:
    """A number of every kernel that has one at a level, mean of replicates."""
    return {
        path: point.spread.mean
        for path, points in over_replicates(run.measures, value).items()
        for point in points
        if point.level == level and point.spread.count
    }


def _draw_dead(axes: Axes, run: Run) -> None:
    draw_kernels(
        axes, run, _dead_share("outgoing"), "dead (% of units)", factor=100.0,
        dashed=_dead_share("incoming"), suffix=", outputs", own=", inputs",
    )
    top = max(axes.get_ylim()[1], 1.0)
    # Room for the markers at 0.
    axes.set_ylim(-0.03 * top, top)


def _degree_panel(side: str) -> Callable[[Axes, Run], None]:
    def draw(axes: Axes, run: Run) -> None:
        level, density = _sparsest(run)
        (one, *_) = (
            one for one in run.measures.levels if one.key.level == level
        )
        for path, (color, marker, _) in zip(few_kernels(one.kernels), STYLES):
            degrees: Degrees | None = getattr(one.kernels[path], side)
            if degrees is None:
                continue
            share = np.linspace(0.0, 100.0, degrees.quantiles.size)
            axes.plot(
                share, 100.0 * degrees.quantiles / degrees.possible,
                color=color, marker=marker, markersize=4.0, markevery=10,
                linewidth=1.5, label=kernel_name(path),
            )
        axes.set_xlabel(
            f"{_SIDES[side]}, by degree (%), at {density_percent(density)} % "
            "of the weights", fontsize=FONT_SIZE,
        )
        axes.set_ylabel(f"{side} weights kept (%)", fontsize=FONT_SIZE)
        axes.set_ylim(bottom=0)

    return draw


def _draw_unevenness(axes: Axes, run: Run) -> None:
    draw_kernels(
        axes, run, _number("outgoing", "unevenness"),
        "spread of degrees / chance", own=", inputs",
        dashed=_number("incoming", "unevenness"), suffix=", outputs",
    )
    level_line(axes, 1.0, "a random mask")
    axes.set_ylim(bottom=0)

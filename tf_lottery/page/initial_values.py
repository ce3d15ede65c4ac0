"""Which initial values survive?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tf_lottery.analysis import BIMODAL
from tf_lottery.analysis import KernelMeasures
from tf_lottery.analysis import LevelMeasures
from tf_lottery.metric import density_percent
from tf_lottery.page.panels import draw_kernels
from tf_lottery.page.panels import few_kernels
from tf_lottery.page.panels import finish
from tf_lottery.page.panels import level_line
from tf_lottery.page.panels import panel_column
from tf_lottery.page.panels import run_figure
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.series import kernel_name
from tf_lottery.page.series import kernel_table
from tf_lottery.page.series import not_known
from tf_lottery.page.series import over_replicates
from tf_lottery.page.series import started
from tf_lottery.page.series import unread
from tf_lottery.report.styles import FONT_SIZE
from tf_lottery.report.styles import STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

    from tf_lottery.page.run import Run

_TITLE = "Which initial values survive?"
_DASHES = ("-", "--", "-.", ":")
_KERNELS = 3


def initial_values(runs: Sequence[Run]) -> Section | None:
    """Shows the distribution of the initial values of surviving weights.

    Args:
        runs: to be shown.

    Returns:
        None where no run has a ticket of a pruned level. Runs of which the
        method is not known are named alone.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.1.
    """
    shown = [
        run
        for run in runs
        if run.method is not None
        and any(
            kernel.kept and one.key.level
            for one in run.measures.levels
            for kernel in one.kernels.values()
        )
    ]
    left_out = not_known(runs)
    if not shown:
        return Section(_TITLE, left_out) if left_out else None
    lost = sum(
        kernel.initial.not_finite
        for run in shown
        for one in run.measures.levels
        for kernel in one.kernels.values()
    )
    return Section(
        _TITLE,
        [
            *(_finding(run, len(shown) > 1) for run in shown),
            "Histograms are of "
            f"{' or '.join(dict.fromkeys(map(started, shown)))} of the weights"
            " that are kept, in equal bins from the smallest to the largest "
            "before pruning. Bimodality is Sarle's coefficient: "
            "1/3 of a normal distribution, 5/9 of a uniform one, 1 of two "
            "points; above 5/9 a distribution may have two modes.",
            *([f"{lost:,} values are left out, as not numbers."] * bool(lost)),
            *unread(shown),
            *left_out,
        ],
        [
            *(
                Figure(
                    "initial_values" + (f"_{i}" if i > 1 else ""),
                    _histograms(run, len(shown) > 1),
                    "Histograms of the initial values of the weights that "
                    f"survive, by kernel and level: {run.label}.",
                )
                for i, run in enumerate(shown, 1)
            ),
            Figure(
                "bimodality", run_figure(shown, _draw_bimodality),
                "Bimodality coefficient of the initial values of survivors, "
                "by kernel, against the weights remaining.",
            ),
            Figure(
                "initial_signs", run_figure(shown, _draw_positive),
                "Share of the survivors whose initial value is above 0, by "
                "kernel, against the weights remaining.",
            ),
        ],
        [
            kernel_table(
                "initial_values", shown,
                {
                    "kept": lambda kernel: kernel.kept,
                    "mean": lambda kernel: kernel.initial.mean,
                    "std": lambda kernel: kernel.initial.std,
                    "positive": lambda kernel: kernel.initial.positive,
                    "bimodality": _bimodality,
                    "not_finite": lambda kernel: kernel.initial.not_finite,
                },
            )
        ],
    )


def _bimodality(kernel: KernelMeasures) -> float:
    return kernel.initial.bimodality


def _finding(run: Run, several: bool) -> str:
    """What became of each kernel at its sparsest level that has a number."""
    positive = over_replicates(
        run.measures, lambda kernel: kernel.initial.positive
    )
    said, two = [], 0
    for path, points in over_replicates(run.measures, _bimodality).items():
        there = [point for point in points if point.spread.count]
        if not there:
            continue
        last = there[-1]
        two += last.spread.mean > BIMODAL
        (share,) = (
            point.spread.mean
            for point in positive[path] if point.level == last.level
        )
        said.append(
            f"{kernel_name(path)} {last.spread.mean:.2f} "
            f"({there[0].spread.mean:.2f} at level {there[0].level}), "
            f"{100 * share:.0f} % above 0, at "
            f"{density_percent(last.density)} % of the weights"
        )
    name = f"{run.label}: " if several else ""
    if not said:
        return f"{name}No kernel has four different survivors."
    more = f"; and {len(said) - 6} more kernels" if len(said) > 6 else ""
    return (
        f"{name}The bimodality coefficient of the survivors' initial values "
        f"is above {BIMODAL:.2f}, which tells of two modes or of skew, in "
        f"{two} of {len(said)} kernels: "
        f"{'; '.join(said[:6])}{more}."
    )


def _histograms(run: Run, several: bool) -> Drawing:
    """Of the first replicate: bins differ from one to the next."""
    replicate = run.measures.levels[0].key.replicate
    levels = [
        one for one in run.measures.levels if one.key.replicate == replicate
    ]
    last = len(levels) - 1
    # Evenly spread, the first and the last among them.
    chosen = [
        levels[i] for i in sorted({round(last * j / 3) for j in range(4)})
    ]
    kernels = few_kernels(
        dict.fromkeys(path for one in chosen for path in one.kernels),
        _KERNELS,
    )
    name = f"{run.label}, " if several else ""
    figure, panels = panel_column(
        [f"{name}{kernel_name(path)}" for path in kernels]
    )
    for axes, path in zip(panels, kernels):
        for one, (color, *_), dashes in zip(chosen, STYLES, _DASHES):
            _draw_histogram(axes, one, path, color, dashes)
        axes.set_xlabel(
            f"initial value, replicate {replicate}", fontsize=FONT_SIZE
        )
        axes.set_ylabel("share of survivors per bin (%)", fontsize=FONT_SIZE)
        axes.set_ylim(bottom=0)
    finish(figure, panels)
    return figure


def _draw_histogram(
    axes: Axes, one: LevelMeasures, path: str, color: str, dashes: str
) -> None:
    initial = one.kernels[path].initial
    total = initial.histogram.sum()
    axes.stairs(
        100.0 * initial.histogram / total if total else [
            math.nan
        ] * len(initial.histogram),
        initial.edges, color=color, linestyle=dashes, linewidth=1.5,
        label=f"{density_percent(one.density)} % of the weights",
    )


def _draw_bimodality(axes: Axes, run: Run) -> None:
    draw_kernels(axes, run, _bimodality, "bimodality coefficient")
    level_line(axes, BIMODAL, "uniform (5/9)")
    axes.set_ylim(0, 1)


def _draw_positive(axes: Axes, run: Run) -> None:
    draw_kernels(
        axes, run, lambda kernel: kernel.initial.positive,
        "above 0 at the start (% of survivors)", factor=100.0,
    )
    level_line(axes, 50.0, "half")

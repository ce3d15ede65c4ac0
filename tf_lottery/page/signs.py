"""How many signs does training turn?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tf_lottery.methods import METHODS
from tf_lottery.metric import density_percent
from tf_lottery.page.panels import draw_kernels
from tf_lottery.page.panels import run_figure
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.series import kernel_table
from tf_lottery.page.series import not_known
from tf_lottery.page.series import pooled
from tf_lottery.page.series import started
from tf_lottery.page.series import unread

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tf_lottery.page.run import Run

_TITLE = "How many signs turn?"


def signs(runs: Sequence[Run]) -> Section | None:
    """Shows the signs of kept weights, and how many training turned.

    Args:
        runs: to be shown.

    Returns:
        None where no run has a ticket with weights left that were trained. Runs
        of which the method is not known are named alone.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.1; Zhou et al.,
        2019, arXiv:1905.01067, section 4.
    """
    shown = [
        run
        for run in runs
        if run.method is not None
        and not METHODS[run.method].strong
        and any(
            kernel.kept
            for one in run.measures.levels
            for kernel in one.kernels.values()
        )
    ]
    left_out = not_known(runs)
    if not shown:
        return Section(_TITLE, left_out) if left_out else None
    return Section(
        _TITLE,
        [
            *(_finding(run, len(shown) > 1) for run in shown),
            "A sign turned if it is another after training than in "
            f"{' or '.join(dict.fromkeys(map(started, shown)))}; weights of "
            "exactly 0 have none.",
            *unread(shown),
            *left_out,
        ],
        [
            Figure(
                "sign_flips", run_figure(shown, _draw_flips),
                "Share of the kept weights whose sign training turned, by "
                "kernel, against the weights remaining.",
            ),
            Figure(
                "signs", run_figure(shown, _draw_positive),
                "Share of the trained weights that are above 0, by kernel, "
                "against the weights remaining.",
            ),
        ],
        [
            kernel_table(
                "signs", shown,
                {
                    "kept": lambda kernel: kernel.kept,
                    "flipped": lambda kernel: kernel.signs.flipped,
                    "positive_before": (
                        lambda kernel: kernel.signs.positive_before
                    ),
                    "positive_after": (
                        lambda kernel: kernel.signs.positive_after
                    ),
                },
            )
        ],
    )


def _finding(run: Run, several: bool) -> str:
    points = pooled(
        run.measures,
        lambda kernel: kernel.signs.flipped,
        lambda kernel: kernel.kept,
    )
    said = [
        f"{100 * point.spread.mean:.1f} % of the kept weights at "
        f"{density_percent(point.density)} % of the weights"
        for point in (points[0], *points[1:][-1:])
    ]
    name = f"{run.label}: training" if several else "Training"
    return f"{name} turned the sign of {', and of '.join(said)}."


def _draw_flips(axes: Axes, run: Run) -> None:
    draw_kernels(
        axes, run, lambda kernel: kernel.signs.flipped,
        "sign turned (% of kept weights)", factor=100.0,
    )
    axes.set_ylim(bottom=0)


def _draw_positive(axes: Axes, run: Run) -> None:
    draw_kernels(
        axes, run, lambda kernel: kernel.signs.positive_after,
        "above 0, trained (% of kept weights)", factor=100.0,
    )
    axes.axhline(50.0, color="0.35", linewidth=0.9, zorder=1.5)

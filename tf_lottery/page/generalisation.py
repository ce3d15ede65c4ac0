"""Do tickets generalise better, and learn sooner?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery.analysis import Generalisation
from tf_lottery.analysis import Spread
from tf_lottery.analysis import best_level
from tf_lottery.analysis import measure_generalisation
from tf_lottery.analysis import measure_speed
from tf_lottery.page.panels import SIZE
from tf_lottery.page.panels import STYLES
from tf_lottery.page.panels import against_weights
from tf_lottery.page.panels import level_line
from tf_lottery.page.panels import run_figure
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table
from tf_lottery.page.series import plain
from tf_lottery.report import density_percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tf_lottery.page.run import Run

_COLUMNS = (
    "run", "level", "density", "replicates", "train_accuracy", "test_accuracy",
    "gap", "gap_low", "gap_high", "early_stop_ratio", "early_stop_ratio_low",
    "early_stop_ratio_high", "early_stop_left_out",
)


def generalisation(runs: Sequence[Run]) -> Section | None:
    """Shows train and test accuracy, and early stopping, against density.

    Args:
        runs: to be shown.

    Returns:
        None where no run has a level after the dense one.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 5; Rasmussen and
        Ghahramani, 2001, NIPS 13, for Occam's hill.
    """
    shown = [run for run in runs if _pruned(run)]
    if not shown:
        return None
    figures = [
        Figure(
            "generalisation", run_figure(shown, _draw_accuracies),
            "Accuracy on training and on test examples against the weights "
            "remaining.",
        ),
        Figure(
            "gap", run_figure(shown, _draw_gap),
            "Accuracy on training examples minus that on test examples "
            "against the weights remaining.",
        ),
    ]
    if any(
        one.level and one.ratio.count
        for run in shown for one in measure_speed(run.rows)
    ):
        figures.append(
            Figure(
                "speed", run_figure(shown, _draw_speed),
                "Early-stop step in multiples of the dense network's against "
                "the weights remaining.",
            )
        )
    return Section(
        "Do tickets generalise better, and learn sooner?",
        [
            text
            for run in shown
            for text in (_hill(run, len(shown) > 1), _soonest(run))
        ]
        + [
            "Accuracies are those at the end of training; the gap is train - "
            "test. Occam's hill: with fewer weights test accuracy rises, as a "
            "network can learn less by heart, and falls once it can no longer "
            "learn the task. Early-stop steps are divided by those of the "
            "dense network of the same replicate, and their mean is "
            "geometric. Bands reach from the smallest to the largest of the "
            "replicates.",
        ],
        figures,
        [Table("generalisation", _COLUMNS, _rows(shown))],
    )


def _pruned(run: Run) -> bool:
    return any(
        row["branch"] == "main" and row["level"] for row in run.rows
    )


def _rows(runs: Sequence[Run]) -> list[list[Any]]:
    rows = []
    for run in runs:
        both = zip(measure_generalisation(run.rows), measure_speed(run.rows))
        for one, speed in both:
            numbers = (
                one.train.mean, one.test.mean, one.gap.mean, one.gap.low,
                one.gap.high, speed.ratio.mean, speed.ratio.low,
                speed.ratio.high,
            )
            rows.append([
                run.label, one.level, one.density, one.test.count,
                *map(plain, numbers), speed.left_out,
            ])
    return rows


def _hill(run: Run, several: bool) -> str:
    levels = measure_generalisation(run.rows)
    top = best_level(levels)
    name = f"{run.label}: " if several else ""
    if top is None:
        return f"{name}No test accuracy is a number."
    said = (
        f"{name}The best mean test accuracy, {100 * top.test.mean:.2f} %, is "
        f"at {density_percent(top.density)} % of the weights"
    )
    dense = levels[0]
    if dense.level or not dense.test.count:
        return f"{said}; the dense network has not finished."
    if top.level == 0:
        return f"{said}: no pruned network is above the dense one."
    gaps = [100 * one.gap.mean for one in (dense, top)]
    return (
        f"{said}, {100 * (top.test.mean - dense.test.mean):+.2f} pp from "
        f"dense{_reached(levels, top)}. The generalisation gap is "
        f"{gaps[1]:.2f} pp there and {gaps[0]:.2f} pp of the dense network."
    )


def _reached(levels: Sequence[Generalisation], top: Generalisation) -> str:
    if top.density > min(one.density for one in levels):
        return ""
    return " (the sparsest so far, so the hill's top may be beyond)"


def _soonest(run: Run) -> str:
    found = measure_speed(run.rows)
    known = [one for one in found if one.level and one.ratio.count]
    left_out = sum(one.left_out for one in found if one.level)
    censored = (
        f" Left out: {left_out} trainings whose minimum of the validation "
        "loss, or dense's, is not known (it was at the last evaluation or at "
        "step 0, or dense has not finished)."
    ) if left_out else ""
    if not known:
        return f"Early stopping can not be compared with dense.{censored}"
    one = min(known, key=lambda one: (one.ratio.mean, one.level))
    sooner = [
        density_percent(level.density)
        for level in known if level.ratio.mean < 1
    ]
    said = (
        f"On the mean {len(sooner)} of {len(known)} levels stop earlier than "
        f"dense; earliest at {density_percent(one.density)} % of the weights,"
        f" at {one.ratio.mean:.2f} times dense's step."
    )
    return said + censored


def _draw_accuracies(axes: Axes, run: Run) -> None:
    levels = _with_weights(measure_generalisation(run.rows))
    densities = [one.density for one in levels]
    trains = [one.train for one in levels]
    tests = [one.test for one in levels]
    there = _draw(axes, densities, trains, 1, "train", "--")
    there += _draw(axes, densities, tests, 0, "test", "-")
    against_weights(axes, there)
    axes.set_ylabel("accuracy (%)", fontsize=SIZE)


def _draw_gap(axes: Axes, run: Run) -> None:
    levels = _with_weights(measure_generalisation(run.rows))
    there = _draw(
        axes, [one.density for one in levels], [one.gap for one in levels], 2,
        "train - test", "-",
    )
    against_weights(axes, there)
    axes.set_ylabel("train - test accuracy (pp)", fontsize=SIZE)


def _draw_speed(axes: Axes, run: Run) -> None:
    levels = _with_weights(measure_speed(run.rows))
    there = _draw(
        axes, [one.density for one in levels], [one.ratio for one in levels],
        0, "early stop", "-", 1.0,
    )
    against_weights(axes, there)
    partly = [one for one in levels if one.left_out and one.ratio.count]
    if partly:
        axes.plot(
            [100.0 * one.density for one in partly],
            [one.ratio.mean for one in partly], linestyle="none", marker="o",
            markersize=4.5, color=STYLES[0][0], markerfacecolor="white",
            label="some replicates left out",
        )
    level_line(axes, 1.0, "dense network")
    axes.set_ylabel("early-stop step / dense's", fontsize=SIZE)
    axes.set_ylim(bottom=0)


def _with_weights(levels: Sequence[Any]) -> list[Any]:
    """Levels that a log axis has a place for."""
    return [one for one in levels if one.density > 0]


def _draw(
    axes: Axes,
    densities: Sequence[float],
    spreads: Sequence[Spread],
    style: int,
    label: str,
    dashes: str,
    factor: float = 100.0,
) -> list[float]:
    """Draws a line, and returns the densities of its points."""
    color, marker = STYLES[style]
    pairs = [
        (density, one) for density, one in zip(densities, spreads) if one.count
    ]
    x = [100.0 * density for density, _ in pairs]
    if any(one.count > 1 for _, one in pairs):
        axes.fill_between(
            x, [factor * one.low for _, one in pairs],
            [factor * one.high for _, one in pairs],
            color=color, alpha=0.15, linewidth=0,
        )
    axes.plot(
        x, [factor * one.mean for _, one in pairs], color=color,
        marker=marker, markersize=4.0, linewidth=1.5, linestyle=dashes,
        label=label,
    )
    return [density for density, _ in pairs]

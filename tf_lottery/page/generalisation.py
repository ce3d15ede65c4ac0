"""Do tickets generalise better, and learn sooner?"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery.analysis import Generalisation
from tf_lottery.analysis import Spread
from tf_lottery.analysis import best_level
from tf_lottery.analysis import measure_generalisation
from tf_lottery.analysis import measure_speed
from tf_lottery.metric import Metric
from tf_lottery.metric import density_percent
from tf_lottery.page.panels import against_weights
from tf_lottery.page.panels import level_line
from tf_lottery.page.panels import run_figure
from tf_lottery.page.run import by_metric
from tf_lottery.page.run import listed
from tf_lottery.page.run import suffix
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table
from tf_lottery.page.series import plain
from tf_lottery.report.styles import FONT_SIZE
from tf_lottery.report.styles import STYLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tf_lottery.page.run import Run

_GAP = ("gap", "gap_low", "gap_high")
_SPEED = (
    "early_stop_ratio", "early_stop_ratio_low", "early_stop_ratio_high",
    "early_stop_left_out",
)


def generalisation(runs: Sequence[Run]) -> Section | None:
    """Shows train and test accuracy, and early stopping, against density.

    Args:
        runs: to be shown.

    Returns:
        None where no run has a level after the dense one, of which more is
        known than how it does in the test.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 5; Rasmussen and
        Ghahramani, 2001, NIPS 13, for Occam's hill.
    """
    shown = [
        run for run in runs if _pruned(run) and (_trained(run) or _stops(run))
    ]
    if not shown:
        return None
    figures = []
    if trained := [run for run in shown if _trained(run)]:
        words = listed([run.metric.words for run in trained])
        figures = [
            Figure(
                "generalisation", run_figure(trained, _draw_values),
                f"{words[0].upper()}{words[1:]} on training and on test "
                "examples against the weights remaining.",
            ),
            Figure(
                "gap", run_figure(trained, _draw_gap),
                _gap_alt([run.metric for run in trained]),
            ),
        ]
    if any(
        one.level and one.ratio.count
        for run in shown for one in measure_speed(run.rows)
    ):
        figures.append(
            Figure(
                "speed", run_figure(list(filter(_stops, shown)), _draw_speed),
                "Early-stop step in multiples of the dense network's against "
                "the weights remaining.",
            )
        )
    return Section(
        "Do tickets generalise better, and learn sooner?",
        [
            text
            for run in shown
            for text in (
                _hill(run, len(shown) > 1),
                _soonest(run) if _stops(run) else "",
            )
            if text
        ]
        + [_how(shown)],
        figures,
        [
            _table(f"generalisation{suffix(number)}", group)
            for number, group in enumerate(by_metric(shown))
        ],
    )


def _how(runs: Sequence[Run]) -> str:
    """How it was measured, as far as there is something."""
    told = []
    metrics = {run.metric: None for run in runs if _trained(run)}
    if metrics:
        gaps = listed([m.comparison("train", "test") for m in metrics])
        values, rises, falls = "Values", "gets better", "gets worse"
        if all(m.percent for m in metrics):
            values = "Accuracies"
        if all(m.higher_is_better for m in metrics):
            rises, falls = "rises", "falls"
        told.append(
            f"{values} are those at the end of training; the gap is {gaps}. "
            "Occam's hill: with fewer weights test "
            f"{listed([m.words for m in metrics])} {rises}, as a network can "
            f"learn less by heart, and {falls} once it can no longer learn "
            "the task."
        )
    if any(map(_stops, runs)):
        told.append(
            "Early-stop steps are divided by those of the dense network of "
            "the same replicate, and their mean is geometric."
        )
    told.append(
        "Bands reach from the smallest to the largest of the replicates."
    )
    return " ".join(told)


def _gap_alt(metrics: Sequence[Metric]) -> str:
    if all(metric.percent for metric in metrics):
        words = listed([metric.words for metric in metrics])
        gap = (
            f"{words[0].upper()}{words[1:]} on training examples minus that on "
            "test examples"
        )
    else:
        gap = "How much better networks are on training than on test examples"
    return f"{gap} against the weights remaining."


def _trained(run: Run) -> bool:
    """Whether the metric is known on training examples."""
    name = run.metric.column("train")
    return any(row[name] is not None for row in run.rows)


def _stops(run: Run) -> bool:
    return any(row["early_stop_step"] is not None for row in run.rows)


def _pruned(run: Run) -> bool:
    return any(
        row["branch"] == "main" and row["level"] for row in run.rows
    )


def _table(name: str, runs: Sequence[Run]) -> Table:
    metric = runs[0].metric
    values = (metric.column("train"), metric.test)
    columns = (
        "run", "level", "density", "replicates", *values, *_GAP, *_SPEED
    )
    rows = []
    for run in runs:
        both = zip(_measured(run), measure_speed(run.rows))
        for one, speed in both:
            gaps = (one.gap.mean, one.gap.low, one.gap.high)
            numbers = (
                one.train.mean, one.test.mean, *map(metric.fraction, gaps),
                speed.ratio.mean, speed.ratio.low, speed.ratio.high,
            )
            rows.append([
                run.label, one.level, one.density, one.test.count,
                *map(plain, numbers), speed.left_out,
            ])
    # What no training has told has no column.
    lacks: set[str] = set()
    if not any(map(_trained, runs)):
        lacks |= {values[0], *_GAP}
    if not any(map(_stops, runs)):
        lacks |= set(_SPEED)
    used = [n for n, column in enumerate(columns) if column not in lacks]
    return Table(
        name, [columns[n] for n in used],
        [[row[n] for n in used] for row in rows], metric=metric,
    )


def _measured(run: Run) -> list[Generalisation]:
    return measure_generalisation(run.rows, run.metric)


def _hill(run: Run, several: bool) -> str:
    levels, metric = _measured(run), run.metric
    top = best_level(levels, metric)
    name = f"{run.label}: " if several else ""
    if top is None:
        return f"{name}No test {metric.words} is a number."
    said = (
        f"{name}The best mean test {metric.words}, "
        f"{metric.text(top.test.mean)}, is at {density_percent(top.density)} "
        "% of the weights"
    )
    dense = levels[0]
    if dense.level or not dense.test.count:
        return f"{said}; the dense network has not finished."
    if top.level == 0:
        better = "above" if metric.higher_is_better else "better than"
        return f"{said}: no pruned network is {better} the dense one."
    gain = metric.signed(metric.advantage(top.test.mean, dense.test.mean))
    far = f"{gain} from dense"
    if not metric.higher_is_better:
        # A plus would be read as a higher value, and it is a lower one.
        far = f"better than dense by {gain[1:]}"
    said = f"{said}, {far}{_reached(levels, top)}."
    if not _trained(run):
        return said
    gaps = [
        metric.signed(one.gap.mean).removeprefix("+")
        for one in (dense, top)
    ]
    return (
        f"{said} The generalisation gap is {gaps[1]} there and {gaps[0]} of "
        "the dense network."
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


def _draw_values(axes: Axes, run: Run) -> None:
    metric = run.metric
    levels = _with_weights(_measured(run))
    densities = [one.density for one in levels]
    trains = [one.train for one in levels]
    tests = [one.test for one in levels]
    shown = metric.shown
    there = _draw(axes, densities, trains, 1, "train", "--", shown)
    there += _draw(axes, densities, tests, 0, "test", "-", shown)
    against_weights(axes, there)
    axes.set_ylabel(
        f"{metric.words}{' (%)' if metric.percent else ''}", fontsize=FONT_SIZE
    )


def _draw_gap(axes: Axes, run: Run) -> None:
    levels, metric = _with_weights(_measured(run)), run.metric
    gap = metric.comparison("train", "test")
    there = _draw(
        axes, [one.density for one in levels], [one.gap for one in levels], 2,
        gap, "-", metric.points,
    )
    against_weights(axes, there)
    unit = f" ({metric.unit})" if metric.unit else ""
    what = f"{metric.words}, {gap}"
    if metric.percent:
        what = f"{gap} {metric.words}"
    axes.set_ylabel(f"{what}{unit}", fontsize=FONT_SIZE)


def _draw_speed(axes: Axes, run: Run) -> None:
    levels = _with_weights(measure_speed(run.rows))
    there = _draw(
        axes, [one.density for one in levels], [one.ratio for one in levels],
        0, "early stop", "-", float,
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
    axes.set_ylabel("early-stop step / dense's", fontsize=FONT_SIZE)
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
    shown: Callable[[float], float],
) -> list[float]:
    """Draws a line, and returns the densities of its points."""
    color, marker, _ = STYLES[style]
    pairs = [
        (density, one) for density, one in zip(densities, spreads) if one.count
    ]
    x = [100.0 * density for density, _ in pairs]
    if any(one.count > 1 for _, one in pairs):
        axes.fill_between(
            x, [shown(one.low) for _, one in pairs],
            [shown(one.high) for _, one in pairs],
            color=color, alpha=0.15, linewidth=0,
        )
    axes.plot(
        x, [shown(one.mean) for _, one in pairs], color=color,
        marker=marker, markersize=4.0, linewidth=1.5, linestyle=dashes,
        label=label,
    )
    return [density for density, _ in pairs]

"""What the means of a run say, in one or two sentences."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.methods import METHODS, ticket_branch
from tf_lottery.metric import ACCURACY, Metric, density_percent
from tf_lottery.report.summary import (
    mean,
    median_step,
    told_stop,
)

_CONTROLS = {
    "reinit": "the same mask with fresh weights (reinit)",
    "shuffle_mask": "the mask shuffled within layers (shuffle_mask)",
    "random_mask": "a random mask with fresh weights (random_mask)",
    "random_uniform": "a random mask of equal densities (random_uniform)",
    "random_erk": "a random mask of ERK densities (random_erk)",
    "constant_sign": "the same mask with the signs alone (constant_sign)",
    "constant_random_sign": (
        "the same mask with random signs alone (constant_random_sign)"
    ),
    "resample": "the same mask with initial values drawn anew (resample)",
    **{
        f"noise_{scale}": (
            f"the ticket with noise {scale} times as wide as its kernels "
            f"(noise_{scale})"
        )
        for scale in ("0.5", "1", "3")
    },
    "inverted": "the weights that the criterion scores lowest (inverted)",
    "random_labels": "the criterion's choice by random labels (random_labels)",
    "random_pixels": (
        "the criterion's choice by images in disorder (random_pixels)"
    ),
}

_Run = dict[int, Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class _Comparison:
    """One level against the dense networks of the same replicates."""

    level: int
    rows: _Run
    dense: _Run
    started: int
    metric: Metric

    @property
    def density(self) -> float:
        return mean([row["density"] for row in self.rows.values()])

    @property
    def value(self) -> float:
        return _value(self.rows, self.metric)

    @property
    def dense_value(self) -> float:
        return _value(self.dense, self.metric)

    @property
    def gain(self) -> float:
        gain = self.metric.advantage(self.value, self.dense_value)
        # What is no number reaches nothing.
        return -math.inf if math.isnan(gain) else gain

    @property
    def tie(self) -> float:
        return self.metric.tie(max(self.value, self.dense_value, key=abs))

    @property
    def losers(self) -> int:
        """Replicates in which the level is worse than its own dense network."""
        name = self.metric.test
        return sum(
            self.metric.advantage(row[name], self.dense[key][name]) < -self.tie
            for key, row in self.rows.items()
        )


# These are the ticket itself, and so no controls.
_TICKETS = ("main", "rewound", "reorder")


def finding(
    rows: Sequence[Mapping[str, Any]],
    retrain: str = "rewind",
    *,
    method: str = "imp",
    metric: Metric = ACCURACY,
) -> str:
    """Returns what the means say as one or two plain sentences.

    It is told of the level of smallest density whose mean test accuracy (or
    other metric) is as good as that of level 0 or better, over the replicates
    that have finished both
    (so a half-finished run compares like with like), together with what the
    controls reach at that level and when each network would have stopped
    early. If no level is, it is the one that comes closest. It is a reading
    of the means; the test is `tf_lottery.analysis.judge`.

    Where weights were not rewound between levels, a level has had all the
    training before it too: the networks judged are then those of the branch
    `rewound`, as in `judge`, and where there is none the text says so.

    Args:
        rows: Rows of results.csv, in any order; some may be missing.
        retrain: What pruned networks were trained from, as in `--retrain`.
        method: That found the tickets. Where it does not train them, their
            early stopping is another thing than dense's, and controls, whose
            weights are trained, explain nothing.
        metric: What the networks are judged by.

    Returns:
        A text of one line.

    Example:
        >>> finding([])
        'Nothing finished yet.'
    """
    if not rows:
        return "Nothing finished yet."
    trained = not METHODS[method].strong
    branches = {row["branch"] for row in rows}
    tickets, alone = ticket_branch(method, retrain, branches)
    if tickets == "rewound":
        # The ticket is what was reset in the end (the paper's strategy 2).
        rows = [
            *(
                row for row in rows
                if (row["branch"], row["level"]) == ("main", 0)
                or row["branch"] not in _TICKETS
            ),
            *(
                {**row, "branch": "main"}
                for row in rows if row["branch"] == "rewound"
            ),
        ]
    text = _read(rows, trained, alone, metric)
    if tickets == "rewound":
        return f"Reset once, at the end: {text}"
    if retrain != "rewind":
        return (
            f"{text} The weights were not rewound: each level was trained on "
            "from the last."
        )
    return text


def _read(
    rows: Sequence[Mapping[str, Any]],
    trained: bool,
    alone: bool,
    metric: Metric,
) -> str:
    """The finding on branch "main"; `alone` as in `ticket_branch`."""
    runs: dict[tuple[str, int], _Run] = {}
    for row in rows:
        run = runs.setdefault((row["branch"], row["level"]), {})
        run[row["replicate"]] = row
    dense = runs.get(("main", 0))
    if dense is None:
        return (
            "No dense network (level 0) has finished, so there is nothing "
            "to compare with yet."
        )
    compared = _compare(runs, dense, metric)
    if not compared:
        return (
            "Only the dense network (level 0) has finished: test "
            f"{metric.words} {metric.text(_value(dense, metric))} "
            f"({_replicates(len(dense))}); "
            "there is no ticket to compare with it yet."
        )
    winners = [one for one in compared if one.gain >= -one.tie]
    if winners:
        best = min(winners, key=lambda one: (one.density, -one.level))
        text = _winner(best, compared)
        if alone:
            text += _controls(runs, best)
    else:
        # Of levels that tie, the sparsest.
        best = max(compared, key=lambda one: (
            round(one.gain / one.tie) if one.tie and math.isfinite(one.gain)
            else one.gain, -one.density, one.level))
        text = _nearest(best, compared)
    if not trained:
        return f"{text}. Under the masks no weight was trained."
    stopped = _early_stop(best)
    return f"{text}. {stopped}." if stopped else f"{text}."


def _compare(
    runs: Mapping[tuple[str, int], _Run], dense: _Run, metric: Metric
) -> list[_Comparison]:
    compared = []
    for (branch, level), run in sorted(runs.items()):
        shared = sorted(set(run) & set(dense))
        if branch == "main" and level > 0 and shared:
            compared.append(_Comparison(
                level=level,
                rows={key: run[key] for key in shared},
                dense={key: dense[key] for key in shared},
                started=len(dense),
                metric=metric,
            ))
    return compared


def _winner(best: _Comparison, compared: list[_Comparison]) -> str:
    text = (
        "By the means the sparsest level that reaches dense: "
        f"{_describe(best)}"
    )
    denser = [one for one in compared if one.density > best.density]
    below = sum(one.gain < -one.tie for one in denser)
    # Of a cost what is below is better.
    short, worse = "short of", "worse than"
    if best.metric.higher_is_better:
        short = worse = "below"
    doubts = []
    if below:
        one = "falls" if below == 1 else "fall"
        who = f"{below} of the {len(denser)} denser levels"
        if len(denser) == 1:
            who = "the one denser level"
        doubts.append(f"{who} {one} {short} dense")
    if best.losers:
        doubts.append(
            f"{best.losers} of {len(best.rows)} replicates "
            f"{'is' if best.losers == 1 else 'are'} {worse} dense here"
        )
    if doubts:
        text += f", although {' and '.join(doubts)}"
    return text


def _nearest(best: _Comparison, compared: list[_Comparison]) -> str:
    if len(compared) == 1:
        return (
            "By the means the one finished level falls short of dense: "
            f"{_describe(best)}"
        )
    return (
        f"By the means none of the {len(compared)} finished levels reaches "
        f"dense; the closest, {_describe(best)}"
    )


def _describe(one: _Comparison) -> str:
    rows = list(one.rows.values())
    kept = round(mean([row["kept_weights"] for row in rows]))
    metric = one.metric
    return (
        f"level {one.level} keeps {density_percent(one.density)} % of the "
        f"weights ({kept:,} of {rows[0]['prunable_weights']:,}) at test "
        f"{metric.words} {metric.text(one.value)}, dense "
        f"{metric.text(one.dense_value)} ({_gain(one)}, "
        f"{_replicates(len(rows), one.started)})"
    )


def _gain(one: _Comparison) -> str:
    metric, gain = one.metric, one.gain
    if abs(gain) <= one.tie:
        return "equal"
    if math.isinf(gain):
        return "beyond comparison"
    if metric.higher_is_better:
        return metric.signed(gain)
    # A plus would be read as a higher value, and it is a lower one.
    much = metric.signed(gain)[1:]
    return f"{'better' if gain > 0 else 'worse'} by {much}"


def _so(name: str) -> str:
    """What it means that a control is as good as the ticket."""
    if name.startswith("noise_"):
        # It is the ticket, but for what was added.
        return "the exact initial values do not matter"
    return "it explains the result as well"


def _controls(
    runs: Mapping[tuple[str, int], _Run], best: _Comparison
) -> str:
    parts = []
    # reinit first: it is the control of the papers.
    names = sorted(
        (branch for branch, level in runs
         if level == best.level and branch not in _TICKETS),
        key=lambda name: (name != "reinit", name),
    )
    for name in names:
        run = runs[name, best.level]
        shared = set(run) & set(best.rows)
        if not shared:
            continue
        metric = best.metric
        control = _value({key: run[key] for key in shared}, metric)
        ticket = _value({key: best.rows[key] for key in shared}, metric)
        text = f"{_CONTROLS.get(name, name)} reaches {metric.text(control)}"
        if len(shared) < len(best.rows):
            text += f" ({len(shared)} of {len(best.rows)} replicates)"
        if metric.advantage(control, ticket) >= -best.tie:
            text += f", as good or better, so {_so(name)}"
        parts.append(text)
    if not parts:
        # Where there are none at all the verdict asks for them.
        others = any(branch not in _TICKETS for branch, _ in runs)
        note = "; no control has finished at this level (--branch_levels=all)"
        return note if others else ""
    return "; " + "; ".join(parts)


def _early_stop(one: _Comparison) -> str:
    rows = told_stop(list(one.rows.values()))
    denses = told_stop(list(one.dense.values()))
    if not rows or not denses:
        return ""
    step, bound = median_step(rows)
    dense, dense_bound = median_step(denses)
    if bound and dense_bound:
        return (
            "Early stopping can not be compared: both validation losses "
            "were still falling at the last evaluation"
        )
    if bound:
        text = (
            f"Its validation loss was still falling at step {step:,.0f}, "
            f"dense is lowest at step {dense:,.0f}"
        )
        return text + (" (later than dense)" if step >= dense else "")
    text = f"Its validation loss is lowest at step {step:,.0f}, dense "
    text += (
        f"was still falling at step {dense:,.0f}" if dense_bound
        else f"at step {dense:,.0f}"
    )
    if dense_bound:
        if 0 < step < dense:
            text += f" (at least {dense / step:.2f}x sooner)"
    elif step == dense:
        text += " (the same)"
    elif step > dense:
        text += " (later than dense)"
    elif step > 0:
        text += f" ({dense / step:.2f}x sooner)"
    return text


def _replicates(count: int, started: int | None = None) -> str:
    if started is not None and count < started:
        return f"only {count} of {started} replicates finished"
    return "one replicate" if count == 1 else f"mean of {count} replicates"


def _value(run: _Run, metric: Metric) -> float:
    return mean([row[metric.test] for row in run.values()])

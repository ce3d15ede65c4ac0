"""The verdict in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tf_lottery.analysis.comparison import COMPARED
from tf_lottery.analysis.comparison import DENSE
from tf_lottery.analysis.comparison import EARLY_STOP
from tf_lottery.analysis.paired import MOST_MORE
from tf_lottery.metric import density_percent

if TYPE_CHECKING:
    from tf_lottery.analysis.comparison import Comparison
    from tf_lottery.analysis.verdict import LevelVerdict
    from tf_lottery.analysis.verdict import Verdict
    from tf_lottery.metric import Metric

#: What a level may be.
WINNING, MATCHING = "winning", "matching"
NO_TICKET, UNDECIDED = "no ticket", "undecided"

_HEADLINES = {
    WINNING: "a winning ticket",
    MATCHING: "a matching subnetwork, not shown to be a winning ticket,",
    NO_TICKET: "no ticket",
    UNDECIDED: "undecided",
}
_NOT_SHOWN = ", not shown to be above 0"


def headline(verdict: Verdict) -> str:
    """Returns the verdict on the primary level, in a line.

    Args:
        verdict: of a run.
    """
    one = verdict.primary
    if one is None:
        return (
            "Verdict: none, as no ticket and its dense network have finished."
        )
    alone = one.comparisons[DENSE].paired.pairs == 1
    return (
        f"Verdict: {_HEADLINES[one.verdict]} at level {one.level}, "
        f"{density_percent(one.density)} % of the weights"
        f"{', with one replicate' if alone else ''}."
    )


def text(verdict: Verdict) -> str:
    """Returns the verdict as a few sentences: the headline, and a paragraph.

    Args:
        verdict: of a run.
    """
    one = verdict.primary
    if one is None:
        return headline(verdict)
    sentences = [
        _chosen(verdict, one),
        _values(verdict, one),
        _early_stop(one),
        _what_lacks(verdict, one),
        _more(one),
        _others(verdict),
    ]
    return f"{headline(verdict)}\n{' '.join(filter(None, sentences))}"


def _chosen(verdict: Verdict, one: LevelVerdict) -> str:
    if len(verdict.levels) == 1:
        return ""
    reinit = "reinit" in one.comparisons
    among = "the levels with a reinit control" if reinit else "all levels"
    return (
        f"Of {among} it is the nearest to --verdict_density="
        f"{verdict.density:g}, so it is tested alone."
    )


def _values(verdict: Verdict, one: LevelVerdict) -> str:
    dense, metric = one.comparisons[DENSE], verdict.metric
    count = dense.paired.pairs
    # In the unit of the difference, which it is held against.
    margin = metric.signed_number(metric.threshold(verdict.margin))[1:]
    if metric.ratio:
        margin += f", a factor of {1.0 + verdict.margin:g}"
    parts = [
        f"{metric.comparison('ticket', DENSE)} is "
        f"{metric.signed(dense.paired.mean)} "
        f"({_interval(dense, metric)}margin {margin})"
    ]
    for name, what in COMPARED.items():
        if name in one.comparisons:
            other = one.comparisons[name]
            parts.append(
                f"{metric.comparison('ticket', name)} "
                f"{metric.signed(other.paired.mean)}"
                f"{_least(other, count, metric)}"
                f"{f': {what}' if other.above else _NOT_SHOWN}"
            )
    who = f"{count} replicates" if count != 1 else "one replicate"
    joined = f"Over {who} {'; '.join(parts)}."
    if dense.paired.sd and dense.paired.sd <= 1.000001 * verdict.step:
        joined += (
            " The differences to dense vary by no more than a step of "
            f"{metric.words}, "
            f"{metric.signed(verdict.step)[1:]}, "
            "which is taken for their standard deviation."
        )
    if dense.left_out:
        joined += f" Left out, as not paired: {dense.left_out}."
    return joined


def _interval(one: Comparison, metric: Metric) -> str:
    if one.paired.lower is None or one.paired.upper is None:
        return ""
    return (
        f"95 % bounds {metric.signed_number(one.paired.lower)} and "
        f"{metric.signed_number(one.paired.upper)}, "
    )


def _least(one: Comparison, count: int, metric: Metric) -> str:
    pairs = one.paired.pairs
    some = "pair" if pairs == 1 else "pairs"
    notes = [f"{pairs} {some}"] if pairs != count else []
    if one.paired.lower is not None:
        notes.insert(0, f"at least {metric.signed_number(one.paired.lower)}")
    return f" ({', '.join(notes)})" if notes else ""


def _early_stop(one: LevelVerdict) -> str:
    found = one.comparisons.get(EARLY_STOP)
    if found is None:
        return ""
    paired = found.paired
    censored = (
        f"{found.left_out} of {found.left_out + paired.pairs} pairs left out "
        "(a loss still falling at the last evaluation, or not a pair)"
    )
    if not paired.pairs:
        return f"Early stopping can not be compared: {censored}."
    said = f"Early stop: {math.exp(paired.mean):.2f} times dense's step"
    if paired.upper is not None:
        said += f" (at most {math.exp(paired.upper):.2f})"
    said += ", sooner" if found.below else ", not shown to be sooner"
    return f"{said}{f'; {censored}' if found.left_out else ''}."


def _what_lacks(verdict: Verdict, one: LevelVerdict) -> str:
    if not verdict.trained_alone:
        return (
            "These networks were not trained as tickets are, masked and from "
            "the weights of the rewind point: none is called winning, and "
            "controls are not compared."
        )
    if "reinit" not in one.comparisons:
        return (
            "No reinit control has finished here, without which no ticket is "
            "winning (--branches=reinit)."
        )
    return ""


def _more(one: LevelVerdict) -> str:
    if one.comparisons[DENSE].paired.pairs == 1:
        return (
            "One replicate has no spread, so nothing is decided: run more "
            "(--replicates)."
        )
    if one.more_replicates is None:
        return ""
    what = "whether it is winning" if one.verdict == MATCHING else "it"
    # A spread of a few replicates is known badly itself.
    given = "Should means and spread stay as they are,"
    if math.isinf(one.more_replicates):
        return (
            f"{given} it takes more than {MOST_MORE} more replicates to decide"
            f" {what}."
        )
    more = int(one.more_replicates)
    against = "reinit" if one.verdict == MATCHING else DENSE
    total = one.comparisons[against].paired.pairs + more
    return (
        f"{given} {more} more {'replicate' if more == 1 else 'replicates'} "
        f"would decide {what} (--replicates={total})."
    )


def _others(verdict: Verdict) -> str:
    groups: dict[str, list[str]] = {}
    for one in verdict.levels:
        if not one.primary:
            groups.setdefault(one.verdict, []).append(str(one.level))
    if not groups:
        return ""
    if len(groups) == 1 and len(verdict.levels) > 2:
        said = f"all {next(iter(groups))}"
    else:
        said = "; ".join(
            f"{word} {', '.join(groups[word])}"
            for word in (WINNING, MATCHING, NO_TICKET, UNDECIDED)
            if word in groups
        )
    return f"The other levels, corrected for their number (Holm): {said}."

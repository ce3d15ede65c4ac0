"""Claims and what runs say of them, as text, Markdown and rows of CSV."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.claims.claim import DISAGREES
from tf_lottery.claims.claim import POINTS
from tf_lottery.claims.claim import RATIO
from tf_lottery.claims.claim import Claim
from tf_lottery.claims.claim import Outcome
from tf_lottery.claims.claim import Part
from tf_lottery.claims.claim import Runs
from tf_lottery.claims.claim import Sample
from tf_lottery.config import Config
from tf_lottery.plan import trainings

#: Columns of the table of a figure, one row per part of a claim.
CLAIM_COLUMNS = (
    "figure", "claim", "paper", "agreement", "part", "unit", "replicates",
    "left_out", "mean", "min", "max", "lower", "upper", "above", "below",
    "command",
)
# More parts than these are told by the lowest and the highest.
_MOST = 3


def claim_rows(
    figure: str, outcomes: Sequence[Outcome], command: str
) -> list[list[Any]]:
    """Returns one row of plain values per part of every claim.

    Ratios are ratios, not logarithms, their mean being the geometric one;
    differences and shares are fractions. `lower` and `upper` are one-sided
    95 % bounds of the mean; `above` and `below` are where it lies if the
    claim holds. A value is None where there is none.

    Args:
        figure: its name.
        outcomes: of its claims.
        command: that gives them.

    Returns:
        Values in the order of `CLAIM_COLUMNS`.
    """
    rows = []
    for outcome in outcomes:
        claim = outcome.claim
        for part, sample in zip(claim.parts, outcome.samples):
            values, paired = list(sample.values.values()), sample.paired
            numbers: list[float | None] = [None] * 5
            if values:
                numbers = [
                    paired.mean, min(values), max(values), paired.lower,
                    paired.upper,
                ]
            bounds = [x if math.isfinite(x) else None
                      for x in (part.low, part.high)]
            if part.unit == RATIO:
                numbers, bounds = (
                    [x if x is None else math.exp(x) for x in some]
                    for some in (numbers, bounds)
                )
            rows.append([
                figure, claim.text, claim.paper, outcome.agreement,
                part.label, part.unit, len(values), sample.left_out,
                *numbers, *bounds, command,
            ])
    return rows


def text(outcomes: Sequence[Outcome]) -> str:
    """Returns what runs say of claims, for a terminal.

    Args:
        outcomes: of the claims of a figure.
    """
    lines = []
    for one in outcomes:
        claim = one.claim
        lines += [
            f"{one.agreement.upper()}: {claim.text}.",
            f"    paper: {claim.paper}; ours: {_ours(one)}; n = {_count(one)}",
            f"    rule: {_rule(claim)}",
        ]
    return "\n".join(lines)


def markdown(
    heading: str,
    outcomes: Sequence[Outcome],
    command: str,
    configs: Mapping[str, Config],
    runs: Runs,
) -> str:
    """Returns the part of a page about a figure.

    Args:
        heading: of the part.
        outcomes: of the claims of the figure.
        command: that gives them.
        configs: of what is run for it.
        runs: what is there of that.
    """
    done = "; ".join(
        _done(name, config, runs) for name, config in configs.items()
    )
    lines = [
        f"## {heading}", "", f"    {command}", "", f"{done}.", "",
        "| claim | paper | ours | n | agreement | rule |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in outcomes:
        claim, word = one.claim, one.agreement
        cells = [
            claim.text + (f". {claim.note}" if claim.note else ""),
            claim.paper, _ours(one), _count(one),
            f"**{word}**" if word == DISAGREES else word, _rule(claim),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def renewed(page: str, name: str, part: str) -> str:
    """Returns a page whose part of a name is renewed.

    Args:
        page: Markdown. A part stands between two comments that name it; one
            that is not there yet is added at the end.
        name: of the part.
        part: Markdown.

    Raises:
        ValueError: the page has one of the two comments only.

    Example:
        >>> page = renewed("# Title", "a", "old")
        >>> print(renewed(page, "a", "new"))
        # Title
        <BLANKLINE>
        <!-- figure a -->
        new
        <!-- end of a -->
        <BLANKLINE>
    """
    begin, end = f"<!-- figure {name} -->", f"<!-- end of {name} -->"
    block = f"{begin}\n{part}\n{end}"
    counts = page.count(begin), page.count(end)
    if counts == (0, 0):
        return f"{page.rstrip()}\n\n{block}\n".lstrip()
    before, _, rest = page.partition(begin)
    _, found, after = rest.partition(end)
    if counts != (1, 1) or not found:
        raise ValueError(
            f"`page` must have {begin} and then {end}, once each. Received: "
            f"{counts[0]} and {counts[1]} of them. Take both out, and the "
            "part is added at the end."
        )
    return f"{before}{block}{after}"


def _done(name: str, config: Config, runs: Runs) -> str:
    keys = trainings(config.resolved())
    planned = {(k.replicate, k.branch, k.level) for k in keys}
    there = {
        (row["replicate"], row["branch"], row["level"])
        for row in runs[name].rows
    }
    count = len(planned & there)
    done = f"{count} of {len(keys)}" if count < len(keys) else f"{count}"
    return f"`{name}`: {done} trainings of {config.train_steps}"


def _ours(outcome: Outcome) -> str:
    pairs = [
        (part, sample)
        for part, sample in zip(outcome.claim.parts, outcome.samples)
        if sample.values
    ]
    if not pairs:
        return "-"
    if len(pairs) > _MOST:
        pairs.sort(key=lambda pair: pair[1].paired.mean)
        ends = [_told(*pairs[0]), _told(*pairs[-1])]
        return f"{ends[0]} to {ends[1]} (of {len(pairs)})"
    return "; ".join(_told(*pair) for pair in pairs)


def _told(part: Part, sample: Sample) -> str:
    values = list(sample.values.values())
    told = f"{part.label}: {_value(part.unit, sample.paired.mean)}"
    if len(values) == 1:
        return told
    low, high = (_value(part.unit, v) for v in (min(values), max(values)))
    return f"{told} ({low} to {high})"


def _value(unit: str, value: float) -> str:
    if unit == RATIO:
        return f"{math.exp(value):.2f}x"
    if unit == POINTS:
        return f"{100 * value:+.2f} pp"
    return f"{100 * value:.1f} %"


def _count(outcome: Outcome) -> str:
    counts = [len(sample.values) for sample in outcome.samples]
    low, high = min(counts), max(counts)
    text = str(low) if low == high else f"{low} to {high}"
    left = max(sample.left_out for sample in outcome.samples)
    return f"{text}, {left} left out" if left else text


def _rule(claim: Claim) -> str:
    rules = [_bounds(part) for part in claim.parts]
    if len(set(rules)) > 1:
        return "; ".join(
            f"{part.label}: {rule}" for part, rule in zip(claim.parts, rules)
        )
    if len(rules) == 1:
        return rules[0]
    return f"{'each' if claim.every else 'some'} {rules[0]}"


def _bounds(part: Part) -> str:
    low, high = (_value(part.unit, x) for x in (part.low, part.high))
    if not math.isfinite(part.high):
        return f"above {low}"
    if not math.isfinite(part.low):
        return f"below {high}"
    return f"from {low} to {high}"

"""What it cost to find each ticket, from the rows of results.csv."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.methods import METHODS
from tf_lottery.methods import levels_before

# Sum over the trainings that led to a ticket -> what is summed.
_SUMS = {
    "search_steps": "train_steps",
    "search_examples": "train_examples",
    "search_flops": "train_flops",
    "search_effective_flops": "train_effective_flops",
    "search_seconds": "train_seconds",
}
_BREAK_EVEN = "break_even_examples"

#: Columns of results.csv that follow from other rows.
SEARCH_COLUMNS = (*_SUMS, _BREAK_EVEN)

_Row = Mapping[str, Any]


def with_search_costs(
    rows: Sequence[_Row], method: str = "imp"
) -> list[dict[str, Any]]:
    """Returns the rows with what it cost to find each network.

    `search_steps`, `search_examples`, `search_flops`,
    `search_effective_flops` and `search_seconds` of level L of a replicate
    are sums over its own training and those of branch "main" that made its
    mask: under a method with rounds the levels 0 to L - 1, under one that
    prunes the trained network level 0, otherwise its steps up to the rewind
    point, if any. So a control costs what the ticket of its level costs, but
    for its own training; where the mask is only known at the end of the
    ticket's training, that one too. Of tickets that were found elsewhere it
    is not known.

    `break_even_examples = ceil((S - D) / (f - e))`: after so many inferences
    the search has paid. S is `search_effective_flops`, D the training FLOPs
    of the dense network of level 0, which somebody without a ticket trains
    anyway, and f - e the FLOPs that the mask saves per inference, so both
    sides assume a machine that skips zeros; at least 0.

    Args:
        rows: Rows of results.csv or level.json files, in any order. Columns
            may be missing or None.
        method: that found the tickets, a name in `tf_lottery.methods`.

    Returns:
        Copies of the rows, in their order, with the keys `SEARCH_COLUMNS`.
        A value is None where a row or column that it needs is missing;
        `break_even_examples` also at level 0, and where nothing is saved.

    Example:
        >>> row = {"replicate": 0, "branch": "main", "train_steps": 50}
        >>> found = with_search_costs([row | {"level": n} for n in (0, 1, 2)])
        >>> [row["search_steps"] for row in found]
        [50, 100, 150]
    """
    main = {
        (row["replicate"], row["level"]): row
        for row in rows
        if row["branch"] == "main"
    }
    result = []
    for row in rows:
        replicate, level = row["replicate"], row["level"]
        levels = levels_before(method, level)
        kind = METHODS[method]
        if (kind.inside or kind.strong) and row["branch"] != "main":
            levels = [*levels, level]
        before = [main.get((replicate, n), {}) for n in levels]
        if level > 0 and not levels:
            whole, ticket = (main.get((replicate, n), {}) for n in (0, level))
            before = _up_to_rewind(whole, ticket)
        sums = {
            name: _total([*before, row], part) for name, part in _SUMS.items()
        }
        if kind.given and level > 0:
            # Paid where the ticket was found, on other data.
            sums = dict.fromkeys(sums)
        sums[_BREAK_EVEN] = None
        if level > 0:
            first = main.get((replicate, 0), {})
            dense = first.get("train_effective_flops")
            sums[_BREAK_EVEN] = _break_even({**row, **sums}, dense)
        result.append({**row, **sums})
    return result


def _up_to_rewind(dense: _Row, ticket: _Row) -> list[_Row]:
    """What the dense network cost until the ticket's training set in."""
    steps: Any = dense.get("train_steps")
    rest: Any = ticket.get("train_steps")
    if None in (steps, rest) or steps <= rest:
        return []
    cost: dict[str, Any] = {}
    for part in _SUMS.values():
        value: Any = dense.get(part)
        if isinstance(value, int):
            cost[part] = value * (steps - rest) // steps
        elif value is not None:
            cost[part] = value * (steps - rest) / steps
    return [cost]


def _total(rows: Sequence[_Row], part: str) -> Any:
    values: list[Any] = [row.get(part) for row in rows]
    if None in values:
        return None
    total = sum(values)
    # Seconds have milliseconds; 0.1 + 0.2 would have 17 digits.
    return round(total, 3) if part == "train_seconds" else total


def _break_even(row: _Row, dense: Any) -> int | None:
    spent: Any = row["search_effective_flops"]
    before: Any = row.get("inference_flops")
    after: Any = row.get("inference_effective_flops")
    if None in (spent, dense, before, after) or before <= after:
        return None
    # Ceiling of a quotient of integers beyond the 53 bits of a float.
    return max(0, -((dense - spent) // (before - after)))

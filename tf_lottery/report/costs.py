"""What each ticket cost, as a table for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.report.summary import density_percent, mean

_Row = Mapping[str, Any]
_HEAD = (
    "level", "weights %", "search steps", "search FLOPs", "search time",
    "FLOPs per inference", "pays after",
)
_NOTE = (
    "Search: all levels up to this one, in multiples of the dense training. "
    "FLOPs: of kept weights.",
    "Pays after: inferences whose saving is the search's cost beyond one "
    "dense training.",
)


def cost_lines(rows: Sequence[_Row]) -> list[str]:
    """Returns the cost table of branch "main", a line per level.

    Columns: level, weights kept in percent; the search up to this level, as
    multiples of the training of the dense network in optimizer steps, in
    effective FLOPs and in seconds; effective FLOPs per inference in percent
    of the dense network's; and `break_even_examples`. Each is the mean over
    the replicates in which it is known, and blank where there is none. Two
    lines below say so.

    Args:
        rows: Rows of results.csv, in any order; some may be missing.

    Returns:
        The lines, up to 100 columns wide; none before level 0 has a cost.

    Example:
        >>> cost_lines([])
        []
    """
    levels: dict[int, list[_Row]] = {}
    for row in rows:
        if row["branch"] == "main":
            levels.setdefault(row["level"], []).append(row)
    dense = {row["replicate"]: row for row in levels.get(0, [])}
    if not any(row.get("search_steps") for row in dense.values()):
        return []

    def ratio(name: str, level: int) -> str:
        values = [
            row[name] / first[name]
            for row in levels[level]
            if (first := dense.get(row["replicate"], {})).get(name)
            and row.get(name) is not None
        ]
        return f"{mean(values):.2f} x" if values else ""

    table = [list(_HEAD)]
    for level in sorted(levels):
        group = levels[level]
        table.append([
            str(level),
            density_percent(mean([row["density"] for row in group])),
            ratio("search_steps", level),
            ratio("search_effective_flops", level),
            ratio("search_seconds", level),
            _left(group),
            _pays(group),
        ])
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = [
        "  ".join(c.rjust(w) for c, w in zip(cells, widths)).rstrip()
        for cells in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    return [*lines, *_NOTE]


def _left(rows: Sequence[_Row]) -> str:
    values = [
        row["inference_effective_flops"] / row["inference_flops"]
        for row in rows
        if row.get("inference_flops")
        and row.get("inference_effective_flops") is not None
    ]
    return f"{density_percent(mean(values))} %" if values else ""


def _pays(rows: Sequence[_Row]) -> str:
    values = [
        row["break_even_examples"]
        for row in rows
        if row.get("break_even_examples") is not None
    ]
    return f"{mean(values):,.0f}" if values else ""

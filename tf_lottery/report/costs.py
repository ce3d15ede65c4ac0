"""What each ticket cost, as a table for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tf_lottery.metric import density_percent
from tf_lottery.report.summary import mean

_Row = Mapping[str, Any]
_HEAD = (
    "level", "weights %", "search steps", "search FLOPs", "search time",
    "FLOPs per inference", "pays after",
)
#: Keys of the dicts of `cost_rows`.
COST_COLUMNS = (
    "level", "density", "search_steps_ratio", "search_flops_ratio",
    "search_time_ratio", "inference_share", "pays_after",
)
#: What the columns of the search are.
SEARCH_NOTE = (
    "Search: all trainings it took, in multiples of the dense training."
)
_NOTES = (
    SEARCH_NOTE,
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
    the replicates in which it is known, and blank where there is none. A
    column of which nothing is known is left out. Lines below say what is
    what.

    Args:
        rows: Rows of results.csv, in any order; some may be missing.

    Returns:
        The lines, up to 100 columns wide; none before level 0 has a cost.

    Example:
        >>> cost_lines([])
        []
    """
    found = cost_rows(rows)
    if not found:
        return []
    used = [
        n for n, name in enumerate(COST_COLUMNS)
        if any(row[name] is not None for row in found)
    ]
    table = [
        [_HEAD[n] for n in used],
        *([_cell(row, COST_COLUMNS[n]) for n in used] for row in found),
    ]
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = [
        "  ".join(c.rjust(w) for c, w in zip(cells, widths)).rstrip()
        for cells in table
    ]
    lines.insert(1, "-" * max(map(len, lines)))
    told = {COST_COLUMNS[n] for n in used}
    search, flops, pays = _NOTES
    if "search_flops_ratio" in told or "inference_share" in told:
        search = f"{search} {flops}"
    return [*lines, search, *([pays] if "pays_after" in told else [])]


def _cell(row: _Row, name: str) -> str:
    value = row[name]
    if value is None:
        return ""
    if name == "level":
        return str(value)
    if name == "pays_after":
        return f"{value:,.0f}"
    if name.endswith("_ratio"):
        return f"{value:.2f} x"
    percent = density_percent(value)
    return percent if name == "density" else f"{percent} %"


def cost_rows(rows: Sequence[_Row]) -> list[dict[str, Any]]:
    """Returns the numbers of `cost_lines`, one dict per level.

    Args:
        rows: Rows of results.csv, in any order; some may be missing.

    Returns:
        Dicts with the keys `COST_COLUMNS`: `level`, `density` (fraction);
        `search_steps_ratio`, `search_flops_ratio`, `search_time_ratio`
        (multiples of the dense training); `inference_share` (effective FLOPs
        per inference, as a fraction of the dense network's) and `pays_after`
        (inferences). None where it is not known; no dicts before level 0 has
        a cost.

    Example:
        >>> cost_rows([])
        []
    """
    levels: dict[int, list[_Row]] = {}
    for row in rows:
        if row["branch"] == "main":
            levels.setdefault(row["level"], []).append(row)
    dense = {row["replicate"]: row for row in levels.get(0, [])}
    if not any(row.get("search_steps") for row in dense.values()):
        return []

    def ratio(name: str, level: int) -> float | None:
        return _mean(
            row[name] / first[name]
            for row in levels[level]
            if (first := dense.get(row["replicate"], {})).get(name)
            and row.get(name) is not None
        )

    return [
        {
            "level": level,
            "density": mean([row["density"] for row in levels[level]]),
            "search_steps_ratio": ratio("search_steps", level),
            "search_flops_ratio": ratio("search_effective_flops", level),
            "search_time_ratio": ratio("search_seconds", level),
            "inference_share": _mean(
                row["inference_effective_flops"] / row["inference_flops"]
                for row in levels[level]
                if row.get("inference_flops")
                and row.get("inference_effective_flops") is not None
            ),
            "pays_after": _mean(
                row["break_even_examples"]
                for row in levels[level]
                if row.get("break_even_examples") is not None
            ),
        }
        for level in sorted(levels)
    ]


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return mean(known) if known else None

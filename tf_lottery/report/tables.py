"""The table that ends a run at the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.metric import ACCURACY, Metric, density_percent
from tf_lottery.report.costs import cost_lines
from tf_lottery.report.summary import (
    branch_order,
    summarize,
)


def text_table(
    rows: Sequence[Mapping[str, Any]], metric: Metric = ACCURACY
) -> str:
    """Returns the results as aligned plain text, one line per level.

    Columns: level, weights kept in percent and as a count, test accuracy in
    percent, or another metric (mean, and min-max where there is more than one
    replicate), the median step of minimum validation loss (">=": only a lower
    bound), where one is known, and the mean test accuracy of each control,
    blank where it was not run.
    Notes below the table name the levels that some replicate has not
    finished. Up to 100 columns wide with two controls. A second table says
    what each ticket cost, where the rows do, see `cost_lines`.

    Args:
        rows: Rows of results.csv, in any order; some may be missing.
        metric: What the networks are judged by.

    Returns:
        Lines joined by newlines, without one at the end.

    Example:
        >>> text_table([])
        'Nothing finished yet.'
    """
    if not rows:
        return "Nothing finished yet."
    entries = {(e["branch"], e["level"]): e for e in summarize(rows, metric)}
    controls = sorted({branch for branch, _ in entries} - {"main"})
    levels = sorted({level for _, level in entries})
    stops = any(e["early_stop_step_median"] is not None
                for e in entries.values())
    table = [[
        "level", "weights %", "kept weights",
        f"test {metric.words}{' %' if metric.percent else ''}",
        *(["early stop step"] if stops else []), *controls,
    ]]
    for level in levels:
        present = [
            entries[branch, level]
            for branch in ("main", *controls)
            if (branch, level) in entries
        ]
        main = entries.get(("main", level))
        table.append([
            str(level),
            density_percent(present[0]["density"]),
            f"{present[0]['kept_weights']:,}",
            _value(main, metric) if main else "",
            *([_early_stop(main) if main else ""] if stops else []),
            *(_control(entries.get((name, level)), metric)
              for name in controls),
        ])
    lines = _align(table)
    lines.insert(1, "-" * max(map(len, lines)))
    costs = cost_lines(rows)
    return "\n".join([
        *lines,
        *_notes(rows, list(entries.values())),
        *(["", *costs] if costs else []),
    ])


def _value(entry: Mapping[str, Any], metric: Metric) -> str:
    middle, low, high = (
        metric.number(entry[f"{metric.test}_{name}"])
        for name in ("mean", "min", "max")
    )
    if entry["replicates"] == 1:
        return middle
    # Beside a minus the sign would be one too many.
    to = " to " if low.startswith("-") else "-"
    return f"{middle} ({low}{to}{high})"


def _early_stop(entry: Mapping[str, Any]) -> str:
    if entry["early_stop_step_median"] is None:
        return ""
    sign = ">= " if entry["early_stop_is_bound"] else ""
    return f"{sign}{entry['early_stop_step_median']:,.0f}"


def _control(entry: Mapping[str, Any] | None, metric: Metric) -> str:
    if entry is None:
        return ""
    return metric.number(entry[f"{metric.test}_mean"])


def _align(table: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = []
    for cells in table:
        padded = [cell.rjust(width) for cell, width in zip(cells, widths)]
        # Left, so that means stand below each other with and without ranges.
        padded[3] = cells[3].ljust(widths[3])
        lines.append("  ".join(padded).rstrip())
    return lines


def _notes(
    rows: Sequence[Mapping[str, Any]], entries: list[dict[str, Any]]
) -> list[str]:
    notes = []
    main = [entry for entry in entries if entry["branch"] == "main"]
    if any(entry["early_stop_is_bound"] for entry in main):
        notes.append(
            ">= : validation loss was still falling at the last evaluation."
        )
    total = len({row["replicate"] for row in rows})
    missing: dict[tuple[str, int], list[str]] = {}
    for entry in sorted(entries, key=lambda e: branch_order(e["branch"])):
        if entry["replicates"] < total:
            key = entry["branch"], entry["replicates"]
            missing.setdefault(key, []).append(str(entry["level"]))
    for (branch, count), levels in missing.items():
        notes.append(
            f"Only {count} of {total} replicates: {branch} level"
            f"{'s' if len(levels) > 1 else ''} {', '.join(levels)}."
        )
    return notes

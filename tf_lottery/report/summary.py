"""Statistics over replicates, one entry per branch and level."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.metric import ACCURACY, Metric


def branch_order(branch: str) -> tuple[bool, str]:
    """Returns a sort key that puts "main" first, then controls by name.

    Args:
        branch: Name of a branch.

    Returns:
        A key for `sorted`.

    Example:
        >>> sorted(["reinit", "main", "other"], key=branch_order)
        ['main', 'other', 'reinit']
    """
    return branch != "main", branch


def median_step(
    rows: Sequence[Mapping[str, Any]],
) -> tuple[float, bool]:
    """Returns the median early-stop step, and whether it is a lower bound.

    A censored step (the minimum was at the last evaluation) may really be
    any later one. That moves the median only when a censored step is not
    above the middle of the sorted steps.

    Args:
        rows: Rows of results.csv of one branch and level, at least one, of
            which the step is known.

    Returns:
        The median in optimizer steps, and True when the true median may be
        larger.

    Example:
        >>> steps = [(100, False), (200, False), (300, True)]
        >>> median_step([
        ...     {"early_stop_step": step, "early_stop_censored": censored}
        ...     for step, censored in steps])
        (200.0, False)
    """
    steps = [row["early_stop_step"] for row in rows]
    middle = statistics.median_high(steps)
    bound = any(
        row["early_stop_censored"] and row["early_stop_step"] <= middle
        for row in rows
    )
    return float(statistics.median(steps)), bound


def mean(values: Sequence[float]) -> float:
    """Returns the arithmetic mean, independent of the order of the values.

    Args:
        values: At least one number.

    Returns:
        The mean; NaN if a value is NaN.

    Example:
        >>> mean([0.25, 0.75])
        0.5
    """
    return math.fsum(values) / len(values)


def told_stop(
    rows: Sequence[Mapping[str, Any]],
) -> list[Mapping[str, Any]]:
    """Returns the rows of which the early-stop step is known.

    Args:
        rows: Rows of results.csv; a user's training function may not tell it.

    Example:
        >>> told_stop([{"early_stop_step": None}, {"early_stop_step": 0}])
        [{'early_stop_step': 0}]
    """
    return [row for row in rows if row["early_stop_step"] is not None]


def summarize(
    rows: Sequence[Mapping[str, Any]], metric: Metric = ACCURACY
) -> list[dict[str, Any]]:
    """Returns the statistics over replicates of each branch and level.

    Args:
        rows: Rows of results.csv, in any order; some may be missing.
        metric: What the networks are judged by.

    Returns:
        One dict per branch and level that has a row, "main" first, then the
        controls by name, each by level, with the keys

        - `branch`, `level`, `density` (fraction), `kept_weights`,
          `prunable_weights`;
        - `replicates`: how many rows were averaged;
        - `test_accuracy_mean`, `_min`, `_max` and
          `early_stop_test_accuracy_mean`, `_min`, `_max` (fractions), or
          the same of another metric;
        - `early_stop_step_median`, `_min`, `_max` (optimizer steps);
        - `early_stop_censored`: how many replicates are censored;
        - `early_stop_is_bound`: whether that makes the median only a lower
          bound, see `median_step`.

        What is about early stopping is of the replicates that have told it,
        and None where none has.

    Example:
        >>> summarize([])
        []
    """
    groups: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["branch"], row["level"]), []).append(row)
    keys = sorted(groups, key=lambda key: (branch_order(key[0]), key[1]))
    return [_summary(branch, level, groups[branch, level], metric)
            for branch, level in keys]


def _summary(
    branch: str,
    level: int,
    rows: Sequence[Mapping[str, Any]],
    metric: Metric,
) -> dict[str, Any]:
    told = told_stop(rows)
    median, is_bound = median_step(told) if told else (None, None)
    steps = [row["early_stop_step"] for row in told]
    entry: dict[str, Any] = {
        "branch": branch,
        "level": level,
        "density": mean([row["density"] for row in rows]),
        # Equal in all replicates where the count rule is exact.
        "kept_weights": round(mean([row["kept_weights"] for row in rows])),
        "prunable_weights": rows[0]["prunable_weights"],
        "replicates": len(rows),
    }
    for name in (metric.test, metric.early_stop):
        values = [row[name] for row in rows if row[name] is not None]
        entry[f"{name}_mean"] = mean(values) if values else None
        entry[f"{name}_min"] = min(values, default=None)
        entry[f"{name}_max"] = max(values, default=None)
    entry["early_stop_step_median"] = median
    entry["early_stop_step_min"] = min(steps, default=None)
    entry["early_stop_step_max"] = max(steps, default=None)
    entry["early_stop_censored"] = sum(
        bool(row["early_stop_censored"]) for row in told
    ) if told else None
    entry["early_stop_is_bound"] = is_bound
    return entry

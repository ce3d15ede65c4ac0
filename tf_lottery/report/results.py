"""results.csv: one row per replicate, branch and level.

Its columns are named after the metric that networks are judged by.
"""

import csv
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tf_lottery import atomic
from tf_lottery import paths
from tf_lottery.metric import ACCURACY, Metric

_TYPES: dict[str, type] = {
    "replicate": int,
    "branch": str,
    "level": int,
    "density": float,
    "sparsity": float,
    "kept_weights": int,
    "prunable_weights": int,
    "test_accuracy": float,
    "test_loss": float,
    "val_accuracy": float,
    "val_loss": float,
    "train_accuracy": float,
    "early_stop_step": int,
    "early_stop_test_accuracy": float,
    "early_stop_censored": bool,
    "train_steps": int,
    "train_seconds": float,
}
# Empty in the file where they are not known.
_COSTS: dict[str, type] = {
    "train_examples": int,
    "train_flops": int,
    "train_effective_flops": int,
    "inference_flops": int,
    "inference_effective_flops": int,
    "search_steps": int,
    "search_examples": int,
    "search_flops": int,
    "search_effective_flops": int,
    "search_seconds": float,
    "break_even_examples": int,
    "effective_density": float,
}
# The columns of files by earlier versions: without costs, and without the last.
_OLDER = tuple(_TYPES), (*_TYPES, *list(_COSTS)[:-1])
_TYPES.update(_COSTS)
# Empty, and None, where a training function did not tell.
_UNTOLD = (
    "test_loss", "val_accuracy", "val_loss", "train_accuracy",
    "early_stop_step", "early_stop_test_accuracy", "early_stop_censored",
)

#: Names of the columns of results.csv, in the order of the file, of networks
#: that are judged by accuracy.
COLUMNS: tuple[str, ...] = tuple(_TYPES)


def columns(metric: Metric = ACCURACY) -> tuple[str, ...]:
    """Returns the names of the columns of results.csv, in order.

    Args:
        metric: what networks are judged by.

    Example:
        >>> columns(Metric("reward"))[7]
        'test_reward'
    """
    return tuple(_types(metric))


def write_results(
    rows: Sequence[Mapping[str, Any]],
    path: str | os.PathLike[str],
    metric: Metric = ACCURACY,
) -> None:
    """Writes results.csv, replacing an older one in a single step.

    Rows are sorted by replicate, then branch ("main" first, the controls by
    name), then level. Floats are written with all their digits, so that
    `read_results` returns exactly the same numbers.

    Args:
        rows: One mapping per replicate, branch and level, with the keys
            `columns(metric)`. What a network cost, from `train_examples` on,
            may be missing or None; so may be None what a training function
            need not tell: every loss, early stopping, and the metric of other
            than the test set. NumPy scalars are accepted. May be empty.
        path: The file to write. Missing parent folders are created.
        metric: What networks are judged by.

    Raises:
        ValueError: A row lacks a column or has one too many, or two rows are
            of the same replicate, branch and level.
        TypeError: A value is not of its column's type.
        OSError: The folder can not be written to.

    Example:
        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "results.csv")
        >>> write_results([], path)
        >>> read_results(path)
        []
    """
    kinds = _types(metric)
    for row in rows:
        odd = sorted((set(row) ^ set(kinds)) - (set(_COSTS) - set(row)))
        if odd:
            raise ValueError(
                "`rows` must have exactly the columns of results.csv. "
                f"Received: missing or unknown {odd}. "
                "See tf_lottery.report.columns."
            )
    twice = _first_duplicate(rows)
    if twice:
        raise ValueError(
            "`rows` must have one row per replicate, branch and level. "
            f"Received: {twice} twice. Remove one of them."
        )
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(kinds)
    empty = _may_be_empty(metric)
    for row in sorted(rows, key=_order):
        writer.writerow([
            _to_text(row.get(name), name, kind, name in empty)
            for name, kind in kinds.items()
        ])
    atomic.replace_file(path, text.getvalue().encode("utf-8"))


def read_results(
    path: str | os.PathLike[str], metric: Metric = ACCURACY
) -> list[dict[str, Any]]:
    """Reads results.csv with every value in the type of its column.

    Args:
        path: A file that `write_results` wrote.
        metric: What its networks are judged by.

    Returns:
        One dict per row with the keys `columns(metric)`, in the order of the
        file. Counts, levels, steps and FLOPs are int, `branch` str,
        `early_stop_censored` bool, everything else float. What is empty, or
        a cost whose column is missing, is None.

    Raises:
        ValueError: The file is missing, is not text, has other columns, a
            value that does not parse, or the same row twice.

    Example:
        >>> import tempfile
        >>> path = os.path.join(tempfile.mkdtemp(), "results.csv")
        >>> write_results([], path)
        >>> read_results(path)
        []
    """
    try:
        with paths.open_read(os.fspath(path)) as file:
            text = io.StringIO(file.read().decode("utf-8"), newline="")
        rows = list(_parse(csv.reader(text, strict=True), metric))
        twice = _first_duplicate(rows)
        if twice:
            raise ValueError(f"{twice} twice")
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise ValueError(
            "`path` must be a results.csv written by write_results. "
            f"Received: path={os.fspath(path)} ({reason}). "
            "Rebuild it from the level.json files by running the command "
            "again."
        ) from error
    return rows


def _types(metric: Metric) -> dict[str, type]:
    return {_named(name, metric): kind for name, kind in _TYPES.items()}


def _named(column: str, metric: Metric) -> str:
    return column.replace(ACCURACY.name, metric.name)


def _may_be_empty(metric: Metric) -> set[str]:
    return {_named(name, metric) for name in (*_UNTOLD, *_COSTS)}


def _parse(
    lines: Iterator[list[str]], metric: Metric
) -> Iterator[dict[str, Any]]:
    kinds, empty = _types(metric), _may_be_empty(metric)
    header = tuple(next(lines, ()))
    older = [tuple(_named(n, metric) for n in names) for names in _OLDER]
    if header not in (tuple(kinds), *older):
        raise ValueError("line 1 is not the expected header")
    for number, cells in enumerate(lines, start=2):
        if len(cells) != len(header):
            raise ValueError(
                f"line {number} has {len(cells)} of {len(header)} values"
            )
        row: dict[str, Any] = dict.fromkeys(kinds)
        for name, cell in zip(header, cells):
            if name in empty and not cell:
                continue
            try:
                row[name] = _from_text(cell, kinds[name])
            except (ValueError, KeyError):
                raise ValueError(f"line {number}: {name}={cell!r}") from None
        yield row


def _from_text(cell: str, kind: type) -> Any:
    # bool("False") is True, hence the table.
    return {"True": True, "False": False}[cell] if kind is bool else kind(cell)


def _to_text(value: Any, name: str, kind: type, may_be_empty: bool) -> str:
    if may_be_empty and value is None:
        return ""
    try:
        same = kind(value) == value or value != value
    except (TypeError, ValueError, OverflowError):
        same = False
    if not same:
        raise TypeError(
            f"`rows` must have {kind.__name__} values in column {name}. "
            f"Received: {name}={value!r}. Convert it first."
        )
    # kind() first: repr of a NumPy scalar is "np.float32(0.5)".
    return str(value) if kind is str else repr(kind(value))


def _order(row: Mapping[str, Any]) -> tuple[int, bool, str, int]:
    branch = row["branch"]
    return row["replicate"], branch != "main", branch, row["level"]


def _first_duplicate(rows: Sequence[Mapping[str, Any]]) -> str:
    seen = set()
    for row in rows:
        key = row["replicate"], row["branch"], row["level"]
        if key in seen:
            return "replicate {} {} level {}".format(*key)
        seen.add(key)
    return ""

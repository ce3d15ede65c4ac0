"""report/metrics.csv: all evaluations of a run, one number per line."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

from tf_lottery import atomic
from tf_lottery import paths

#: Names of the columns of report/metrics.csv, in the order of the file.
METRIC_COLUMNS: tuple[str, ...] = (
    "replicate", "branch", "level", "density", "step", "split", "metric",
    "value",
)
_TRAINING = METRIC_COLUMNS[:4]


def read_evaluations(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Reads the metrics.csv of one training.

    Args:
        path: the file, in the folder of its level.

    Returns:
        A dict per evaluation: `step` (int), `split` (str), and its metrics,
        such as `loss` and `accuracy` (float), without those that are empty.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such file.
    """
    path = os.fspath(path)
    with paths.open_read(path) as file:
        data = file.read()
    try:
        text = io.StringIO(data.decode("utf-8"), newline="")
        return [
            {
                name: int(value) if name == "step"
                else value if name == "split"
                else float(value)
                for name, value in row.items()
                # Not all is measured at every step, or in every split.
                if value != ""
            }
            for row in csv.DictReader(text)
        ]
    except (TypeError, ValueError) as error:
        raise ValueError(
            "`path` must be a metrics.csv of this library. Received: "
            f"{path}, which is truncated or altered. Delete the folder of "
            "its level, and it is trained again."
        ) from error


def tidy_metrics(
    row: Mapping[str, Any], evaluations: Iterable[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Yields the evaluations of one training in long form.

    Args:
        row: of the training, in results.csv.
        evaluations: as `read_evaluations` returns them.

    Yields:
        One dict per number, with the keys `METRIC_COLUMNS`.

    Example:
        >>> row = {"replicate": 0, "branch": "main", "level": 2,
        ...        "density": 0.64}
        >>> evaluation = {"step": 100, "split": "test", "accuracy": 0.5}
        >>> list(tidy_metrics(row, [evaluation])) == [{
        ...     **row, "step": 100, "split": "test", "metric": "accuracy",
        ...     "value": 0.5}]
        True
    """
    training = {name: row[name] for name in _TRAINING}
    for evaluation in evaluations:
        numbers = dict(evaluation)
        where = {name: numbers.pop(name) for name in ("step", "split")}
        for metric, value in numbers.items():
            yield {**training, **where, "metric": metric, "value": value}


def write_metrics(
    rows: Iterable[Mapping[str, Any]], path: str | os.PathLike[str]
) -> None:
    """Writes report/metrics.csv, replacing an older one in one step.

    Args:
        rows: as `tidy_metrics` yields them; never all in memory.
        path: the file or object to write.

    Raises:
        OSError: the folder can not be written to.
    """

    def write(file: BinaryIO) -> None:
        text = io.TextIOWrapper(file, "utf-8", newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(METRIC_COLUMNS)
        writer.writerows([row[n] for n in METRIC_COLUMNS] for row in rows)
        # The file is not this wrapper's to close.
        text.detach()

    atomic.replace_file(path, write)

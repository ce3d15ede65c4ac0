"""What an experiment found, as read from its run directory."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from tf_lottery import report


@dataclasses.dataclass(frozen=True)
class Results:
    """What an experiment found.

    Args:
        rows: of results.csv, one dict per replicate, branch and level.
        run_dir: the run directory.
        retrain: what pruned networks were trained from.
    """

    rows: list[dict[str, Any]]
    run_dir: str
    retrain: str = "rewind"

    def table(self) -> str:
        """Returns the final table as text."""
        return report.text_table(self.rows)

    def finding(self) -> str:
        """Returns what was found, in a sentence or two."""
        return report.finding(self.rows, self.retrain)


def load_results(run_dir: str | os.PathLike[str]) -> Results:
    """Returns the results in a run directory, finished or not.

    Args:
        run_dir: the run's folder, which holds results.csv.

    Raises:
        ValueError: there is no results.csv or it cannot be read.
    """
    path = os.path.join(os.fspath(run_dir), "results.csv")
    rows = report.read_results(path)
    with open(os.path.join(run_dir, "config.json"), encoding="utf-8") as file:
        retrain = json.load(file)["retrain"]
    return Results(rows, os.fspath(run_dir), retrain)

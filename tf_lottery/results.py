"""What an experiment found, as read from its run directory."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from tf_lottery import report
from tf_lottery.paths import open_read
from tf_lottery.tickets import Key
from tf_lottery.tickets import Ticket


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

    def write_report(self, title: str) -> str:
        """Draws the figure, and returns what there is to say at the end.

        Args:
            title: of the figure.

        Raises:
            OSError: the run directory cannot be written.
        """
        figure = os.path.join(self.run_dir, "report", "accuracy.png")
        drawn = report.accuracy_figure(self.rows, title=title)
        report.save_figure(drawn, figure)
        return (
            f"\n{self.table()}\n\n{self.finding()}\n\n"
            f"Figure:  {figure}\nResults: {self.run_dir}/results.csv\n"
            f"Tickets: {self.run_dir}/replicate_*/main/level_*/ticket"
        )


def make_row(
    key: Key, ticket: Ticket, seconds: float, costs: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns the row of results.csv of one training.

    Args:
        key: which.
        ticket: what it gave.
        seconds: that it took.
        costs: its columns of costs.
    """
    mask = ticket.mask
    return {
        "replicate": key.replicate,
        "branch": key.branch,
        "level": key.level,
        "density": mask.density,
        "sparsity": mask.sparsity,
        "kept_weights": mask.kept,
        "prunable_weights": mask.size,
        # A method's own are in the ticket.
        **{k: v for k, v in ticket.metrics.items() if k in report.COLUMNS},
        "train_seconds": round(seconds, 3),
        **costs,
    }


def tell_row(row: Mapping[str, Any], metrics: Mapping[str, Any]) -> str:
    """Returns a row of results.csv as one line for people.

    Args:
        row: as `make_row` returned it.
        metrics: the ticket's; of an Early-Bird ticket it is told when it
            emerged, and at what learning rate.
    """
    key = Key(row["replicate"], row["branch"], row["level"])
    least = ">= " if row["early_stop_censored"] else ""
    emerged = ""
    if "emergence_step" in metrics:
        distance = metrics["emergence_distance"]
        apart = "too few" if distance is None else f"{distance:.3f} apart"
        emerged = (
            f"; pruned at step {metrics['emergence_step']:,}, the last masks "
            f"{apart}, at learning rate "
            f"{metrics['emergence_learning_rate']:.3g}"
        )
    return (
        f"{key}: {row['kept_weights']:,} weights "
        f"({report.density_percent(row['density'])} %), test "
        f"{row['test_accuracy']:.2%}; early stop at {least}"
        f"{row['early_stop_step']:,}, test "
        f"{row['early_stop_test_accuracy']:.2%}{emerged}"
    )


def load_results(run_dir: str | os.PathLike[str]) -> Results:
    """Returns the results in a run directory, finished or not.

    Args:
        run_dir: the run's folder, which holds results.csv.

    Raises:
        ValueError: there is no results.csv or it cannot be read.
    """
    path = os.path.join(os.fspath(run_dir), "results.csv")
    rows = report.read_results(path)
    with open_read(os.path.join(run_dir, "config.json")) as file:
        retrain = json.load(file)["retrain"]
    return Results(rows, os.fspath(run_dir), retrain)

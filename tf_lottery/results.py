"""What an experiment found, as read from its run directory."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tf_lottery import analysis
from tf_lottery import report
from tf_lottery.config import Config
from tf_lottery.methods import METHODS
from tf_lottery.paths import is_file
from tf_lottery.paths import open_read
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket


@dataclasses.dataclass(frozen=True)
class Results:
    """What an experiment found.

    Args:
        rows: of results.csv, one dict per replicate, branch and level.
        run_dir: the run directory.
        retrain: what pruned networks were trained from.
        method: how they were found.
        verdict_density: what the verdict is on, declared beforehand.
        verdict_margin: how far below dense a matching ticket may be.
    """

    rows: list[dict[str, Any]]
    run_dir: str
    retrain: str = Config.retrain
    method: str = Config.method
    verdict_density: float = Config.verdict_density
    verdict_margin: float = Config.verdict_margin

    @classmethod
    def of(
        cls,
        rows: list[dict[str, Any]],
        run_dir: str,
        values: Mapping[str, Any],
    ) -> Results:
        """Returns results with what config.json says of them.

        Args:
            rows: of results.csv.
            run_dir: the run directory.
            values: of config.json; what it leaves out has its default.
        """
        names = ("retrain", "method", "verdict_density", "verdict_margin")
        known = {name: values[name] for name in names if name in values}
        return cls(rows, run_dir, **known)

    def table(self) -> str:
        """Returns the final table as text."""
        return report.text_table(self.rows)

    def finding(self) -> str:
        """Returns what the means say, in a sentence or two."""
        strong = METHODS[self.method].strong
        return report.finding(self.rows, self.retrain, trained=not strong)

    def verdict(
        self, *, density: float | None = None, margin: float | None = None
    ) -> analysis.Verdict:
        """Returns what is shown of the tickets, and what is not.

        Args:
            density: that the verdict is on; as declared for the run if none.
                Another one, chosen when results are known, proves less than
                its p-values say.
            margin: how far below dense a matching ticket may be; the run's
                if none.

        Raises:
            ValueError: an argument is no fraction.
        """
        return analysis.judge(
            self.rows,
            density=self.verdict_density if density is None else density,
            margin=self.verdict_margin if margin is None else margin,
            method=self.method,
            retrain=self.retrain,
        )

    def metrics(self) -> list[dict[str, Any]]:
        """Returns every evaluation of every training, as in report/metrics.csv.

        `pandas.DataFrame(results.metrics())` makes a table of them.

        Returns:
            One dict per number, with the keys `replicate`, `branch`, `level`,
            `density`, `step` (optimizer steps), `split` ("validation" or
            "test"), `metric` ("loss", "accuracy", or another) and `value`, in
            the order of `rows`, then of the training.

        Raises:
            OSError: the evaluations of a training cannot be read.
            ValueError: they are truncated or altered.
        """

        def fail(error: Exception) -> None:
            raise error

        return list(self._metrics(fail))

    def _metrics(
        self, failed: Callable[[Exception], None]
    ) -> Iterator[dict[str, Any]]:
        """The rows, of one training after another; `failed` hears of others."""
        store = RunDirectory(self.run_dir)
        for row in self.rows:
            key = Key(row["replicate"], row["branch"], row["level"])
            file = os.path.join(store.level_path(key), "metrics.csv")
            try:
                evaluations = report.read_evaluations(file)
            except (OSError, ValueError) as error:
                failed(error)
                continue
            yield from report.tidy_metrics(row, evaluations)

    def write_report(self, title: str) -> str:
        """Writes figure, metrics.csv and verdict.csv, and returns what to say.

        It reads the evaluations of all trainings: for the end of a run, not
        of each training.

        Args:
            title: of the figure.

        Raises:
            OSError: the run directory cannot be written.
        """
        folder = os.path.join(self.run_dir, "report")
        figure = os.path.join(folder, "accuracy.png")
        drawn = report.accuracy_figure(self.rows, title=title)
        report.save_figure(drawn, figure)
        verdict, path = self.verdict(), os.path.join(folder, "verdict.csv")
        names = analysis.VERDICT_COLUMNS
        report.write_table(
            names, ([row[n] for n in names] for row in verdict.rows()), path
        )
        parts = [self.table(), verdict.text(), self.finding()]
        if not verdict.levels:
            # The finding says so too.
            del parts[1]
        problems: list[Exception] = []
        metrics = os.path.join(folder, "metrics.csv")
        report.write_metrics(self._metrics(problems.append), metrics)
        # Another process may be training that level anew.
        parts += [f"Left out of metrics.csv: {error}" for error in problems]
        told = "\n\n".join(parts)
        return (
            f"\n{told}\n\n"
            f"Figure:  {figure}\nVerdict: {path}\n"
            f"Results: {self.run_dir}/results.csv\n"
            f"Metrics: {metrics}\n"
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
    if not row["train_steps"]:
        # Evaluated alone.
        return (
            f"{key}: {row['kept_weights']:,} weights "
            f"({report.density_percent(row['density'])} %), test "
            f"{row['test_accuracy']:.2%}"
        )
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
        ValueError: there is no results.csv or it cannot be read; the folder
            is that of several values of epsilon, or of a matrix of transfer.
    """
    path = os.path.join(os.fspath(run_dir), "results.csv")
    for name, several in (
        ("perturbation.csv", "values of epsilon"),
        ("transfer.csv", "runs of tickets"),
    ):
        over_all = os.path.join(os.fspath(run_dir), name)
        if is_file(over_all):
            raise ValueError(
                "`run_dir` must be the folder of one experiment. Received: "
                f"run_dir={os.fspath(run_dir)}, of several {several}. Read "
                f"{over_all}, or give the run directory of one of them."
            )
    rows = report.read_results(path)
    with open_read(os.path.join(run_dir, "config.json")) as file:
        values = json.load(file)
    return Results.of(rows, os.fspath(run_dir), values)

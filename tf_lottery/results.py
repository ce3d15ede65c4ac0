"""What an experiment found, as read from its run directory."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tf_lottery import analysis
from tf_lottery import report
from tf_lottery.config import Config
from tf_lottery.methods import METHODS
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric
from tf_lottery.metric import density_percent
from tf_lottery.paths import is_file
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket
from tf_lottery.tickets.reading import MALFORMED
from tf_lottery.tickets.reading import one_line
from tf_lottery.tickets.reading import read_json


@dataclasses.dataclass(frozen=True)
class Results:
    """What an experiment found.

    Args:
        rows: of results.csv, one dict per replicate, branch and level.
        run_dir: the run directory.
        retrain: what pruned networks were trained from.
        method: how they were found.
        verdict_density: what the verdict is on, declared beforehand.
        verdict_margin: how much worse than dense a matching ticket may be;
            the metric's own if None.
        metric: what the networks are judged by.
    """

    rows: list[dict[str, Any]]
    run_dir: str
    retrain: str = Config.retrain
    method: str = Config.method
    verdict_density: float = Config.verdict_density
    verdict_margin: float | None = Config.verdict_margin
    metric: Metric = ACCURACY

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
        metric = Metric.from_json(values.get("metric"))
        return cls(rows, run_dir, metric=metric, **known)

    def table(self) -> str:
        """Returns the final table as text."""
        return report.text_table(self.rows, self.metric)

    def finding(self) -> str:
        """Returns what the means say, in a sentence or two."""
        return report.finding(
            self.rows, self.retrain, method=self.method, metric=self.metric
        )

    def verdict(
        self, *, density: float | None = None, margin: float | None = None
    ) -> analysis.Verdict:
        """Returns what is shown of the tickets, and what is not.

        Args:
            density: that the verdict is on; as declared for the run if none.
                Another one, chosen when results are known, proves less than
                its p-values say.
            margin: how much worse than dense a matching ticket may be; the
                run's if none.

        Raises:
            ValueError: `density` is no fraction, or `margin` below 0, or of
                accuracy no fraction.
        """
        if margin is None:
            margin = self.verdict_margin
        return analysis.judge(
            self.rows,
            density=self.verdict_density if density is None else density,
            margin=margin,
            method=self.method,
            retrain=self.retrain,
            metric=self.metric,
        )

    def areas(self) -> list[analysis.Area]:
        """Returns how far the curves of tickets and controls are apart.

        Of the levels with at most 30 % of the weights, a control each:
        reinit, shuffle_mask, random_mask, where they were run at two levels.
        """
        return analysis.areas(
            self.rows, self.metric, method=self.method, retrain=self.retrain
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

        The figure is accuracy.png, or called after another metric.
        It reads the evaluations of all trainings: for the end of a run, not
        of each training.

        Args:
            title: of the figure.

        Raises:
            OSError: the run directory cannot be written.
        """
        folder = os.path.join(self.run_dir, "report")
        figure = os.path.join(folder, f"{self.metric.name}.png")
        drawn = report.accuracy_figure(
            self.rows, title=title, metric=self.metric
        )
        report.save_figure(drawn, figure)
        verdict, path = self.verdict(), os.path.join(folder, "verdict.csv")
        names = analysis.VERDICT_COLUMNS
        report.write_table(
            names, ([row[n] for n in names] for row in verdict.rows()), path
        )
        parts = [self.table(), verdict.text(), self.finding()]
        parts += [one.text(self.metric) for one in self.areas()]
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
    key: Key,
    ticket: Ticket,
    seconds: float,
    costs: Mapping[str, Any],
    metric: Metric = ACCURACY,
) -> dict[str, Any]:
    """Returns the row of results.csv of one training.

    Args:
        key: which.
        ticket: what it gave.
        seconds: that it took.
        costs: its columns of costs.
        metric: what the networks are judged by.
    """
    mask = ticket.mask
    row: dict[str, Any] = {
        name: None
        for name in report.columns(metric)
        # These follow from other rows, and are added to all at once.
        if name not in analysis.SEARCH_COLUMNS
    }
    row |= {
        # A method's own are in the ticket; a task's may have any name.
        **{k: v for k, v in ticket.metrics.items() if k in row},
        "replicate": key.replicate,
        "branch": key.branch,
        "level": key.level,
        "density": mask.density,
        "sparsity": mask.sparsity,
        "kept_weights": mask.kept,
        "prunable_weights": mask.size,
        "train_seconds": round(seconds, 3),
        **costs,
    }
    return row


def tell_row(
    row: Mapping[str, Any],
    metrics: Mapping[str, Any],
    metric: Metric = ACCURACY,
) -> str:
    """Returns a row of results.csv as one line for people.

    Args:
        row: as `make_row` returned it.
        metrics: the ticket's; of an Early-Bird ticket it is told when it
            emerged, and at what learning rate.
        metric: what the networks are judged by.
    """
    key = Key(row["replicate"], row["branch"], row["level"])
    told = (
        f"{key}: {row['kept_weights']:,} weights "
        f"({density_percent(row['density'])} %), test "
        f"{_value(row[metric.test], metric)}"
    )
    if not row["train_steps"] or row["early_stop_step"] is None:
        # Evaluated alone, or by a function that knows of no early stop.
        return told
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
        f"{told}; early stop at {least}{row['early_stop_step']:,}, test "
        f"{_value(row[metric.early_stop], metric)}{emerged}"
    )


def _value(value: float, metric: Metric) -> str:
    # Of lines that are read again and again: no blank before the sign.
    return metric.text(value).replace(" %", "%")


def load_results(run_dir: str | os.PathLike[str]) -> Results:
    """Returns the results in a run directory, finished or not.

    Args:
        run_dir: the run's folder, which holds results.csv.

    Raises:
        ValueError: there is no results.csv or config.json, or one cannot be
            read; the folder is that of several values of epsilon, or of a
            matrix of transfer.
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
    if not is_file(path):
        raise ValueError(
            "`run_dir` must be a run's folder, with results.csv. Received: "
            f"run_dir={os.fspath(run_dir)}, which has none. Give the folder "
            "that the run has told, or run its command again to write it."
        )
    try:
        values = read_json(os.path.join(run_dir, "config.json"))
        if values.get("method", "imp") not in METHODS:
            raise ValueError(f"no method {values['method']!r} is known")
        metric = Metric.from_json(values.get("metric"))
    except (*MALFORMED, OSError) as error:
        raise ValueError(
            "`run_dir` must have a config.json that can be read. Received: "
            f"run_dir={os.fspath(run_dir)} ({one_line(error)}). Take the file "
            "from a copy of the run."
        ) from error
    rows = report.read_results(path, metric)
    return Results.of(rows, os.fspath(run_dir), values)

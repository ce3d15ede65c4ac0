"""A figure of a paper: what is run for it, and what it claims."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery import report
from tf_lottery.analysis import with_search_costs
from tf_lottery.claims.claim import Claim
from tf_lottery.claims.claim import Outcome
from tf_lottery.claims.claim import Runs
from tf_lottery.claims.claim import judge
from tf_lottery.config import Config
from tf_lottery.fingerprint import run_name
from tf_lottery.page import Run
from tf_lottery.plan import trainings
from tf_lottery.results import Results
from tf_lottery.tickets import RunDirectory

#: What `--short` changes: the least length that has early-stop effects, half
#: of the evaluations (which take half of LeNet's time), and an even number of
#: replicates, for two cores.
SHORT = {"train_steps": "8000it", "eval_every": "200it", "replicates": 4}


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure, appendix or table of a paper.

    Args:
        title: what it is about, and where it is in the paper.
        settings: `{name: fields of Config}`; claims call runs by the names.
        claims: in the order of the paper.
        short: fields that `--short` changes in every setting.

    Example:
        >>> figure = Figure("", {"a": {"levels": 3}}, ())
        >>> figure.configs(short=True)["a"].replicates
        4
    """

    title: str
    settings: Mapping[str, Mapping[str, Any]]
    claims: Sequence[Claim]
    short: Mapping[str, Any] = dataclasses.field(
        default_factory=lambda: dict(SHORT)
    )

    def configs(
        self, *, short: bool = False, **changes: Any
    ) -> dict[str, Config]:
        """Returns what is run, `{name: Config}`.

        Args:
            short: the version for two cores.
            **changes: fields of every configuration.
        """
        less = self.short if short else {}
        return {
            name: Config(**{**fields, **less, **changes})
            for name, fields in self.settings.items()
        }

    def judge(self, runs: Runs) -> list[Outcome]:
        """Returns what runs say of every claim.

        Args:
            runs: `{name: Run}` as `read_runs` returns them.
        """
        return [judge(claim, runs) for claim in self.claims]


def cost(configs: Mapping[str, Config]) -> tuple[int, int]:
    """Returns numbers of trainings and of optimizer steps.

    Args:
        configs: that train for a number of steps, from step 0.

    Example:
        >>> cost({"a": Config(levels=3, train_steps="10it")})
        (4, 40)
    """
    counts = {
        name: len(trainings(config.resolved()))
        for name, config in configs.items()
    }
    steps = sum(
        counts[name] * config.train_steps.count
        for name, config in configs.items()
    )
    return sum(counts.values()), steps


def read_runs(
    configs: Mapping[str, Config], rows: str | None = None
) -> dict[str, Run]:
    """Returns the runs of configurations as they are on disk now.

    Args:
        configs: of models of this library, that start from no ticket.
        rows: folder of results.csv files called after the settings, such as
            `write_rows` writes. One that is there is read in place of the
            run's own; claims on weights are left without a value then, where
            the run's tickets are not there too.

    Returns:
        `{name: Run}`; one that is not there has no rows.

    Raises:
        ValueError: a file in `rows` cannot be read, or its trainings are not
            as long as the configuration's; or there is no file of any.
    """
    if rows is not None:
        _check_published(configs, rows)
    runs = {}
    for name, config in configs.items():
        values = config.to_json()
        path = os.path.join(config.output_dir, run_name(values))
        found = None if rows is None else _published(name, config, rows)
        if found is None:
            found = with_search_costs(
                RunDirectory(path, notice=lambda line: None).rows(),
                config.method,
            )
        runs[name] = Run(path, name, values, Results.of(found, path, values))
    return runs


def write_rows(runs: Runs, folder: str) -> None:
    """Writes what claims on accuracy and speed were judged by.

    Args:
        runs: `{name: Run}`; each with rows becomes NAME.csv, in the columns
            of results.csv.
        folder: is made where it is missing.

    Raises:
        OSError: it cannot be written.
    """
    for name, run in runs.items():
        if run.rows:
            file = os.path.join(folder, f"{name}.csv")
            report.write_results(run.rows, file, run.metric)


def _check_published(configs: Mapping[str, Config], folder: str) -> None:
    files = [os.path.join(folder, f"{name}.csv") for name in configs]
    if not any(map(os.path.isfile, files)):
        raise ValueError(
            "`rows` must be a folder with one at least of "
            f"{', '.join(map(os.path.basename, files))}. Received: "
            f"rows={folder}. Give the folder that an evaluation has written."
        )


def _published(
    name: str, config: Config, folder: str
) -> list[dict[str, Any]] | None:
    """The rows of a file that is there."""
    file = os.path.join(folder, f"{name}.csv")
    if not os.path.isfile(file):
        return None
    found = report.read_results(file)
    lengths = {row["train_steps"] for row in found}
    if lengths - {config.train_steps.count}:
        raise ValueError(
            f"`rows` must hold trainings of {config.train_steps} of {name}. "
            f"Received: {file}, with trainings of "
            f"{', '.join(map(str, sorted(lengths)))} steps. Give --short, or "
            "leave it out, as for the evaluation that wrote it."
        )
    return found

"""A figure of a paper: what is run for it, and what it claims."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery import report
from tf_lottery.claims.claim import Claim
from tf_lottery.claims.claim import Outcome
from tf_lottery.claims.claim import Runs
from tf_lottery.claims.claim import judge
from tf_lottery.config import Config
from tf_lottery.fingerprint import run_name
from tf_lottery.page import Run
from tf_lottery.paths import is_file
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
    configs: Mapping[str, Config], published: str | None = None
) -> dict[str, Run]:
    """Returns the runs of configurations as they are on disk now.

    Args:
        configs: of models of this library, that start from no ticket.
        published: where to read results.csv of the run directories, in place
            of `output_dir`. Nothing else of them need be there; claims on
            weights have no value then.

    Returns:
        `{name: Run}`, with the configuration's replicates; one that is not
        there has no rows.

    Raises:
        ValueError: a published results.csv cannot be read.
    """
    runs = {}
    for name, config in configs.items():
        values = config.to_json()
        folder = config.output_dir if published is None else published
        path = os.path.join(folder, run_name(values))
        if published is None:
            rows = RunDirectory(path, notice=lambda line: None).rows()
        else:
            rows = _published(path)
        planned = {key.replicate for key in trainings(config.resolved())}
        rows = [row for row in rows if row["replicate"] in planned]
        runs[name] = Run(path, name, values, Results.of(rows, path, values))
    return runs


def _published(path: str) -> list[dict[str, Any]]:
    file = os.path.join(path, "results.csv")
    if not is_file(file):
        return []
    try:
        return report.read_results(file)
    except ValueError as error:
        raise ValueError(
            "`published` must hold results.csv of runs, whole. Received: "
            f"{file}, which cannot be read. Copy it anew from its run "
            "directory."
        ) from error

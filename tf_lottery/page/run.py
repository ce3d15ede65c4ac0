"""A run directory as the report reads it: finished, half done, or damaged."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tf_lottery import report
from tf_lottery.analysis import Measures
from tf_lottery.analysis import Movement
from tf_lottery.analysis import compare_movement
from tf_lottery.analysis import displacement
from tf_lottery.analysis import measure_tickets
from tf_lottery.config import Config
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric
from tf_lottery.page.section import Section
from tf_lottery.plan import MAIN
from tf_lottery.plan import trainings
from tf_lottery.results import Results
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket
from tf_lottery.tickets import read_description


@dataclasses.dataclass(frozen=True)
class Run:
    """One run directory, read only as far as it is asked for.

    Args:
        path: the run directory.
        label: what tells it from the other runs of a report.
        config: the values of its config.json.
        results: its rows.
        settings: the same values as a configuration; None where this version
            cannot read them.
        notices: what is wrong with the folder, a line each.
    """

    path: str
    label: str
    config: Mapping[str, Any]
    results: Results
    settings: Config | None = None
    notices: Sequence[str] = ()

    @property
    def instability(self) -> bool:
        """Whether it holds dense copies that part, and lines, no tickets."""
        return self.config.get("method") == "instability"

    def told_rewind(self) -> list[str]:
        """Returns how `rewind=auto` chose the step, if it did, in a line."""
        try:
            choice = report.read_choice(os.path.join(self.path, "report"))
        except ValueError as error:
            return [f"{self.label}: {error}"]
        if choice is None:
            return []
        return [f"{self.label}: {report.choice_text(choice)}"]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of results.csv."""
        return self.results.rows

    @property
    def metric(self) -> Metric:
        """What its networks are judged by."""
        return self.results.metric

    @property
    def of_images(self) -> bool:
        """Whether its networks see images, as far as that is known."""
        return self.metric == ACCURACY and "task" not in self.config

    @property
    def method(self) -> str | None:
        """How its tickets were found; None where that is not known."""
        return None if self.settings is None else self.results.method

    def keys(self, branch: str = MAIN) -> list[Key]:
        """Returns the finished trainings of a branch.

        Args:
            branch: "main", or the name of a control.

        Returns:
            By replicate, then by level.
        """
        return sorted(
            (
                Key(row["replicate"], branch, row["level"])
                for row in self.rows
                if row["branch"] == branch
            ),
            key=lambda key: (key.replicate, key.level),
        )

    def ticket(self, key: Key) -> Ticket:
        """Returns the ticket of a finished training.

        Args:
            key: which; of a control it is what the control was.

        Raises:
            ValueError: it is missing, truncated or altered.
        """
        return self._store.load(key)

    def dense_movement(self, key: Key) -> Mapping[str, Movement]:
        """Returns how far weights moved in the dense network's training.

        Both tickets are read once, however often it is asked for.

        Args:
            key: of the ticket by whose mask they stay or go.

        Returns:
            `{path: Movement}` of every kernel.

        Raises:
            OSError, ValueError: one of the two tickets is missing, truncated
                or altered.
        """
        if key not in self._movements:
            mask = self.ticket(key).mask
            dense = self.ticket(Key(key.replicate, MAIN, 0))
            self._movements[key] = {
                path: compare_movement(
                    displacement(dense.rewind[path], dense.trained[path]), keep
                )
                for path, keep in mask.items()
            }
        return self._movements[key]

    def metrics(self, key: Key) -> list[dict[str, Any]]:
        """Returns the evaluations of a finished training.

        Args:
            key: which.

        Returns:
            Rows of its metrics.csv: `step` and `split`, and its numbers.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no such file.
        """
        folder = self._store.level_path(key)
        return report.read_evaluations(os.path.join(folder, "metrics.csv"))

    def description(self, key: Key) -> dict[str, Any]:
        """Returns what a ticket says of itself, without its arrays.

        Args:
            key: which.

        Returns:
            The content of its ticket.json; `kernels` has `path`, `shape` and
            `kept` of each.

        Raises:
            ValueError: it is missing, truncated or altered.
        """
        return read_description(self._store.ticket_path(key))

    @functools.cached_property
    def planned(self) -> list[Key]:
        """The trainings that its configuration asks for; none if unknown."""
        if self.settings is None:
            return []
        # Of all replicates, which may be trained one by one elsewhere.
        whole = dataclasses.replace(self.settings.resolved(), replicate=None)
        return trainings(whole)

    @functools.cached_property
    def finished(self) -> int:
        """How many of the planned trainings have a row."""
        there = {(r["replicate"], r["branch"], r["level"]) for r in self.rows}
        return sum(
            (key.replicate, key.branch, key.level) in there
            for key in self.planned
        )

    @functools.cached_property
    def replicates(self) -> list[int]:
        """The replicates that have a finished level of tickets."""
        return sorted({key.replicate for key in self.keys()})

    @functools.cached_property
    def measures(self) -> Measures:
        """What the tickets of main show, from one pass over them."""
        return measure_tickets(
            self.keys(), self.ticket, method=self.method
        )

    @functools.cached_property
    def _movements(self) -> dict[Key, Mapping[str, Movement]]:
        return {}

    @functools.cached_property
    def _store(self) -> RunDirectory:
        return RunDirectory(self.path, notice=lambda line: None)


def by_metric(runs: Sequence[Run]) -> list[list[Run]]:
    """Returns the runs in groups whose values can be compared.

    Args:
        runs: in order; so are the groups, by their first run. Of one metric
            with different margins values are the same.
    """
    groups: dict[Metric, list[Run]] = {}
    for run in runs:
        same = dataclasses.replace(run.metric, margin=0.0)
        groups.setdefault(same, []).append(run)
    return list(groups.values())


def suffix(number: int) -> str:
    """Returns what the names of figures and tables of a group end in.

    Args:
        number: of the group, from 0.

    Example:
        >>> [suffix(number) for number in range(3)]
        ['', '_2', '_3']
    """
    return f"_{number + 1}" if number else ""


def listed(words: Sequence[str]) -> str:
    """Returns words as people list them.

    Args:
        words: at least one; of equal ones the first is taken.

    Example:
        >>> listed(["accuracy", "perplexity", "reward"])
        'accuracy, perplexity and reward'
    """
    *most, last = dict.fromkeys(words)
    return f"{', '.join(most)} and {last}" if most else last


#: Makes a section from runs, or says by None that they have nothing for it.
Maker = Callable[[Sequence[Run]], Section | None]

"""A run directory as the report reads it: finished, half done, or damaged."""

from __future__ import annotations

import csv
import dataclasses
import functools
import io
import os
from collections.abc import Iterator, Mapping
from typing import Any

from tf_lottery.analysis import Measures
from tf_lottery.analysis import measure_tickets
from tf_lottery.paths import open_read
from tf_lottery.plan import MAIN
from tf_lottery.results import Results
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket


@dataclasses.dataclass(frozen=True)
class Run:
    """One run directory, read only as far as it is asked for.

    Args:
        path: the run directory.
        label: what tells it from the other runs of a report.
        config: the values of its config.json.
        results: its rows.
    """

    path: str
    label: str
    config: Mapping[str, Any]
    results: Results

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rows of results.csv."""
        return self.results.rows

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

    def tickets(self, replicate: int) -> Iterator[Ticket]:
        """Yields the tickets of a replicate, level by level from 0.

        Only one is in memory at a time if the caller keeps none.

        Args:
            replicate: from 0.

        Raises:
            ValueError: a ticket is missing, truncated or altered.
        """
        for key in self.keys():
            if key.replicate == replicate:
                yield self.ticket(key)

    def ticket(self, key: Key) -> Ticket:
        """Returns the ticket of a finished training.

        Args:
            key: which; of a control it is what the control was.

        Raises:
            ValueError: it is missing, truncated or altered.
        """
        return self._store.load(key)

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
        path = os.path.join(self._store.level_path(key), "metrics.csv")
        with open_read(path) as file:
            text = io.StringIO(file.read().decode("utf-8"), newline="")
        try:
            return [
                {
                    name: int(value) if name == "step"
                    else value if name == "split"
                    else float(value)
                    for name, value in row.items()
                }
                for row in csv.DictReader(text)
            ]
        except (TypeError, ValueError) as error:
            raise ValueError(
                "`path` must be a metrics.csv of this library. Received: "
                f"{path}, which is truncated or altered. Delete the folder of "
                "its level, and it is trained again."
            ) from error

    @functools.cached_property
    def replicates(self) -> list[int]:
        """The replicates that have a finished level of tickets."""
        return sorted({key.replicate for key in self.keys()})

    @functools.cached_property
    def measures(self) -> Measures:
        """What the tickets of main show, from one pass over them."""
        return measure_tickets(
            self.keys(), self.ticket, method=self.results.method
        )

    @functools.cached_property
    def _store(self) -> RunDirectory:
        return RunDirectory(self.path, notice=lambda line: None)

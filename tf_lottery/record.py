"""What is finished of an experiment, and the rows that follow from it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tf_lottery import analysis
from tf_lottery import report
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric
from tf_lottery.page.event_files import EventFiles
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket


class Record:
    """Says which trainings are finished, and keeps results.csv up to date.

    A training is finished when its files hold, and so do those of the
    trainings that its mask came from. What was once found so is not looked
    at again.

    Args:
        store: the run directory.
        method: of the experiment.
        tensorboard: whether event files are written too.
        metric: what the networks are judged by.
        finished: called after every training that `finish` notes.
    """

    def __init__(
        self,
        store: RunDirectory,
        method: str,
        tensorboard: bool = False,
        *,
        metric: Metric = ACCURACY,
        finished: Callable[[], object] = lambda: None,
    ):
        self._store = store
        self._method = method
        self._metric = metric
        self._events = EventFiles(store, metric) if tensorboard else None
        self._finished = finished
        self._digests: dict[Key, str | None] = {}

    def digest(self, key: Key) -> str | None:
        """Returns the digest of a finished training's ticket, or None."""
        if key not in self._digests:
            parent = self.parent_digest(key)
            if parent is None:
                return None
            self._digests[key] = self._store.finished(key, parent)
        return self._digests[key]

    def parent_digest(self, key: Key) -> str | None:
        """Returns the digest of the ticket that a training starts from.

        Returns:
            `""` for level 0, which starts from none; None where the ticket
            is not finished.
        """
        parent = key.parent(self._method)
        return "" if parent is None else self.digest(parent)

    def note(self, key: Key, digest: str) -> None:
        """Takes note of a training that is finished, with its digest."""
        self._digests[key] = digest

    def note_parent(self, key: Key, digest: str) -> None:
        """Takes note of the ticket that a training is to start from."""
        if parent := key.parent(self._method):
            self.note(parent, digest)

    def finish(self, key: Key, digest: str) -> None:
        """Takes note of a training just saved, and adds it to results.csv."""
        self.note(key, digest)
        self.write_results()
        self.write_events([key])
        self._finished()

    def save(
        self,
        key: Key,
        ticket: Ticket,
        evaluations: Iterable[Any],
        row: Mapping[str, Any],
    ) -> str:
        """Writes a finished training.

        Args:
            key: which.
            ticket: its ticket.
            evaluations: rows of its metrics.csv.
            row: its row of results.csv.

        Returns:
            The digest of its ticket.

        Raises:
            OSError: the run directory cannot be written.
        """
        parent = self.parent_digest(key) or ""
        return self._store.save(key, ticket, evaluations, row, parent)

    def rows(self) -> list[dict[str, Any]]:
        """Returns the rows of results.csv, from what is on disk now."""
        return analysis.with_search_costs(self._store.rows(), self._method)

    def write_events(self, keys: Iterable[Key]) -> None:
        """Writes event files of finished trainings, where these are missing.

        Args:
            keys: the trainings.

        Raises:
            OSError: the run directory cannot be written.
        """
        if self._events is not None:
            self._events.write(keys)

    def write_results(self) -> None:
        """Writes results.csv anew, where this process writes at all.

        Raises:
            OSError: the run directory cannot be written.
        """
        if not self._store.writes:
            return
        path = os.path.join(self._store.path, "results.csv")
        written = None
        # Another process may finish a level in the same directory meanwhile.
        while written != (rows := self.rows()):
            report.write_results(rows, path, self._metric)
            written = rows

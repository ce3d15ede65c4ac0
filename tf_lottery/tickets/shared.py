"""A run directory that several workers share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tf_lottery.paths import is_folder
from tf_lottery.tickets.store import Key
from tf_lottery.tickets.store import RunDirectory
from tf_lottery.train import Workers


class SharedDirectory(RunDirectory):
    """A run directory that the chief writes and every worker reads.

    What is finished is what the chief finds finished, so that all do the same
    next; a level can be read by the others once the chief has saved it.

    Args:
        path: the run's own folder, which all workers see under this name.
        notice: as in `RunDirectory`.
        workers: that share it. Of one, this is a `RunDirectory`.
    """

    def __init__(
        self, path: str, notice: Callable[[str], None], workers: Workers
    ):
        super().__init__(path, notice)
        self.writes = workers.chief
        self._workers = workers

    def open(
        self,
        values: Mapping[str, Any],
        fingerprint: Callable[[Mapping[str, Any]], str],
    ) -> None:
        """As in `RunDirectory`; the chief makes it, the others look.

        Raises:
            ValueError: the config.json there belongs to another experiment.
            OSError: the folder cannot be written.
            RuntimeError: another worker does not see what the chief wrote.
        """
        make = super().open
        self._workers.agree(lambda: make(values, fingerprint))
        if not all(self._workers.exchange(is_folder(self.path))):
            raise RuntimeError(
                "`output_dir` must be a folder that all workers share. "
                f"Received: {self.path}, which not all of them see. Choose "
                "one on a common file system."
            )

    def begin(self, key: Key) -> str:
        """As in `RunDirectory`; the chief makes the folder."""
        make = super().begin
        self._workers.agree(lambda: bool(make(key)))
        return self.checkpoint_path(key)

    def tidy(self, keys: Iterable[Key]) -> None:
        """As in `RunDirectory`; the chief alone removes."""
        if self.writes:
            super().tidy(keys)

    def save(self, key: Key, *what: Any) -> str:
        """As in `RunDirectory`; the chief writes, the others wait."""
        save = super().save
        return self._workers.agree(lambda: save(key, *what))

    def finished(self, key: Key, parent: str) -> str | None:
        """As in `RunDirectory`; the chief looks, for all."""
        look = super().finished
        return self._workers.agree(lambda: look(key, parent))

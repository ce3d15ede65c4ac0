"""The run directory: what is finished stays, what is not is done again.

A level is finished when its level.json is there and the checksums in it hold;
it is written last and in one step. It also names the ticket that the level was
made from, so a level whose parent turns out different is not reused.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import errno
import io
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from tf_lottery import paths
from tf_lottery.atomic import replace_file
from tf_lottery.methods import METHODS
from tf_lottery.tickets.reading import MALFORMED
from tf_lottery.tickets.reading import read_json
from tf_lottery.tickets.ticket import Ticket
from tf_lottery.tickets.verify import file_digest
from tf_lottery.tickets.verify import json_digest

_LEVEL = "level.json"
CHECKPOINT = "checkpoint.npz"
_CONFIG = "config.json"
# No process takes so long over one small file.
_ABANDONED_SECONDS = 3600.0
_TICKET = "ticket/ticket.json"
_FILES = {"metrics.csv", _TICKET} | {
    f"ticket/{name}.npz" for name in ("mask", "rewind", "trained")
}


@dataclasses.dataclass(frozen=True)
class Key:
    """Names one training: replicate, branch (`"main"` or a control), level."""

    replicate: int
    branch: str
    level: int

    def parent(self, method: str) -> Key | None:
        """Returns the training whose ticket it is made from.

        Args:
            method: a name in `tf_lottery.methods.METHODS`.

        Returns:
            None for level 0, which is made from none.
        """
        if self.branch != "main":
            return dataclasses.replace(self, branch="main")
        if self.level == 0:
            return None
        before = self.level - 1 if METHODS[method].rounds else 0
        return dataclasses.replace(self, level=before)

    def __str__(self) -> str:
        return f"replicate {self.replicate} {self.branch} level {self.level}"


class RunDirectory:
    """Reads and writes a run's levels.

    Args:
        path: the run's own folder, made by `open`.
        notice: called with one line for every file that is missing,
            truncated or altered, and so will be made again.

    Attributes:
        writes: whether this process writes there.
    """

    writes = True

    def __init__(self, path: str, notice: Callable[[str], None] = print):
        self.path = path
        self._notice = notice

    def open(
        self,
        values: Mapping[str, Any],
        fingerprint: Callable[[Mapping[str, Any]], str],
    ) -> None:
        """Makes the folder and writes config.json, or checks the one there.

        Args:
            values: the resolved configuration.
            fingerprint: of such values; both must have the same.

        Raises:
            ValueError: the config.json there belongs to another experiment.
            OSError: the folder cannot be written.
        """
        self.check(values, fingerprint)
        if not paths.is_remote(self.path):
            os.makedirs(self.path, exist_ok=True)
        for folder in (self.path, os.path.join(self.path, "report")):
            _sweep(folder, _ABANDONED_SECONDS)
        text = json.dumps(values, indent=1, sort_keys=True) + "\n"
        replace_file(os.path.join(self.path, _CONFIG), text.encode())

    def check(
        self,
        values: Mapping[str, Any],
        fingerprint: Callable[[Mapping[str, Any]], str],
    ) -> None:
        """Raises ValueError where config.json is of another experiment."""
        file = os.path.join(self.path, _CONFIG)
        try:
            there = read_json(file)
            altered = fingerprint(there) != fingerprint(values)
        except FileNotFoundError:
            return
        except MALFORMED:
            altered = True
        if altered:
            raise ValueError(
                "`output_dir` must not hold an altered run. Received: "
                f"{file}, which does not match the name of its folder. "
                "Restore it, delete the folder, or choose another output_dir."
            )

    def level_path(self, key: Key) -> str:
        """Returns the folder of a level."""
        return os.path.join(
            self.path,
            f"replicate_{key.replicate}",
            key.branch,
            f"level_{key.level:02d}",
        )

    def checkpoint_path(self, key: Key) -> str:
        """Returns the file for the state of a training under way."""
        return os.path.join(self.level_path(key), CHECKPOINT)

    def begin(self, key: Key) -> str:
        """Makes the folder of a level that is to be trained.

        Returns:
            The file for the state of the training; `save` removes it.

        Raises:
            ValueError: a link leads out of the run directory.
            FileNotFoundError: the run directory has gone.
            OSError: the folder cannot be written.
        """
        folder = self.level_path(key)
        self._check_there()
        self._check_inside(os.path.join(folder, "ticket"))
        if not paths.is_remote(folder):
            os.makedirs(folder, exist_ok=True)
        _sweep(folder)
        return self.checkpoint_path(key)

    def tidy(self, keys: Iterable[Key]) -> None:
        """Removes what kills have left beside finished levels."""
        for key in keys:
            _sweep(self.level_path(key))
            with contextlib.suppress(OSError):
                paths.remove(self.checkpoint_path(key))

    def ticket_path(self, key: Key) -> str:
        """Returns the folder of a level's ticket."""
        return os.path.join(self.level_path(key), "ticket")

    def save(
        self,
        key: Key,
        ticket: Ticket,
        evaluations: Iterable[Any],
        row: Mapping[str, Any],
        parent: str,
    ) -> str:
        """Writes a finished level.

        Args:
            key: which.
            ticket: its ticket.
            evaluations: rows of metrics.csv, dicts or with `columns()`.
            row: its row of results.csv.
            parent: digest of the ticket that it was made from.

        Returns:
            The digest of its ticket.

        Raises:
            ValueError: a link leads out of the run directory.
            FileNotFoundError: the run directory has gone.
            OSError: the folder cannot be written.
        """
        folder = self.level_path(key)
        self._check_there()
        self._check_inside(os.path.join(folder, "ticket"))
        for name in paths.names_in(folder):
            if name.startswith("saved_model"):
                paths.remove_tree(os.path.join(folder, name))
        for inner in (folder, os.path.join(folder, "ticket")):
            _sweep(inner)
        ticket.save(os.path.join(folder, "ticket"))
        metrics = _csv([
            dict(e) if isinstance(e, Mapping) else e.columns()
            for e in evaluations
        ])
        replace_file(os.path.join(folder, "metrics.csv"), metrics)
        files = {
            name: file_digest(os.path.join(folder, name))
            for name in _files(folder)
        }
        summary: dict[str, Any] = {
            "parent": parent,
            "row": dict(row),
            "files": files,
        }
        summary["sha256"] = json_digest(summary)
        text = json.dumps(summary, indent=1) + "\n"
        replace_file(os.path.join(folder, _LEVEL), text.encode())
        self.tidy([key])
        return files[_TICKET]

    def _check_there(self) -> None:
        # Half a run would be made where it was deleted meanwhile.
        if not paths.is_file(os.path.join(self.path, _CONFIG)):
            code = errno.ENOENT
            raise FileNotFoundError(code, os.strerror(code), self.path)

    def _check_inside(self, folder: str) -> None:
        if paths.is_remote(folder):
            return
        top, found = map(os.path.realpath, (self.path, folder))
        if os.path.commonpath([top, found]) != top:
            raise ValueError(
                "`output_dir` must hold runs without links that lead out of "
                f"them. Received: {folder}, which leads to {found}. Remove "
                "the link, or link the whole output_dir."
            )

    def finished(self, key: Key, parent: str) -> str | None:
        """Returns the digest of a finished level's ticket, or None.

        Args:
            key: which.
            parent: digest of the ticket that it must have been made from.
        """
        summary = self._summary(key)
        if summary is None:
            return None
        folder = self.level_path(key)
        for name, digest in summary["files"].items():
            try:
                found = file_digest(os.path.join(folder, name))
            except OSError as error:
                gone = isinstance(error, FileNotFoundError)
                self._problem(key, name, "missing" if gone else "unreadable")
                return None
            if found != digest:
                self._problem(key, name, "truncated or altered")
                return None
        if summary["parent"] != parent:
            self._problem(key, "ticket", "made from another ticket")
            return None
        return summary["files"][_TICKET]

    def load(self, key: Key) -> Ticket:
        """Returns the ticket of a level.

        Raises:
            ValueError: it is no whole ticket, or one of another level.
        """
        path = self.ticket_path(key)
        ticket = Ticket.load(path)
        if ticket.level != key.level:
            raise ValueError(
                "`output_dir` must hold the tickets of its own levels. "
                f"Received: {path} of level {ticket.level}. Delete that "
                "folder, and it is trained again."
            )
        return ticket

    def rows(self) -> list[dict[str, Any]]:
        """Returns the rows of results.csv from every level.json there.

        One that was made from another ticket than the one there now is left
        out, with what was made from it.
        """
        found = {
            key: summary
            for key in self._keys()
            if (summary := self._summary(key, quiet=True))
        }

        tickets = {
            (key.replicate, summary["files"][_TICKET]): key
            for key, summary in found.items()
            if key.branch == "main"
        }

        def holds(key: Key) -> bool:
            parent = found[key]["parent"]
            if not parent:
                return key.branch == "main" and key.level == 0
            made_from = tickets.get((key.replicate, parent))
            own = key.branch == "main"
            return (
                made_from is not None
                and made_from.level <= key.level - own
                and holds(made_from)
            )

        keys = sorted(found, key=lambda k: (k.replicate, k.branch, k.level))
        return [dict(found[key]["row"]) for key in keys if holds(key)]

    def _keys(self) -> Iterator[Key]:
        for replicate in _numbered(self.path, "replicate_"):
            folder = os.path.join(self.path, f"replicate_{replicate}")
            for branch in sorted(paths.names_in(folder)):
                inner = os.path.join(folder, branch)
                if paths.is_folder(inner):
                    for level in _numbered(inner, "level_"):
                        yield Key(replicate, branch, level)

    def _summary(self, key: Key, quiet: bool = False) -> dict | None:
        file = os.path.join(self.level_path(key), _LEVEL)
        try:
            summary = read_json(file)
            row = summary["row"]
            named = Key(row["replicate"], row["branch"], row["level"])
            # No other names: a file is looked for under them.
            whole = dict(summary["files"]).keys() == _FILES
            if named != key or not whole or "parent" not in summary:
                raise ValueError
            if summary.pop("sha256") != json_digest(summary):
                raise ValueError
        except FileNotFoundError:
            return None
        except (*MALFORMED, OSError):
            if not quiet:
                self._problem(key, _LEVEL, "truncated or altered")
            return None
        return summary

    def _problem(self, key: Key, name: str, what: str) -> None:
        file = os.path.join(self.level_path(key), name)
        self._notice(f"{file} is {what}: {key} is trained again.")


def _sweep(folder: str, idle: float = 0.0) -> None:
    """Removes what a process that was killed while it wrote has left.

    Args:
        folder: its own files only; not where a link leads.
        idle: seconds since the last write; fresher ones may be at work.
    """
    if os.path.islink(folder) or not os.path.isdir(folder):
        return
    for entry in os.scandir(folder):
        if entry.name.startswith(".") and entry.name.endswith(".tmp"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - entry.stat().st_mtime >= idle:
                    os.remove(entry.path)


def _files(folder: str) -> list[str]:
    return sorted(
        name for name in _FILES if paths.is_file(os.path.join(folder, name))
    )


def _csv(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    # A training function may evaluate nothing, or not all at every step.
    names = dict.fromkeys(name for row in rows for name in row)
    names = {"step": None, "split": None, **names}
    writer = csv.DictWriter(text, list(names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _numbered(folder: str, prefix: str) -> list[int]:
    names = paths.names_in(folder)
    # As this class writes them: level_01, not level_1 or a copy of it.
    found = re.compile(re.escape(prefix) + r"([0-9]+)")
    numbers = (int(m[1]) for n in names if (m := found.fullmatch(n)))
    width = 2 if prefix == "level_" else 1
    return sorted(
        n
        for n in set(numbers)
        if paths.is_folder(os.path.join(folder, f"{prefix}{n:0{width}d}"))
    )

"""A training's latest state on disk, so that a kill costs a minute."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np

from tf_lottery.atomic import replace_file
from tf_lottery.paths import is_remote
from tf_lottery.paths import open_read
from tf_lottery.paths import size_of
from tf_lottery.train.evaluate import Evaluation

# A save that takes long makes the next one wait this many times as long: no
# more than a tenth of the time goes into saving, however slow the disk.
_PAUSE = 9


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Everything that the rest of a training depends on.

    The position in the data, the learning rate and the augmentation are
    functions of the seed and the step, so the step stands for them.

    Args:
        step: number of the next step.
        rows: the evaluations so far.
        arrays: the state of the model (weights, normalisation statistics,
            seed generators), the masks, the optimizer, and the state of the
            rewind step once it has been reached; by name.
        seconds: that the training has taken so far.
        changes: steps at which the mask was changed, with the counts from
            then on.
    """

    step: int
    rows: list[Evaluation]
    arrays: dict[str, np.ndarray]
    seconds: float = 0.0
    changes: list[tuple[int, dict[str, int]]] = dataclasses.field(
        default_factory=list
    )


class NoSnapshot(RuntimeError):
    """A training cannot begin: the snapshot that it starts from is gone."""


class Checkpoint:
    """The file that one training saves its snapshots to, and goes on from.

    A snapshot replaces the one before in one step, so that there is always a
    whole one. It names the training that it belongs to; that of another, or a
    damaged one, is not used.

    Args:
        path: the file, in a folder that is there.
        training: JSON values that tell this training from any other.
        every: seconds between two snapshots; more where writing one takes
            longer than a tenth of that.
        required: whether the training starts from a snapshot: `load` raises
            `NoSnapshot` where there is none.
        notice: called with one line where a training goes on from the file,
            or the file cannot be used or written.
        clock: seconds, for tests.

    Example:
        >>> checkpoint = Checkpoint(
        ...     f"{folder}/a.npz", {"level": 3}, notice=lambda text: None)
        >>> checkpoint.save(Snapshot(7, [], {"w": np.ones(2)}))
        True
        >>> checkpoint.load().step
        7
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        training: Mapping[str, Any],
        *,
        every: float = 60.0,
        required: bool = False,
        notice: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.path = os.fspath(path)
        self._training = json.loads(json.dumps(dict(training)))
        self._every = every
        self._required = required
        self._notice = notice
        self._clock = clock
        self._next = clock() + every
        self._failing = False

    def due(self) -> bool:
        """Whether it is time for another snapshot."""
        return self._clock() >= self._next

    def save(self, snapshot: Snapshot) -> bool:
        """Writes a snapshot in place of the one before.

        A disk that is full for an hour must not end a training of a day: what
        cannot be written is told, once, and tried again when the next
        snapshot is due. The one before is intact meanwhile.

        Args:
            snapshot: what to write.

        Returns:
            Whether it is on disk.

        Raises:
            FileNotFoundError: the folder has gone.
        """
        folder = os.path.dirname(os.path.abspath(self.path))
        if not is_remote(self.path) and not os.path.isdir(folder):
            code = errno.ENOENT
            raise FileNotFoundError(code, os.strerror(code), folder)
        began = self._clock()
        try:
            replace_file(self.path, lambda file: self._write(file, snapshot))
        except OSError as error:
            if not self._failing:
                self._notice(
                    f"{self.path} cannot be written "
                    f"({error.strerror or error}): the training goes on, but "
                    f"a kill would cost what follows the last save. Make room "
                    "on the disk; it is tried again and again."
                )
            self._failing = True
        else:
            if self._failing:
                self._notice(f"{self.path} is written again.")
            self._failing = False
        end = self._clock()
        self._next = end + max(self._every, _PAUSE * (end - began))
        return not self._failing

    def load(
        self, fits: Callable[[Snapshot], bool] = lambda snapshot: True
    ) -> Snapshot | None:
        """Returns the snapshot of this very training, or None.

        Args:
            fits: whether the training can go on from a snapshot.

        Raises:
            NoSnapshot: there is none, and one is required.
        """
        found = self._load(fits)
        if found is None and self._required:
            raise NoSnapshot(
                "`checkpoint` must hold the snapshot that the training starts "
                f"from. Received: {self.path}, which does not. Train up to "
                "that step again."
            )
        return found

    def _load(self, fits: Callable[[Snapshot], bool]) -> Snapshot | None:
        problem = None
        try:
            snapshot, training = self._read()
            if training != self._training:
                names = [
                    name
                    for name, value in self._training.items()
                    if training.get(name) != value
                ]
                problem = f"of another training ({', '.join(names)})"
            elif not fits(snapshot):
                problem = "of another training (weights or masks)"
        except FileNotFoundError:
            return None
        # A file of any content: its readers fail in any way.
        except Exception:
            problem = "damaged"
        if problem:
            self.refuse(problem)
            return None
        self._notice(f"{self.path}: goes on from step {snapshot.step:,}.")
        return snapshot

    def refuse(self, problem: str) -> None:
        """Tells why a snapshot is not used.

        Args:
            problem: what it is.
        """
        self._notice(f"{self.path} is {problem}: it is not used.")

    def _write(self, file: BinaryIO, snapshot: Snapshot) -> None:
        header = {
            "training": self._training,
            "step": snapshot.step,
            "seconds": snapshot.seconds,
            "rows": [_plain(row) for row in snapshot.rows],
            "names": sorted(snapshot.arrays),
            "changes": snapshot.changes,
        }
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        # Numbered: a path of Keras' is no safe name in an archive.
        arrays: dict[str, Any] = {
            str(i): snapshot.arrays[name]
            for i, name in enumerate(sorted(snapshot.arrays))
        }
        np.savez(file, header=text, **arrays)

    def _read(self) -> tuple[Snapshot, Mapping[str, Any]]:
        if os.path.exists(self.path) and not os.path.isfile(self.path):
            raise ValueError("a folder, or a pipe that would not end")
        with open_read(self.path) as file:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
            # Stored as they are, so that no more comes out than is there:
            # a few bytes could otherwise unfold to fill the memory.
            size = sum(entry.file_size for entry in entries)
            stored = {entry.compress_type for entry in entries}
            if stored != {zipfile.ZIP_STORED} or size > size_of(self.path):
                raise ValueError("an archive that savez has not written")
            file.seek(0)
            with np.load(file, allow_pickle=False) as content:
                header = json.loads(content["header"].tobytes())
                arrays = {
                    name: content[str(i)]
                    for i, name in enumerate(header["names"])
                }
        rows = [
            Evaluation(
                int(step), str(split), {k: float(v) for k, v in _named(values)}
            )
            for step, split, *values in header["rows"]
        ]
        snapshot = Snapshot(
            int(header["step"]),
            rows,
            arrays,
            float(header["seconds"]),
            [(int(step), dict(kept)) for step, kept in header["changes"]],
        )
        return snapshot, dict(header["training"])


# Of images, whose files are older than other values: numbers without names.
_IMAGES = ("loss", "accuracy")


def _plain(row: Evaluation) -> list[Any]:
    if tuple(row.values) == _IMAGES:
        return [row.step, row.split, *row.values.values()]
    return [row.step, row.split, dict(row.values)]


def _named(values: list[Any]) -> Iterable[tuple[str, Any]]:
    if len(values) == 1:
        return values[0].items()
    return zip(_IMAGES, values, strict=True)

"""A training's latest state on disk, so that a kill costs a minute."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import time
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tf_lottery.atomic import replace_file
from tf_lottery.train.evaluate import Evaluation

_HEADER = "header"


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Everything that the rest of a training depends on.

    The position in the data, the learning rate and the augmentation are
    functions of the seed and the step, so the step stands for them.

    Args:
        step: number of the next step.
        rows: the evaluations so far.
        arrays: the state of the model, the masks, the optimizer, and the
            state of the rewind step once it has been reached; by name.
    """

    step: int
    rows: list[Evaluation]
    arrays: dict[str, np.ndarray]


class Checkpoint:
    """The file that one training saves its snapshots to, and goes on from.

    A snapshot replaces the one before in one step, so that there is always a
    whole one. It names the training that it belongs to; that of another, or a
    damaged one, is not used.

    Args:
        path: the file.
        training: JSON values that tell this training from any other.
        every: seconds between two snapshots.
        notice: called with one line about a file that cannot be used.
        clock: seconds, for tests.

    Example:
        >>> checkpoint = Checkpoint(f"{folder}/state.npz", {"level": 3})
        >>> checkpoint.save(Snapshot(7, [], {"w": np.ones(2)}))
        >>> checkpoint.load().step
        7
        >>> checkpoint.remove(); checkpoint.load() is None
        True
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        training: Mapping[str, Any],
        *,
        every: float = 60.0,
        notice: Callable[[str], None] = print,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.path = os.fspath(path)
        self._training = json.loads(json.dumps(dict(training)))
        self._every = every
        self._notice = notice
        self._clock = clock
        self._last = clock()

    def due(self) -> bool:
        """Whether it is time for another snapshot."""
        return self._clock() - self._last >= self._every

    def save(self, snapshot: Snapshot) -> None:
        """Writes a snapshot in place of the one before.

        Raises:
            OSError: the disk is full or the folder is gone; the snapshot
                before, if any, is intact.
        """
        header = {
            "training": self._training,
            "step": snapshot.step,
            "rows": [dataclasses.astuple(row) for row in snapshot.rows],
        }
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        data = io.BytesIO()
        # Numbered: a path of Keras' is no safe name in an archive.
        names = sorted(snapshot.arrays)
        arrays = {str(i): snapshot.arrays[k] for i, k in enumerate(names)}
        keys = np.frombuffer(json.dumps(names).encode(), np.uint8)
        np.savez(data, **{_HEADER: text, "names": keys}, **arrays)
        replace_file(self.path, data.getvalue())
        self._last = self._clock()

    def load(self) -> Snapshot | None:
        """Returns the snapshot of this very training, or None."""
        try:
            with open(self.path, "rb") as file:
                data = io.BytesIO(file.read())
            with np.load(data, allow_pickle=False) as file:
                header = json.loads(file[_HEADER].tobytes())
                names = json.loads(file["names"].tobytes())
                arrays = {k: file[str(i)] for i, k in enumerate(names)}
            rows = [Evaluation(*row) for row in header["rows"]]
            snapshot = Snapshot(int(header["step"]), rows, arrays)
        except FileNotFoundError:
            return None
        except (
            EOFError,
            KeyError,
            OSError,
            TypeError,
            ValueError,
            zipfile.BadZipFile,
        ):
            self._notice(f"{self.path} is damaged: that training starts anew.")
            return None
        if header["training"] != self._training:
            return None
        return snapshot

    def remove(self) -> None:
        """Removes the file, once the training's result is safe."""
        try:
            os.remove(self.path)
        except FileNotFoundError:
            pass

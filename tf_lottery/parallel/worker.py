"""A worker: one process that trains one key after another."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pickle
import traceback
from collections.abc import Callable
from typing import Protocol

from tf_lottery import train
from tf_lottery.plan import Plan
from tf_lottery.record import Record
from tf_lottery.tickets import Key


class Trainings(Protocol):
    """What is trained: an `Experiment`, here and in every worker."""

    plan: Plan
    record: Record

    def is_finished(self, key: Key) -> bool:
        """Whether a training is finished, its parent being so."""

    def train_key(self, key: Key, parent: str) -> str:
        """Trains one key, in a worker; returns its ticket's digest."""


@dataclasses.dataclass
class Outcome:
    """What a call of a worker ended in.

    Args:
        lines: notices to be told, in order.
        digest: of the ticket that was trained.
        error: what was raised instead, without its traceback.
        trace: that traceback, as text.
    """

    lines: list[str]
    digest: str = ""
    error: BaseException | None = None
    trace: str = ""


class _Told:
    """Stands for a worker's progress, until it is asked."""

    def __init__(self) -> None:
        self.begin(None)

    def begin(self, key: Key | None) -> None:
        self.key, self.steps, self.text = key, 0, ""
        self.lines: list[str] = []

    def advance(self, steps: int) -> None:
        self.steps += steps

    def status(self, text: str) -> None:
        self.text = text

    def line(self, text: str) -> None:
        self.lines.append(text)


class Worker:
    """One process; its `open` and `train` are called in turn.

    Args:
        make: `make(progress, stop_signals)` returns the trainings.
        folder: where the command was started.
        threads: of TensorFlow's, each of both kinds.
        cores: numbers of the cores to keep to; any where there is none.
    """

    def __init__(
        self,
        make: Callable[..., Trainings],
        folder: str,
        threads: int,
        cores: list[int],
    ):
        self._make = make
        self._folder = folder
        self._threads = threads
        self._cores = cores
        self._told = _Told()
        self._number = 0

    def open(self) -> Outcome:
        """Loads TensorFlow and checks the experiment."""
        return self._reported(self._open)

    def train(self, key: Key, parent: str) -> Outcome:
        """Trains one key.

        Args:
            key: what to train.
            parent: digest of its parent's ticket.
        """
        self._told.begin(key)
        return self._reported(
            lambda: self._trainings.train_key(key, parent)
        )

    def told(self) -> tuple[Key | None, int, str]:
        """Returns the key under way, steps taken and a status, as of now."""
        return self._told.key, self._told.steps, self._told.text

    def stop(self, number: int) -> None:
        """Asks the training under way to save its state and end.

        Args:
            number: of the signal that asks.
        """
        self._number = number

    def _open(self) -> str:
        # Relative paths, and a model of the user's own, are found from here.
        if os.path.isdir(self._folder):
            os.chdir(self._folder)
        _take_share(self._threads, self._cores)
        self._trainings = self._make(
            self._told,
            stop_signals=lambda: contextlib.nullcontext(lambda: self._number),
        )
        return ""

    def _reported(self, call: Callable[[], str]) -> Outcome:
        try:
            digest = call()
        except (Exception, train.Stopped) as error:
            trace = traceback.format_exc()
            return Outcome(self._told.lines, "", _sendable(error), trace)
        return Outcome(self._told.lines, digest)


def _sendable(error: BaseException) -> BaseException:
    """The error without what it refers to, or one of its text alone."""
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        return pickle.loads(pickle.dumps(error))
    # Whatever its class does when it is pickled.
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _take_share(threads: int, cores: list[int]) -> None:
    """Gives this process its cores, before TensorFlow makes its threads."""
    if cores:
        # Threads that are there already keep the cores that they had.
        for thread in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):
                os.sched_setaffinity(int(thread), cores)
    # Workers may share a GPU, of which one alone would take all the memory.
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)

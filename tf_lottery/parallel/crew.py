"""Who trains what: hands keys to workers, and tells how far they are."""

from __future__ import annotations

import collections
import contextlib
import functools
import math
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from tf_lottery import report
from tf_lottery import train
from tf_lottery.config import Config
from tf_lottery.parallel.start import THREADS
from tf_lottery.parallel.start import cores_of
from tf_lottery.parallel.start import shares
from tf_lottery.parallel.start import started
from tf_lottery.parallel.worker import Outcome
from tf_lottery.parallel.worker import Trainings
from tf_lottery.parallel.worker import Worker
from tf_lottery.plan import MAIN
from tf_lottery.tickets import Key

# So often the workers are asked how far they are, in seconds.
_POLL = 0.5
# After so many seconds without any worker, the user is told.
_PATIENCE = 60.0
# As often one training may lose its worker before the run ends.
_DEATHS = 3


def train_in_parallel(
    make: Callable[..., Trainings],
    trainings: Trainings,
    todo: list[Key],
    config: Config,
    progress: report.Progress,
) -> None:
    """Trains keys at once, each as soon as its parent is finished.

    A training whose worker dies goes on from its checkpoint in another. An
    error, or a signal, lets the other workers save their state and stops.

    Args:
        make: `make(progress, stop_signals)` returns the trainings' twin in a
            worker; it is pickled.
        trainings: the plan, and where finished keys are noted.
        todo: what is to be trained.
        config: with `parallel` and `ray_address`.
        progress: where to report.

    Raises:
        Stopped: a signal came.
        RuntimeError: Ray does not start, or a worker died again and again.
        Exception: what a training raised; it is not tried again.
    """
    # A signal while Ray is loaded and started is not lost either.
    with train.stop_signals() as stopping, started(config) as ray:
        if number := stopping():
            raise train.Stopped(number, None, saved=False)
        crew = _Crew(ray, make, trainings, config, progress)
        crew.run(todo, stopping)


class _Crew:
    """The workers, and what each of them is doing."""

    def __init__(
        self,
        ray: Any,
        make: Callable[..., Trainings],
        trainings: Trainings,
        config: Config,
        progress: report.Progress,
    ):
        self._ray = ray
        # The second is no kind of the first.
        errors = ray.exceptions
        self._death = (errors.RayActorError, errors.OutOfMemoryError)
        self._trainings = trainings
        self._progress = progress
        # Of the whole plan, not of what is left: a run that goes on has the
        # same number of threads in each.
        self._size = min(config.parallel, trainings.plan.width)
        self._make = make
        self._local = config.ray_address is None
        self._hires: list[Callable[[], Any]] = []
        self._workers: dict[int, Any] = {}
        self._idle: list[int] = []
        # The call that each busy worker is in: by reference, (worker, key);
        # key is None while it starts.
        self._busy: dict[Any, tuple[int, Key | None]] = {}
        self._asked: dict[int, Any] = {}
        self._deaths: collections.Counter = collections.Counter()
        self._steps: dict[Key, int] = {}
        self._statuses: dict[Key, str] = {}
        self._error: BaseException | None = None
        self._stops: list[train.Stopped] = []

    def run(self, todo: list[Key], stopping: Callable[[], int]) -> None:
        self._waiting = sorted(todo, key=_urgency)
        self._patience = time.monotonic() + _PATIENCE
        self._hire(min(self._size, len(todo)))
        try:
            while self._waiting or self._training():
                self._wait()
                number = stopping()
                if number or self._error:
                    self._stop(number or signal.SIGTERM)
                self._hand_out()
        finally:
            for worker in self._workers.values():
                self._ray.kill(worker)

    def _hire(self, count: int) -> None:
        cores, resources = shares(self._ray, self._size)
        # Sums are split over the threads, and so rounded by their number: who
        # wants the same bits from every run sets TensorFlow's own variable.
        threads = int(os.environ.get(THREADS) or cores)
        self._progress.line(
            f"{count} trainings at once, with {threads} thread(s) each."
        )
        actor = self._ray.remote(concurrency_groups={"talk": 1})(Worker)
        actor = actor.options(**resources)
        self._needs = resources
        for index in range(count):
            own = cores_of(index, cores) if self._local else []
            self._hires.append(
                functools.partial(
                    actor.remote, self._make, os.getcwd(), threads, own
                )
            )
            self._open(index)

    def _open(self, index: int) -> None:
        """Starts a worker, or another in the place of one that died."""
        self._workers[index] = self._hires[index]()
        # A worker that waits for room in a cluster is given no training.
        self._busy[self._workers[index].open.remote()] = (index, None)

    def _training(self) -> list[Key]:
        return [key for _, key in self._busy.values() if key is not None]

    def _hand_out(self) -> None:
        for key in list(self._waiting):
            if not self._idle:
                return
            parent = self._trainings.record.parent_digest(key)
            if parent is None:
                continue
            self._waiting.remove(key)
            if self._trainings.is_finished(key):
                continue
            index = self._idle.pop(0)
            call = self._workers[index].train.remote(key, parent)
            self._busy[call] = (index, key)

    def _wait(self) -> None:
        ready, _ = self._ray.wait(list(self._busy), timeout=_POLL)
        self._listen()
        if ready:
            self._patience = math.inf
        elif time.monotonic() > self._patience:
            self._patience = math.inf
            self._progress.line(
                f"No worker has started within {_PATIENCE:.0f} s: the cluster "
                f"may have no room for {self._size} of "
                f"{', '.join(f'{v:g} {k}' for k, v in self._needs.items())} "
                "each. It is waited for; lower --parallel otherwise."
            )
        for call in ready:
            index, key = self._busy.pop(call)
            try:
                outcome = self._ray.get(call)
            except self._death as death:
                self._bury(index, key, death)
                continue
            self._idle.append(index)
            self._take(key, outcome)

    def _take(self, key: Key | None, outcome: Outcome) -> None:
        for line in outcome.lines:
            self._progress.line(line)
        if isinstance(outcome.error, train.Stopped):
            self._stops.append(outcome.error)
        elif outcome.error:
            error = outcome.error
            error.__cause__ = RuntimeError(f"in a worker:\n{outcome.trace}")
            # The first one, which the others may follow from.
            self._error = self._error or error
        elif key is not None:
            self._count(key, self._trainings.plan.steps(key))
            self._trainings.record.finish(key, outcome.digest)

    def _bury(self, index: int, key: Key | None, death: Exception) -> None:
        """Puts another worker in the place of one that died."""
        # For certain: it may be out of reach only.
        self._ray.kill(self._workers[index])
        self._asked.pop(index, None)
        who = index if key is None else key
        self._deaths[who] += 1
        reason = " ".join(str(death).split())
        if self._deaths[who] > _DEATHS:
            doing = "it started" if key is None else f"it trained {key}"
            self._error = self._error or RuntimeError(
                f"A worker must live. Received: {_DEATHS + 1} that died while "
                f"{doing}; Ray says: {reason[:600]} Lower --parallel if the "
                "memory does not suffice; finished levels are kept."
            )
            return
        if key is not None:
            self._progress.line(
                f"{key}: its worker died; it goes on from its last "
                "checkpoint in a new one."
            )
            self._waiting = sorted([key, *self._waiting], key=_urgency)
        self._open(index)

    def _listen(self) -> None:
        """Asks the workers how far they are; waits for none of them."""
        for index, key in self._busy.values():
            if key is not None and index not in self._asked:
                self._asked[index] = self._talk(index, "told").remote()
        if not self._asked:
            return
        calls = list(self._asked.values())
        ready, _ = self._ray.wait(calls, num_returns=len(calls), timeout=0)
        for index in [i for i, c in self._asked.items() if c in ready]:
            call = self._asked.pop(index)
            with contextlib.suppress(*self._death):
                key, steps, status = self._ray.get(call)
                if key is None:
                    continue
                self._count(key, steps)
                if status and self._statuses.get(key) != status:
                    self._statuses[key] = status
                    self._progress.status(status)

    def _count(self, key: Key, steps: int) -> None:
        # Steps that are trained again after a death have been counted.
        more = steps - self._steps.get(key, 0)
        if more > 0:
            self._steps[key] = steps
            self._progress.advance(more)

    def _stop(self, number: int) -> None:
        """Lets the workers save their trainings, waits for that, raises."""
        self._busy = {c: w for c, w in self._busy.items() if w[1] is not None}
        for index, _ in self._busy.values():
            self._talk(index, "stop").remote(number)
        while self._training():
            self._wait()
        stops = self._stops
        step = stops[0].step if len(stops) == 1 else None
        saved = bool(stops) and all(stop.saved for stop in stops)
        raise self._error or train.Stopped(number, step, saved)

    def _talk(self, index: int, name: str) -> Any:
        """A method that answers while the worker trains."""
        method = getattr(self._workers[index], name)
        return method.options(concurrency_group="talk")


def _urgency(key: Key) -> tuple[bool, int, str, int]:
    # Of what is ready, first what most others wait for.
    return key.branch != MAIN, key.level, key.branch, key.replicate

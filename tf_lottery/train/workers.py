"""The processes that train one model together, and how they agree."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tf_lottery.train.replicas import Table

_EXAMPLE = (
    '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": '
    '"worker", "index": 0}}'
)
# Of one value that workers tell each other, as JSON.
_MESSAGE_BYTES = 256


@dataclasses.dataclass(frozen=True)
class Task:
    """This process's place among those of TF_CONFIG.

    Args:
        number: from 0, which is the chief: it alone writes and prints.
        count: of processes.
    """

    number: int = 0
    count: int = 1


def read_task(strategy: str) -> Task:
    """Returns the place of this process.

    Args:
        strategy: its name. Under `"multi_worker"` the environment variable
            TF_CONFIG says it; under any other there is one process.

    Raises:
        ValueError: TF_CONFIG is not set, or names no place of this process
            in a cluster of workers.

    Example:
        >>> read_task("mirrored")
        Task(number=0, count=1)
    """
    if strategy != "multi_worker":
        return Task()
    text = os.environ.get("TF_CONFIG", "")
    try:
        values = json.loads(text)
        kind, index = values["task"]["type"], int(values["task"]["index"])
        known = {k: values["cluster"].get(k, []) for k in ("chief", "worker")}
        addresses = known["chief"] + known["worker"]
        if len(known["chief"]) > 1 or not 0 <= index < len(known[kind]):
            raise ValueError
        if not all(":" in address for address in addresses):
            raise ValueError
    except (ValueError, KeyError, TypeError, AttributeError):
        shown = text if len(text) <= 200 else text[:200] + "..."
        raise ValueError(
            "`TF_CONFIG` must name the workers and this one's place among "
            f"them for strategy multi_worker. Received: TF_CONFIG={shown!r}. "
            f"Set the environment variable to, for example, {_EXAMPLE}."
        ) from None
    before = 0 if kind == "chief" else len(known["chief"])
    return Task(before + index, len(addresses))


class Workers:
    """The processes of a training: one, or those of a multi-worker strategy.

    What depends on a clock, a signal or a file is decided by one of them and
    told to the others: they must all take the same steps.

    Args:
        strategy: that trains.

    Example:
        >>> workers = Workers(tf.distribute.get_strategy())
        >>> workers.chief, workers.exchange("x"), workers.agree(lambda: 3)
        (True, ['x'], 3)
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        multi = tf.distribute.MultiWorkerMirroredStrategy
        name = "multi_worker" if isinstance(strategy, multi) else ""
        self._task = read_task(name)
        self._table = Table(strategy)

    @property
    def chief(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self._task.number == 0

    def exchange(self, value: Any) -> list[Any]:
        """Returns the values of all workers, the chief's first.

        Every worker has to call it; it waits for the last.

        Args:
            value: plain JSON, of at most 256 bytes.
        """
        if self._task.count == 1:
            return [value]
        text = np.frombuffer(json.dumps(value).encode(), np.uint8)
        row = np.zeros(_MESSAGE_BYTES, np.int32)
        row[: text.size] = text
        rows = self._table(lambda replica: row).astype(np.uint8)
        # All replicas of a worker say the same.
        first = rows[:: len(rows) // self._task.count]
        return [json.loads(r[r > 0].tobytes()) for r in first]

    def check_same(self, values: Any) -> None:
        """Raises RuntimeError where workers were not started alike.

        Args:
            values: what they must have in common, JSON of any length.
        """
        text = json.dumps(values, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if len(set(self.exchange(digest))) > 1:
            raise RuntimeError(
                "All workers must be started with the same flags. Received: "
                "others here than elsewhere. Start the same command on all."
            )

    def agree(self, decide: Callable[[], Any]) -> Any:
        """Returns what the chief decides, to all workers.

        Args:
            decide: called by the chief alone; returns plain JSON.

        Raises:
            RuntimeError: it raised an error, which the chief raises itself.
        """
        if self._task.count == 1:
            return decide()
        told: list[Any] | None = None
        try:
            if self.chief:
                told = [decide()]
        finally:
            # The others wait for it, an error or not.
            answer = self.exchange(told)[0]
        if answer is None:
            raise RuntimeError(
                "The first worker must be able to go on. Received: an error "
                "there. See its output."
            )
        return answer[0]

    def chief_first(self, make: Callable[[], Any]) -> Any:
        """Returns what `make` does, called by the chief before the others.

        What it puts on a disk that they share is there for them, then.

        Args:
            make: called once.

        Raises:
            RuntimeError: as in `agree`.
        """
        made: list[Any] = []
        self.agree(lambda: made.append(make()))
        return made[0] if made else make()


@contextlib.contextmanager
def lost_workers(strategy: str) -> Iterator[None]:
    """Inside it, the loss of another worker is a RuntimeError of one line.

    Args:
        strategy: its name; with any but `"multi_worker"` there is no other.
    """
    if strategy != "multi_worker":
        yield
        return
    try:
        yield
    except (
        tf.errors.AbortedError,
        tf.errors.CancelledError,
        tf.errors.DeadlineExceededError,
        tf.errors.UnavailableError,
    ) as error:
        raise RuntimeError(
            "All workers must stay until the end. Received: "
            f"{type(error).__name__}, as another one has stopped. Start the "
            "same command on all workers again; finished levels are kept."
        ) from error

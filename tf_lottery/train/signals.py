"""Ctrl-C and preemption: a training ends between two steps, its state saved."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """A training ended because it was asked to.

    Args:
        number: of the signal that asked.
        step: where it ended; None for several trainings.
        saved: whether its state is on disk.
    """

    def __init__(self, number: int, step: int | None, saved: bool):
        self.number = number
        self.step = step
        self.saved = saved
        super().__init__(f"{signal.Signals(number).name} at step {step}")

    # It is sent from one process to another.
    def __reduce__(self):
        return type(self), (self.number, self.step, self.saved)


@contextlib.contextmanager
def stop_signals() -> Iterator[Callable[[], int]]:
    """Inside it SIGINT and SIGTERM ask to stop, instead of stopping.

    A second one has its usual effect, at once. In a thread other than the
    main one, where Python takes no signals, nothing is changed.

    Yields:
        A function that returns the number of the signal that came, or 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    came = 0
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def ask(number, frame):
        nonlocal came
        came = number
        release()

    def release():
        for number in taken:
            signal.signal(number, before[number])

    # One that is ignored (nohup, a batch job's background) stays ignored.
    taken = [n for n in _SIGNALS if before[n] not in (signal.SIG_IGN, None)]
    for number in taken:
        signal.signal(number, ask)
    try:
        yield lambda: came
    finally:
        release()

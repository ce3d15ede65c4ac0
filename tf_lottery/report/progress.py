"""The terminal's view of a long run: a bar, or lines in a batch job."""

import contextlib
import datetime
import os
import sys
from time import monotonic
from types import TracebackType
from typing import Any, TextIO

from tf_lottery.paths import is_remote

# Often enough to show life, rare enough for a week's log.
_HEARTBEAT_SECONDS = 60.0


class Progress:
    """Shows how far a run is: one bar at a terminal, else lines only.

    At a terminal it is one tqdm bar over all optimizer steps of the run,
    with the time left and a status. Where the stream is no
    terminal it prints lines, and at most once a minute the status with the
    time left. The time left is judged by the work of this process alone:
    steps that an earlier run has done count as done, not as fast.

    Args:
        quiet: Print nothing; the log file is still written.
        log_file: A file that every line is appended to, with the time, or
            None. Heartbeats go there too, at most once a minute.
        stream: Where to print; standard error when None.
        unit: What is counted, in the singular.

    Raises:
        ValueError: `log_file` can not be opened.

    Example:
        >>> with Progress(stream=sys.stdout) as progress:
        ...     progress.start(total_steps=200)
        ...     progress.advance(200)
        ...     progress.line("level 0 done")
        level 0 done
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        log_file: str | os.PathLike[str] | None = None,
        stream: TextIO | None = None,
        unit: str = "step",
    ) -> None:
        self._unit = unit
        self._stream = None if quiet else stream or sys.stderr
        self._log_file = log_file
        self._told = False
        self._bar: Any = None
        self._status = ""
        self._total: int | None = None
        if log_file is not None:
            if is_remote(log_file):
                raise ValueError(
                    "`log_file` must be a path on this machine. Received: "
                    f"log_file={os.fspath(log_file)}. Objects in a store can "
                    "not be appended to."
                )
            try:
                with open(log_file, "a", encoding="utf-8"):
                    pass
            except OSError as error:
                raise ValueError(
                    "`log_file` must be a writable path. Received: "
                    f"log_file={os.fspath(log_file)}. Choose a file in an "
                    f"existing folder ({error.strerror})."
                ) from error

    def start(self, total_steps: int, done_steps: int = 0) -> None:
        """Starts the clock and, at a terminal, the bar.

        Args:
            total_steps: Optimizer steps of the whole run, over all levels,
                branches and replicates.
            done_steps: How many of them an earlier run has done.

        Raises:
            ValueError: `done_steps` is not in [0, total_steps].
            RuntimeError: It has been started before.
        """
        if not 0 <= done_steps <= total_steps:
            raise ValueError(
                "`done_steps` must be in [0, total_steps]. Received: "
                f"done_steps={done_steps}, total_steps={total_steps}. "
                "Count every level, finished ones included, in the total."
            )
        if self._total is not None:
            raise RuntimeError(
                "`start` must be called once. Received: a second call. "
                "Make a new Progress for another run."
            )
        self._total = total_steps
        self._initial = self._done = done_steps
        self._started = self._last_beat = monotonic()
        if self._stream is not None and _is_terminal(self._stream):
            from tqdm import tqdm

            self._bar = tqdm(
                total=total_steps,
                initial=done_steps,
                file=self._stream,
                dynamic_ncols=True,
                # Explicit, so that tqdm does not skip slow updates after
                # fast ones (a convolution branch after cached data).
                miniters=0,
                smoothing=0.05,
                unit=f" {self._unit}s",
                unit_scale=True,
                # The bar takes what the status leaves of the width.
                bar_format=(
                    "{percentage:3.0f}%|{bar}| {remaining} left{postfix}"
                ),
            )

    def advance(self, steps: int) -> None:
        """Counts optimizer steps as done.

        Args:
            steps: Steps since the last call, not negative.

        Raises:
            ValueError: `steps` is negative.
            RuntimeError: `start` has not been called.
        """
        if steps < 0:
            raise ValueError(
                "`steps` must not be negative. Received: "
                f"steps={steps}. Pass the steps since the last call."
            )
        if self._total is None:
            raise RuntimeError(
                "`start` must be called before `advance`. Received: no "
                "total. Call start(total_steps) first."
            )
        self._done += steps
        if self._bar is not None:
            with _survive():
                self._bar.update(steps)
        self._heartbeat()

    def status(self, text: str) -> None:
        """Says what is being done now, beside the bar.

        Args:
            text: One line, for example "main level 3, val accuracy 97.1 %".
                A terminal of 80 columns shows about 35 of its characters.
        """
        self._status = text
        if self._bar is not None:
            self._bar.set_postfix_str(text, refresh=False)
            # Redraws if the last drawing is long enough ago.
            with _survive():
                self._bar.update(0)
        self._heartbeat()

    def line(self, text: str) -> None:
        """Prints a text above the bar, and into the log file.

        Args:
            text: One line, or several joined by newlines.
        """
        self._log(text)
        self._print(text)

    def result(self, text: str) -> None:
        """Prints a result to standard output, and into the log file.

        Ends the bar, so that what follows stands alone. Nothing is printed
        when quiet.

        Args:
            text: One line, or several joined by newlines.
        """
        self.close()
        self._log(text)
        if self._stream is not None:
            print(_encodable(text, sys.stdout), flush=True)

    def close(self) -> None:
        """Leaves the terminal with the cursor on a fresh line.

        May be called more than once; `line` still prints afterwards.
        """
        if self._bar is not None:
            with _survive():
                self._bar.close()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _heartbeat(self) -> None:
        now = monotonic()
        if self._total is None or now - self._last_beat < _HEARTBEAT_SECONDS:
            return
        self._last_beat = now
        text = f"{self._done:,} of {self._total:,} {self._unit}s"
        worked = self._done - self._initial
        if worked > 0:
            rate = worked / max(now - self._started, 1e-9)
            left = max(self._total - self._done, 0) / rate
            speed = f"{rate:,.0f} {self._unit}s/s" if rate >= 10 else (
                f"{rate:.2g} {self._unit}s/s" if rate >= 1
                else f"{1 / rate:.2g} s/{self._unit}"
            )
            text += f", {speed}, about {_duration(left)} left"
        if self._status:
            text += f"; {self._status}"
        self._log(text)
        if self._bar is None:
            self._print(text)

    def _print(self, text: str) -> None:
        if self._stream is None:
            return
        with _survive():
            if self._bar is not None:
                self._bar.clear()
            self._stream.write(_encodable(text, self._stream) + "\n")
            self._stream.flush()
            if self._bar is not None:
                self._bar.refresh()

    def _log(self, text: str) -> None:
        if self._log_file is None:
            return
        now = datetime.datetime.now().astimezone()
        stamp = now.isoformat(timespec="seconds")
        # Opened anew for each line: on disk at once, and no open handle is
        # carried into worker processes.
        try:
            with open(self._log_file, "a", encoding="utf-8") as file:
                for line in text.splitlines() or [""]:
                    file.write(f"{stamp} {line}\n")
        except OSError as error:
            # A full disk, most likely: the run itself may need none of it.
            if not self._told:
                self._told = True
                self._print(
                    f"{os.fspath(self._log_file)} cannot be written "
                    f"({error.strerror or error}); lines are lost to it."
                )


def _survive() -> contextlib.AbstractContextManager[None]:
    # The terminal may go away (ssh cut, pipe closed): hours of training
    # must not die of it, and the log file goes on.
    return contextlib.suppress(OSError)


def _encodable(text: str, stream: TextIO) -> str:
    # A path may hold letters that a terminal's encoding lacks.
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def _is_terminal(stream: TextIO) -> bool:
    if not getattr(stream, "isatty", lambda: False)():
        return False
    try:
        size = os.get_terminal_size(stream.fileno())
    except OSError:
        return True
    # Some job runners give a terminal of size 0 x 0, on which tqdm silently
    # draws nothing; lines at least appear.
    return min(size) > 0


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"

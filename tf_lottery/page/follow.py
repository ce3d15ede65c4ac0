"""The report of a run that is under way: kept up to date, at little cost."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from tf_lottery import paths
from tf_lottery.atomic import replace_file
from tf_lottery.page import html
from tf_lottery.page.drawn import is_current
from tf_lottery.page.writing import write
from tf_lottery.tickets.reading import one_line

# Of a run's time, what its pages may take before it has finished.
_SHARE = 0.03
# Seconds that the first page is taken to need.
_FIRST = 5.0


class Follower:
    """Writes the page of a run while it goes on, and when it ends.

    A page is written after a training if all pages together, with this one
    taken to need as long as the last, then take 3 % of the time at most. A
    page that cannot be drawn is told in a line, and stops no run. As a context
    it calls `stop` when an exception ends the run.

    Args:
        run_dir: the run directory.
        notice: called with that line.
        writes: whether this process writes there; if not, nothing happens.
        clock: seconds, as `time.monotonic`.

    Example:
        >>> lines = []
        >>> Follower("no/such/run", lines.append).finish()
        'Report:  none'
        >>> lines[0][:30]
        'The report cannot be written: '
    """

    def __init__(
        self,
        run_dir: str,
        notice: Callable[[str], object],
        *,
        writes: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._run_dir = run_dir
        self._notice = notice
        self._writes = writes
        self._clock = clock
        self._began = clock()
        self._spent = 0.0
        self._last = _FIRST

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None and self._writes:
            self.stop()

    def update(self) -> None:
        """Writes the page after a training, unless it would cost too much."""
        passed = self._clock() - self._began
        if not self._writes or self._spent + self._last > _SHARE * passed:
            return
        began = self._clock()
        self._write(under_way=True)
        self._last = self._clock() - began
        self._spent += self._last

    def finish(self) -> str:
        """Writes the page of a run that has ended, if it is not there yet.

        Returns:
            The line that says where it is.
        """
        path = None
        if self._writes and is_current(self._run_dir):
            path = os.path.join(self._run_dir, "report", "index.html")
        elif self._writes:
            path = self._write(under_way=False)
        return f"Report:  {path or 'none'}"

    def stop(self) -> None:
        """Has the page say that the run is no longer under way.

        It is not drawn anew: who stops a run does not wait for that.
        """
        path = os.path.join(self._run_dir, "report", "index.html")
        try:
            with paths.open_read(path) as file:
                text = file.read().decode("utf-8")
            if html.refresh_element() in text:
                replace_file(path, html.stopped(text).encode("utf-8"))
        except FileNotFoundError:
            # No page has been written yet.
            return
        except (OSError, ValueError) as error:
            self._tell(error)

    def _write(self, under_way: bool) -> str | None:
        try:
            return write([self._run_dir], under_way=under_way)
        # Whatever is wrong with a picture: the results are more.
        except Exception as error:
            self._tell(error)
            return None

    def _tell(self, error: Exception) -> None:
        name = type(error).__name__
        self._notice(
            f"The report cannot be written: {one_line(error) or name} "
            "The results are kept; tf-lottery-report makes it again."
        )

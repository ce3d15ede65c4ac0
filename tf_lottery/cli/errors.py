"""How a command ends: one line on standard error, never a traceback."""

from __future__ import annotations

import _thread
import contextlib
import errno
import os
import signal
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence


# Their text says it all; of others the class is told.
_SAID = (ValueError, TypeError, RuntimeError, ImportError)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Signalled(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, where no training answers it."""

    def __init__(self, number: int):
        self.number = number
        super().__init__(signal.Signals(number).name)


class _Raiser:
    """A signal handler that raises, and knows afterwards that it did."""

    came, active = 0, True

    def __call__(self, number, frame):
        self.came = number
        raise _Signalled(number)

    def again(self) -> None:
        """Sends the signal once more, to be called in a thread."""
        time.sleep(0.05)
        if self.active:
            signal.raise_signal(self.came)


def _came() -> int:
    """The number of the signal that was raised as an exception, or 0."""
    handlers = [signal.getsignal(number) for number in _SIGNALS]
    return max(getattr(handler, "came", 0) for handler in handlers)


@contextlib.contextmanager
def reported(
    argv: Sequence[str], kept: str = "finished levels are kept"
) -> Iterator[types.SimpleNamespace]:
    """Turns exceptions into one line and an exit status.

    Args:
        argv: the command line; with `--debug` in it, exceptions pass through.
        kept: what the command has not lost, for the line.

    Yields:
        A namespace whose `status` is the exit status, and whose `debug` is to
        be set once the flags have been read: they may come from a file.
    """
    debug = any(a in ("--debug", "--debug=true") for a in argv)
    outcome = types.SimpleNamespace(status=0, debug=debug)
    try:
        with _signals_raise():
            yield outcome
    except KeyboardInterrupt as stop:
        # One that a training answered by saving its state says more.
        number = getattr(stop, "number", 2)
        kept = kept[0].upper() + kept[1:]
        if number != 2:
            kept = f"Stopped by {signal.Signals(number).name}. {kept}"
        if getattr(stop, "saved", False):
            step = getattr(stop, "step", None)
            kept += (
                ", and the trainings under way"
                if step is None
                else f", and the training under way up to step {step:,}"
            )
        print(
            f"\nInterrupted. {kept}: run the same command again to go on.",
            file=sys.stderr,
        )
        outcome.status = 128 + number
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        outcome.status = 1
    except Exception as error:
        if outcome.debug:
            raise
        print(_line(error, kept), file=sys.stderr)
        outcome.status = 1


def run_command(
    run: Callable[[list[str], types.SimpleNamespace], int],
    argv: Sequence[str] | None,
    kept: str = "finished levels are kept",
) -> int:
    """Runs a command, whatever it raises.

    Args:
        run: called with the command line and the namespace of `reported`;
            returns the exit status.
        argv: the program's name and its arguments; `sys.argv` if None.
        kept: as in `reported`.

    Returns:
        The exit status: that of `run`, 1 after an error, 130 after Ctrl-C,
        143 after SIGTERM.
    """
    argv = list(sys.argv if argv is None else argv)
    with reported(argv, kept) as outcome:
        outcome.status = run(argv, outcome)
    return outcome.status


@contextlib.contextmanager
def _signals_raise() -> Iterator[None]:
    """Inside it no code on the way can lose a signal."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    # One that is ignored stays ignored.
    taken = [n for n in _SIGNALS if before[n] not in (None, signal.SIG_IGN)]
    raiser, hook = _Raiser(), sys.unraisablehook

    def again(ignored):
        # Raised in a destructor or a callback of the garbage collector,
        # where Python drops it, as it would here. `threading` takes locks,
        # which what was interrupted may hold.
        if issubclass(ignored.exc_type, _Signalled):
            _thread.start_new_thread(raiser.again, ())
        else:
            hook(ignored)

    for number in taken:
        signal.signal(number, raiser)
    sys.unraisablehook = again
    try:
        yield
    except Exception as error:
        # Extension modules turn it into an error of their own.
        if raiser.came:
            raise _Signalled(raiser.came) from error
        raise
    finally:
        raiser.active = False
        sys.unraisablehook = hook
        for number in taken:
            signal.signal(number, before[number])


@contextlib.contextmanager
def quiet_tensorflow(find_devices: bool = True) -> Iterator[None]:
    """Keeps TensorFlow's lines about its own build off the terminal.

    The C++ side writes them to the file descriptor while it is loaded and
    its devices are found, before any log level is heeded; so they are caught
    there. If loading fails they are printed after all.

    Args:
        find_devices: whether to find them here; not where a strategy has to
            join other workers before a device is touched.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        kept = os.dup(2)
    except OSError:
        # Standard error is closed: there is nothing to keep clean.
        yield
        return
    sys.stderr.flush()
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            import tensorflow as tf

            if find_devices:
                tf.config.list_logical_devices()
            yield
        except Exception:
            if not _came():
                caught.seek(0)
                os.write(kept, caught.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _line(error: Exception, kept: str) -> str:
    if isinstance(error, OSError):
        where = f" {error.filename}" if error.filename else ""
        advice = "Check the path and its permissions"
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "Make room on the disk"
        if error.errno == errno.ENOENT:
            advice = "Put back what was deleted"
            kept = kept.replace("finished levels", "levels still there")
        return (
            f"Error: cannot write or read{where}: "
            f"{error.strerror or error}. {advice}, then run the same command "
            f"again; {kept}."
        )
    text = " ".join(str(error).split())
    # A file's own text, quoted in an error, must not steer the terminal.
    text = "".join(c if c.isprintable() else "?" for c in text)
    if not isinstance(error, _SAID):
        text = f"{type(error).__name__}: {text}"
    if len(text) > 2000:
        text = text[:2000] + " ..."
    return f"Error: {text}"

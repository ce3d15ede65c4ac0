"""Ctrl-C and SIGTERM end a command wherever they come."""

import os
import signal
import sys
import time

import pytest

from tf_lottery.cli.errors import quiet_tensorflow
from tf_lottery.cli.errors import reported

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def interrupted(number, error=ImportError("initialization failed")):
    """Ends as an extension module does whose import is interrupted."""
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt as stop:
        raise error from stop


class Dropped:
    """Python drops what its destructor raises."""

    def __init__(self, call):
        self._call = call

    def __del__(self):
        self._call()


@pytest.fixture(autouse=True)
def all_is_as_before():
    before = [*map(signal.getsignal, SIGNALS), sys.unraisablehook]
    yield
    assert [*map(signal.getsignal, SIGNALS), sys.unraisablehook] == before


@pytest.mark.parametrize("number", SIGNALS)
def test_one_that_became_an_error(capfd, number):
    with reported(["x"], "all is kept") as outcome:
        interrupted(number)
    assert outcome.status == 128 + number
    (line,) = capfd.readouterr().err.split("\n", 1)[1].splitlines()
    stopped = "" if number == signal.SIGINT else "Stopped by SIGTERM. "
    assert line == (
        f"Interrupted. {stopped}All is kept: run the same command again to "
        "go on."
    )


def test_what_was_kept_off_the_terminal_stays_off(capfd):
    with reported(["x"]) as outcome, quiet_tensorflow(find_devices=False):
        os.write(2, b"noise")
        interrupted(signal.SIGINT)
    assert outcome.status == 130
    assert "noise" not in capfd.readouterr().err
    with reported(["x"]) as outcome, quiet_tensorflow(find_devices=False):
        os.write(2, b"what failed")
        raise ImportError("no such library")
    assert outcome.status == 1
    assert "what failed" in capfd.readouterr().err


@pytest.mark.parametrize("number", SIGNALS)
def test_one_that_python_drops_comes_again(capfd, number):
    with reported(["x"]) as outcome:
        Dropped(lambda: signal.raise_signal(number))
        start = time.monotonic()
        while time.monotonic() < start + 20:
            time.sleep(0.01)
    assert outcome.status == 128 + number
    err = capfd.readouterr().err
    assert "Interrupted" in err and "ignored" not in err


def test_one_dropped_at_the_very_end_does_not_come_later():
    with reported(["x"]) as outcome:
        Dropped(lambda: signal.raise_signal(signal.SIGINT))
    time.sleep(0.2)
    assert outcome.status == 0


def test_other_errors_that_python_drops_are_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", shown.append)
    with reported(["x"]):
        Dropped(lambda: 1 / 0)
        assert [e.exc_type for e in shown] == [ZeroDivisionError]
    monkeypatch.undo()


def test_one_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with reported(["x"]) as outcome:
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert outcome.status == 0

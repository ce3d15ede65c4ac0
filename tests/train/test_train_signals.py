"""Ctrl-C and SIGTERM: asked once, at once the second time."""

import signal
import threading

import pytest

from tf_lottery import train


@pytest.fixture
def handlers():
    """Puts the process' handlers back after the test."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_signal_asks_once_and_then_acts():
    with train.stop_signals() as stopping:
        assert stopping() == 0
        signal.raise_signal(signal.SIGINT)
        assert stopping() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_after_sigterm_acts_at_once():
    with train.stop_signals() as stopping:
        signal.raise_signal(signal.SIGTERM)
        assert stopping() == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_ignored_signal_stays_ignored(handlers):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with train.stop_signals() as stopping:
        signal.raise_signal(signal.SIGTERM)
        assert stopping() == 0
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_other_threads_change_nothing(handlers):
    seen = []

    def run():
        with train.stop_signals() as stopping:
            seen.append((stopping(), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [(0, handlers[signal.SIGINT])]

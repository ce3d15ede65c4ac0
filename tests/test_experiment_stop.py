"""Kills, signals, a full disk, a deleted folder: nothing is lost or wrong."""

import errno
import os
import re
import shutil
import signal

import pytest

import tf_lottery as tfl
from tf_lottery import data
from tf_lottery import train
from tf_lottery.tickets import RunDirectory
from tf_lottery.train import checkpoint as module


@pytest.fixture
def run(command, flags, tmp_path):
    """Runs levels 0 and 1 of `whole`, without its control."""
    return lambda: command(*flags, "--levels=1", f"--output_dir={tmp_path}")


@pytest.fixture
def ends_like_whole(run, tmp_path, whole, content):
    """Runs the command again: the bytes of `whole`, and nothing besides."""

    def check(levels=2):
        done = run()
        assert done.status == 0, done.err
        (folder,) = tmp_path.iterdir()
        found = content(folder)
        assert len(found) == 5 * levels
        assert found.items() <= content(whole.path).items()
        for left in ("checkpoint.npz", "*.tmp"):
            assert not list(folder.rglob(left))
        return done

    return check


@pytest.fixture
def always_due(monkeypatch):
    monkeypatch.setattr(train.Checkpoint, "due", lambda self: True)


def before(monkeypatch, owner, name, act):
    """Lets `act` see the arguments of every call, before the call."""
    real = getattr(owner, name)

    def call(*args, **kwargs):
        act(*args, **kwargs)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)


KILL = """
import os, signal, sys
from tf_lottery import train

real = train.Checkpoint._write

def write(self, file, snapshot):
    real(self, file, snapshot)
    if "level_01" in self.path and snapshot.step >= 40:
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

train.Checkpoint._write = write
train.Checkpoint.due = lambda self: True
from tf_lottery.cli.train_ticket import main
main(sys.argv)
"""


@pytest.mark.slow
def test_a_kill_while_a_checkpoint_is_written(
    python, flags, tmp_path, ends_like_whole
):
    done = python(
        "-c", KILL, *flags, "--levels=1", f"--output_dir={tmp_path}"
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    (left,) = tmp_path.rglob(".checkpoint.npz.*.tmp")
    assert left.parent.name == "level_01"
    done = ends_like_whole()
    assert "level_01/checkpoint.npz: goes on from step " in done.err
    assert "1 of 2 trainings are finished" in done.err


def in_a_step(monkeypatch, act):
    def step(self, start, stop, **how):
        if start >= 20:
            act()

    before(monkeypatch, train.Trainer, "advance", step)


def in_a_save(monkeypatch, act):
    before(monkeypatch, RunDirectory, "save", lambda *args: act())


def while_loading(monkeypatch, act):
    before(monkeypatch, data, "load", lambda *args, **how: act())


@pytest.mark.parametrize(
    ("where", "said"),
    [
        (in_a_step, r", and the training under way up to step [\d,]+"),
        (in_a_save, ""),
        (while_loading, ""),
    ],
)
def test_sigterm_is_heeded_wherever_it_comes(
    monkeypatch, run, ends_like_whole, where, said
):
    with monkeypatch.context() as patch:
        where(patch, lambda: signal.raise_signal(signal.SIGTERM))
        done = run()
    assert done.status == 128 + signal.SIGTERM
    assert re.fullmatch(
        rf"Interrupted\. Stopped by SIGTERM\. Finished levels are kept{said}"
        r": run the same command again to go on\.",
        done.err.splitlines()[-1],
    )
    assert "Traceback" not in done.err
    again = ends_like_whole()
    assert ("goes on from step" in again.err) == (where is in_a_step)
    assert ("1 of 2 trainings are" in again.err) == (where is in_a_save)


def test_an_ignored_sigterm_ends_nothing(monkeypatch, ends_like_whole):
    old = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        in_a_save(monkeypatch, lambda: signal.raise_signal(signal.SIGTERM))
        ends_like_whole()
    finally:
        signal.signal(signal.SIGTERM, old)


def test_a_second_signal_ends_at_once(monkeypatch, run):
    def twice():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    in_a_step(monkeypatch, twice)
    done = run()
    assert done.status == 128 + signal.SIGTERM
    assert "under way" not in done.err


def test_a_deleted_run_directory_ends_the_run(
    monkeypatch, run, tmp_path, ends_like_whole, always_due
):
    def delete(self, snapshot):
        if "level_01" in self.path:
            shutil.rmtree(next(tmp_path.iterdir()))

    with monkeypatch.context() as patch:
        before(patch, train.Checkpoint, "save", delete)
        done = run()
    assert done.status == 1
    line = done.err.splitlines()[-1]
    assert line.startswith(f"Error: cannot write or read {tmp_path}")
    assert line.endswith(
        "No such file or directory. Put back what was deleted, then run the "
        "same command again; levels still there are kept."
    )
    # Half a run is not made in its place.
    assert not list(tmp_path.iterdir())
    ends_like_whole()


def test_a_level_is_not_saved_where_the_run_was_deleted(
    monkeypatch, run, tmp_path
):
    in_a_save(
        monkeypatch, lambda: shutil.rmtree(next(tmp_path.iterdir()))
    )
    assert run().status == 1
    assert not list(tmp_path.iterdir())


def test_a_disk_too_full_for_a_checkpoint_ends_no_training(
    monkeypatch, ends_like_whole, always_due
):
    def full(*args, **kwargs):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    with monkeypatch.context() as patch:
        patch.setattr(module.np, "savez", full)
        done = ends_like_whole()
    # Once per training, not at every try.
    assert done.err.count("cannot be written (Disk quota exceeded)") == 2


def test_a_finished_level_s_checkpoint_is_removed(
    again_left, ends_like_whole
):
    again_left()
    done = ends_like_whole()
    assert "2 of 2 trainings are finished" in done.err


@pytest.fixture
def again_left(run, tmp_path):
    """A kill has come between level.json and the end of the clean-up."""

    def leave():
        assert run().status == 0
        (folder,) = tmp_path.iterdir()
        level = folder / "replicate_0/main/level_01"
        (level / "checkpoint.npz").write_bytes(b"x")
        (level / ".checkpoint.npz.1.tmp").write_bytes(b"x")
        # Another process may be writing a fresh one; nobody, this old one.
        old = folder / ".results.csv.1.tmp"
        old.write_bytes(b"x")
        os.utime(old, (0, 0))

    return leave


def test_train_seconds_are_those_of_all_parts(
    monkeypatch, run, tmp_path, ends_like_whole
):
    def age(self, snapshot):
        object.__setattr__(snapshot, "seconds", 1e6)

    with monkeypatch.context() as patch:
        before(patch, train.Checkpoint, "save", age)
        in_a_step(patch, lambda: signal.raise_signal(signal.SIGTERM))
        assert run().status == 143
    ends_like_whole()
    (folder,) = tmp_path.iterdir()
    first, second = (r["train_seconds"] for r in tfl.load_results(folder).rows)
    assert 1e6 < first < 1e6 + 1e3 and second < 1e3

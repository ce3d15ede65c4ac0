"""Runs of several processes in one run directory: the same bytes."""

import os
import signal
import subprocess
import sys
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))


@pytest.fixture
def start(one_thread, two_flags):
    """Starts the command in a process of its own."""
    started = []

    def run(*flags):
        started.append(
            subprocess.Popen(
                [sys.executable, "binaries/train_ticket.py", *two_flags,
                 *map(str, flags)],
                cwd=ROOT, env=one_thread, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def without_costs(out):
    """The table, verdict and finding; what it cost says how long it took."""
    parts = out.split("\n\n")
    assert parts[1].startswith("level  weights %  search steps")
    assert parts[2].startswith("Verdict: ")
    return [parts[0], *parts[2:4]]


def wait_for(found, process, seconds=180):
    """Waits until there is something, while the process lives."""
    until = time.monotonic() + seconds
    while not (there := found()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.01)
    return there


def test_two_replicates_in_two_processes_lose_nothing(
    start, in_turn, rows, content, tmp_path
):
    both = [start(f"--replicate={k}", f"--output_dir={tmp_path}")
            for k in (0, 1)]
    for process in both:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    (folder,) = tmp_path.iterdir()
    assert folder.name == in_turn.path.name
    assert rows(folder) == rows(in_turn.path)
    assert content(folder) == content(in_turn.path)


@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_nothing_is_lost(
    start, in_turn, rows, content, workers, tmp_path
):
    pytest.importorskip("ray", reason="--parallel needs Ray")
    process = start(
        "--parallel=2", f"--output_dir={tmp_path}", "--checkpoint_every=0"
    )
    # A training under way has saved its first steps.
    wait_for(lambda: list(tmp_path.rglob("checkpoint.npz")), process)
    for worker in workers(process.pid):
        os.kill(worker, signal.SIGKILL)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "its worker died; it goes on from its last checkpoint" in err
    (folder,) = tmp_path.iterdir()
    assert rows(folder) == rows(in_turn.path)
    assert content(folder) == content(in_turn.path)
    assert not list(folder.rglob("checkpoint.npz"))
    # The same words, and none of Ray's or TensorFlow's.
    assert without_costs(out) == without_costs(in_turn.out)
    ours = ("scikit-learn", "2 trainings at once", "replicate ", str(tmp_path))
    assert all(line.startswith(ours) for line in err.splitlines()), err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_the_workers_save(
    start, in_turn, content, tmp_path, number
):
    pytest.importorskip("ray", reason="--parallel needs Ray")
    flags = "--parallel=2", f"--output_dir={tmp_path}", "--checkpoint_every=0"
    process = start(*flags)
    wait_for(lambda: list(tmp_path.rglob("checkpoint.npz")), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 128 + number, err
    assert "Finished levels are kept" in err and "Traceback" not in err
    assert "run the same command again to go on" in err
    assert start(*flags).wait(timeout=300) == 0
    (folder,) = tmp_path.iterdir()
    assert content(folder) == content(in_turn.path)


@pytest.mark.slow
def test_an_error_in_a_worker_is_one_line(start, tmp_path):
    pytest.importorskip("ray", reason="--parallel needs Ray")
    process = start(
        "--parallel=2", f"--output_dir={tmp_path}", "--learning_rate=1e6",
        "--optimizer=sgd", "--quiet",
    )
    out, err = process.communicate(timeout=300)
    assert (process.returncode, out) == (1, "")
    assert err.startswith("Error: The training loss must stay finite.")
    assert len(err.splitlines()) == 1

"""One experiment by two processes on this machine, as by two machines."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest

import tf_lottery as tfl

FLAGS = ("--strategy=multi_worker", "--branches=reinit")


@pytest.fixture
def start(environment, request):
    """Starts the workers of a cluster of two; all end with the test."""
    started = []

    def begin(*arguments):
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        workers = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
        for one in sockets:
            one.close()
        for index in range(2):
            config = {
                "cluster": {"worker": workers},
                "task": {"type": "worker", "index": index},
            }
            started.append(
                subprocess.Popen(
                    [
                        sys.executable, "binaries/train_ticket.py",
                        *map(str, arguments),
                    ],
                    cwd=request.config.rootpath,
                    env={**environment, "TF_CONFIG": json.dumps(config)},
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
        return started[-2:]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def finish(workers):
    ends = [process.communicate(timeout=200) for process in workers]
    assert [p.returncode for p in workers] == [0, 0], ends
    return ends


def wait_for(process, folder, pattern):
    end = time.monotonic() + 100
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


def masks(folder):
    return [
        tfl.Ticket.load(folder / f"replicate_0/main/level_0{i}/ticket").mask
        for i in range(3)
    ]


@pytest.mark.slow
def test_two_workers_find_the_tickets_of_one_process(
    start, flags, tmp_path, whole
):
    chief, other = finish(
        start(
            *flags, *FLAGS, f"--output_dir={tmp_path}",
            # A snapshot after every call: all agree on it.
            "--checkpoint_every=0", f"--log_file={tmp_path / 'log'}",
        )
    )
    # The chief alone prints and writes.
    assert "Figure: " in chief[0]
    assert chief[1].count("main level") == 3 and other == ("", "")
    log = (tmp_path / "log").read_text()
    assert log.count("main level 2") == 1
    (folder,) = (p for p in tmp_path.iterdir() if p.is_dir())
    rows = tfl.load_results(folder).rows
    expected = tfl.load_results(whole.path).rows
    assert len(rows) == len(expected) == 5
    for row, one in zip(rows, expected):
        for name in ("branch", "level", "kept_weights", "train_steps"):
            assert row[name] == one[name]
        # 360 images; the sums of 30 + 30 gradients round otherwise than 60.
        assert row["test_accuracy"] == pytest.approx(
            one["test_accuracy"], abs=2 / 360
        )
    found, alone = masks(folder), masks(whole.path)
    assert found[0] == alone[0]
    for one, two in zip(found[1:], alone[1:]):
        for path in one:
            both = (one[path] & two[path]).sum()
            # Equal as a rule; a weight at the border may round to either side.
            assert both / (one[path] | two[path]).sum() > 0.999


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_lost_worker_ends_all_and_both_go_on(
    killed, start, flags, tmp_path, content
):
    arguments = [*flags, *FLAGS, "--train_steps=400it", "--checkpoint_every=0"]
    finish(start(*arguments, f"--output_dir={tmp_path / 'whole'}"))
    again = [*arguments, f"--output_dir={tmp_path / 'cut'}"]
    workers = start(*again)
    wait_for(
        workers[1], tmp_path, "cut/*/replicate_0/main/level_01/checkpoint.npz"
    )
    workers[killed].kill()
    out, err = workers[1 - killed].communicate(timeout=60)
    assert workers[killed].wait() == -signal.SIGKILL
    assert workers[1 - killed].returncode == 1
    assert err.splitlines()[-1].startswith(
        "Error: All workers must stay until the end. Received: "
    )
    finish(start(*again))
    (whole,), (cut,) = (
        (tmp_path / name).iterdir() for name in ("whole", "cut")
    )
    assert content(cut) == content(whole)


@pytest.mark.parametrize(
    "config",
    [
        None,
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", '
        '"index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", '
        '"index": 0}}',
    ],
)
def test_a_wrong_tf_config_is_one_line(config, command, monkeypatch, tmp_path):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    done = command("--strategy=multi_worker", f"--output_dir={tmp_path}")
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith(
        "Error: `TF_CONFIG` must name the workers and this one's place among "
        f"them for strategy multi_worker. Received: TF_CONFIG={config or ''!r}"
    )
    assert not list(tmp_path.iterdir())


def test_no_tpu_is_one_line(command, tmp_path):
    done = command("--strategy=tpu", f"--output_dir={tmp_path}")
    assert done.status == 1
    assert done.err.startswith("Error: `strategy` tpu must have a TPU. Rec")
    assert len(done.err.splitlines()) == 1 and not list(tmp_path.iterdir())

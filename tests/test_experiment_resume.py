"""Again, further, beside, after a kill: the same bytes, and no step twice."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

import tf_lottery as tfl
from tf_lottery import data
from tf_lottery import train
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets.verify import json_digest


@pytest.fixture
def trainings(monkeypatch):
    """The (level, start step) of every training in this process."""
    calls = []
    real = train.Trainer.__call__

    def counted(self, model, **how):
        calls.append((how["level"], how.get("start_step", 0)))
        return real(self, model, **how)

    monkeypatch.setattr(train.Trainer, "__call__", counted)
    return calls


def stamps(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name.startswith(("level", "ticket"))
    }


@pytest.fixture
def again(command, flags, copied):
    """Runs the command into the copy, with more flags."""
    return lambda *more: command(
        *flags, "--branches=reinit", f"--output_dir={copied.parent}", *more
    )


def test_a_second_run_reuses_everything(again, copied, trainings):
    before, old = stamps(copied), (copied / "results.csv").read_bytes()
    done = again()
    assert (done.status, trainings) == (0, [])
    assert "5 of 5 trainings are finished and reused" in done.err
    assert stamps(copied) == before
    assert (copied / "results.csv").read_bytes() == old


def test_more_levels_go_on_from_the_last(
    again, command, flags, copied, trainings, content, tmp_path
):
    before = stamps(copied)
    assert again("--levels=3").status == 0
    assert trainings == [(3, 0), (3, 0)]  # The ticket and its control.
    assert before.items() <= stamps(copied).items()
    rows = tfl.load_results(copied).rows
    assert [r["kept_weights"] for r in rows if r["branch"] == "main"] == [
        50_200, 40_260, 32_298, 25_919,
    ]
    straight = tmp_path / "straight"
    assert command(
        *flags, "--branches=reinit", f"--output_dir={straight}", "--levels=3"
    ).status == 0
    # In another process with another past, and cut in two.
    assert content(straight / copied.name) == content(copied)


def test_fewer_levels_keep_what_is_there(again, copied, trainings):
    assert again("--levels=1").status == 0
    assert not trainings
    assert len(tfl.load_results(copied).rows) == 5


def test_a_branch_is_added_beside(again, copied, trainings):
    before = stamps(copied)
    done = again("--branches=shuffle_mask,random_mask", "--branch_levels=2")
    assert done.status == 0
    assert trainings == [(2, 0), (2, 0)]
    assert before.items() <= stamps(copied).items()
    main = tfl.Ticket.load(copied / "replicate_0/main/level_02/ticket")
    for branch in ("shuffle_mask", "random_mask"):
        ticket = tfl.Ticket.load(
            copied / "replicate_0" / branch / "level_02" / "ticket"
        )
        assert ticket.mask.kept_by_path == main.mask.kept_by_path
        one = main.mask["dense_1/kernel"]
        two = ticket.mask["dense_1/kernel"]
        jaccard = (one & two).sum() / (one | two).sum()
        # Two independent masks of density 0.64 share 0.64 / 1.36.
        assert jaccard == pytest.approx(0.471, abs=0.02)


def test_a_replicate_is_added_in_the_same_directory(again, copied, trainings):
    before = stamps(copied)
    assert again("--replicates=2", "--replicate=1").status == 0
    assert [level for level, _ in trainings] == [0, 1, 2, 1, 2]
    assert before.items() <= stamps(copied).items()
    assert os.listdir(copied.parent) == [copied.name]
    rows = tfl.load_results(copied).rows
    assert [r["replicate"] for r in rows] == [0] * 5 + [1] * 5
    one, two = (
        tfl.Ticket.load(copied / f"replicate_{r}/main/level_00/ticket")
        for r in (0, 1)
    )
    assert one.digest() != two.digest()


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("main/level_01/ticket/trained.npz", [1]),
        ("main/level_00/ticket/mask.npz", [0]),
        ("main/level_02/metrics.csv", [2]),
        ("main/level_01/level.json", [1]),
        ("reinit/level_01/ticket/rewind.npz", [1]),
    ],
)
def test_a_truncated_file_is_named_and_redone(
    again, copied, whole, trainings, content, name, levels
):
    path = copied / "replicate_0" / name
    path.write_bytes(path.read_bytes()[:40])
    done = again()
    assert done.status == 0
    assert done.err.count("is trained again") == 1
    assert f"{path} is truncated or altered: replicate 0 " in done.err
    # It comes out the same, so what was made from it stays.
    assert [level for level, _ in trainings] == levels
    assert content(copied) == content(whole.path)


def test_what_was_made_from_another_ticket_is_redone(
    again, copied, whole, trainings, content
):
    for name in ("level.json", "ticket/ticket.json"):
        path = copied / "replicate_0" / "main" / "level_01" / name
        path.unlink()
    path = copied / "replicate_0" / "main" / "level_02" / "level.json"
    summary = json.loads(path.read_text())
    path.write_text(json.dumps({**summary, "parent": "0" * 64}))
    assert again().status == 0
    assert [level for level, _ in trainings] == [1, 2]
    assert content(copied) == content(whole.path)


def test_rows_of_what_was_made_from_another_ticket_are_left_out(copied):
    everything = RunDirectory(str(copied)).rows()
    assert len(everything) == 5
    path = copied / "replicate_0" / "main" / "level_01" / "level.json"
    summary = json.loads(path.read_text())
    del summary["sha256"]
    summary["files"]["ticket/ticket.json"] = "0" * 64
    summary["sha256"] = json_digest(summary)
    path.write_text(json.dumps(summary))
    rows = RunDirectory(str(copied)).rows()
    assert [(row["branch"], row["level"]) for row in rows] == [
        ("main", 0), ("main", 1)
    ]


def test_another_version_of_the_data_is_refused(again, copied, monkeypatch):
    real = data.describe

    def newer(*arguments, **how):
        return dataclasses.replace(real(*arguments, **how), source="digits 2")

    monkeypatch.setattr(data, "describe", newer)
    assert again("--plan").status == 0
    done = again("--levels=3")
    assert done.status == 1
    assert done.err.splitlines()[-1] == (
        "Error: `dataset` must be the one that the run began with. Received: "
        "digits 2, but the levels there are of scikit-learn digits. Prepare "
        "that version, or choose another output_dir."
    )


def test_results_are_rebuilt_from_the_levels(again, copied, whole):
    (copied / "results.csv").write_text("garbage")
    assert again().status == 0
    assert (copied / "results.csv").read_bytes() == (
        whole.path / "results.csv"
    ).read_bytes()


def start(environment, *arguments):
    return subprocess.Popen(
        [sys.executable, "binaries/train_ticket.py", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(process, folder, pattern):
    end = time.monotonic() + 100
    while not list(folder.glob(pattern)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)


def test_kill_9_then_again_is_the_undisturbed_run(
    environment, monkeypatch, command, flags, tmp_path, whole, content,
    trainings, request,
):
    monkeypatch.chdir(request.config.rootpath)
    arguments = [*flags, "--branches=reinit", f"--output_dir={tmp_path}"]
    process = start(environment, *arguments)
    wait_for(process, tmp_path, "*/*/main/level_01/ticket")
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (folder,) = tmp_path.iterdir()
    assert not (folder / "replicate_0/reinit/level_02").exists()
    assert command(*arguments).status == 0
    assert 0 < len(trainings) < 5
    assert content(folder) == content(whole.path)


def test_ctrl_c_ends_with_130_and_a_line(
    environment, monkeypatch, flags, tmp_path, request
):
    monkeypatch.chdir(request.config.rootpath)
    process = start(
        environment, *flags, "--train_steps=3000000it",
        f"--output_dir={tmp_path}", f"--log_file={tmp_path / 'log'}",
    )
    # By then it trains level 0.
    wait_for(process, tmp_path, "*/config.json")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert re.fullmatch(
        r"Interrupted\. Finished levels are kept, and the training under way "
        r"up to step [\d,]+: run the same command again to go on\.",
        err.splitlines()[-1],
    )
    assert "Traceback" not in out + err
    assert not list(tmp_path.glob("*/*/*/*/level.json"))

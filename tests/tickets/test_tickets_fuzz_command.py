"""The command on run directories and tickets that were mutated."""

import hashlib
import json
import shutil

import numpy as np
import pytest

from tf_lottery.tickets.verify import json_digest

SEED = 0
RESUMED, STARTED = 13, 7


def read(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def seal(level, files):
    """Writes a level's ticket, and its checksums into level.json."""
    path = level / "level.json"
    summary = json.loads(path.read_text("utf-8"))
    for name, data in files.items():
        (level / "ticket" / name).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        summary["files"][f"ticket/{name}"] = digest
    del summary["sha256"]
    summary["sha256"] = json_digest(summary)
    path.write_text(json.dumps(summary), "utf-8")


def mutate(fuzz, rng, run_dir):
    """Changes one file of level 0 or 1, which level 1 or 2 is made from."""
    last = int(rng.integers(2))
    level = run_dir / "replicate_0" / "main" / f"level_{last:02d}"
    kind = rng.integers(10)
    if kind < 6:
        files = read(level / "ticket")
        seal(level, {**files, **fuzz.forge(rng, files)})
    elif kind < 9:
        path = fuzz.some(
            rng, sorted(p for p in level.rglob("*") if p.is_file())
        )
        path.write_bytes(fuzz.some(rng, fuzz.raw)(rng, path.read_bytes()))
    else:
        path = run_dir / "config.json"
        path.write_bytes(fuzz.some(rng, fuzz.raw)(rng, path.read_bytes()))
    # To be trained again, from the mutated ticket.
    shutil.rmtree(level.with_name(f"level_{last + 1:02d}"))


def check(status, err):
    """A clean run, or one line that says what is wrong."""
    lines = [
        line for line in err.splitlines()
        if not line.endswith("trained again.")
        # Of so many runs in one process.
        and "tf.function retracing" not in line
    ]
    assert "Traceback" not in err and "Warning" not in err
    assert err.replace("\n", "").isprintable()
    if status == 0:
        assert not lines, err
    else:
        assert status == 1 and len(lines) == 1, err
        assert lines[0].startswith("Error: `"), err
    return status


@pytest.mark.slow
def test_a_mutated_run_is_resumed_or_refused(
    fuzz, command, flags, whole, tmp_path
):
    outcomes = []
    for case in range(RESUMED):
        rng = np.random.default_rng([SEED, case])
        copy = tmp_path / str(case) / whole.path.name
        shutil.copytree(whole.path, copy)
        mutate(fuzz, rng, copy)
        done = command(*flags, "--quiet", f"--output_dir={copy.parent}")
        outcomes.append(check(done.status, done.err))
        assert sorted(p.name for p in copy.parent.iterdir()) == [copy.name]
        shutil.rmtree(copy.parent)
    assert set(outcomes) == {0, 1}


@pytest.mark.slow
def test_mutated_initial_weights_are_taken_or_refused(
    fuzz, command, flags, whole, tmp_path
):
    files = read(whole.path / "replicate_0" / "main" / "level_00" / "ticket")
    outcomes = []
    for case in range(STARTED):
        rng = np.random.default_rng([SEED, 1000 + case])
        source = tmp_path / f"ticket_{case}"
        source.mkdir()
        for name, data in fuzz.forge(rng, files).items():
            (source / name).write_bytes(data)
        done = command(
            *flags, "--levels=1", "--quiet", f"--initial_weights={source}",
            f"--output_dir={tmp_path / str(case)}",
        )
        outcomes.append(check(done.status, done.err))
    assert 1 in outcomes


@pytest.mark.slow
def test_a_process_ends_in_one_line(fuzz, python, flags, whole, tmp_path):
    copy = tmp_path / "runs" / whole.path.name
    shutil.copytree(whole.path, copy)
    level = copy / "replicate_0" / "main" / "level_00"
    files = read(level / "ticket")
    meta = json.loads(files["ticket.json"])
    meta["kernels"][0]["shape"] = [2**31, 2**31]
    del meta["sha256"]["ticket.json"]
    meta["sha256"]["ticket.json"] = json_digest(meta)
    seal(level, {"ticket.json": json.dumps(meta).encode()})
    shutil.rmtree(level.with_name("level_01"))
    for more in (
        [f"--output_dir={copy.parent}"],
        [f"--output_dir={tmp_path}", f"--initial_weights={level / 'ticket'}"],
    ):
        done = python("binaries/train_ticket.py", *flags, "--quiet", *more)
        assert check(done.returncode, done.stderr) == 1
        assert "weights in files as small as these" in done.stderr

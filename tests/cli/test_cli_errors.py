"""What goes wrong: one clear line, status 1, no traceback, nothing written."""

import errno
import json
import os
import re

import pytest

MODELS = '''
import keras

def nothing(input_shape, num_classes):
    x = inputs = keras.Input(input_shape)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Rescaling(1.0)(keras.layers.RepeatVector(num_classes)(x))
    x = keras.layers.Reshape((num_classes,))(x)
    return keras.Model(inputs, keras.layers.BatchNormalization()(x))

def broken(input_shape, num_classes):
    raise RuntimeError("two\\nlines")

def small(input_shape, num_classes):
    x = inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(num_classes, name="out")(x)
    return keras.Model(inputs, x)
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a module of models that is not cached."""
    inside = tmp_path / "cwd"
    inside.mkdir()
    (inside / "bad_models_of_test.py").write_text(MODELS)
    (inside / "file").write_text("x")
    (inside / "no.flags").write_text("--levels=1\n--nonsense=3\n")
    monkeypatch.chdir(inside)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return inside


BAD = {
    "unknown dataset": (
        ["--dataset=nope"], r"`dataset` must .* Received: dataset='nope'",
    ),
    "unknown model": (
        ["--model=lenet"], r"`model` must .* Received: model='lenet'",
    ),
    "model of no module": (
        ["--model=no_such:model"], r"`model` must .*model='no_such:model'",
    ),
    "model without kernels": (
        ["--model=bad_models_of_test:nothing"],
        r"`model` must have a kernel to prune\. Received: ",
    ),
    "model that fails": (
        ["--model=bad_models_of_test:broken"], r"two lines",
    ),
    "unknown init": (["--init=x"], r"`init` must .* Received: init='x'"),
    "unknown optimizer": (
        ["--optimizer=x"], r"`optimizer` must .* Received: optimizer='x'",
    ),
    "unknown criterion": (
        ["--criterion=x"], r"`criterion` must .* Received: criterion='x'",
    ),
    "empty folder": (["--output_dir="], r"`output_dir` must be a folder"),
    "method without its target": (
        ["--method=one_shot"], r"`target_sparsity` must be given for method",
    ),
    "unknown method": (["--method=x"], r"`method` must .*method='x'"),
    "unknown branch": (["--branches=x"], r"`branches` must .*branches='x'"),
    "unknown flag": (
        ["--level=3"], r"The flag must exist\. Received: --level\. Did you "
        r"mean --levels\?",
    ),
    "nothing like a flag": (
        ["--zzzzzz=3"], r"flag must exist\. Received: --zzzzzz\. See --help",
    ),
    "an argument": (
        ["levels=3"], r"The command must have flags only\. Received: levels=3",
    ),
    "missing flagfile": (
        ["--flagfile=nowhere.flags"],
        r"`flagfile` must be a readable file\. Received: "
        r"flagfile='nowhere\.flags'",
    ),
    "unknown flag in a flagfile": (
        ["--flagfile=no.flags"], r"flag must exist\. Received: --nonsense\.",
    ),
    "bad number": (["--levels=x"], r"`levels` must .* levels='x'"),
    "flag without value": (["--levels"], r"Received: .*levels"),
    "bad boolean": (["--quiet=x"], r"`quiet` must be true or false\..*'x'"),
    "rate of 0": (["--prune_rate=0"], r"`prune_rate` must .*prune_rate=0\.0"),
    "rate of 1": (["--prune_rate=1"], r"`prune_rate` must .*prune_rate=1\.0"),
    "rate of 1.5": (["--prune_rate=1.5"], r"`prune_rate` .*prune_rate=1\.5"),
    "missing data_dir": (
        ["--data_dir=nowhere"], r"`data_dir` must .* data_dir='nowhere'",
    ),
    "validation as large as train": (
        ["--validation_size=1437"], r"`validation_size` must .*1437",
    ),
    "batch larger than train": (
        ["--batch_size=1295"], r"`batch_size` must .*batch_size=1295",
    ),
    "levels that empty a layer": (
        ["--levels=40", "--prune_rate=0.9"], r"dense_1/kernel|output/kernel",
    ),
    "rewind after the end": (
        ["--rewind=10it", "--train_steps=10it"], r"`rewind` .*rewind=10it",
    ),
    "exclude that matches nothing": (
        ["--exclude=nope"], r"`exclude` must .* exclude='nope'",
    ),
    "export of no level": (
        ["--export=9", "--levels=2"], r"`export` must .* export='9'",
    ),
    "replicate of none": (
        ["--replicate=1"], r"`replicate` must be below replicates=1",
    ),
    "output_dir that is a file": (
        ["--output_dir=file"], r"`output_dir` must be .*output_dir='file'",
    ),
    "output_dir below a file": (
        ["--output_dir=file/runs"], r"`output_dir` must be .*'file/runs'",
    ),
    "log_file in no folder": (
        ["--log_file=nowhere/log"], r"`log_file` must .*log_file=nowhere/log",
    ),
    "no ticket to start from": (
        ["--initial_weights=nowhere"],
        r"`path` must be the folder of a whole ticket\. Received: "
        r"path='nowhere', with ticket\.json missing",
    ),
}


@pytest.mark.parametrize(("flags", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(folder, command, flags, message):
    before = sorted(folder.rglob("*"))
    done = command("--train_steps=20it", *flags)
    assert done.status == 1
    assert done.out == ""
    (line,) = done.err.splitlines()
    assert line.startswith("Error: ") and re.search(message, line), line
    assert "Traceback" not in line and len(line) < 2100
    assert sorted(folder.rglob("*")) == before


def test_altered_configuration_is_refused(command, copied, flags):
    path = copied / "config.json"
    values = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**values, "learning_rate": 0.5}), "utf-8")
    before = {p: p.stat().st_mtime_ns for p in copied.rglob("*")}
    done = command(*flags, f"--output_dir={copied.parent}")
    assert done.status == 1
    assert re.fullmatch(
        r"Error: `output_dir` must not hold an altered run\. Received: "
        rf"{re.escape(str(path))}, .*\n",
        done.err,
    )
    assert {p: p.stat().st_mtime_ns for p in copied.rglob("*")} == before


def test_a_loss_that_is_not_finite_stops(command, flags, tmp_path):
    done = command(
        *flags, "--optimizer=sgd", "--learning_rate=1e6", "--weight_decay=1e6",
        f"--output_dir={tmp_path}",
    )
    assert done.status == 1
    line = done.err.splitlines()[-1]
    assert re.match(
        r"Error: The training loss must stay finite\. Received: loss=\w+ at "
        r"level 0 between steps \d+ and \d+\. Lower --learning_rate", line,
    )
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob("*/*/*/*/level.json"))


@pytest.mark.parametrize("full_at", ["config.json", "rewind.npz",
                                     "level.json", "results.csv"])
def test_a_full_disk_loses_no_finished_level(
    command, flags, tmp_path, monkeypatch, full_at, content, whole
):
    real = os.replace

    def full(source, target):
        name = os.path.basename(target)
        if name == full_at and (
            "level_01" in str(target) or full_at in ("config.json",
                                                     "results.csv")
        ):
            raise OSError(
                errno.ENOSPC, os.strerror(errno.ENOSPC), str(target)
            )
        return real(source, target)

    arguments = [*flags, "--branches=reinit", f"--output_dir={tmp_path}"]
    with monkeypatch.context() as patch:
        patch.setattr("tf_lottery.atomic.os.replace", full)
        done = command(*arguments)
    assert done.status == 1
    line = done.err.splitlines()[-1]
    assert line.startswith("Error: cannot write or read ") and full_at in line
    assert "No space left on device. Make room on the disk" in line
    assert not list(tmp_path.rglob("*.tmp"))
    assert "Traceback" not in done.err
    if full_at == "level.json":
        done = command(*arguments)
        assert done.status == 0 and "1 of 5 trainings" in done.err
        (folder,) = tmp_path.iterdir()
        assert content(folder) == content(whole.path)


def test_debug_shows_the_traceback(command):
    with pytest.raises(ValueError, match="`model` must"):
        command("--debug", "--model=x")
    with pytest.raises(ValueError, match="`levels` must"):
        command("--levels=x", "--debug=true")
    assert command("--nodebug", "--model=x").status == 1


def test_debug_in_a_flagfile_counts_too(command, tmp_path):
    path = tmp_path / "a.flags"
    path.write_text("--debug\n--model=x\n")
    with pytest.raises(ValueError, match="`model` must"):
        command(f"--flagfile={path}")


def test_a_user_model_is_found_in_the_working_directory(
    folder, command, tmp_path
):
    done = command(
        "--model=bad_models_of_test:small", "--levels=1", "--jit=off",
        "--train_steps=20it", f"--output_dir={tmp_path / 'runs'}",
    )
    assert done.status == 0, done.err
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("digits-bad_models_of_test_small-imp-")
    # 640 weights, the only kernel being the output's.
    assert "main level 1: 576 weights (90.0 %)" in done.err


def test_a_reader_that_has_gone_is_no_error(python, tmp_path):
    code = (
        "import os, sys; r, w = os.pipe(); os.close(r); os.dup2(w, 1);"
        "from tf_lottery.cli.train_ticket import main;"
        "sys.exit(main(['x', '--help']))"
    )
    done = python("-c", code, cwd=tmp_path, PYTHONUNBUFFERED="1")
    assert (done.returncode, done.stderr) == (1, "")

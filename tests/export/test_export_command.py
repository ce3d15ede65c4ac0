"""The command that ships a ticket."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.export.runtime import Runner


@pytest.fixture
def export_command(capfd):
    from tf_lottery.cli.export_ticket import main

    def run(*flags):
        capfd.readouterr()
        status = main(["export_ticket.py", *map(str, flags)])
        return (status, *capfd.readouterr())

    return run


def test_the_command_ships_a_ticket(whole, tmp_path, python):
    ticket = whole.path / "replicate_0" / "main" / "level_02" / "ticket"
    ran = python(
        "binaries/export_ticket.py", f"--ticket={ticket}", "--rounds=2",
        f"--output_dir={tmp_path}", "--samples=50",
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.splitlines() == [
        "Removing what pruning cut off", "Writing and verifying keras",
        "Writing and verifying saved_model", "Writing and verifying tflite",
    ]
    assert "64.3 % of the prunable weights are kept" in ran.stdout
    assert "does not pay here" in ran.stdout
    model = tfl.Ticket.load(ticket).build_model(False, "trained")
    x = np.random.default_rng(1).uniform(0, 1, (9, 8, 8, 1)).astype("f")
    data = (tmp_path / "model.tflite").read_bytes()
    np.testing.assert_allclose(Runner(data)(x), model(x), atol=1e-5)
    lite = json.loads((tmp_path / "report.json").read_text())["entries"][-1]
    assert lite["examples"] == 50 + 50


def test_bad_input_is_one_line(whole, tmp_path, export_command):
    ticket = tmp_path / "ticket"
    shutil.copytree(
        whole.path / "replicate_0" / "main" / "level_01" / "ticket", ticket
    )
    out = tmp_path / "out"
    both = f"--ticket={ticket}", f"--output_dir={out}"
    for flags, text in [
        ((), "`ticket` must be a folder"),
        ((both[0],), "`output_dir` must be a folder"),
        ((*both, "--format=onnx"), "`formats` must be some of"),
        ((*both, "--int8", "--float16"), "must not be combined"),
        ((*both, "--batch=-1"), "`batch` must be 0 or more"),
        ((*both, "--batch=many"), "`batch` must be a whole number"),
        ((*both, "--form=x"), "Did you mean --format?"),
        ((f"--ticket={tmp_path}", both[1]), "ticket"),
    ]:
        status, printed, err = export_command(*flags)
        assert (status, printed) == (1, ""), flags
        assert len(err.splitlines()) == 1 and text in err, err
    path = ticket / "trained.npz"
    path.write_bytes(path.read_bytes()[:-100])
    status, printed, err = export_command(*both)
    assert status == 1 and "trained.npz" in err
    assert len(err.splitlines()) == 1
    assert not out.exists()


def test_a_folder_that_cannot_be_made(whole, tmp_path, export_command):
    (tmp_path / "file").write_text("")
    ticket = whole.path / "replicate_0" / "main" / "level_01" / "ticket"
    status, _, err = export_command(
        f"--ticket={ticket}", f"--output_dir={tmp_path / 'file' / 'x'}"
    )
    assert status == 1 and len(err.splitlines()) == 1
    assert str(tmp_path / "file") in err
    assert "files that are there are whole" in err


def test_a_ticket_that_says_its_data_set_alone(
    whole, tmp_path, export_command
):
    ticket = tfl.Ticket.load(
        whole.path / "replicate_0" / "main" / "level_01" / "ticket"
    )
    dataclasses.replace(ticket, config={"dataset": "digits"}).save(
        tmp_path / "ticket"
    )
    status, out, err = export_command(
        f"--ticket={tmp_path / 'ticket'}", f"--output_dir={tmp_path / 'out'}",
        "--format=keras", "--samples=9",
    )
    assert status == 0, err
    entries = json.loads((tmp_path / "out" / "report.json").read_text())
    assert entries["entries"][0]["examples"] == 9


@pytest.mark.parametrize(
    "config, match",
    [
        ({"dataset": "CartPole-v1", "task": {}}, "a ticket of a task, which"),
        ({"dataset": "text_file"}, "`text_file` must be given for a ticket"),
    ],
)
def test_examples_that_cannot_be_read_are_not_looked_for(
    config, match, whole, tmp_path, export_command
):
    ticket = tfl.Ticket.load(
        whole.path / "replicate_0" / "main" / "level_01" / "ticket"
    )
    folder = tmp_path / "ticket"
    dataclasses.replace(ticket, config=config).save(folder)
    flags = f"--ticket={folder}", f"--output_dir={tmp_path / 'out'}"
    asked = "--samples=1000"
    status, _, err = export_command(*flags, "--format=keras", asked)
    assert status == 1 and match in err and len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()
    status, _, err = export_command(*flags, "--format=keras", "--samples=0")
    assert status == 0 and "random inputs" not in err, err
    status, _, err = export_command(*flags, "--format=keras")
    if "task" in config:
        assert status == 0 and "Files are compared on random inputs" in err
    else:
        assert status == 1


def test_help_names_every_flag(export_command):
    status, out, _ = export_command("--help")
    assert status == 0
    for name in ("ticket", "format", "int8", "batch", "compact", "samples"):
        assert f"  --{name} (" in out

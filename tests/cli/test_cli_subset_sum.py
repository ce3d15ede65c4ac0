"""The command about subset sums."""

import csv
import os
import re
import types

import keras
import numpy as np
import pytest

from tf_lottery import tickets
from tf_lottery.cli.flags import numbers
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.theory import sweep
from tf_lottery.theory import weight_candidates

SMALL = ("--eta=0.2,0.1", "--ratio=0,2", "--distribution=uniform,normal",
         "--trials=5", "--probability=0.8")


@pytest.fixture(name="run")
def make_run(capfd, monkeypatch, tmp_path):
    from tf_lottery.cli.subset_sum import main

    monkeypatch.chdir(tmp_path)

    def run(*flags):
        capfd.readouterr()
        status = main(["subset_sum.py", *map(str, flags)])
        return types.SimpleNamespace(
            status=status, **capfd.readouterr()._asdict()
        )

    return run


@pytest.fixture(name="ticket", scope="module")
def make_ticket(tmp_path_factory):
    x = keras.Input((4, 4, 1))
    y = keras.layers.Conv2D(2, 2, name="conv")(x)
    y = keras.layers.Flatten()(y)
    y = keras.layers.Dense(3, name="wide")(y)
    model = keras.Model(x, keras.layers.Dense(2, name="out")(y))
    masked = mask_model(model)
    folder = tmp_path_factory.mktemp("ticket") / "ticket"
    tickets.Ticket.of(masked, rewind=get_state(masked)).save(folder)
    return folder


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_writes_a_table_a_file_and_a_figure(run, tmp_path):
    done = run(*SMALL, "--output_dir=out", "--interval=0.4", "--seed=3")
    assert (done.status, done.err) == (0, "")
    assert sorted(os.listdir("out")) == [
        "subset_sum.csv", "subset_sum.png", "table.txt",
    ]
    points = list(sweep(
        [0.2, 0.1], [0, 2], ["uniform", "normal"], interval=(-0.4, 0.4),
        trials=5, probability=0.8, seed=3,
    ))
    rows = read("out/subset_sum.csv")
    assert [row["candidates"] for row in rows] == [
        str(p.candidates) for p in points
    ]
    text = (tmp_path / "out" / "table.txt").read_text("utf-8")
    assert done.out == f"{text}\nFiles: out\n"
    assert text.startswith(
        "Subset sums that cover [-0.4, 0.4]: n candidates do for 80 % of 5 "
        "draws, seed 3."
    )
    assert "up to a\nconstant" in text
    assert max(map(len, text.splitlines())) <= 90


def test_quiet_prints_nothing_and_the_bytes_are_the_same(run, tmp_path):
    run(*SMALL, "--output_dir=a")
    done = run(*SMALL, "--output_dir=b", "--quiet")
    assert (done.status, done.out, done.err) == (0, "", "")
    for name in os.listdir("a"):
        one, two = ((tmp_path / d / name).read_bytes() for d in "ab")
        assert one == two


def test_size_and_what_is_never_covered(run):
    done = run("--eta=0.05", "--ratio=0", "--distribution=uniform",
               "--trials=3", "--size=2", "--max_candidates=4")
    assert done.status == 0
    assert "of 2 candidates each" in done.out and "> 4" in done.out
    (row,) = read("subset_sum/subset_sum.csv")
    assert row["candidates"] == "" and row["never"] == "3"


def test_a_terminal_sees_how_far_it_is(run, monkeypatch):
    seen = []
    for name in ("start", "status", "advance"):
        monkeypatch.setattr(
            f"tf_lottery.report.Progress.{name}",
            lambda self, value, name=name: seen.append((name, value)),
        )
    assert run(*SMALL).status == 0
    assert seen[0] == ("start", 40)
    assert [v for n, v in seen if n == "advance"] == [5] * 8
    assert ("status", "normal, eta 0.1, ratio 2") in seen


def test_widths_of_a_tickets_layer(run, ticket, tmp_path):
    done = run(f"--ticket={ticket}", "--eta=0.1", "--ratio=0,3", "--seed=1",
               "--output_dir=w")
    assert (done.status, done.err) == (0, "")
    assert sorted(os.listdir("w")) == ["wide_layer.csv", "wide_layer.txt"]
    kernel = tickets.Ticket.load(ticket).trained["out/kernel"]
    rows = read("w/wide_layer.csv")
    for row, epsilon in zip(rows, (0.0, 3 * 0.1), strict=True):
        took = weight_candidates(kernel, eta=0.1, epsilon=epsilon, seed=1)
        assert int(row["candidates"]) == took.max()
        assert int(row["width"]) == 2 * 3 * took.max()
        assert float(row["mean_candidates"]) == took[took > 0].mean()
    assert done.out.startswith("out/kernel, level 0: 3 x 2, 6 weights not 0.")
    assert "sign of each input" in done.out
    text = (tmp_path / "w" / "wide_layer.txt").read_text("utf-8")
    assert done.out == f"{text}\nFiles: w\n"


def test_widths_of_another_layer_without_signs(run, ticket):
    done = run(f"--ticket={ticket}", "--eta=0.2", "--ratio=0",
               "--layer=wide/kernel", "--nonnegative", "--quiet")
    assert (done.status, done.out, done.err) == (0, "", "")
    kernel = tickets.Ticket.load(ticket).trained["wide/kernel"]
    took = weight_candidates(kernel, eta=0.2, nonnegative=True)
    (row,) = read("subset_sum/wide_layer.csv")
    assert int(row["width"]) == 18 * took.max()


BAD = {
    "no number": (["--eta=0.1,x"], r"`eta` must be numbers, .*eta='0\.1,x'"),
    "no eta": (["--eta="], "`eta` must be numbers, .*Received: eta=''"),
    "eta of 0": (["--eta=0"], "`eta` must be finite and positive"),
    "ratio below 0": (["--ratio=-1"], "`ratio` must be finite and 0 or more"),
    "NaN": (["--ratio=nan"], "`ratio` must be finite and 0 or more"),
    "distribution": (
        ["--distribution=cauchy"], "`distribution` must be one of uniform",
    ),
    "interval": (["--interval=x"], r"`interval` must be a number\..*'x'"),
    "negative interval": (["--interval=-1"], "`interval` must be its lowest"),
    "probability": (["--probability=2"], r"`probability` must be in \(0, 1"),
    "trials": (["--trials=0"], r"`trials` must be an integer in \[1,"),
    "max": (["--max_candidates=x"], "`max_candidates` must be a whole num"),
    "size": (["--size=201"], r"`size` must be an integer in \[0, 200\]"),
    "flag": (["--epsilon=1"], r"The flag must exist\. Received: --epsilon"),
    "argument": (["x"], "The command must have flags only"),
    "folder": (["--output_dir="], "`output_dir` must be a folder"),
    "file": (["--output_dir=file/x"], "`output_dir` must be a folder that"),
    "layer alone": (["--layer=a"], "`layer` must be left out without a tick"),
    "sign alone": (["--nonnegative"], "`nonnegative` must be left out"),
    "ticket": (["--ticket=nowhere"], "`path` must be the folder of a whole"),
    "both": (["--ticket=x", "--size=2"], "`size` must be left out with a"),
}


@pytest.mark.parametrize(("flags", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(run, tmp_path, flags, message):
    (tmp_path / "file").write_text("")
    done = run(*flags)
    assert (done.status, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert line.startswith("Error: ") and re.search(message, line), line
    assert os.listdir() == ["file"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--layer=conv/kernel"], "`layer` must be the kernel of a dense "
         r"layer .*layer=conv/kernel\. It has wide/kernel, out/kernel\."),
        (["--eta=1"], "`eta` must be below 1"),
        (["--max_candidates=41"], "`max_candidates` must be an integer in"),
        (["--eta=1e-5", "--max_candidates=3"], "`eta` must be larger, or"),
    ],
)
def test_bad_input_about_a_ticket(run, ticket, flags, message):
    done = run(f"--ticket={ticket}", *flags)
    assert (done.status, done.out) == (1, "")
    line = done.err.splitlines()[-1]
    assert line.startswith("Error: ") and re.search(message, line), line
    assert os.listdir() == []


def test_ctrl_c_is_one_line_and_leaves_no_file(run, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    for where in ("theory.sweep", "report.save_figure"):
        with monkeypatch.context() as patch:
            patch.setattr(f"tf_lottery.{where}", stop)
            done = run(*SMALL)
        assert (done.status, done.out) == (130, "")
        assert done.err.strip() == (
            "Interrupted. Files are written at the end alone: run the same "
            "command again to go on."
        )
        names = os.listdir("subset_sum") if os.path.exists("subset_sum") else []
        assert set(names) <= {"subset_sum.csv"}


def test_help_tells_every_flag(run):
    from tf_lottery.cli.subset_sum import _FLAGS

    done = run("--help")
    assert (done.status, done.err) == (0, "")
    assert max(map(len, done.out.splitlines())) <= 80
    for name in _FLAGS:
        assert f"\n  --{name} (" in done.out
    assert os.listdir() == []


def test_debug_shows_the_traceback(run):
    with pytest.raises(ValueError, match="`eta` must be finite"):
        run("--eta=0", "--debug")


def test_the_sweep_loads_no_tensorflow(python, tmp_path):
    code = (
        "import sys; from tf_lottery.cli.subset_sum import main;"
        "main(['x', '--trials=1', '--eta=0.3', '--quiet']);"
        "print('tensorflow' in sys.modules, 'keras' in sys.modules)"
    )
    done = python("-c", code, cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("False False\n", "")


def test_numbers_of_a_list():
    assert numbers("eta", ["1e-2", " 3"]) == [0.01, 3.0]
    assert np.isnan(numbers("eta", ["nan"]))

"""The command that reproduces a figure, on digits in a second."""

import csv
import os
import pathlib
import re
import types

import pytest

from tf_lottery import claims
from tf_lottery.claims import measures
from tf_lottery.cli.reproduce import main

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETTING = {
    "dataset": "digits", "levels": 1, "train_steps": "60it",
    "eval_every": "20it", "jit": "off", "replicates": 2, "prune_rate": 0.5,
}
TICKET, DENSE = (measures.Network("tiny", p) for p in (50.3, 100))
TINY = claims.Figure(
    "Digits",
    {"tiny": SETTING, "other": {**SETTING, "levels": 0, "momentum": 0}},
    (
        claims.Claim(
            "Both are less than half apart", "about equal",
            [measures.better(TICKET, DENSE, low=-0.5, high=0.5)],
        ),
        claims.Claim(
            "The ticket is better by half", "0.5",
            [measures.better(TICKET, DENSE, low=0.5)],
        ),
        claims.Claim(
            "Its weights move farther", "farther",
            [measures.moved("tiny", 50.3, "dense_1/kernel")],
        ),
        claims.Claim(
            "As with another", "-", [measures.reaches(
                measures.Network("tiny", 3.6), low=0.5
            )],
        ),
    ),
    short={"train_steps": "40it", "replicates": 1, "levels": 0},
)


@pytest.fixture(name="run")
def make_run(capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(claims.FIGURES, "tiny", TINY)

    def run(*flags):
        capfd.readouterr()
        status = main(["reproduce.py", *flags])
        return types.SimpleNamespace(
            status=status, **capfd.readouterr()._asdict()
        )

    return run


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_it_trains_judges_and_writes(run):
    first = run("--figure=tiny", "--page=docs/page.md")
    assert first.status == 0, first.err
    assert "tiny (1 of 2)" in first.out and "other (2 of 2)" in first.out
    assert "AGREES: Both are less than half apart." in first.out
    assert "DISAGREES: The ticket is better by half." in first.out
    rows = read("runs/reproduction-tiny.csv")
    assert list(rows[0]) == list(claims.CLAIM_COLUMNS)
    assert [row["agreement"] for row in rows] == [
        "agrees", "disagrees", rows[2]["agreement"], "not run",
    ]
    assert rows[0]["replicates"] == "2" and float(rows[2]["mean"]) > 1
    part = pathlib.Path("runs/reproduction-tiny.md").read_text("utf-8")
    page = pathlib.Path("docs/page.md").read_text("utf-8")
    assert part.startswith("## tiny: Digits\n") and part in page
    assert "    python binaries/reproduce.py --figure=tiny\n" in part
    assert "`tiny`: 4 trainings of 60it; `other`: 2 trainings of 60it." in part

    # Nothing is trained again, neither here nor where it only looks.
    again = run("--figure=tiny")
    assert "4 of 4 trainings are finished and reused" in again.err
    told = re.search(r"\nDigits\n.*?\n\nFiles", first.out, re.S)[0]
    assert told in again.out
    looked = run("--figure=tiny", "--evaluate", "--page=docs/page.md")
    assert (looked.status, looked.err) == (0, "")
    assert looked.out.startswith(told)
    assert pathlib.Path("docs/page.md").read_text("utf-8") == page

    # More than there is: what there is is judged all the same.
    half = run("--figure=tiny", "--evaluate", "--replicates=5", "--quiet")
    assert (half.status, half.out, half.err) == (0, "", "")
    part = pathlib.Path("runs/reproduction-tiny.md").read_text("utf-8")
    assert "--figure=tiny --replicates=5" in part
    assert "`tiny`: 4 of 10 trainings of 60it" in part


def test_short_is_told_apart(run):
    done = run("--figure=tiny", "--short", "--quiet", "--page=page.md")
    assert (done.status, done.out, done.err) == (0, "", "")
    page = pathlib.Path("page.md").read_text("utf-8")
    assert "<!-- figure tiny_short -->\n## tiny_short: Digits" in page
    assert "--figure=tiny --short\n" in page and "trainings of 40it" in page
    rows = read("runs/reproduction-tiny_short.csv")
    assert [row["agreement"] for row in rows] == ["not run"] * 4


def test_plan_and_list_change_nothing(run):
    done = run("--figure=tiny", "--plan", "--short", "--evaluate")
    assert (done.status, done.err) == (0, "")
    assert "1 replicate(s), 40 steps" in done.out
    listed = run("--list")
    assert "tiny: Digits\n    6 trainings, 360 steps; --short: 2" in listed.out
    for name, figure in claims.FIGURES.items():
        assert f"{name}: {figure.title}\n" in listed.out
    told = run("--help").out
    assert "--figure (none)" in told and "--output_dir (runs)" in told
    assert not os.listdir()


BAD = {
    "no figure": ([], r"`figure` must be one of lenet, .*figure=None"),
    "unknown": (["--figure=figure_3"], r"one of lenet, .*tiny\. Received: fig"),
    "flag": (["--figures=lenet"], "Did you mean --figure"),
    "levels": (["--figure=tiny", "--levels=2"], "Received: --levels"),
    "value": (["--figure=tiny", "--replicates=x"], "`replicates` must be an"),
    "page": (
        ["--figure=tiny", "--page=/"], "`page` must be a text file that can",
    ),
    "nothing there": (
        ["--figure=tiny", "--evaluate"], "`output_dir` must hold a run of tiny",
    ),
}


@pytest.mark.parametrize(("flags", "message"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(run, flags, message):
    done = run(*flags)
    assert (done.status, done.out) == (1, "")
    (line,) = done.err.splitlines()
    assert line.startswith("Error: ") and re.search(message, line), line
    assert not os.listdir()


def test_the_pages_commands_name_figures_that_exist():
    page = (ROOT / "docs" / "reproduction.md").read_text("utf-8")
    commands = re.findall(r"^    python binaries/reproduce.py (.*)", page, re.M)
    assert commands
    for command in commands:
        name = re.search(r"--figure=(\w+)", command)[1]
        assert name in {*claims.FIGURES, "NAME"}
    # The table of figures has all of them.
    table = re.findall(r"^\| `(\w+)` \| ", page, re.M)
    assert table == list(claims.FIGURES)
    parts = re.findall(r"<!-- figure (\w+) -->\n## (\w+): ", page)
    for name, heading in parts:
        assert name == heading
        assert name.removesuffix("_short") in claims.FIGURES
        assert page.count(f"<!-- end of {name} -->") == 1
    # Every claim that a part has is one that is judged today.
    known = {c.text for f in claims.FIGURES.values() for c in f.claims}
    for name, _ in parts:
        part = page.split(f"<!-- figure {name} -->")[1].split("<!-- end")[0]
        for line in part.splitlines():
            if line.startswith("| ") and not line.startswith(("| cl", "| --")):
                assert any(line.startswith(f"| {text}") for text in known), line

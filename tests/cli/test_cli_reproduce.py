"""The command that reproduces a figure, on digits in a second."""

import csv
import os
import pathlib
import re
import shutil
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


def test_published_results_are_judged_without_their_runs(run):
    assert run("--figure=tiny", "--quiet").status == 0
    before = read("runs/reproduction-tiny.csv")
    for path in pathlib.Path("runs").glob("*/results.csv"):
        there = pathlib.Path("published", path.parent.name)
        there.mkdir(parents=True)
        shutil.copy(path, there)
    shutil.rmtree("runs")

    judged = run("--figure=tiny", "--evaluate", "--published=published")
    assert (judged.status, judged.err) == (0, "")
    after = read("runs/reproduction-tiny.csv")
    command = "--figure=tiny --evaluate --published=published"
    assert {row["command"] for row in after} == {
        f"python binaries/reproduce.py {command}"
    }
    # But for the claim on weights, whose tickets are not there.
    moved = after.pop(2)
    assert before.pop(2)["replicates"] == "2"
    assert (moved["agreement"], moved["left_out"]) == ("not run", "2")
    for row, other in zip(before, after, strict=True):
        assert {**row, "command": ""} == {**other, "command": ""}


def test_published_results_are_of_the_same_experiment(run):
    assert run("--figure=tiny", "--quiet").status == 0
    os.rename("runs", "published")
    flags = ["--figure=tiny", "--evaluate", "--published=published"]
    for other in ("--seed=1", "--train_steps=40it", "--short"):
        done = run(*flags, other)
        assert (done.status, done.out) == (1, "")
        assert "`published` must hold a run of tiny" in done.err
    # Of more replicates those that are asked for.
    assert run(*flags, "--replicates=1").status == 0
    rows = read("runs/reproduction-tiny.csv")
    assert [row["replicates"] for row in rows] == ["1", "1", "1", "0"]

    (damaged,) = (
        path
        for path in pathlib.Path("published").glob("*/results.csv")
        if len(read(path)) == 4
    )
    damaged.write_text("replicate,branch", "utf-8")
    done = run(*flags)
    assert done.status == 1 and str(damaged) in done.err
    assert "`published` must hold results.csv of runs, whole" in done.err


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
    "published, to train": (
        ["--figure=tiny", "--published=."], "`published` must be given with",
    ),
    "published, to plan": (
        ["--figure=tiny", "--published=.", "--evaluate", "--plan"],
        "`published` must be given with --evaluate, and not with --plan",
    ),
    "published nowhere": (
        ["--figure=tiny", "--published=x", "--evaluate"],
        "`published` must be a folder",
    ),
    "published nothing": (
        ["--figure=tiny", "--published=.", "--evaluate"],
        "`published` must hold a run of tiny",
    ),
    "published, claims on weights for a page": (
        ["--figure=tiny", "--published=.", "--evaluate", "--page=x.md"],
        "`page` must be left out where .*Its weights move farther",
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


PAGE = ROOT / "docs" / "reproduction.md"
PARTS = re.findall(r"<!-- figure (\w+) -->\n## ", PAGE.read_text("utf-8"))


@pytest.mark.parametrize("name", PARTS)
def test_the_pages_tables_are_what_published_results_come_to(name):
    page = PAGE.read_text("utf-8")
    part = page.split(f"<!-- figure {name} -->\n")[1].split("\n<!-- end")[0]
    (command,) = re.findall(r"^    python binaries/reproduce.py .*", part, re.M)
    given = dict(re.findall(r"--(\w+)=(\w+)", command))
    assert set(given) <= {"figure", "train_steps", "replicates", "published"}
    figure = claims.FIGURES[given["figure"]]
    short = name.endswith("_short")
    assert name == given["figure"] + ("_short" if short else "")
    assert short == ("--short" in command)
    changes = {k: given[k] for k in ("train_steps",) if k in given}
    if "replicates" in given:
        changes["replicates"] = int(given["replicates"])
    configs = figure.configs(short=short, **changes)
    runs = claims.read_runs(configs, str(ROOT / "docs" / "results"))
    outcomes = figure.judge(runs)
    judged = claims.markdown(
        f"{name}: {figure.title}", outcomes, command.strip(), configs, runs
    )
    lines, found = judged.splitlines(), part.splitlines()
    before = [None] * (len(lines) - len(outcomes))
    for one, line, there in zip(before + outcomes, lines, found, strict=True):
        # Claims on weights need the tickets.
        if one is None or not one.claim.of_weights:
            assert line == there


def test_the_pages_commands_name_figures_that_exist():
    page = PAGE.read_text("utf-8")
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

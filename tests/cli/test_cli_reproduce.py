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


def test_published_rows_are_judged_without_their_runs(run):
    first = run("--figure=tiny")
    assert "runs/reproduction-tiny-rows" in first.out.splitlines()[-1]
    assert sorted(os.listdir("runs/reproduction-tiny-rows")) == [
        "other.csv", "tiny.csv",
    ]
    (own,) = (
        path
        for path in pathlib.Path("runs").glob("*/results.csv")
        if len(read(path)) == 4
    )
    os.rename("runs/reproduction-tiny-rows", "published")
    assert read("published/tiny.csv") == read(own)

    flags = ["--figure=tiny", "--evaluate", "--rows=published"]
    judged = run(*flags, "--output_dir=elsewhere")
    assert (judged.status, judged.err) == (0, "")
    before, after = (
        read(f"{folder}/reproduction-tiny.csv")
        for folder in ("runs", "elsewhere")
    )
    # But for the claim on weights, whose tickets are not there.
    moved = after.pop(2)
    assert before.pop(2)["replicates"] == "2"
    assert (moved["agreement"], moved["left_out"]) == ("not run", "2")
    assert before == after

    # A run without a file is read from output_dir; a file goes before it.
    os.remove("published/other.csv")
    pathlib.Path("published/tiny.csv").write_text(
        pathlib.Path("published/tiny.csv").read_text("utf-8").rsplit(
            "\n1,main,0", 1
        )[0] + "\n",
        "utf-8",
    )
    judged = run(*flags)
    part = pathlib.Path("runs/reproduction-tiny.md").read_text("utf-8")
    assert "`tiny`: 2 of 4 trainings of 60it; `other`: 2 train" in part
    assert judged.status == 0

    for wrong, message in (
        (["--short"], "trainings of 40it of tiny.*with trainings of 60 steps"),
        (["--rows=runs"], "folder with one at least of tiny.csv, other.csv"),
    ):
        failed = run(*flags, *wrong)
        assert (failed.status, failed.out) == (1, "")
        assert re.search(f"`rows` must .*{message}", failed.err)


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
    "rows": (
        ["--figure=tiny", "--rows=x"], "`rows` must be left out unless --eval",
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
def test_the_pages_tables_are_what_published_rows_come_to(name):
    page = PAGE.read_text("utf-8")
    part = page.split(f"<!-- figure {name} -->")[1].split("<!-- end")[0]
    (flags,) = re.findall(r"^    python binaries/reproduce.py (.*)", part, re.M)
    given = dict(re.findall(r"--(train_steps|replicates)=(\w+)", flags))
    if "replicates" in given:
        given["replicates"] = int(given["replicates"])
    short = "--short" in flags
    figure = claims.FIGURES[name.removesuffix("_short")]
    configs = figure.configs(short=short, output_dir="none", **given)
    rows = ROOT / "docs" / "results" / ("short" if short else "")
    runs = claims.read_runs(configs, str(rows))
    assert all(run.rows for run in runs.values())
    judged = claims.markdown(
        "", figure.judge(runs), "", configs, runs
    ).splitlines()
    lines = [line for line in judged if line.startswith("| ")][2:]
    # Claims on weights need the tickets.
    lines = [line for line in lines if "left out | not run |" not in line]
    assert lines and set(lines) <= set(part.splitlines())


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

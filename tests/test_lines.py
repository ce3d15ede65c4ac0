"""Lines between the tickets of a run, and how the page shows them."""

import csv
import fcntl
import os
import json
import re
import shutil

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery import analysis
from tf_lottery import atomic
from tf_lottery import page
from tf_lottery import report
from tf_lottery.lines import Line
from tf_lottery.lines import LineBook
from tf_lottery.page.connectivity import connectivity
from tf_lottery.results import load_results

RUN = dict(
    train_steps=150, eval_every=150, levels=2, replicates=2,
    prune_rate=0.5, branches="reorder", branch_levels="2", connectivity=True,
    optimizer="sgd", learning_rate=0.1, quiet=True, jit="off",
)
FILES = ("connectivity.csv", "barriers.csv")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("lines"))
    return tfl.run(output_dir=folder, **RUN)


@pytest.fixture
def copied(found, tmp_path):
    """A copy, as a folder and as arguments to run it again."""
    folder = tmp_path / found.run_dir.split("/")[-1]
    shutil.copytree(found.run_dir, folder)
    return folder, {**RUN, "output_dir": str(tmp_path)}


def ticket(run_dir, branch, level, replicate=0):
    return tfl.Ticket.load(
        f"{run_dir}/replicate_{replicate}/{branch}/level_{level:02d}/ticket"
    )


def same(one, other):
    return all(np.array_equal(one[k], other[k]) for k in one)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_reorder_differs_from_its_ticket_in_the_data_order_alone(found):
    main, other = (ticket(found.run_dir, b, 2) for b in ("main", "reorder"))
    assert main.mask == other.mask and same(main.rewind, other.rewind)
    assert not same(main.trained, other.trained)


def test_every_pair_has_a_line(found):
    points, barriers = report.read_lines(f"{found.run_dir}/report")
    assert [(r["replicate"], r["pair"], r["level"]) for r in barriers] == [
        (n, *line) for n in (0, 1)
        for line in (("next_level", 0), ("next_level", 1), ("reorder", 2))
    ]
    density = {r["level"]: r["density"] for r in found.rows}
    assert all(r["density"] == density[r["level"]] for r in barriers)
    assert len(points) == 6 * 3 * 30
    # The ends are the tickets, as they were tested.
    accuracy = {
        (r["replicate"], r["branch"], r["level"]): r["test_accuracy"]
        for r in found.rows
    }
    ends = [
        r["error"] for r in points
        if r["split"] == "test" and r["replicate"] == 1
        and r["pair"] == "reorder" and r["alpha"] in (0, 1)
    ]
    assert ends == pytest.approx(
        [1 - accuracy[1, branch, 2] for branch in ("main", "reorder")]
    )


def test_finished_lines_are_kept_while_their_tickets_are(
    copied, monkeypatch, capfd
):
    folder, how = copied
    before = {name: read(folder / "report" / name) for name in FILES}
    calls = []
    real = analysis.LineEvaluator.__call__

    def counted(self, *ends, **options):
        calls.append(ends)
        return real(self, *ends, **options)

    monkeypatch.setattr(analysis.LineEvaluator, "__call__", counted)
    tfl.run(**how)
    assert not calls
    # As after a kill: what is not in the files is done.
    points, barriers = report.read_lines(folder / "report")
    report.write_lines(folder / "report", points[90:], barriers[1:])
    tfl.run(**how)
    assert [end.level for end in calls.pop()] == [0, 1] and not calls
    # Another ticket has other lines.
    barriers[2]["second"] = "0"
    report.write_lines(folder / "report", points, barriers)
    tfl.run(**{**how, "quiet": False})
    assert [end.level for end in calls.pop()] == [2, 2] and not calls
    out = capfd.readouterr().out
    assert re.search(r"reorder +0 +2 +2[0-9.]+ +[0-9.]+ \(", out)
    assert {name: read(folder / "report" / name) for name in FILES} == before


@pytest.mark.usefixtures("pages")
def test_a_page_leaves_the_lines_of_its_run_alone(copied, monkeypatch):
    folder, how = copied
    monkeypatch.setattr("tf_lottery.page.writing.SECTIONS", (connectivity,))
    before = {name: read(folder / "report" / name) for name in FILES}
    evaluated = []
    monkeypatch.setattr(
        analysis.LineEvaluator, "__call__",
        lambda self, *ends, **options: evaluated.append(ends),
    )
    for _ in range(2):
        tfl.run(**how)
        assert (folder / "report" / "connectivity_barriers.csv").is_file()
        after = {name: read(folder / "report" / name) for name in FILES}
        assert after == before and not evaluated
    text = (folder / "report" / "index.html").read_text()
    assert "truncated or altered" not in text
    assert "stable to SGD noise, at" in text


@pytest.mark.parametrize("name", FILES)
def test_altered_files_are_told(copied, name):
    folder = copied[0] / "report"
    text = (folder / name).read_text()
    lines = text.splitlines(keepends=True)
    bad_texts = [
        "", text[:-100], "\0" + text, text.replace("next_level", "x", 1),
        text.replace("e", "é", 1),
    ]
    if name == "connectivity.csv":
        bad_texts += [lines[0], "".join(lines[:-1])]
    else:
        bad_texts += [text + lines[-1]]
    for bad in bad_texts:
        (folder / name).write_text(bad, encoding="latin-1")
        with pytest.raises(ValueError, match="is truncated or altered"):
            report.read_lines(folder)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_kill_between_the_files_costs_one_line(
    copied, monkeypatch, replaced
):
    folder = copied[0] / "report"
    points, barriers = report.read_lines(folder)
    name = {k: barriers[-1][k] for k in Line.__dataclass_fields__}
    if replaced:
        # Its ticket is another now, and so are its points.
        barriers[-1]["second"] = "0"
        report.write_lines(folder, points, barriers)
    else:
        report.write_lines(folder, points[:-90], barriers[:-1])
    real = atomic.replace_file

    def killed(path, data):
        if path.endswith("barriers.csv") and b"digest" in data:
            raise KeyboardInterrupt
        real(path, data)

    monkeypatch.setattr(atomic, "replace_file", killed)
    line = analysis.Connectivity(tuple(
        analysis.Point(alpha, split, 0.5 * alpha, 0.1)
        for split in ("test", "train", "validation")
        for alpha in (0.0, 0.5, 1.0)
    ))
    with pytest.raises(KeyboardInterrupt):
        LineBook(str(copied[0]), print).add(
            Line(**name), "digest", "other", line
        )
    assert read(folder / "connectivity.csv")[-1]["error"] == "0.5"
    assert report.read_lines(folder) == (points[:-90], barriers[:-1])


def some_line(middle):
    return analysis.Connectivity(tuple(
        analysis.Point(alpha, split, error, 0.1)
        for split in ("test", "train", "validation")
        for alpha, error in ((0.0, 0.1), (0.5, middle), (1.0, 0.1))
    ))


def test_processes_that_share_a_run_keep_each_others_lines(tmp_path):
    lines = [
        Line(replicate, "next_level", 0, level, 1.0)
        for replicate, level in ((0, 0), (1, 0), (0, 1))
    ]
    # Each reads what there is once, as processes of a job array do.
    books = [LineBook(str(tmp_path), print) for _ in range(2)]
    for line in lines:
        books[line.replicate].add(line, "a", "b", some_line(0.2))
    found = LineBook(str(tmp_path), print)
    assert [found.barrier(line, "a", "b") for line in lines] == [0.1] * 3
    assert len(found.barriers) == 3 and len(found.points) == 27


def test_another_process_waits_while_a_line_is_written(tmp_path, monkeypatch):
    first, second = (Line(r, "next_level", 0, 0, 1.0) for r in (0, 1))
    books = [LineBook(str(tmp_path), print) for _ in range(2)]
    books[0].add(first, "a", "b", some_line(0.2))
    seen, real = [], atomic.replace_file

    def between(path, data):
        handle = os.open(tmp_path, os.O_RDONLY)
        try:
            with pytest.raises(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(handle)
        seen.append(os.path.basename(path))
        real(path, data)

    monkeypatch.setattr(atomic, "replace_file", between)
    books[1].add(second, "c", "d", some_line(0.3))
    assert seen == ["connectivity.csv", "barriers.csv"]


def test_without_pairs_it_is_said(command, tmp_path):
    done = command(
        "--method=at_init", "--target_sparsity=0.5", "--train_steps=20it",
        "--eval_every=20it", "--jit=off", "--connectivity",
        f"--output_dir={tmp_path}",
    )
    assert done.status == 0 and "No line to evaluate" in done.out


@pytest.mark.parametrize(
    "flags",
    [
        ["--retrain=lr_rewind"],
        ["--method=gradual", "--target_sparsity=0.5"],
        ["--method=edge_popup", "--target_sparsity=0.5"],
    ],
)
def test_reorder_needs_a_ticket_that_is_trained_from_its_rewind_weights(
    flags, command, tmp_path
):
    done = command(
        *flags, "--branches=reorder", f"--output_dir={tmp_path}"
    )
    assert done.status == 1
    assert "`branches` must be without reorder" in done.err


def test_the_page_shows_barriers_and_lines(found, copied):
    def run(path, label):
        return page.Run(str(path), label, {}, load_results(found.run_dir))

    one = run(found.run_dir, "one")
    section = connectivity([one])
    (figure,), (table,) = section.figures, section.tables
    assert figure.name == "connectivity"
    left, right = figure.drawn.axes
    assert "weights remaining" in left.get_xlabel()
    assert [t.get_text() for t in left.get_xticklabels()][0] == "100.0"
    # Drawn are the means over replicates, in percentage points.
    _, barriers = report.read_lines(f"{found.run_dir}/report")
    mean = np.mean(
        [r["barrier_test"] for r in barriers if r["pair"] == "reorder"]
    )
    drawn = {
        box.get_label(): box.lines[0].get_ydata() for box in left.containers
    }
    assert drawn["reorder, test"] == pytest.approx([100 * mean])
    assert len(right.lines) == 2  # one level, test and train
    rows = [dict(zip(table.columns, row)) for row in table.rows]
    assert [(r["pair"], r["level"], r["replicates"]) for r in rows] == [
        ("next_level", 0, 2), ("next_level", 1, 2), ("reorder", 2, 2),
    ]
    assert rows[2]["barrier_test"] == pytest.approx(mean)
    assert "stable to SGD noise, at" in section.text[0]
    assert "30 points" in section.text[-1]
    json.dumps([list(row) for row in table.rows])
    other = run(copied[0], "two")
    assert [f.name for f in connectivity([one, other]).figures] == [
        "connectivity", "connectivity_2",
    ]
    (copied[0] / "report" / "barriers.csv").write_text("x\n1\n")
    section = connectivity([other])
    assert "truncated or altered" in section.text[0] and not section.figures
    (copied[0] / "report" / "barriers.csv").unlink()
    assert connectivity([other]) is None

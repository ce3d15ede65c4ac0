"""Run directories that are empty, half written, or of another version."""

import dataclasses
import json
import math

import pytest

from tf_lottery import Config, page, report
from tf_lottery.page.reading import labelled, read_run, setting_text
from tf_lottery.results import Results
from tf_lottery.tickets import Key, RunDirectory
from tf_lottery.tickets.verify import json_digest

pytestmark = pytest.mark.usefixtures("undrawn")


def change(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def notice(folder):
    (line,) = read_run(str(folder)).notices
    return line


def test_a_whole_run_has_nothing_to_note(make):
    run = read_run(str(make()))
    assert run.notices == ()
    assert (len(run.planned), run.finished, len(run.rows)) == (15, 15, 15)


def test_an_empty_folder_is_told(tmp_path, parse):
    assert "The folder is empty" in notice(tmp_path)
    parsed = parse(tmp_path / page.write([tmp_path]))
    assert "No verdict" in parsed.text and "folder is empty" in parsed.text


def test_a_run_without_a_finished_training_is_told(make, parse):
    folder = make(done=0)
    assert "No training has finished yet" in notice(folder)
    parsed = parse(folder / page.write([folder]))
    assert "0 of 15 planned trainings" in parsed.text


def test_rows_come_from_the_levels_where_results_are_missing(make):
    folder = make()
    rows = read_run(str(folder)).rows
    before = report.read_results(folder / "results.csv")
    (folder / "results.csv").unlink()
    run = read_run(str(folder))
    assert "results.csv is missing" in run.notices[0]
    assert "15 level.json files" in run.notices[0]
    assert run.rows == rows == before


def test_results_that_cannot_be_read_are_told(make):
    folder = make()
    (folder / "results.csv").write_text("a,b\n1,2\n")
    assert "results.csv cannot be read" in notice(folder)
    assert len(read_run(str(folder)).rows) == 15


def test_results_of_an_earlier_version_have_no_costs(make, tmp_path, parse):
    folder = make()
    file = folder / "results.csv"
    lines = [line.split(",") for line in file.read_text().split("\n")[:-1]]
    old = lines[0].index("train_examples")
    file.write_text("".join(",".join(row[:old]) + "\n" for row in lines))
    # The level.json files have them.
    assert read_run(str(folder)).notices == ()
    for replicate in folder.glob("replicate_*"):
        replicate.rename(tmp_path / replicate.name)
    assert "of an earlier version" in read_run(str(folder)).notices[1]
    parsed = parse(folder / page.write([folder]))
    assert "Accuracy against density" in parsed.text


def test_flops_beyond_counting_are_of_no_earlier_version(make, monkeypatch):
    folder, real = make(), RunDirectory.rows
    (folder / "results.csv").unlink()
    unknown = {"inference_flops": None, "train_flops": None}
    monkeypatch.setattr(
        RunDirectory, "rows", lambda self: [r | unknown for r in real(self)]
    )
    run = read_run(str(folder))
    assert "results.csv is missing" in run.notices[0]
    assert len(run.notices) == 1 and run.rows[0]["inference_flops"] is None


def test_trainings_that_results_lack_are_added(make):
    """A process was killed before it wrote them, or others trained them."""
    folder = make()
    rows, file = read_run(str(folder)).rows, folder / "results.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:2], *lines[4:]]))
    assert "2 trainings are not in results.csv" in notice(folder)
    assert str(Key(0, "main", 1)) in notice(folder)
    assert read_run(str(folder)).rows == rows


def test_a_training_done_anew_is_shown_as_it_is_now(make):
    folder = make()
    rows, file = read_run(str(folder)).rows, folder / "results.csv"
    old = [dict(row) for row in rows]
    old[1]["test_accuracy"] += 0.001
    report.write_results(old, file)
    assert "1 trainings have other numbers in results.csv" in notice(folder)
    assert str(Key(0, "main", 1)) in notice(folder)
    assert read_run(str(folder)).rows == rows


def test_numbers_that_are_none_are_not_other_numbers(make):
    folder = make()
    store = RunDirectory(str(folder))
    (level,) = folder.glob("replicate_0/main/level_00")
    summary = json.loads((level / "level.json").read_text())
    del summary["sha256"]
    summary["row"]["test_loss"] = math.nan
    summary["sha256"] = json_digest(summary)
    (level / "level.json").write_text(json.dumps(summary))
    report.write_results(store.rows(), folder / "results.csv")
    assert read_run(str(folder)).notices == ()


def test_levels_whose_record_is_missing_are_left_out(make):
    folder = make()
    (folder / "replicate_2/reinit/level_02/level.json").unlink()
    run = read_run(str(folder))
    assert "1 trainings in results.csv are left out" in run.notices[0]
    assert str(Key(2, "reinit", 2)) in run.notices[0]
    assert (len(run.rows), run.finished) == (14, 14)


def test_results_alone_are_shown(make, tmp_path, parse):
    folder = make()
    for replicate in folder.glob("replicate_*"):
        replicate.rename(tmp_path / replicate.name)
    assert "no level.json files" in notice(folder)
    parsed = parse(folder / page.write([folder]))
    assert "Winning" in parsed.text
    assert "Learning curves cannot be shown" in parsed.text


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_damaged_configuration_leaves_no_verdict(make, text, parse):
    folder = make()
    (folder / "config.json").write_text(text)
    run = read_run(str(folder))
    assert "config.json cannot be read" in run.notices[0]
    assert run.settings is None and len(run.rows) == 15
    parsed = parse(folder / page.write([folder]))
    assert "No verdict What was run is not known" in parsed.text


def test_a_missing_configuration_is_told(make):
    folder = make()
    (folder / "config.json").unlink()
    assert "config.json is missing" in notice(folder)


def test_unknown_settings_are_named(make):
    folder = make()
    change(folder, sharpness=3, inputs={})
    assert "does not know, and leaves out: sharpness." in notice(folder)
    assert read_run(str(folder)).settings is not None


def test_another_format_is_told(make):
    folder = make()
    change(folder, format=2)
    assert "of format 2, where this version" in notice(folder)


@pytest.mark.parametrize(
    "values", [{"method": "oracle"}, {"levels": -1}, {"train_steps": {}}]
)
def test_settings_that_make_no_sense_leave_no_verdict(make, values, parse):
    folder = make()
    change(folder, **values)
    assert "config.json cannot be understood" in notice(folder)
    parsed = parse(folder / page.write([folder]))
    assert "No verdict" in parsed.text


def test_the_folder_of_several_epsilons_points_to_its_runs(make, parse):
    folder = make(done=0)
    (folder / "perturbation.csv").write_text("epsilon\n")
    assert "several values of epsilon" in notice(folder)
    parsed = parse(folder / page.write([folder]))
    assert "Name the run directory of each epsilon" in parsed.text


def test_no_run_directory_is_an_error(make, tmp_path):
    with pytest.raises(ValueError, match="where there is no folder"):
        read_run(str(tmp_path / "none"))
    make("runs")
    with pytest.raises(ValueError, match="one of the 1 in it, such as"):
        read_run(str(tmp_path))
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("")
    with pytest.raises(ValueError, match="no config.json and no results.csv"):
        read_run(str(tmp_path / "other"))


def test_a_folder_among_others_that_is_none_is_a_notice(make, tmp_path):
    folder = make()
    runs, problems = page.read_runs(
        [str(folder), str(tmp_path / "none"), f"{folder}/"]
    )
    assert len(runs) == 1
    assert "there is no folder" in problems[0]
    assert "given twice" in problems[1]
    with pytest.raises(ValueError, match="must be run directories"):
        page.read_runs([])


def runs_of(*changes):
    return [
        page.Run(
            f"/x{n}/r", "r", Config(**c).to_json(), Results([], "r"),
        )
        for n, c in enumerate(changes)
    ]


@pytest.mark.parametrize(
    "changes, labels",
    [
        (
            [{}, {"method": "at_init", "criterion": "snip",
                  "target_sparsity": (0.5,)}],
            ["imp, magnitude", "at_init, snip"],
        ),
        (
            [{"optimizer": "sgd", "learning_rate": 0.1}, {}],
            ["sgd", "adam"],
        ),
        (
            [{"learning_rate": 0.1}, {"learning_rate": 0.2}],
            ["learning_rate 0.1", "learning_rate 0.2"],
        ),
        (
            [{}, {"seed": 1}, {"optimizer": "sgd"}],
            ["adam, seed 0", "adam, seed 1", "sgd, seed 0"],
        ),
        ([{}, {}], ["r, /x0/r", "r, /x1/r"]),
        ([{}], ["r"]),
    ],
)
def test_labels_are_what_runs_differ_in(changes, labels):
    assert [run.label for run in labelled(runs_of(*changes))] == labels


def test_equal_runs_are_told_apart_by_their_folders():
    one, two = runs_of({}, {})
    two = dataclasses.replace(two, label="s", path="/x1/s")
    assert [run.label for run in labelled([one, two])] == ["r", "s"]


def test_settings_are_written_as_flags_take_them():
    assert setting_text(0.1) == "0.1"
    assert setting_text("3000it") == "3000it"
    assert setting_text({"a": [1]}) == "a 1"


@pytest.mark.parametrize("values", [None, {"method": "oracle"}])
def test_costs_of_a_search_are_not_those_of_another_method(make, values):
    folder = make()
    assert read_run(str(folder)).method == "imp"
    if values is None:
        (folder / "config.json").unlink()
    else:
        change(folder, **values)
    run = read_run(str(folder))
    assert run.method is None and len(run.rows) == 15
    assert {row["search_steps"] for row in run.rows} == {None}
    assert {row["train_steps"] for row in run.rows} == {40}

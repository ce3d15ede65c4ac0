"""The run's metrics.csv: long form, exact, in one step, of damaged runs too."""

import csv
import json

import pytest

from tf_lottery import atomic
from tf_lottery.report import METRIC_COLUMNS
from tf_lottery.report import read_evaluations
from tf_lottery.report import write_metrics
from tf_lottery.report import write_results
from tf_lottery.results import load_results

HEADER = "step,split,loss,accuracy\n"
KEYS = ((0, "main", 0), (0, "main", 1), (0, "reinit", 1))


def result(replicate, branch, level):
    return {
        "replicate": replicate, "branch": branch, "level": level,
        "density": 0.8**level, "sparsity": 1 - 0.8**level,
        "kept_weights": 8, "prunable_weights": 10, "test_accuracy": 0.5,
        "test_loss": 1.0, "val_accuracy": 0.5, "val_loss": 1.0,
        "train_accuracy": 1.0, "early_stop_step": 100,
        "early_stop_test_accuracy": 0.5, "early_stop_censored": False,
        "train_steps": 100, "train_seconds": 1.0,
    }


@pytest.fixture
def run(tmp_path):
    write_results([result(*key) for key in KEYS], tmp_path / "results.csv")
    (tmp_path / "config.json").write_text(json.dumps({"method": "imp"}))
    for number, (replicate, branch, level) in enumerate(KEYS):
        folder = (
            tmp_path / f"replicate_{replicate}" / branch / f"level_{level:02}"
        )
        folder.mkdir(parents=True)
        loss = [0.1 + 0.2, 1 / 3, 5e-324][number]
        (folder / "metrics.csv").write_text(
            f"{HEADER}0,validation,{loss!r},0.25\n100,test,1.5,nan\n"
        )
    return tmp_path


def test_one_dict_per_number(run):
    rows = load_results(run).metrics()
    assert all(tuple(row) == METRIC_COLUMNS for row in rows)
    assert len(rows) == 3 * 2 * 2
    assert rows[0] == {
        "replicate": 0, "branch": "main", "level": 0, "density": 1.0,
        "step": 0, "split": "validation", "metric": "loss",
        "value": 0.1 + 0.2,
    }
    assert rows[1]["metric"] == "accuracy" and rows[1]["value"] == 0.25
    assert [row["branch"] for row in rows[::4]] == ["main", "main", "reinit"]
    assert {type(row["step"]) for row in rows} == {int}


def test_the_file_has_the_same_rows_to_the_last_digit(run):
    results = load_results(run)
    told = results.write_report("a title")
    assert f"Metrics: {run / 'report' / 'metrics.csv'}\n" in told
    assert "Left out" not in told
    with open(run / "report" / "metrics.csv", newline="") as file:
        found = list(csv.DictReader(file))
    wanted = [
        {name: str(value) for name, value in row.items()}
        for row in results.metrics()
    ]
    assert found == wanted
    assert float(found[8]["value"]) == 5e-324


def test_damaged_and_missing_ones_are_said(run):
    main = run / "replicate_0" / "main"
    (main / "level_00" / "metrics.csv").write_text(f"{HEADER}x,test,1,1\n")
    (main / "level_01" / "metrics.csv").unlink()
    results = load_results(run)
    with pytest.raises(ValueError, match="level_00.*truncated or altered"):
        results.metrics()
    told = results.write_report("a title")
    assert told.count("Left out of metrics.csv: ") == 2
    assert "level_00" in told and "level_01" in told
    lines = (run / "report" / "metrics.csv").read_text().splitlines()
    assert len(lines) == 1 + 4 and lines[1].startswith("0,reinit,1,0.8,0,")


@pytest.mark.parametrize(
    "text", ["step,split,loss\nx,test,1\n", "step\n1,2,3", "step,split,a\n1"]
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "metrics.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match="truncated or altered"):
        read_evaluations(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="truncated or altered"):
        read_evaluations(path)
    with pytest.raises(FileNotFoundError):
        read_evaluations(tmp_path / "none")


def test_the_old_file_stays_if_the_new_one_fails(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("old")

    def rows():
        yield dict.fromkeys(METRIC_COLUMNS, 1)
        raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write_metrics(rows(), path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.csv"]


def test_addresses_of_object_stores(monkeypatch):
    written = {}
    monkeypatch.setattr(atomic, "write_object", written.__setitem__)
    row = dict.fromkeys(METRIC_COLUMNS, 1)
    write_metrics([row], "gs://bucket/run/metrics.csv")
    (content,) = written.values()
    assert content.decode() == (
        f"{','.join(METRIC_COLUMNS)}\n{','.join('1' * 8)}\n"
    )

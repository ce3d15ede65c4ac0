"""results.csv: exact round trip, atomic replacement, clear refusals."""

import os

import numpy as np
import pytest

from tf_lottery import atomic
from tf_lottery.metric import Metric
from tf_lottery.report import COLUMNS, columns, read_results, write_results

COSTS = {
    "train_examples": 3000, "train_flops": 10**17 + 1,
    "train_effective_flops": 7, "inference_flops": 6,
    "inference_effective_flops": 5, "search_steps": 600,
    "search_examples": 6000, "search_flops": 2 * 10**17 + 2,
    "search_effective_flops": 14, "search_seconds": 25.25,
    "break_even_examples": 4, "effective_density": 0.75,
}


def make_row(replicate=0, branch="main", level=0, **changes):
    row = {
        "replicate": replicate, "branch": branch, "level": level,
        "density": 1.0, "sparsity": 0.0, "kept_weights": 1000,
        "prunable_weights": 1000, "test_accuracy": 0.1 + 0.2,
        "test_loss": 1e-17, "val_accuracy": 1 / 3, "val_loss": 5e-324,
        "train_accuracy": 1.0, "early_stop_step": 100,
        "early_stop_test_accuracy": 0.5, "early_stop_censored": False,
        "train_steps": 300, "train_seconds": 12.5, **COSTS,
    }
    return {**row, **changes}


def test_columns_are_the_contract():
    assert COLUMNS == (
        "replicate", "branch", "level", "density", "sparsity",
        "kept_weights", "prunable_weights", "test_accuracy", "test_loss",
        "val_accuracy", "val_loss", "train_accuracy", "early_stop_step",
        "early_stop_test_accuracy", "early_stop_censored", "train_steps",
        "train_seconds", "train_examples", "train_flops",
        "train_effective_flops", "inference_flops",
        "inference_effective_flops", "search_steps", "search_examples",
        "search_flops", "search_effective_flops", "search_seconds",
        "break_even_examples", "effective_density",
    )


def test_round_trip_is_exact_in_value_and_type(tmp_path):
    path = tmp_path / "new" / "results.csv"
    rows = [
        make_row(),
        make_row(level=1, early_stop_censored=True, test_loss=float("inf")),
        make_row(branch='odd, "name"\n', level=1),
    ]
    write_results(rows, path)
    read = read_results(path)
    assert read == rows
    for row in read:
        assert {name: type(value) for name, value in row.items()} == {
            name: type(value) for name, value in make_row().items()
        }
        assert tuple(row) == COLUMNS


def test_nan_survives(tmp_path):
    path = tmp_path / "results.csv"
    write_results([make_row(test_loss=float("nan"))], path)
    assert np.isnan(read_results(path)[0]["test_loss"])


def test_numpy_scalars_are_written_as_numbers(tmp_path):
    path = tmp_path / "results.csv"
    write_results([make_row(
        level=np.int64(2), test_accuracy=np.float32(0.1),
        early_stop_censored=np.bool_(True),
    )], path)
    row = read_results(path)[0]
    assert row["level"] == 2
    assert row["test_accuracy"] == float(np.float32(0.1))
    assert row["early_stop_censored"] is True


def test_rows_are_sorted_main_first(tmp_path):
    path = tmp_path / "results.csv"
    keys = [
        (0, "main", 2), (0, "main", 10), (0, "a_control", 3),
        (0, "reinit", 1), (1, "main", 0),
    ]
    write_results([make_row(*key) for key in reversed(keys)], path)
    assert [
        (row["replicate"], row["branch"], row["level"])
        for row in read_results(path)
    ] == keys


def test_bytes_of_the_file(tmp_path):
    path = tmp_path / "results.csv"
    write_results([make_row()], path)
    assert path.read_bytes() == (
        ",".join(COLUMNS) + "\n0,main,0,1.0,0.0,1000,1000,"
        "0.30000000000000004,1e-17,0.3333333333333333,5e-324,1.0,100,0.5,"
        "False,300,12.5,3000,100000000000000001,7,6,5,600,6000,"
        "200000000000000002,14,25.25,4,0.75\n"
    ).encode()


def test_unknown_costs_are_empty_cells(tmp_path):
    path = tmp_path / "results.csv"
    without = {k: v for k, v in make_row().items() if k not in COSTS}
    write_results([without, make_row(level=1, train_flops=None)], path)
    lines = path.read_text().splitlines()
    assert lines[1].endswith(",300,12.5" + 12 * ",")
    first, second = read_results(path)
    assert first == {**without, **dict.fromkeys(COSTS)}
    assert second == make_row(level=1, train_flops=None)


@pytest.mark.parametrize("missing", [12, 1])
def test_files_of_earlier_versions_are_read(tmp_path, missing):
    path = tmp_path / "results.csv"
    write_results([make_row()], path)
    lines = path.read_text().splitlines()
    kept = [line.split(",")[:-missing] for line in lines]
    path.write_text("".join(",".join(cells) + "\n" for cells in kept))
    unknown = dict.fromkeys(list(COSTS)[-missing:])
    assert read_results(path) == [make_row(**unknown)]


def test_no_rows(tmp_path):
    path = tmp_path / "results.csv"
    write_results([], path)
    assert read_results(path) == []


@pytest.mark.parametrize("failing", ["replace", "fsync"])
def test_failure_keeps_the_old_file_and_leaves_no_other(
    tmp_path, monkeypatch, failing
):
    path = tmp_path / "results.csv"
    write_results([make_row()], path)
    old = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, failing, fail)
        with pytest.raises(OSError, match="disk full"):
            write_results([make_row(), make_row(level=1)], path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["results.csv"]


def test_temporary_file_is_in_the_same_folder(tmp_path, monkeypatch):
    seen = []
    replace = os.replace

    def spy(source, target):
        seen.append((os.path.dirname(source), os.path.dirname(target)))
        replace(source, target)

    monkeypatch.setattr(atomic.os, "replace", spy)
    write_results([make_row()], tmp_path / "results.csv")
    assert seen == [(str(tmp_path), str(tmp_path))]
    assert os.listdir(tmp_path) == ["results.csv"]


def test_content_is_on_disk_before_the_name_changes(tmp_path, monkeypatch):
    # fsync of a file whose bytes are still in Python's buffer does nothing.
    sizes = []
    monkeypatch.setattr(atomic.os, "fsync", lambda file: sizes.append(
        os.stat(file).st_size))
    write_results([make_row()], tmp_path / "results.csv")
    assert sizes == [(tmp_path / "results.csv").stat().st_size]


def test_file_has_ordinary_permissions(tmp_path):
    (tmp_path / "plain").write_text("")
    write_results([], tmp_path / "results.csv")
    assert (tmp_path / "results.csv").stat().st_mode == (
        (tmp_path / "plain").stat().st_mode
    )


def _without(name):
    row = make_row()
    del row[name]
    return row


@pytest.mark.parametrize(
    ("rows", "error", "text"),
    [
        ([_without("val_loss")], ValueError, r"\['val_loss'\]"),
        ([make_row(test_perplexity=3.0)], ValueError, "test_perplexity"),
        ([make_row(), make_row()], ValueError, "replicate 0 main level 0"),
        ([make_row(level=1.5)], TypeError, "level=1.5"),
        ([make_row(test_accuracy=None)], TypeError, "accuracy=None"),
        ([make_row(early_stop_censored="no")], TypeError, "'no'"),
    ],
)
def test_write_refuses_and_writes_nothing(tmp_path, rows, error, text):
    with pytest.raises(error, match=text) as caught:
        write_results(rows, tmp_path / "results.csv")
    assert str(caught.value).startswith("`rows` must have")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def _spoil(old, new):
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda text: "", "line 1"),
        (_spoil("branch", "brunch"), "line 1"),
        (lambda text: text[:-6], "line 2 has 28 of 29 values"),
        (_spoil("0.5,", "half,"), "line 2: early_stop_test_accuracy='half'"),
        (_spoil("False", "0"), "line 2: early_stop_censored='0'"),
        (_spoil("1000,", "1000.5,"), "line 2: kept_weights='1000.5'"),
        (lambda text: text + text.split("\n")[1] + "\n", "level 0 twice"),
        (_spoil("main", '"main'), "unexpected end"),
        (_spoil("main", "\udcff"), "can't decode"),
    ],
)
def test_read_names_the_malformed_file(tmp_path, spoil, reason):
    path = tmp_path / "results.csv"
    write_results([make_row()], path)
    text = spoil(path.read_text())
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="`path` must be") as caught:
        read_results(path)
    assert f"path={path} (" in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_read_names_the_missing_file(tmp_path):
    path = tmp_path / "results.csv"
    with pytest.raises(ValueError, match="No such file") as caught:
        read_results(path)
    assert f"path={path} (" in str(caught.value)


REWARD = Metric("reward")


def reward_row(**changes):
    row = {
        name.replace("accuracy", "reward"): value
        for name, value in make_row().items()
    }
    return {**row, **changes}


def test_columns_are_named_after_the_metric(tmp_path):
    path = tmp_path / "results.csv"
    write_results([reward_row(test_reward=-1e3)], path, REWARD)
    header = path.read_text().splitlines()[0]
    assert header == ",".join(columns(REWARD))
    assert "test_reward,test_loss,val_reward,val_loss,train_reward" in header
    assert ",early_stop_test_reward," in header and "accuracy" not in header
    assert read_results(path, REWARD) == [reward_row(test_reward=-1e3)]
    with pytest.raises(ValueError, match="line 1 is not the expected header"):
        read_results(path)


def test_what_a_training_function_did_not_tell_is_empty(tmp_path):
    path = tmp_path / "results.csv"
    untold = dict.fromkeys((
        "test_loss", "val_reward", "val_loss", "train_reward",
        "early_stop_step", "early_stop_test_reward", "early_stop_censored",
    ))
    write_results([reward_row(**untold)], path, REWARD)
    assert ",,,,,,," in path.read_text()
    assert read_results(path, REWARD) == [reward_row(**untold)]


@pytest.mark.parametrize("name", ["test_reward", "train_steps", "density"])
def test_what_must_be_told_may_not_be_empty(tmp_path, name):
    path = tmp_path / "results.csv"
    with pytest.raises(TypeError, match=f"{name}=None"):
        write_results([reward_row(**{name: None})], path, REWARD)

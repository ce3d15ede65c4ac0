"""Event files, read back: every number is a file's own."""

import pathlib
import shutil
import sys

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.masks import Mask
from tf_lottery.metric import Metric
from tf_lottery.page.event_files import EventFiles
from tf_lottery.page.event_files import check_tensorboard
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket
from tf_lottery.train.evaluate import Evaluation

pytest.importorskip("tensorboard")
KEY = Key(1, "reinit", 2)
MASK = Mask({"a/kernel": [[1, 0, 1], [0, 0, 1]], "b/kernel": [[0, 0]]})
WEIGHTS = {
    "a/kernel": np.array([[1.0, 0, 2], [0, 0, 5]], "float32"),
    "a/bias": np.array([9.0, 9, 9], "float32"),
    "b/kernel": np.zeros((1, 2), "float32"),
}
CONFIG = {
    "format": 1, "model": "m", "seed": 3, "learning_rate": 0.5,
    "exclude": ["x"], "init": None, "replicate": 1, "branch": "reinit",
}
EVALUATIONS = [
    Evaluation(
        step, split, {"loss": 1.0 / (step + 1), "accuracy": 0.001 * step}
    )
    for step in (4, 10) for split in ("validation", "test")
]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    return RunDirectory(str(tmp_path))


def save(run, key=KEY, accuracy=0.75):
    ticket = Ticket(
        MASK, WEIGHTS, {k: -2 * w for k, w in WEIGHTS.items()}, key.level,
        CONFIG, {"test_accuracy": accuracy, "early_stop_step": 10},
    )
    row = {
        "replicate": key.replicate, "branch": key.branch, "level": key.level,
    }
    run.save(key, ticket, EVALUATIONS, row, "")


def folder(run, key=KEY):
    return RunDirectory(f"{run.path}/tensorboard").level_path(key)


def read(path):
    from tensorboard.backend.event_processing import event_accumulator

    found = event_accumulator.EventAccumulator(
        str(path), size_guidance={"tensors": 0}
    )
    found.Reload()
    return found


def values(found, tag):
    from tensorboard.util import tensor_util

    return {
        event.step: tensor_util.make_ndarray(event.tensor_proto)
        for event in found.Tensors(tag)
    }


def plugin_data(found, tag):
    from tensorboard.plugins.hparams import metadata

    content = found.SummaryMetadata(tag).plugin_data.content
    if tag == metadata.EXPERIMENT_TAG:
        return metadata.parse_experiment_plugin_data(content)
    return metadata.parse_session_start_info_plugin_data(content)


def test_scalars_and_histograms(run):
    save(run)
    EventFiles(run).write([KEY])
    found = read(folder(run))
    assert sorted(found.Tags()["tensors"]) == [
        "_hparams_/session_start_info", "accuracy/test",
        "accuracy/validation", "density", "early_stop_step", "loss/test",
        "loss/validation", "sparsity/a/kernel", "sparsity/all",
        "sparsity/b/kernel", "test_accuracy", "weights/a/kernel",
        "weights/b/kernel",
    ]
    assert values(found, "loss/test") == {
        4: np.float32(1 / 5), 10: np.float32(1 / 11),
    }
    assert values(found, "accuracy/validation")[10] == np.float32(0.01)
    assert values(found, "density") == {10: np.float32(3 / 8)}
    assert values(found, "sparsity/a/kernel")[10] == np.float32(0.5)
    assert values(found, "test_accuracy") == {10: np.float32(0.75)}
    assert values(found, "early_stop_step") == {10: np.float32(10)}
    # Kept weights alone, before training and after.
    histograms = values(found, "weights/a/kernel")
    assert sorted(histograms) == [4, 10]
    for step, ends in ((4, (1, 5)), (10, (-10, -2))):
        buckets = histograms[step]
        assert buckets[:, 2].sum() == 3
        assert (buckets[0, 0], buckets[-1, 1]) == ends
    assert values(found, "weights/b/kernel")[10][:, 2].sum() == 0


def test_hparams(run):
    save(run)
    EventFiles(run).write([KEY])
    found = plugin_data(read(folder(run)), "_hparams_/session_start_info")
    hparams = {
        name: value.number_value or value.string_value
        for name, value in found.hparams.items()
    }
    assert hparams == {
        "model": "m", "seed": 3, "learning_rate": 0.5, "replicate": 1,
        "branch": "reinit", "level": 2, "density": 3 / 8,
    }
    top = plugin_data(
        read(f"{run.path}/tensorboard"), "_hparams_/experiment"
    )
    assert {info.name for info in top.hparam_infos} == set(hparams)
    assert {i.name for i in top.hparam_infos if i.differs} == {
        "replicate", "branch", "level", "density",
    }
    assert [info.name.tag for info in top.metric_infos] == [
        "test_accuracy", "early_stop_step",
    ]


def files(run):
    return {
        path.relative_to(run.path): path.read_bytes()
        for path in pathlib.Path(run.path, "tensorboard").rglob("*")
        if path.is_file()
    }


def test_what_is_there_stays_what_is_missing_comes(run):
    other = Key(0, "main", 0)
    save(run)
    save(run, other)
    events = EventFiles(run)
    events.write([KEY])
    before = files(run)
    assert len(before) == 2
    events.write([KEY, other])
    after = files(run)
    assert len(after) == 3 and before.items() <= after.items()


def test_a_training_done_anew_has_one_file_and_that_the_new(run):
    save(run)
    EventFiles(run).write([KEY])
    save(run, accuracy=0.5)
    EventFiles(run).write([KEY])
    assert len(files(run)) == 2
    assert values(read(folder(run)), "test_accuracy") == {10: 0.5}


def test_nothing_is_left_of_one_that_fails(run, monkeypatch):
    save(run)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tf_lottery.atomic.os.replace", fail)
    with pytest.raises(OSError):
        EventFiles(run).write([KEY])
    assert not files(run)


def test_only_the_process_that_writes_the_run(run):
    save(run)
    run.writes = False
    EventFiles(run).write([KEY])
    assert not files(run)


def test_the_flag(tmp_path, monkeypatch):
    quick = dict(
        levels=1, train_steps=20, eval_every=10, output_dir=str(tmp_path),
        quiet=True, tensorboard=True,
    )
    seen = []
    write = EventFiles.write

    def watched(self, keys):
        keys = list(keys)
        write(self, keys)
        seen.append((len(keys), len(files(self._store))))

    monkeypatch.setattr(EventFiles, "write", watched)
    results = tfl.run(**quick)
    # Each when it is finished, the first with the columns of the table.
    assert seen == [(1, 2), (1, 3), (2, 3)]
    run = RunDirectory(results.run_dir)
    metrics = results.metrics()
    for row in results.rows:
        key = Key(row["replicate"], row["branch"], row["level"])
        found = read(folder(run, key))
        for tag in ("test_accuracy", "density", "early_stop_step"):
            assert values(found, tag) == {20: np.float32(row[tag])}
        for line in metrics:
            if line["level"] == row["level"]:
                tag = f"{line['metric']}/{line['split']}"
                there = values(found, tag)[line["step"]]
                assert there == np.float32(line["value"])
    # A run that has finished is completed, without training.
    shutil.rmtree(folder(run, key))
    tfl.run(**quick)
    assert seen[3:] == [(2, 3)] and len(files(run)) == 3


def test_without_the_package(monkeypatch, command, flags, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    check_tensorboard(False)
    done = command(*flags, "--tensorboard", f"--output_dir={tmp_path}/runs")
    assert done.status == 1
    assert done.err == (
        "Error: `tensorboard` must be false without the package tensorboard. "
        "Received: tensorboard=True. Install it with pip install "
        "tensorboard.\n"
    )
    assert not (tmp_path / "runs").exists()


def test_another_metric_is_shown_and_what_nobody_told_is_not(run):
    reward = Metric("total_reward")
    ticket = Ticket(
        MASK, WEIGHTS, WEIGHTS, KEY.level, CONFIG, {reward.test: 7.5}
    )
    row = {
        "replicate": KEY.replicate, "branch": KEY.branch, "level": KEY.level,
    }
    run.save(KEY, ticket, [], row, "")
    EventFiles(run, reward).write([KEY])
    (path,) = pathlib.Path(folder(run)).iterdir()
    tags = read(path).Tags()["tensors"]
    assert "test_total_reward" in tags
    assert "early_stop_step" not in tags and "test_accuracy" not in tags
    columns = pathlib.Path(run.path, "tensorboard")
    (file,) = [one for one in columns.iterdir() if one.is_file()]
    assert b"test total reward" in file.read_bytes()

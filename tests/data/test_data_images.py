"""Data sets by name: TFDS sets made here, and errors."""

import logging
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from tf_lottery.data import describe
from tf_lottery.data import load
from tf_lottery.data import tfds_source

CLASSES = 3


def _builder(name, splits, *, shape=(4, 4, 1)):
    """Returns a TFDS builder class whose pixels are the example's number."""

    def info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict({
                "image": tfds.features.Image(shape=shape),
                "label": tfds.features.ClassLabel(num_classes=CLASSES),
            }),
        )

    def examples(self, start, count):
        for index in range(start, start + count):
            pixels = np.full([4, 4, 1], index, np.uint8)
            yield index, {"image": pixels, "label": index % CLASSES}

    def generators(self, dl_manager):
        start = 0
        result = {}
        for key, count in splits.items():
            result[key] = self._generate_examples(start, count)
            start += count
        return result

    return type(
        name,
        (tfds.core.GeneratorBasedBuilder,),
        {
            "__module__": __name__,
            "VERSION": tfds.core.Version("1.2.3"),
            "_info": info,
            "_split_generators": generators,
            "_generate_examples": examples,
        },
        skip_registration=True,
    )


SETS = {
    "TinyFull": {"train": 40, "validation": 7, "test": 10},
    "TinyNoTest": {"train": 40, "validation": 7},
    "TinyOnly": {"train": 40},
    "TinyNoTrain": {"test": 40},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("tfds"))
    tfds.disable_progress_bar()
    for name, splits in SETS.items():
        _builder(name, splits)(data_dir=path).download_and_prepare()
    _builder("TinyAnySize", {"train": 4}, shape=(None, None, 1))(
        data_dir=path
    ).download_and_prepare()
    return path


def numbers(split):
    """Returns which examples a split holds, from their pixels."""
    return split.x[:, 0, 0, 0].tolist()


def test_tfds_set_with_a_test_split(folder):
    data = load("tiny_full", data_dir=folder)
    info = data.info
    assert info == describe("tiny_full", data_dir=folder)
    assert info.source == "TFDS tiny_full/1.2.3"
    assert info.input_shape == (4, 4, 1)
    assert info.num_classes == CLASSES
    assert info.scale == 1 / 255
    assert (info.train_size, info.validation_size, info.test_size) == (
        36,
        4,
        10,
    )
    assert info.notes == (
        "validation is carved from train; TFDS's own is not used",
    )
    train, validation = numbers(data.train), numbers(data.validation)
    assert sorted(train + validation) == list(range(40))
    assert len(validation) == 4
    assert sorted(numbers(data.test)) == list(range(47, 57))
    for split in (data.train, data.validation, data.test):
        assert split.x.dtype == np.uint8
        assert split.y.dtype == np.int32
        assert [n % CLASSES for n in numbers(split)] == split.y.tolist()


def test_tfds_order_is_the_same_at_every_load(folder):
    first, again = (load("tiny_full", data_dir=folder) for _ in range(2))
    assert numbers(first.train) == numbers(again.train)


def test_whole_splits_are_read_unshuffled_file_after_file(
    folder, monkeypatch
):
    seen = []
    builder = tfds.builder("tiny_full", data_dir=folder)
    real = builder.as_dataset

    def spy(**kwargs):
        seen.append(kwargs)
        return real(**kwargs)

    monkeypatch.setattr(builder, "as_dataset", spy)
    tfds_source.read(builder, "train")
    assert seen[0]["shuffle_files"] is False
    assert seen[0]["read_config"].interleave_cycle_length == 1


def test_without_test_split_the_validation_split_serves(folder):
    data = load("tiny_no_test", data_dir=folder)
    assert data.info.notes == (
        "no test split: the validation split serves as test",
    )
    assert data.info.test_size == 7
    assert sorted(numbers(data.test)) == list(range(40, 47))
    assert sorted(numbers(data.train) + numbers(data.validation)) == list(
        range(40)
    )


def test_without_either_a_fifth_of_train_serves(folder):
    data = load("tiny_only", data_dir=folder)
    assert data.info.notes == (
        "no test split: 20 % of train, chosen by split_seed, serve as test",
    )
    # 40 = 8 for test, then a tenth of the other 32 for validation.
    assert (data.train.size, data.validation.size, data.test.size) == (
        29,
        3,
        8,
    )
    assert describe("tiny_only", data_dir=folder) == data.info
    parts = [numbers(s) for s in (data.train, data.validation, data.test)]
    assert sorted(sum(parts, [])) == list(range(40))
    for split in (data.train, data.validation, data.test):
        assert [n % CLASSES for n in numbers(split)] == split.y.tolist()
    other = load("tiny_only", data_dir=folder, split_seed=1)
    assert numbers(other.test) != parts[2]


@pytest.mark.parametrize(
    ("name", "sizes"),
    # Of 40 and 10 examples labels 0, 1 and 2 have 14, 13, 13 and 3, 3, 4.
    [("tiny_full:1-2", (24, 2, 7)), ("tiny_full:b", (18, 2, 10)),
     ("tiny_only:0-1", (20, 2, 5))],
)
def test_parts_of_tfds_sets(folder, name, sizes):
    data = load(name, data_dir=folder)
    assert describe(name, data_dir=folder) == data.info
    splits = data.train, data.validation, data.test
    assert tuple(split.size for split in splits) == sizes
    first = 1 if name.endswith("1-2") else 0
    for split in splits:
        labels = [n % CLASSES - first for n in numbers(split)]
        assert labels == split.y.tolist() and split.y.dtype == np.int32


def test_labels_outside_the_classes_are_refused(folder, monkeypatch):
    monkeypatch.setattr(
        tfds_source,
        "read",
        lambda builder, split: (
            np.zeros((40, 4, 4, 1), np.uint8),
            np.full(40, -1 if split == "test" else 0, np.int32),
        ),
    )
    pattern = (
        r"^`dataset` must have labels from 0 to 2\. Received: "
        r"dataset='tiny_full', which has the label -1\."
    )
    with pytest.raises(ValueError, match=pattern):
        load("tiny_full", data_dir=folder)


def test_too_large_sets_are_refused_before_reading(folder, monkeypatch):
    # train + test = 50 images of 16 bytes; TFDS's validation is not read.
    monkeypatch.setattr(tfds_source, "MAX_BYTES", 800)
    describe("tiny_full", data_dir=folder)
    monkeypatch.setattr(tfds_source, "MAX_BYTES", 799)
    pattern = r"must fit into 8 GiB .*Received: dataset='tiny_full', which"
    with pytest.raises(ValueError, match=pattern):
        describe("tiny_full", data_dir=folder)


def test_a_set_without_train_split_is_refused(folder):
    pattern = r"'train' split\. Received: dataset='tiny_no_train', which has t"
    with pytest.raises(ValueError, match=pattern):
        describe("tiny_no_train", data_dir=folder)


def test_images_of_many_sizes_are_refused(folder):
    pattern = (
        r"^`dataset` must have uint8 images of one size .*Received: "
        r"dataset='tiny_any_size', which has image: Image\(shape=\(None, "
        r"None, 1\), uint8\), label: ClassLabel\. "
    )
    with pytest.raises(ValueError, match=pattern):
        describe("tiny_any_size", data_dir=folder)


def test_sets_of_neither_are_refused_before_downloading(tmp_path):
    pattern = r"Received: dataset='iris', which has features: Tensor, label"
    with pytest.raises(ValueError, match=pattern):
        describe("iris", data_dir=str(tmp_path))


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mnits", r"Did you mean 'mnist'\?"),
        ("digit", r"Did you mean 'digits'\?"),
        ("qqqqqqqqq", r"Try 'mnist' or 'cifar10'"),
    ],
)
def test_unknown_names_have_a_suggestion(name, hint, tmp_path):
    pattern = (
        r"^`dataset` must be 'digits', 'grammar' or a name of TFDS\. "
        rf"Received: dataset='{name}'\. {hint}"
    )
    with pytest.raises(ValueError, match=pattern):
        describe(name, data_dir=str(tmp_path))


@pytest.mark.parametrize("name", ["mnist:9.9.9", "emnist/nope", "mnist!"])
def test_unknown_versions_and_configurations_say_what_tfds_says(
    name, tmp_path
):
    pattern = (
        "^`dataset` must be a configuration and version that TFDS has. "
        f"Received: dataset='{name}'. TFDS says: "
    )
    with pytest.raises(ValueError, match=pattern) as caught:
        describe(name, data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["digits", "mnist"])
def test_data_dir_must_exist(name, tmp_path):
    missing = str(tmp_path / "missing")
    pattern = (
        r"^`data_dir` must be an existing directory\. Received: "
        rf"data_dir='{missing}'\. "
    )
    with pytest.raises(ValueError, match=pattern):
        describe(name, data_dir=missing)


def test_a_bucket_is_left_to_tfds_to_check():
    assert describe("digits", data_dir="gs://bucket/tfds").num_classes == 10


def test_behind_a_proxy_names_are_not_resolved_here(monkeypatch):
    def unresolved(*args, **kwargs):
        raise socket.gaierror("offline")

    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    monkeypatch.setenv("https_proxy", "http://proxy:1")
    tfds_source._check_network(tfds.builder_cls("kmnist"))


def test_name_must_be_a_string():
    with pytest.raises(TypeError, match=r"`dataset`.*Received: dataset=3\."):
        describe(3)


@pytest.mark.parametrize("call", [describe, load])
def test_sizes_are_checked_before_the_name(call):
    with pytest.raises(ValueError, match=r"Received: validation_size=0\."):
        call("no such name", validation_size=0)


def test_split_seed_is_checked_by_load():
    with pytest.raises(ValueError, match=r"Received: split_seed=-1\."):
        load("digits", split_seed=-1)


def test_offline_download_fails_at_once_in_one_line(
    tmp_path, monkeypatch, caplog
):
    def unresolved(*args, **kwargs):
        raise socket.gaierror("offline")

    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    caplog.set_level(logging.INFO, logger="tf_lottery")
    pattern = (
        r"^`dataset` must be prepared already .*Received: "
        rf"dataset='kmnist', not found as {tmp_path}/kmnist/.*\. Preparing "
        r"it failed: no network: cannot resolve \S+\. Connect"
    )
    with pytest.raises(RuntimeError, match=pattern) as caught:
        describe("kmnist", data_dir=str(tmp_path))
    assert "\n" not in str(caught.value)
    assert [r.getMessage() for r in caplog.records if r.name == "tf_lottery"][
        0
    ].startswith("Downloading kmnist to ")


def test_a_set_that_is_absent_is_prepared_quietly_on_stdout(
    tmp_path, monkeypatch, capfd
):
    cls = _builder("TinyLate", {"train": 40})
    monkeypatch.setattr(
        tfds, "builder", lambda name, data_dir: cls(data_dir=data_dir)
    )
    info = describe("tiny_late", data_dir=str(tmp_path))
    assert info.test_size == 8
    assert capfd.readouterr().out == ""


def test_loading_prepared_data_is_silent(folder):
    code = (
        "import logging; logging.basicConfig(level=logging.DEBUG);"
        "logging.getLogger('tensorflow').setLevel(logging.ERROR);"
        "from tf_lottery.data import load;"
        f"load('tiny_full', data_dir={folder!r})"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    assert done.stdout == ""
    assert ":absl:" not in done.stderr
    assert "it/s" not in done.stderr

"""A disk that is full is said to be, and nothing is left of what was begun."""

import contextlib
import errno
import os
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.export import export
from tf_lottery.export import export_saved_model
from tf_lottery.export.saved_model import file_errors

resource = pytest.importorskip("resource", reason="Windows has no such limit")

X = np.random.default_rng(0).normal(size=(8, 100)).astype("float32")


@contextlib.contextmanager
def files_of_at_most(size):
    """Larger files fail as on a full disk, in Python and in TensorFlow."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def make_model():
    x = keras.Input((100,))
    return keras.Model(x, keras.layers.Dense(500)(x))


@pytest.mark.parametrize("name", ["keras", "saved_model", "tflite"])
def test_every_format_names_the_disk(tmp_path, monkeypatch, name):
    scratch, folder = tmp_path / "scratch", tmp_path / "folder"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    model = make_model()
    with pytest.raises(OSError) as caught, files_of_at_most(100_000):
        export(model, folder, [name], samples=X, rounds=0)
    assert caught.value.errno == errno.EFBIG
    place = folder if name == "saved_model" else scratch
    assert caught.value.filename.startswith(str(place))
    assert os.listdir(folder) == []


def test_the_older_saved_model_stays(tmp_path):
    path = tmp_path / "saved_model"
    export_saved_model(make_model(), path)
    before = sorted(path.rglob("*"))
    with pytest.raises(OSError, match="too large"), files_of_at_most(100_000):
        export_saved_model(make_model(), path)
    assert os.listdir(tmp_path) == ["saved_model"]
    assert sorted(path.rglob("*")) == before


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_tensorflows_file_errors_are_pythons(number):
    text = f"{{{{node}}}} /a/b; {os.strerror(number)} [Op:SaveV2]"
    with pytest.raises(OSError) as caught, file_errors("/a"):
        raise tf.errors.ResourceExhaustedError(None, None, text)
    assert (caught.value.errno, caught.value.filename) == (number, "/a")


def test_a_full_memory_is_no_full_disk():
    error = tf.errors.ResourceExhaustedError(None, None, "OOM of a tensor")
    with pytest.raises(tf.errors.ResourceExhaustedError), file_errors("/a"):
        raise error

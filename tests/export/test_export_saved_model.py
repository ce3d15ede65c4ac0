"""A SavedModel that TensorFlow alone serves, replaced in one step."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery import Mask, Ticket, get_mask, mask_model, set_mask
from tf_lottery import prune, strip_masks
from tf_lottery.export import export_saved_model
from tf_lottery.export import saved_model
from tf_lottery.layers import get_state, set_state

X = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype("float32")


def make_network(seed=1):
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(x)
    model = mask_model(keras.Model(inputs, keras.layers.Dense(10)(x)))
    rng = np.random.default_rng(seed)
    set_mask(
        model,
        Mask({k: rng.random(m.shape) < 0.3 for k, m in
              get_mask(model).items()}),
    )
    return model


def make_ticket():
    model = make_network()
    rewind = get_state(model)
    set_state(model, {k: 2 * v + 0.1 for k, v in rewind.items()})
    return Ticket.of(model, rewind=rewind, level=1), model


def served(path):
    # Its variables live as long as the loaded object does.
    loaded = tf.saved_model.load(str(path))
    return loaded.serve(X).numpy()


@pytest.mark.parametrize("kind", ["ticket", "masked", "stock"])
def test_serves_the_trained_network(tmp_path, kind):
    ticket, model = make_ticket()
    source = {
        "ticket": ticket, "masked": model, "stock": strip_masks(model),
    }[kind]
    path = tmp_path / "saved_model"
    export_saved_model(source, path)
    # XLA and oneDNN may fuse operations in another way.
    np.testing.assert_allclose(served(path), model(X), rtol=1e-4, atol=1e-4)
    assert os.listdir(tmp_path) == ["saved_model"]


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.flat, self.out = keras.layers.Flatten(), keras.layers.Dense(3)

    def call(self, x):
        return self.out(self.flat(x))


def test_a_model_that_cannot_be_copied_keeps_its_masks(tmp_path):
    model = Own()
    model(X)
    mask = prune(model, 0.5)
    export_saved_model(model, tmp_path / "saved_model")
    assert get_mask(model) == mask
    y = served(tmp_path / "saved_model")
    np.testing.assert_allclose(y, model(X), rtol=1e-4, atol=1e-4)


def test_tensorflow_alone_loads_it(tmp_path, python):
    ticket, model = make_ticket()
    export_saved_model(ticket, tmp_path / "saved_model")
    np.save(tmp_path / "x.npy", X)
    code = """
import sys
sys.modules["tf_lottery"] = sys.modules["keras"] = None
import numpy as np
from tensorflow.python.saved_model.load import load
model = load("saved_model")
y = model.signatures["serving_default"](
    **{k: __import__("tensorflow").constant(np.load("x.npy"))
       for k in model.signatures["serving_default"]
       .structured_input_signature[1]})
np.save("y.npy", next(iter(y.values())).numpy())
try:
    import tf_lottery
except ImportError:
    print("alone")
"""
    done = python("-c", code, cwd=tmp_path)
    assert done.stdout == "alone\n", done.stderr
    y = np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(y, model(X), rtol=1e-4, atol=1e-4)


def test_an_older_one_is_replaced(tmp_path):
    path = tmp_path / "saved_model"
    export_saved_model(make_network(1), path)
    (path / "stale").write_text("x")
    model = make_network(2)
    export_saved_model(model, str(path))
    assert not (path / "stale").exists()
    np.testing.assert_allclose(served(path), model(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("error", [OSError("full"), KeyboardInterrupt()])
def test_a_failure_leaves_the_older_one(tmp_path, monkeypatch, error, remote):
    path = tmp_path / "saved_model"
    path.mkdir()
    (path / "old").write_text("x")

    def fail(self, folder, **kwargs):
        os.makedirs(os.path.join(folder, "variables"))
        raise error

    monkeypatch.setattr(keras.Model, "export", fail)
    # Of a path it makes what is done for an address.
    monkeypatch.setattr(saved_model, "is_remote", lambda path: remote)
    with pytest.raises(type(error)):
        export_saved_model(make_network(), path)
    assert os.listdir(tmp_path) == ["saved_model"]
    assert os.listdir(path) == ["old"]


@pytest.mark.parametrize("make", [
    lambda path: path.write_text("a file"),
    lambda path: path.symlink_to(path.parent),
    lambda path: path.symlink_to(path.parent / "nothing"),
])
def test_what_is_no_folder_is_replaced_too(tmp_path, make):
    path = tmp_path / "saved_model"
    make(path)
    model = make_network()
    export_saved_model(model, path)
    assert os.listdir(tmp_path) == ["saved_model"] and not path.is_symlink()
    np.testing.assert_allclose(served(path), model(X), rtol=1e-4, atol=1e-4)


def test_a_rename_that_fails_leaves_the_older_one(tmp_path, monkeypatch):
    path = tmp_path / "saved_model"
    path.mkdir()
    (path / "old").write_text("x")
    honest = os.replace

    def fail(source, target):
        if str(target) == str(path) and "old" not in str(source):
            raise OSError("busy")
        honest(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="busy"):
        export_saved_model(make_network(), path)
    assert os.listdir(tmp_path) == ["saved_model"]
    assert os.listdir(path) == ["old"]


def test_only_what_a_dead_process_left_is_cleaned_up(tmp_path, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = {
        f"saved_model.{ended.pid}.tmp": False,
        f"saved_model.{ended.pid}.old.tmp": False,
        f"saved_model.{os.getpid()}.tmp": False,
        f"saved_model.{os.getppid()}.tmp": True,
        "saved_model.1.tmp": True,
        "saved_model.backup.tmp": True,
        "saved_model.2024.backup.tmp": True,
        f"saved_model.{10**30}.tmp": True,
    }
    for name in left:
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("x")
    export_saved_model(make_network(), tmp_path / "saved_model")
    assert set(os.listdir(tmp_path)) == {
        "saved_model", *(name for name, stays in left.items() if stays)
    }


def test_nothing_is_printed(tmp_path, capfd):
    model = make_network()
    capfd.readouterr()
    export_saved_model(model, tmp_path / "saved_model")
    captured = capfd.readouterr()
    assert captured.out == ""

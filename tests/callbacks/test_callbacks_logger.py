"""SparsityLogger: what is in the logs of fit and in the event file."""

import os
import sys
import warnings

import keras
import numpy as np
import pytest

from tf_lottery import prune
from tf_lottery.callbacks import GradualPruning
from tf_lottery.callbacks import SparsityLogger
from tf_lottery.layers import get_mask
from tf_lottery.layers import masked_kernels
from tf_lottery.schedules import ConstantSparsity


def events(folder):
    """`{tag: {epoch: array}}` of the one event file in a folder."""
    import tensorflow as tf

    (name,) = os.listdir(folder)
    found = {}
    for record in tf.data.TFRecordDataset(os.path.join(folder, name)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            array = tf.make_ndarray(value.tensor)
            found.setdefault(value.tag, {})[event.step] = array
    return found


def test_scalars_and_histograms_of_every_kernel(make, fit, tmp_path, recorder):
    pytest.importorskip("tensorboard")
    model = make()
    logger = SparsityLogger(tmp_path / "logs", histograms=2)
    pruning = GradualPruning(ConstantSparsity(0.7, begin_step=8, frequency=6))
    weights = {}

    class Weights(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            weights[epoch] = {
                k: np.asarray(raw)[np.asarray(mask) != 0]
                for k, (raw, mask) in masked_kernels(self.model).items()
            }

    callbacks = [pruning, logger, recorder, Weights()]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = fit(model, callbacks, epochs=3)
    found = events(tmp_path / "logs")
    assert sorted(found) == [
        "sparsity/a/kernel", "sparsity/all", "sparsity/out/kernel",
        "weights/a/kernel", "weights/out/kernel",
    ]
    for epoch, mask in enumerate(recorder.epochs):
        for path, kept in mask.kept_by_path.items():
            exact = np.float32(1 - kept / mask[path].size)
            assert found[f"sparsity/{path}"][epoch] == exact
        exact = (72 - mask.kept) / 72
        assert found["sparsity/all"][epoch] == np.float32(exact)
        assert history.history["sparsity"][epoch] == exact
    assert recorder.epochs[2].kept_by_path == {"a/kernel": 14, "out/kernel": 7}
    for path in ("a/kernel", "out/kernel"):
        histograms = found[f"weights/{path}"]
        assert sorted(histograms) == [0, 2]
        for epoch, buckets in histograms.items():
            values = weights[epoch][path]
            assert buckets[:, 2].sum() == values.size
            assert buckets[0, 0] == values.min()
            assert buckets[-1, 1] == values.max()
    # A second fit writes a file of its own; nothing is left open.
    assert logger._writer is None
    fit(model, logger)
    assert len(os.listdir(tmp_path / "logs")) == 2


@pytest.mark.any_backend
def test_the_logs_of_fit_without_a_folder(make, fit, tmp_path, monkeypatch):
    # tensorboard is asked for by `log_dir` alone.
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.chdir(tmp_path)
    model = make()
    prune(model, 0.25)
    history = fit(model, SparsityLogger(), epochs=2)
    assert history.history["sparsity"] == [0.25, 0.25]
    assert get_mask(model).sparsity == 0.25
    assert not os.listdir()
    with pytest.raises(ModuleNotFoundError) as error:
        SparsityLogger("logs")
    assert str(error.value) == (
        "`log_dir` must be None without the package tensorboard. Received: "
        "log_dir='logs'. Install it with pip install tensorboard."
    )


def test_no_histograms(make, fit, tmp_path):
    pytest.importorskip("tensorboard")
    fit(make(), SparsityLogger(tmp_path / "logs", histograms=0))
    assert not [k for k in events(tmp_path / "logs") if "weights" in k]


@pytest.mark.any_backend
def test_arguments_and_plain_models(fit):
    with pytest.raises(ValueError, match="histograms=-1. 0 writes none"):
        SparsityLogger(histograms=-1)
    x = keras.Input((6,))
    plain = keras.Model(x, keras.layers.Dense(3)(x))
    plain.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    with pytest.raises(ValueError, match="trained with SparsityLogger"):
        fit(plain, SparsityLogger())

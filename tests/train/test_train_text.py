"""Sequences of labels: losses and measures by hand, and masks that hold."""

import json
import math

import keras
import numpy as np
import pytest

from tf_lottery import Step
from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import prune
from tf_lottery import train
from tf_lottery.metric import PERPLEXITY
from tf_lottery.models import build_model
from tf_lottery.schedules import LearningRate
from tf_lottery.train.checkpoint import Snapshot
from tf_lottery.train.evaluate import Evaluator
from tf_lottery.train.strategy import xla_scope

LENGTH, SIZE = 5, 4


def text(count, seed=0):
    tokens = np.random.default_rng(seed).integers(
        0, SIZE, (count, LENGTH + 1), dtype=np.int32
    )
    return tokens[:, :-1], tokens[:, 1:]


@pytest.fixture(scope="module")
def table():
    """Logits of the next token by the last one: log-probabilities."""
    x = keras.Input((2,), dtype="int32")
    layer = keras.layers.Embedding(2, 2)
    model = keras.Model(x, layer(x))
    layer.embeddings.assign(np.log([[0.5, 0.5], [0.125, 0.875]]))
    return model


# After 0: 1, after 1: 0, of probabilities 1/2 and 1/8; twice a half.
X = np.array([[0, 1], [0, 0]], np.int32)
Y = np.array([[1, 0], [0, 1]], np.int32)


def test_perplexity_and_bits_by_hand(table):
    loss = train.example_loss(table)
    assert loss(Y, table(X)).numpy() / math.log(2) == pytest.approx([2.0, 1.0])
    measure = train.Measure(PERPLEXITY, {"test": 0.25})
    evaluate = Evaluator(table, loss, lambda x: x, measure=measure)
    row = evaluate.row(3, "test", evaluate.stage(X, Y))
    found = row.columns()
    assert list(found) == [
        "step", "split", "loss", "perplexity", "bits_per_character", "accuracy"
    ]
    # A mean of 1.5 bits per token, and four characters per token. Of equal
    # probabilities the first counts as the most likely.
    assert found["loss"] == pytest.approx(1.5 * math.log(2))
    assert found["perplexity"] == pytest.approx(2.0**1.5)
    assert found["bits_per_character"] == pytest.approx(1.5 / 4)
    assert found["accuracy"] == 0.25


def test_a_mask_of_an_embedding_leaves_no_label_out(table):
    """Token 0 is one of a text; nothing is padded with it."""
    layer = keras.layers.Embedding(2, 2, mask_zero=True)
    x = keras.Input((2,), dtype="int32")
    model = keras.Model(x, keras.layers.Activation("linear")(layer(x)))
    layer.set_weights(table.get_weights())
    losses = [
        train.example_loss(m)(Y, m(X)).numpy().tolist() for m in (model, table)
    ]
    assert losses[0] == losses[1]


def test_examples_of_many_labels_come_in_smaller_batches(table, monkeypatch):
    monkeypatch.setattr("tf_lottery.train.evaluate._PREDICTIONS", 5)
    evaluate = Evaluator(table, train.example_loss(table), lambda x: x)
    x, y = np.tile(X, (3, 1)), np.tile(Y, (3, 1))
    staged = evaluate.stage(x, y)
    assert staged.groups[0][0].shape == (3, 2, 2)
    loss, accuracy = evaluate(staged)
    assert (loss / math.log(2), accuracy) == pytest.approx((1.5, 0.25))


def test_a_loss_that_overflows_has_a_perplexity():
    measure = train.Measure(PERPLEXITY)
    found = measure("test", 1e4, 0.0)
    assert math.isfinite(found["perplexity"])
    assert "bits_per_character" not in found
    assert math.isnan(measure("test", math.nan, 0.0)["perplexity"])


def test_results_are_named_after_the_metric():
    rows = [
        train.Evaluation(step, split, {"loss": loss, "perplexity": p})
        for step, split, loss, p in [
            (0, "validation", 1.0, 2.0), (0, "test", 3.0, 4.0),
            (5, "validation", 5.0, 6.0), (5, "test", 7.0, 8.0),
            (5, "train", 9.0, 10.0),
        ]
    ]
    assert train.summarize(rows, PERPLEXITY) == {
        "test_perplexity": 8.0, "test_loss": 7.0, "val_perplexity": 6.0,
        "val_loss": 5.0, "train_perplexity": 10.0, "early_stop_step": 0,
        "early_stop_test_perplexity": 4.0, "early_stop_censored": False,
    }


def test_snapshots_keep_any_values_and_images_as_before(tmp_path):
    values = {"loss": 0.1 + 0.2, "perplexity": 3.0}
    rows = [
        train.Evaluation(1, "test", {"loss": 0.5, "accuracy": 0.25}),
        train.Evaluation(2, "test", values),
    ]
    checkpoint = train.Checkpoint(
        tmp_path / "c.npz", {}, notice=lambda text: None
    )
    checkpoint.save(Snapshot(1, rows, {}))
    assert checkpoint.load().rows == rows
    with np.load(tmp_path / "c.npz") as content:
        header = json.loads(content["header"].tobytes())
    assert header["rows"] == [[1, "test", 0.5, 0.25], [2, "test", values]]


@pytest.mark.parametrize("name", ["lstm_lm", "transformer_lm"])
def test_pruned_weights_stay_zero_in_every_step(name):
    model = mask_model(build_model(name, (LENGTH,), SIZE, seed=0))
    prune(model, 0.6, "random", seed=1)
    train_set, other = text(12), text(3, seed=1)
    trainer = train.Trainer(
        model,
        {"train": train_set, "validation": other, "test": other},
        train.TrainingSettings(
            train_steps=Step(3), batch_size=4, eval_every=Step(3), jit="off"
        ),
        preprocess=lambda x: x,
    )
    before = {v.path: v.numpy() for v in model.trainable_variables}
    mask = get_mask(model)
    for step in range(3):
        trainer.advance(step, step + 1, seed=0)
        for path, keep in mask.items():
            found = next(
                v.numpy() for v in model.trainable_variables if v.path == path
            )
            assert not found[~keep].any(), path
            assert not np.array_equal(found, before[path]), path


def test_training_is_told_by_perplexity(table):
    """A step of SGD is one down the mean over tokens, and is told so."""
    model = keras.models.clone_model(table)
    model.set_weights(table.get_weights())
    before = model.get_weights()[0]
    data = (X, Y)
    trainer = train.Trainer(
        model,
        {"train": data, "validation": data, "test": data},
        train.TrainingSettings(
            train_steps=Step(1), batch_size=2, eval_every=Step(1), jit="off",
            optimizer="sgd", momentum=0.0,
            learning_rate=LearningRate(1.0),
        ),
        preprocess=lambda x: x,
        measure=train.Measure(PERPLEXITY),
    )
    metrics = trainer(model, level=0, seed=0)
    # Of 4 tokens 3 follow a 0: 1, 0 and 1; and a 0 the 1.
    gradient = np.array([[3 / 2 - 1, 3 / 2 - 2], [1 / 8 - 1, 7 / 8]]) / 4
    found = model.get_weights()[0]
    np.testing.assert_allclose(found, before - gradient, atol=1e-6)
    assert metrics["test_perplexity"] == math.exp(metrics["test_loss"])
    assert [row.step for row in trainer.rows] == [0, 0, 1, 1, 1]


def test_xla_compiles_no_loop_of_a_recurrent_network():
    import tensorflow as tf

    strategy = tf.distribute.get_strategy()
    for name, scope in (("lstm_lm", "update"), ("transformer_lm", "loop")):
        model = build_model(name, (LENGTH,), SIZE, seed=0)
        assert xla_scope("auto", model, strategy) == scope

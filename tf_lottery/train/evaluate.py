"""Loss and accuracy over a whole data set, compiled."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One row of metrics.csv: how the model does on a split at a step."""

    step: int
    split: str
    loss: float
    accuracy: float


class Evaluator:
    """Computes the mean loss and the accuracy of a model.

    Args:
        model: gives logits, or probabilities where the loss expects these.
        loss: `(labels, outputs) -> per-example losses`.
        preprocess: from stored examples to the model's inputs.
        batch_size: examples per forward pass.
        jit: whether XLA compiles the loop.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Callable,
        preprocess: Callable,
        *,
        batch_size: int = 1000,
        jit: bool = False,
    ):
        def one_batch(x, y, valid):
            outputs = tf.cast(model(preprocess(x), training=False), tf.float32)
            best = tf.argmax(outputs, -1, tf.int32)
            right = tf.equal(best, tf.cast(y, tf.int32))
            return tf.stack(
                [
                    tf.reduce_sum(loss(y, outputs) * valid),
                    tf.reduce_sum(tf.cast(right, tf.float32) * valid),
                ]
            )

        @tf.function(jit_compile=jit)
        def evaluate(x, y, valid):
            count = x.shape[0]
            sums = tf.TensorArray(tf.float32, size=count)
            for i in tf.range(count):
                sums = sums.write(i, one_batch(x[i], y[i], valid[i]))
            return sums.stack()

        self._batch_size = batch_size
        self._evaluate = evaluate

    def stage(self, x: np.ndarray, y: np.ndarray) -> tuple:
        """Puts a data set on the device, in batches; pass it to a call.

        Args:
            x: `(examples, ...)`.
            y: `(examples,)` integer labels.
        """
        size = len(x)
        batch = min(self._batch_size, size)
        count = -(-size // batch)
        # The last batch is filled up with the first examples, which `valid`
        # leaves out of the sums.
        index = np.arange(count * batch) % size
        valid = (np.arange(count * batch) < size).astype(np.float32)
        return (
            tf.constant(x[index].reshape(count, batch, *x.shape[1:])),
            tf.constant(y[index].reshape(count, batch)),
            tf.constant(valid.reshape(count, batch)),
        )

    def __call__(self, staged: tuple) -> tuple[float, float]:
        """Returns `(mean loss, accuracy)` over a staged data set."""
        # Sums of a batch are float32; over batches they add up in float64.
        total = self._evaluate(*staged).numpy().astype(np.float64).sum(0)
        loss, right = total / float(np.sum(staged[2]))
        return float(loss), float(right)


def summarize(rows: Sequence[Evaluation]) -> dict[str, Any]:
    """Returns the results of one training under results.csv's column names.

    Early stopping is the step of the minimum validation loss, the first of
    equals. Where that is the last evaluation, the minimum may lie beyond:
    `early_stop_censored` is True.

    Args:
        rows: the evaluations of a training, the last of each split at the
            end.
    """
    by_split: dict[str, list[Evaluation]] = {}
    for row in rows:
        by_split.setdefault(row.split, []).append(row)
    validation = by_split["validation"]
    best = min(validation, key=lambda row: row.loss)
    at_best = next(r for r in by_split["test"] if r.step == best.step)
    return {
        "test_accuracy": by_split["test"][-1].accuracy,
        "test_loss": by_split["test"][-1].loss,
        "val_accuracy": validation[-1].accuracy,
        "val_loss": validation[-1].loss,
        "train_accuracy": by_split["train"][-1].accuracy,
        "early_stop_step": best.step,
        "early_stop_test_accuracy": at_best.accuracy,
        "early_stop_censored": best is validation[-1],
    }

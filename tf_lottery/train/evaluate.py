"""Loss and accuracy over a whole data set, compiled."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.metric import ACCURACY
from tf_lottery.metric import PERPLEXITY
from tf_lottery.metric import Metric
from tf_lottery.train import feed
from tf_lottery.train.losses import mean_of_example
from tf_lottery.train.normalization import estimate_statistics


# What one forward pass may predict: an example of text has many labels.
_PREDICTIONS = 10_000


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One row of metrics.csv: how the model does on a split at a step.

    Args:
        step: of the training.
        split: such as "test".
        values: what was measured, by name, the loss among them.
    """

    step: int
    split: str
    values: Mapping[str, float]

    @property
    def loss(self) -> float:
        """The mean loss."""
        return self.values["loss"]

    def columns(self) -> dict[str, Any]:
        """Returns the row as a dict by columns."""
        return {"step": self.step, "split": self.split, **self.values}


@dataclasses.dataclass(frozen=True)
class Measure:
    """What an evaluation tells, from mean loss and accuracy.

    Of text the perplexity `exp(loss)` and, where `tokens_per_character` are
    given, the bits per character `loss * tokens_per_character / log(2)`.

    Args:
        metric: what networks are judged by.
        tokens_per_character: of text, in each split.

    Example:
        >>> found = Measure(PERPLEXITY, {"test": 0.5})("test", 1.386294, 0.25)
        >>> {name: round(value, 4) for name, value in found.items()}
        ... # doctest: +NORMALIZE_WHITESPACE
        {'loss': 1.3863, 'perplexity': 4.0, 'bits_per_character': 1.0,
         'accuracy': 0.25}
    """

    metric: Metric = ACCURACY
    tokens_per_character: Mapping[str, float] | None = None

    def __call__(
        self, split: str, loss: float, accuracy: float
    ) -> dict[str, float]:
        """Returns the values of a row of metrics.csv.

        Args:
            split: that was evaluated.
            loss: mean over the examples, in nats.
            accuracy: fraction of the labels that were most likely.
        """
        values = {"loss": loss}
        if self.metric == PERPLEXITY:
            # Above, exp overflows, and a loss that is NaN stays so.
            values["perplexity"] = math.exp(min(loss, 700.0))
        if self.tokens_per_character:
            tokens = self.tokens_per_character[split]
            values["bits_per_character"] = loss * tokens / math.log(2.0)
        return {**values, "accuracy": accuracy}


@dataclasses.dataclass(frozen=True)
class Staged:
    """A data set in batches, ready to be evaluated.

    Args:
        size: number of examples.
        groups: batches that are evaluated in one call: `(x, y, valid)`, each
            `(batches, batch size, ...)`.
    """

    size: int
    groups: Iterable[tuple]


class Evaluator:
    """Computes the mean loss and the accuracy of a model.

    Args:
        model: gives logits, or probabilities where the loss expects these.
        loss: `(labels, outputs) -> per-example losses`.
        preprocess: from stored examples to the model's inputs.
        measure: what a row of metrics.csv tells.
        batch_size: examples per forward pass; fewer where they have many
            labels.
        jit: whether XLA compiles the loop.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Callable,
        preprocess: Callable,
        *,
        measure: Measure = Measure(),
        batch_size: int = 1000,
        jit: bool = False,
    ):
        def one_batch(x, y, valid):
            outputs = tf.cast(model(preprocess(x), training=False), tf.float32)
            best = tf.argmax(outputs, -1, tf.int32)
            # Labels of another shape would be broadcast.
            labels = tf.ensure_shape(tf.cast(y, tf.int32), best.shape)
            right = tf.equal(best, labels)
            right = mean_of_example(tf.cast(right, tf.float32))
            return tf.stack(
                [
                    tf.reduce_sum(loss(y, outputs) * valid),
                    tf.reduce_sum(right * valid),
                ]
            )

        @tf.function(jit_compile=jit)
        def evaluate(x, y, valid):
            count = x.shape[0]
            sums = tf.TensorArray(tf.float32, size=count)
            for i in tf.range(count):
                sums = sums.write(i, one_batch(x[i], y[i], valid[i]))
            return sums.stack()

        self._model = model
        self._preprocess = preprocess
        self._measure = measure
        self._batch_size = batch_size
        self._evaluate = evaluate
        self._traced: dict[tuple, Callable] = {}

    def stage(
        self, x: np.ndarray, y: np.ndarray, *, host: bool = False
    ) -> Staged:
        """Divides a data set into batches; pass it to a call.

        Args:
            x: `(examples, ...)`.
            y: `(examples, ...)` integer labels.
            host: keep the data on the host, and send them to the device in
                blocks, each while the one before is evaluated.
        """
        size = len(x)
        most = min(self._batch_size, max(1, _PREDICTIONS // y[0].size))
        batch = min(most, size)
        count = -(-size // batch)
        if host:
            fit = feed.BLOCK_BYTES // (batch * x[0].nbytes)
            count = max(1, min(count, fit))
        groups = -(-size // (count * batch))

        def group(number):
            # The last batches are filled up with the first examples, which
            # `valid` leaves out of the sums.
            index = np.arange(count * batch) + int(number) * count * batch
            valid = (index < size).astype(np.float32)
            return tuple(
                a.reshape(count, batch, *a.shape[1:])
                for a in (x[index % size], y[index % size], valid)
            )

        if not host:
            return Staged(size, [tuple(map(tf.constant, group(0)))])
        arrays = group(0)

        def tensors(number):
            types = [a.dtype for a in arrays]
            found = tf.numpy_function(group, [number], types)
            shapes = [a.shape for a in arrays]
            return tuple(map(tf.ensure_shape, found, shapes))

        numbers = tf.data.Dataset.range(groups)
        return Staged(size, numbers.map(tensors).prefetch(1))

    def __call__(self, staged: Staged) -> tuple[float, float]:
        """Returns `(mean loss, accuracy)` over a staged data set."""
        # Sums of a batch are float32; over batches they add up in float64.
        sums = [self._sums(*group).numpy() for group in staged.groups]
        total = np.concatenate(sums).astype(np.float64).sum(0)
        loss, right = total / staged.size
        return float(loss), float(right)

    def row(self, step: int, split: str, staged: Staged) -> Evaluation:
        """Evaluates the model on a split, for metrics.csv.

        Args:
            step: of the training.
            split: its name.
            staged: its data.
        """
        return Evaluation(step, split, self._measure(split, *self(staged)))

    def untrained(self, staged: Mapping[str, Staged]) -> list[Evaluation]:
        """Evaluates a network that is not trained, on every split.

        The moving statistics of BatchNormalization are taken anew before,
        over the first ten batches of the training set: they were another
        network's.

        Args:
            staged: `{"train": ..., "validation": ..., "test": ...}`.
        """
        batches = (x for xs, *_ in staged["train"].groups for x in xs)
        some = itertools.islice(batches, 10)
        estimate_statistics(self._model, map(self._preprocess, some))
        return [
            self.row(0, split, staged[split])
            for split in ("validation", "test", "train")
        ]

    def _sums(self, *group: tf.Tensor) -> tf.Tensor:
        # One per shape, and no warning that there are several.
        shapes = tuple(tuple(a.shape) for a in group)
        if shapes not in self._traced:
            concrete = self._evaluate.get_concrete_function(*group)
            self._traced[shapes] = concrete
        return self._traced[shapes](*group)


def summarize(
    rows: Sequence[Evaluation], metric: Metric = ACCURACY
) -> dict[str, Any]:
    """Returns the results of one training under results.csv's column names.

    Early stopping is the step of the minimum validation loss, the first of
    equals. Where that is the last evaluation, the minimum may lie beyond:
    `early_stop_censored` is True.

    Args:
        rows: the evaluations of a training, the last of each split at the
            end.
        metric: whose values are told beside the loss.
    """
    by_split: dict[str, list[Evaluation]] = {}
    for row in rows:
        by_split.setdefault(row.split, []).append(row)
    validation = by_split["validation"]
    best = min(validation, key=lambda row: row.loss)
    at_best = next(r for r in by_split["test"] if r.step == best.step)
    return {
        metric.test: by_split["test"][-1].values[metric.name],
        "test_loss": by_split["test"][-1].loss,
        metric.column("val"): validation[-1].values[metric.name],
        "val_loss": validation[-1].loss,
        metric.column("train"): by_split["train"][-1].values[metric.name],
        "early_stop_step": best.step,
        metric.early_stop: at_best.values[metric.name],
        "early_stop_censored": best is validation[-1],
    }


def check_examples(
    name: str,
    splits: Mapping[str, tuple[Any, Any]],
    model: keras.Model,
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Returns examples and labels as arrays, if they are a classifier's.

    Args:
        name: of the argument, for the errors.
        splits: `{split: (examples, labels)}`.
        model: built. Of a subclassed one the shape of the outputs is not
            known, nor looked at.

    Raises:
        ValueError: no split; one without examples, or with another number
            of labels; or labels that are not of the outputs' shape without its
            last axis, or no classes of that axis.

    Example:
        >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> x, y = np.ones((2, 4)), np.array([[0], [2]])
        >>> check_examples("data", {"test": (x, y)}, net)
        ... # doctest: +NORMALIZE_WHITESPACE
        Traceback (most recent call last):
        ...
        ValueError: `data` must have labels of shape (examples,). Received:
        labels of shape (2, 1) in test. Give class numbers, as
        y.reshape(len(y)) of a column or y.argmax(-1) of one-hot labels.
    """
    if not splits:
        raise ValueError(
            f"`{name}` must have at least one split. Received: {name}="
            f"{splits}. Give for example {{'test': (x, y)}}."
        )
    found = {}
    shape = getattr(model, "output_shape", None)
    for split, pair in splits.items():
        x, y = map(np.asarray, pair)
        if not 0 < len(x) == len(y):
            raise ValueError(
                f"`{name}` must have a label for each example, and one "
                f"example at least. Received: {len(x)} examples and {len(y)} "
                f"labels in {split}. Look at both."
            )
        found[split] = x, y
        if not isinstance(shape, tuple):
            continue
        axes = "".join(f" {n or 'any'}," for n in shape[1:-1])
        if y.ndim != len(shape) - 1 or any(
            n not in (None, m) for n, m in zip(shape[1:-1], y.shape[1:])
        ):
            raise ValueError(
                f"`{name}` must have labels of shape (examples,{axes[:-1]}). "
                f"Received: labels of shape {y.shape} in {split}. Give class "
                "numbers, as y.reshape(len(y)) of a column or y.argmax(-1) "
                "of one-hot labels."
            )
        if not 0 <= y.min() <= y.max() < shape[-1]:
            raise ValueError(
                f"`{name}` must have labels from 0 to {shape[-1] - 1}, as the "
                f"model has outputs. Received: labels from {y.min()} to "
                f"{y.max()} in {split}. Count the classes from 0."
            )
    return found


def check_finite(loss: float, name: str, level: int, when: str) -> None:
    """Raises RuntimeError where training has diverged.

    Args:
        loss: what must be finite.
        name: of the split, for the error.
        level: pruning level, for the error.
        when: in training, for the error.
    """
    if not math.isfinite(loss):
        raise RuntimeError(
            f"The {name} loss must stay finite. Received: loss={loss} at level "
            f"{level} {when}. Lower --learning_rate (of scores: "
            "--score_learning_rate), or add --warmup; finished "
            "levels are kept."
        )

"""Linear mode connectivity: the error on the line between two networks."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.masks import Mask
from tf_lottery.tickets import Ticket
from tf_lottery.train.evaluate import Evaluator
from tf_lottery.train.evaluate import check_examples
from tf_lottery.train.losses import example_loss
from tf_lottery.train.normalization import estimate_statistics

#: Barriers below this are no more than SGD noise (the paper's 2 %).
STABLE_BELOW = 0.02
#: Evenly spaced networks on a line, both ends among them.
POINTS = 30
# Batches that the statistics of normalisation are taken over.
_STATISTICS = 10

End = Ticket | Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Point:
    """One network on a line, on one split.

    Args:
        alpha: where: 0 is the first network, 1 the second.
        split: such as `"test"`.
        error: fraction of the examples that are classified wrongly.
        loss: mean over the examples.
    """

    alpha: float
    split: str
    error: float
    loss: float


@dataclasses.dataclass(frozen=True)
class Connectivity:
    """The line between two networks.

    Args:
        points: along the line, for every split.

    Example:
        >>> line = Connectivity(tuple(
        ...     Point(a, "test", e, 0.0)
        ...     for a, e in [(0.0, 0.25), (0.5, 0.75), (1.0, 0.5)]))
        >>> line.barrier("test"), line.stable
        (0.375, False)
    """

    points: tuple[Point, ...]

    def barrier(self, split: str = "test") -> float:
        """Returns `max_alpha E(alpha) - (E(0) + E(1)) / 2`.

        Args:
            split: whose error E is.

        Returns:
            A fraction of the examples, at least 0.

        Raises:
            ValueError: the line was not evaluated on this split.
        """
        errors = {p.alpha: p.error for p in self.points if p.split == split}
        if not errors:
            known = sorted({p.split for p in self.points})
            raise ValueError(
                f"`split` must be one of {', '.join(known)}. Received: "
                f"split={split!r}. Evaluate the line on it."
            )
        ends = (errors[min(errors)] + errors[max(errors)]) / 2
        return max(errors.values()) - ends

    @property
    def stable(self) -> bool:
        """Whether the barrier of the test error is below 2 %."""
        return self.barrier("test") < STABLE_BELOW


class LineEvaluator:
    """Evaluates lines between networks of one architecture.

    What is compiled serves every line; see `linear_connectivity`.

    Args:
        model: a built model; left as it was.
        data: `{split: (x, y)}`.
        loss: as in `linear_connectivity`.
        preprocess: as in `linear_connectivity`.
        batch_size: as in `linear_connectivity`.

    Raises:
        ValueError: the model has batch normalisation, and `data` no
            `"train"`; or labels are not classes of the model.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Mapping[str, tuple[np.ndarray, np.ndarray]],
        *,
        loss: Callable | None = None,
        preprocess: Callable = lambda x: tf.cast(x, tf.float32),
        batch_size: int = 1000,
    ):
        data = check_examples("data", data, model)
        self._model = model
        self._evaluate = Evaluator(
            model,
            loss or example_loss(model),
            preprocess,
            batch_size=batch_size,
        )
        self._staged = {k: self._evaluate.stage(*v) for k, v in data.items()}
        self._preprocess = preprocess
        normalizes = any(
            isinstance(layer, keras.layers.BatchNormalization)
            for layer in model._flatten_layers()
        )
        if normalizes and "train" not in data:
            raise ValueError(
                "`data` must hold a train split for a model with batch "
                f"normalisation. Received: data of {', '.join(data)}. Its "
                "statistics are taken anew on every point of the line."
            )

    def __call__(
        self, first: End, second: End, *, points: int = POINTS
    ) -> Connectivity:
        """Returns the line between two networks.

        Args:
            first: as in `linear_connectivity`.
            second: as in `linear_connectivity`.
            points: as in `linear_connectivity`.

        Raises:
            ValueError: as in `linear_connectivity`.
        """
        if points < 2:
            raise ValueError(
                "`points` must be at least 2, both ends of the line. "
                f"Received: points={points}. {POINTS} are usual."
            )
        model, masked = self._model, is_masked(self._model)
        mask, state = get_mask(model) if masked else None, get_state(model)
        try:
            (one, kept), (other, kept_too) = map(self._read, (first, second))
            if masked:
                set_mask(
                    model, Mask({k: m | kept_too[k] for k, m in kept.items()})
                )
            found = []
            for alpha in np.linspace(0.0, 1.0, points).tolist():
                set_state(model, _between(one, other, alpha))
                estimate_statistics(model, self._batches())
                for split, staged in self._staged.items():
                    loss, accuracy = self._evaluate(staged)
                    found.append(Point(alpha, split, 1.0 - accuracy, loss))
        finally:
            if mask is not None:
                set_mask(model, mask)
            set_state(model, state)
        return Connectivity(tuple(found))

    def _read(self, end: End) -> tuple[Mapping[str, np.ndarray], Any]:
        """State and mask, under the paths of the model."""
        if isinstance(end, Ticket):
            ticket = end.for_model(self._model)
            return ticket.trained, ticket.mask
        self._model.set_weights(end)
        mask = get_mask(self._model) if is_masked(self._model) else {}
        return get_state(self._model), mask

    def _batches(self):
        if "train" in self._staged:
            groups = self._staged["train"].groups
            batches = (x for xs, *_ in groups for x in xs)
            yield from map(
                self._preprocess, itertools.islice(batches, _STATISTICS)
            )


def linear_connectivity(
    model: keras.Model,
    first: End,
    second: End,
    data: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    points: int = POINTS,
    loss: Callable | None = None,
    preprocess: Callable = lambda x: tf.cast(x, tf.float32),
    batch_size: int = 1000,
) -> Connectivity:
    """Returns error and loss along the line between two trained networks.

    `W(alpha) = (1 - alpha) W1 + alpha W2`, with W1 of `first` and W2 of
    `second`: weights, and what else is stored as floating-point numbers, such
    as frozen kernels. Two exceptions:

    * Moving statistics of batch normalisation (of layers that are trainable)
      are taken anew at every point, both ends included, so that all are
      measured alike: the mean over the first ten batches of the train split.
      The ends so differ a little from what training reported.
    * Whole numbers, such as seeds, are those of `first`.

    Of two masked networks the union of the masks acts: where one has pruned a
    weight, it moves from 0 or to 0.

    Args:
        model: a built classifier of the architecture, masked or not; it is
            left as it was. What it holds is of no matter.
        first: a `Ticket`, whose trained weights are meant, or what
            `model.get_weights()` returned.
        second: the other end.
        data: `{split: (x, y)}`, x `(examples, ...)` and y `(examples,)`
            integer labels; `"test"` and `"train"`, as a rule.
        points: evenly spaced networks, both ends among them.
        loss: `(y, outputs) -> per-example losses`; cross-entropy if None.
        preprocess: from a batch of x to the model's inputs.
        batch_size: examples per forward pass.

    Returns:
        A `Connectivity`: its `points`, `barrier(split)` and `stable`.

    Raises:
        ValueError: fewer than two points, weights that the model does not
            have, labels that are not classes of it, or no train split for
            batch normalisation.

    Example:
        >>> net = keras.Sequential([
        ...     keras.Input((2,)), keras.layers.Dense(2, use_bias=False)])
        >>> test = np.eye(2, dtype="float32"), np.arange(2)
        >>> good, bad = np.eye(2), np.eye(2)[::-1]
        >>> line = linear_connectivity(
        ...     net, [good], [bad], {"test": test}, points=4)
        >>> [p.error for p in line.points]
        [0.0, 0.0, 1.0, 1.0]
        >>> line.barrier()
        0.5

    Reference:
        Frankle, Dziugaite, Roy and Carbin, "Linear Mode Connectivity and the
        Lottery Ticket Hypothesis", 2020, arXiv:1912.05671, section 2.
    """
    evaluator = LineEvaluator(
        model, data, loss=loss, preprocess=preprocess, batch_size=batch_size
    )
    return evaluator(first, second, points=points)


def _between(
    one: Mapping[str, np.ndarray],
    other: Mapping[str, np.ndarray],
    alpha: float,
) -> dict[str, np.ndarray]:
    state = {}
    for path, value in one.items():
        value = np.asarray(value)
        if keras.backend.is_float_dtype(value.dtype.name):
            # In float64 the ends, and what is equal at both, come out exact.
            start = value.astype(np.float64)
            way = np.asarray(other[path]).astype(np.float64) - start
            value = (start + alpha * way).astype(value.dtype)
        state[path] = value
    return state

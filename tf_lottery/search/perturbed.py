"""Weights that may move by at most epsilon: projected training."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tf_lottery.layers import masked_kernels
from tf_lottery.layers import read
from tf_lottery.methods import UNITS


class EpsilonBall:
    """Keeps every weight of a model's kernels within epsilon of where it was.

        |w - w0| <= epsilon, for every weight, after every step:

    the projection is Keras' own constraint of a variable, which every Keras
    optimizer applies after each step, in `model.fit` too. It is exact: the
    bounds are the float32 numbers next to `w0 - epsilon` and `w0 + epsilon`
    on the inner side. What else the model trains, biases and the scales of
    normalisation, stays where it was. Make it before the model is compiled or
    a `Trainer` is made for it; outside `around` the weights are free.

    Args:
        model: masked.

    Raises:
        ValueError: a variable has a constraint of the user's own, or there is
            a ball for this model already (`EpsilonBall.of`).

    Example:
        >>> from tf_lottery import mask_model
        >>> model = mask_model(keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(2, name="out")]))
        >>> ball, before = EpsilonBall(model), model.get_weights()[0]
        >>> model.compile(keras.optimizers.SGD(1.0), "mse")
        >>> with ball.around(0.01):
        ...     _ = model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)
        >>> moved = np.float64(model.get_weights()[0]) - before
        >>> bool((abs(moved) <= 0.01).all() and abs(moved).max() > 0.009)
        True

    Reference:
        Xiong, Liao and Kyrillidis, "Strong Lottery Ticket Hypothesis with
        epsilon-perturbation", 2023, arXiv:2210.16589: projected SGD.
    """

    def __init__(self, model: keras.Model):
        if hasattr(model, "_tf_lottery_ball"):
            raise ValueError(
                "`model` must have no EpsilonBall yet. Received: model "
                f"{model.name!r} with one. Use EpsilonBall.of(model)."
            )
        self._kernels = {
            id(raw) for raw, _ in masked_kernels(model).values()
        }
        self._weights = list(model.trainable_variables)
        for weight in self._weights:
            if weight.constraint is not None:
                raise ValueError(
                    "`model` must have no constraints of its own. Received: "
                    f"{weight.constraint!r} of {weight.path}. Only one can be "
                    "applied after a step."
                )
            weight.constraint = _Between(weight)
        # How Trainer and find_at_sparsities find it again.
        model._tf_lottery_ball = self

    @classmethod
    def of(cls, model: keras.Model) -> EpsilonBall:
        """Returns the model's own, made if there is none."""
        return getattr(model, "_tf_lottery_ball", None) or cls(model)

    @contextlib.contextmanager
    def around(
        self, epsilon: float, unit: str = "absolute"
    ) -> Iterator[None]:
        """Inside it the weights stay near where they are now.

        Args:
            epsilon: how far each may move, at least 0.
            unit: `"absolute"`, or `"sigma"`: epsilon times the standard
                deviation of the weights that the kernel keeps now.

        Raises:
            ValueError: as `check_epsilon`; or the weights of a kernel are
                all alike, and have no deviation.
        """
        check_epsilon(epsilon, unit)
        for weight in self._weights:
            reach = 0.0
            if id(weight) in self._kernels:
                reach = float(epsilon)
                if unit == "sigma":
                    spread = sigma(read(weight))
                    if reach and not spread:
                        raise ValueError(
                            "`unit` must be absolute for weights that do not "
                            f"differ. Received: unit='sigma', {weight.path}. "
                            "Or initialise them at random."
                        )
                    reach *= spread
            weight.constraint.close(read(weight), reach)
        try:
            yield
        finally:
            for weight in self._weights:
                # What writes weights between steps, as an optimizer's moving
                # average does at the end of training, is projected too.
                weight.assign(weight.constraint(weight))
                weight.constraint.open()


class _Between(keras.constraints.Constraint):
    """Two bounds for every entry of a variable; infinite at first."""

    def __init__(self, weight: keras.Variable):
        self._low, self._high = (
            keras.Variable(
                np.full(weight.shape, value),
                dtype=weight.dtype,
                trainable=False,
                name=f"{weight.name}_{name}",
            )
            for name, value in (("low", -np.inf), ("high", np.inf))
        )

    def __call__(self, w):
        return keras.ops.clip(w, self._low, self._high)

    def close(self, center: np.ndarray, reach: float) -> None:
        """Puts the bounds around `center`."""
        low, high = bounds(center, reach)
        self._low.assign(low)
        self._high.assign(high)

    def open(self) -> None:
        """Takes the bounds away."""
        self._low.assign(np.full(self._low.shape, -np.inf))
        self._high.assign(np.full(self._high.shape, np.inf))


def bounds(
    center: np.ndarray, reach: float
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the least and the largest number within `reach` of each.

    Args:
        center: of a floating-point type, which the bounds have too.
        reach: at least 0; may be infinite.

    Example:
        >>> low, high = bounds(np.float32([1.0]), 0.1)
        >>> bool(1 - np.float64(low[0]) <= 0.1 < 1 - np.nextafter(
        ...     low[0], np.float32(0), dtype="float32"))
        True
    """
    exact = np.asarray(center, np.float64)
    kind = np.asarray(center).dtype
    result = []
    for sign in (-1.0, 1.0):
        with np.errstate(over="ignore"):
            # A bound may be infinite.
            bound = (exact + sign * reach).astype(kind)
        # Rounded outwards it would let a weight too far.
        outside = sign * (bound.astype(np.float64) - exact) > reach
        inner = np.nextafter(bound, np.asarray(center), dtype=kind)
        result.append(np.where(outside, inner, bound))
    return result[0], result[1]


def sigma(kernel: np.ndarray) -> float:
    """Returns the standard deviation of the nonzero entries of a kernel."""
    kept = np.asarray(kernel, np.float64)
    kept = kept[kept != 0]
    return float(kept.std()) if kept.size else 0.0


def check_epsilon(epsilon: float, unit: str) -> None:
    """Raises ValueError unless weights can be kept within `epsilon`."""
    if unit not in UNITS:
        raise ValueError(
            f"`unit` must be one of {', '.join(UNITS)}. Received: "
            f"unit={unit!r}. Choose one of these."
        )
    number = isinstance(epsilon, (int, float, np.number))
    if not number or not math.isfinite(epsilon) or epsilon < 0:
        raise ValueError(
            "`epsilon` must be a finite number of at least 0. Received: "
            f"epsilon={epsilon!r}. 0 lets no weight move."
        )


def within_epsilon(
    train: Callable[..., Any], epsilon: float, unit: str = "absolute"
) -> Callable[..., Any]:
    """Returns `train`, with the weights kept near where it begins.

    Args:
        train: as in `find_tickets`.
        epsilon: as in `EpsilonBall.around`.
        unit: likewise.
    """
    check_epsilon(epsilon, unit)

    def near(model: keras.Model, **how: Any) -> Any:
        with EpsilonBall.of(model).around(epsilon, unit):
            return train(model, **how)

    return near

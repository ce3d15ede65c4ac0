"""Optimizers by name, and how one starts anew."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np

# name -> (learning rate, momentum, weight decay) -> optimizer. AdamW decays
# the weights itself; for the others the loop adds weight_decay * w to the
# gradient, as the papers' L2 regularisation does.
OPTIMIZERS: dict[str, Callable[..., keras.optimizers.Optimizer]] = {
    "adam": lambda rate, momentum, decay: keras.optimizers.Adam(rate),
    "adamw": lambda rate, momentum, decay: keras.optimizers.AdamW(
        rate, weight_decay=decay
    ),
    "rmsprop": lambda rate, momentum, decay: keras.optimizers.RMSprop(rate),
    "sgd": lambda rate, momentum, decay: keras.optimizers.SGD(
        rate, momentum=momentum
    ),
}
DECOUPLED = ("adamw",)


def check_optimizer(name: str) -> None:
    """Raises ValueError unless `name` is in `OPTIMIZERS`."""
    if name not in OPTIMIZERS:
        raise ValueError(
            f"`optimizer` must be one of {', '.join(sorted(OPTIMIZERS))}. "
            f"Received: optimizer={name!r}. Choose one of these."
        )


def make_optimizer(
    name: str,
    *,
    learning_rate: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
) -> keras.optimizers.Optimizer:
    """Returns a new Keras optimizer.

    Args:
        name: a name in `OPTIMIZERS`.
        learning_rate: positive.
        momentum: of `sgd`, in [0, 1); the others ignore it.
        weight_decay: of `adamw`, decoupled; the training loop applies it for
            the others.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> make_optimizer("sgd", learning_rate=0.1).momentum
        0.9
    """
    check_optimizer(name)
    return OPTIMIZERS[name](learning_rate, momentum, weight_decay)


class OptimizerSnapshot:
    """The state of a built optimizer that has taken no step yet.

    Assigning zeros is not a reset: an Adagrad accumulator does not start at
    zero, and neither does a loss scale. So the start is kept and restored.

    Args:
        optimizer: built, before its first step.
    """

    def __init__(self, optimizer: keras.optimizers.Optimizer):
        self._optimizer = optimizer
        self._values = [
            np.array(np.asarray(v))
            for v in optimizer.variables
        ]

    def restore(self) -> None:
        """Puts the optimizer back to before its first step."""
        for variable, value in zip(
            self._optimizer.variables, self._values, strict=True
        ):
            variable.assign(value)

"""What a criterion is given to score by, and the errors where it is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import numpy as np

from tf_lottery.layers import named_variables
from tf_lottery.masks import match_paths

if TYPE_CHECKING:
    from tf_lottery.pruners.base import PruningContext

_GIVE = {
    "x": "Pass a batch of inputs, the examples first.",
    "y": "Pass the targets of the inputs x.",
    "loss": (
        "Pass a function (y, outputs) -> losses or a Keras loss, or compile "
        "the model with one."
    ),
    "initial": (
        "Pass {path: array}, the weights that training began with, such as a "
        "ticket's rewind weights."
    ),
}


def require(context: PruningContext, *names: str) -> None:
    """Raises ValueError, naming it, where a part of a context is None.

    Args:
        context: the pruning's.
        *names: of `"x"`, `"y"`, `"loss"` (a compiled model's will do) and
            `"initial"`.
    """
    for name in names:
        value = getattr(context, name)
        if name == "loss" and value is None:
            value = context.model.loss
        if value is None:
            raise ValueError(
                f"`{name}` must be given for this criterion. Received: "
                f"{name}=None. {_GIVE[name]}"
            )


def loss_of(context: PruningContext) -> Callable:
    """Returns the loss `(y, outputs) -> losses`, one loss per example.

    Args:
        context: with a loss of its own, or with a compiled model.

    Raises:
        ValueError: there is none, or one per output, as of a compiled model
            of several.
    """
    require(context, "loss")
    loss = context.model.loss if context.loss is None else context.loss
    outputs = getattr(context.model, "outputs", None) or ()
    if context.loss is None and len(outputs) > 1:
        # Keras adds up a compiled loss over them, each with its targets.
        raise ValueError(
            "`loss` must be given for a model of several outputs. Received: "
            f"loss=None, for {len(outputs)} outputs. Pass a function "
            "(y, outputs) -> losses of all outputs."
        )
    if isinstance(loss, str):
        loss = keras.losses.get(loss)
    if not callable(loss):
        raise ValueError(
            "`loss` must be one function of all outputs. Received: "
            f"loss={loss!r}. Pass a function (y, outputs) -> losses."
        )
    if isinstance(loss, keras.losses.Loss):
        # A sum over the batch would make small batches count less.
        loss = copy.copy(loss)
        loss.reduction = None
    return loss


def count_examples(context: PruningContext) -> int:
    """Returns the number of examples.

    Args:
        context: with x and y, arrays or structures of arrays.

    Raises:
        ValueError: there are none, x and y do not have as many, or the batch
            size is not a positive whole number.
    """
    size = context.batch_size
    if isinstance(size, bool) or not (
        isinstance(size, (int, np.integer)) and size > 0
    ):
        raise ValueError(
            "`batch_size` must be a positive whole number. Received: "
            f"batch_size={size!r}. It only bounds the memory used."
        )
    counts = {
        name: [
            int(np.shape(a)[0]) if np.ndim(a) else 0
            for a in keras.tree.flatten(value)
        ]
        for name, value in (("x", context.x), ("y", context.y))
    }
    first = counts["x"][0] if counts["x"] else 0
    if not first:
        raise ValueError(
            "`x` must be arrays of at least one example. Received: "
            f"x={type(context.x).__name__} of lengths {_text(counts['x'])}."
            " Pass NumPy arrays with the examples first."
        )
    if {*counts["x"], *counts["y"]} != {first}:
        raise ValueError(
            "`y` must have one target per example of x. Received: lengths "
            f"{_text(counts['y'])} for x of lengths {_text(counts['x'])}. "
            "Pass the targets of these very inputs."
        )
    return first


def _text(lengths: list[int]) -> str:
    # Rows as lists are as many numbers.
    more = f" and {len(lengths) - 8} more" if len(lengths) > 8 else ""
    return f"{lengths[:8]}{more}"


def initial_kernels(context: PruningContext) -> dict[str, np.ndarray]:
    """Returns the kernels that training began with, by the model's paths.

    Args:
        context: `context.initial` has at least the kernels, or the whole
            state of the same model built anew, whose names Keras numbers
            otherwise.

    Raises:
        ValueError: there are none, or they are not of this architecture.
    """
    require(context, "initial")
    initial = {k: np.asarray(v) for k, v in (context.initial or {}).items()}
    kernels = context.kernels
    given = {k: k for k in kernels}
    if not initial.keys() >= kernels.keys():
        given = match_paths(
            {k: v.shape for k, v in named_variables(context.model).items()},
            {k: v.shape for k, v in initial.items()},
            "initial",
        )
    elif any(initial[k].shape != w.shape for k, w in kernels.items()):
        match_paths(
            {k: w.shape for k, w in kernels.items()},
            {k: initial[k].shape for k in kernels},
            "initial",
        )
    return {path: initial[given[path]] for path in kernels}

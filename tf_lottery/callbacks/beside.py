"""What a callback must know of the `fit` that calls it."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable

import keras
import numpy as np

from tf_lottery.layers import inner_optimizers


def callbacks_beside(callback: keras.callbacks.Callback) -> list:
    """Returns the other callbacks of the same `fit`.

    To be called from one of the callback's own hooks. Keras hands a callback
    the model and the parameters of `fit`, but not its list, so this reads it
    from the caller's frame; a loop without a `CallbackList` has no others.
    """
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.callbacks.CallbackList):
            if callback in owner.callbacks:
                return [c for c in owner.callbacks if c is not callback]
        frame = frame.f_back
    return []


def refuse_beside(
    callback: keras.callbacks.Callback,
    refused: Callable[[keras.callbacks.Callback], bool],
    reason: str,
) -> None:
    """Raises ValueError where a callback beside is one of the refused."""
    for other in callbacks_beside(callback):
        if refused(other):
            raise ValueError(
                "`callbacks` must go together. Received: "
                f"{type(other).__name__} beside {type(callback).__name__}. "
                f"{reason}"
            )


def batches_per_update(model: keras.Model) -> int:
    """Returns how many batches the optimizer accumulates in one update."""
    outer = model.optimizer
    optimizers = inner_optimizers(outer) or [outer]
    return getattr(optimizers[0], "gradient_accumulation_steps", None) or 1


def check_execution(model: keras.Model, name: str, steps: int) -> None:
    """Raises ValueError unless `steps` updates are whole executions of `fit`.

    Callbacks are called once in `steps_per_execution` batches.
    """
    execution = model.steps_per_execution
    if steps * batches_per_update(model) % execution:
        raise ValueError(
            "`steps_per_execution` must divide every step at which weights "
            f"are pruned. Received: steps_per_execution={execution}, "
            f"{name}={steps}. Compile with one that divides it."
        )


def check_epoch(callback: keras.callbacks.Callback) -> None:
    """Raises ValueError unless an epoch of `fit` is whole executions.

    An epoch of unknown length passes; what it misses is found on the way.
    """
    execution = callback.model.steps_per_execution
    steps = (callback.params or {}).get("steps")
    if steps and steps % execution:
        raise ValueError(
            "`steps_per_execution` must divide the steps of an epoch. "
            f"Received: steps_per_execution={execution}, and epochs of "
            f"{steps} steps. Compile with one that divides them."
        )


def check_stepped(model: keras.Model, before: int) -> None:
    """Raises RuntimeError where an epoch went by without the optimizer.

    A `train_step` with optimizers of its own, as of a GAN, leaves the one that
    Keras compiled unused; steps cannot be counted then, nor state cleared.

    Args:
        model: that has been trained for an epoch.
        before: `count_batches` of its optimizer before.
    """
    # While its scale is too large, a LossScaleOptimizer takes no steps.
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    if not scaled and count_batches(model) == before:
        raise RuntimeError(
            "`model.optimizer` must be what trains the model. Received: "
            f"{model.optimizer.name!r}, which took no step in an epoch. Pass "
            "the optimizer to compile; with several, mask and prune the parts "
            "that each trains, in a loop of your own."
        )


def count_batches(model: keras.Model) -> int:
    """Returns how many batches the model's optimizer has been given."""
    return int(np.asarray(model.optimizer._iterations))


def require_masked(callback: keras.callbacks.Callback, masked: bool) -> None:
    """Raises ValueError unless the model that is trained has masks."""
    if not masked:
        raise ValueError(
            "`model` must have masks. Received: a model without, trained with "
            f"{type(callback).__name__}. Pass it through mask_model before "
            "compile."
        )


def maximises(mode: str, monitor: str) -> bool:
    """Returns whether a metric in the logs of `fit` is better when larger.

    Args:
        mode: `"min"`, `"max"`, or `"auto"`: max for accuracies and AUC.
        monitor: its name.

    Raises:
        ValueError: another mode.
    """
    if mode not in ("auto", "min", "max"):
        raise ValueError(
            "`mode` must be 'auto', 'min' or 'max'. Received: "
            f"mode={mode!r}. auto maximises accuracies and AUC."
        )
    if mode == "auto":
        return any(word in monitor for word in ("acc", "auc"))
    return mode == "max"

"""GraSP: pruning that preserves the gradient flow."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from numbers import Real

import keras
import numpy as np

from tf_lottery.layers import walk
from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import register
from tf_lottery.pruners.gradients import Batch
from tf_lottery.pruners.gradients import Objective
from tf_lottery.pruners.gradients import average
from tf_lottery.pruners.gradients import kernel_gradients
from tf_lottery.pruners.gradients import replaced


def hessian_product(
    objective: Objective, batch: Batch, vector: Sequence
) -> list:
    """Returns the Hessian of a batch's mean loss times a vector of kernels.

    Args:
        objective: the mean loss.
        batch: some examples.
        vector: arrays or tensors, one per kernel and of its shape.

    Returns:
        Tensors, one per kernel and of its shape.
    """
    import tensorflow as tf

    kernels = objective.kernels()
    with tf.GradientTape(watch_accessed_variables=False) as outer:
        outer.watch(kernels)
        with tf.GradientTape(watch_accessed_variables=False) as inner:
            inner.watch(kernels)
            loss = objective(batch, kernels=kernels)
        gradients = inner.gradient(
            loss, kernels, unconnected_gradients="zero"
        )
        product = tf.add_n(
            [
                tf.reduce_sum(gradient * tf.cast(v, gradient.dtype))
                for gradient, v in zip(gradients, vector)
            ]
        )
    return outer.gradient(product, kernels, unconnected_gradients="zero")


@register("grasp")
class GraSP(Pruner):
    """Keeps the gradient flow: `score = w * (H g)`.

    g and H are the gradient and the Hessian of the mean loss over `x`, `y` by
    the kernels. Removing a weight w changes the squared norm of g by
    `-2 w (H g)`, to first order: where the score is high, that would slow
    down the training that follows. (The paper removes the highest
    `-w * (H g)`, which is the same.) Every weight is judged as if it alone
    were removed, at a freshly initialised network.

    Layers of the policy mixed_float16 compute in float32 for it: divided by T
    twice, H g would be 0 in float16.

    Args:
        temperature: T; the model's outputs are divided by it before the
            loss, as in the paper's code. They should be logits.
        rounds: how often the survivors are scored anew.

    Raises:
        ValueError: the temperature is not positive.

    Example:
        >>> from tf_lottery.pruners import scores
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[3.0], [-1.0]]), np.zeros(1)])
        >>> data = dict(x=np.array([[1.0, 2.0]]), y=np.zeros((1, 1)))
        >>> found = scores(model, GraSP(temperature=1), loss="mse", **data)
        >>> found["out/kernel"].ravel().tolist()
        [60.0, -40.0]

    Reference:
        Wang et al., "Picking Winning Tickets Before Training by Preserving
        Gradient Flow", 2020, arXiv:2002.07376, equation 8 and algorithm 2.
    """

    needs = ("x", "y", "loss")

    def __init__(self, temperature: float = 200.0, rounds: int = 1):
        if not (isinstance(temperature, Real) and temperature > 0):
            raise ValueError(
                "`temperature` must be positive. Received: "
                f"temperature={temperature!r}. Give 1 for the outputs as they "
                "are."
            )
        self.temperature: float = float(temperature)
        self.rounds = rounds

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `w * (H g)`.

        Raises:
            ValueError: there are kernels of float16.
        """
        half = [k for k, w in context.kernels.items() if w.dtype == "float16"]
        if half:
            raise ValueError(
                "`model` must have kernels of float32 for criterion grasp. "
                f"Received: {', '.join(half)} of float16, in which H g would "
                "be 0. Build it under the policy mixed_float16."
            )
        t = self.temperature
        with _in_float32(context.model):
            g = average(context, kernel_gradients, temperature=t)
            found = average(context, hessian_product, g, temperature=t)
        return {path: w * found[path] for path, w in context.kernels.items()}


def _in_float32(
    model: keras.Model,
) -> contextlib.AbstractContextManager[None]:
    """Inside it layers of mixed_float16 compute in float32."""
    policy = keras.DTypePolicy("float32")
    return replaced(
        [
            (layer, {"_dtype_policy": policy})
            for layer in (model, *walk(model))
            if layer.compute_dtype == "float16" != layer.variable_dtype
        ]
    )

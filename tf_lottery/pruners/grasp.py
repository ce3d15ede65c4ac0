"""GraSP: pruning that preserves the gradient flow."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np

from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import register
from tf_lottery.pruners.gradients import Batch
from tf_lottery.pruners.gradients import Objective
from tf_lottery.pruners.gradients import average
from tf_lottery.pruners.gradients import kernel_gradients


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
        """Returns `w * (H g)`."""
        t = self.temperature
        gradients = average(context, kernel_gradients, temperature=t)
        found = average(context, hessian_product, gradients, temperature=t)
        return {path: w * found[path] for path, w in context.kernels.items()}

"""Pruning by the diagonal of the empirical Fisher information."""

from __future__ import annotations

import keras
import numpy as np

from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import register
from tf_lottery.pruners.gradients import Batch
from tf_lottery.pruners.gradients import Objective
from tf_lottery.pruners.gradients import average
from tf_lottery.pruners.gradients import kernel_gradients


def squared_gradients(objective: Objective, batch: Batch) -> list:
    """Returns the mean over a batch of each example's squared gradients.

    Args:
        objective: the mean loss, called with one example at a time.
        batch: some examples.

    Returns:
        Tensors, one per kernel and of its shape.
    """
    import tensorflow as tf

    size = tf.shape(keras.tree.flatten(batch.x)[0])[0]

    def add(i, totals):
        x, y = keras.tree.map_structure(
            lambda a: a[i : i + 1], (batch.x, batch.y)
        )
        found = kernel_gradients(objective, batch._replace(x=x, y=y))
        return i + 1, [t + tf.square(g) for t, g in zip(totals, found)]

    zeros = [tf.zeros_like(kernel) for kernel in objective.kernels()]
    # One example at a time: the gradients of a batch would take as many
    # copies of the weights.
    _, totals = tf.while_loop(
        lambda i, totals: i < size, add, [0, zeros], parallel_iterations=1
    )
    return [total / tf.cast(size, total.dtype) for total in totals]


@register("fisher")
class Fisher(Pruner):
    """Keeps what costs most to remove: `score = w^2 / 2 * mean_i(g_i^2)`.

    g_i is the gradient of example i's own loss, and the mean of its square
    the diagonal of the empirical Fisher information. That stands for the
    Hessian's in the second-order Taylor expansion of the loss at a trained
    network, where the mean gradient vanishes; so it is meant for after
    training. Up to the factor it is also the first-order Taylor criterion
    with the square taken example by example.

    The model is called as in inference: one example has no batch statistics,
    and dropout would add noise to every example.

    Example:
        >>> from tf_lottery.pruners import scores
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[3.0], [-1.0]]), np.zeros(1)])
        >>> data = dict(x=np.array([[1.0, 0], [1, 2]]), y=np.zeros((2, 1)))
        >>> found = scores(model, "fisher", loss="mse", **data)
        >>> found["out/kernel"].ravel().tolist()
        [90.0, 4.0]

    Reference:
        Theis et al., "Faster gaze prediction with dense networks and Fisher
        pruning", 2018, arXiv:1801.05787, equation 8 (for single weights);
        LeCun et al., "Optimal Brain Damage", 1990, for the expansion.
    """

    needs = ("x", "y", "loss")

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `w^2 / 2 * mean_i(g_i^2)`."""
        found = average(context, squared_gradients, training=False, loops=True)
        return {
            path: np.square(w) / 2 * found[path]
            for path, w in context.kernels.items()
        }

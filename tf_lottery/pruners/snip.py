"""SNIP, in one round and in many, and FORCE."""

from __future__ import annotations

import numpy as np

from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import register
from tf_lottery.pruners.gradients import Batch
from tf_lottery.pruners.gradients import Objective
from tf_lottery.pruners.gradients import average


def mask_gradients(objective: Objective, batch: Batch) -> list:
    """Returns the gradients of a batch's mean loss by the masks.

    Args:
        objective: the mean loss.
        batch: some examples.

    Returns:
        Tensors, one per kernel and of its shape: `w * dL/dw'` at the masked
        weights `w' = c * w`, also where the mask c is 0.
    """
    import tensorflow as tf

    masks = objective.masks()
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(masks)
        loss = objective(batch, masks=masks)
    return tape.gradient(loss, masks, unconnected_gradients="zero")


@register("snip")
class SNIP(Pruner):
    """Keeps the connections that the loss feels most: `score = |dL/dc|`.

    With the mask c multiplied in, `dL/dc = w * dL/dw` at c = 1: what the loss
    changes by, to first order, where a weight w is removed. L is the mean
    loss over `x`, `y`. The paper divides by the sum of all scores, which
    changes no order. Squared, as the first-order Taylor criterion of Molchanov
    et al. (2019, arXiv:1906.10771, equation 8) is for single weights, the
    order is the same.

    The paper scores freshly initialised networks (variance scaling) once.

    Args:
        rounds: how often the survivors are scored anew.

    Example:
        >>> from tf_lottery.pruners import scores
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[3.0], [-1.0]]), np.zeros(1)])
        >>> data = dict(x=np.array([[1.0, 2.0]]), y=np.zeros((1, 1)))
        >>> found = scores(model, "snip", loss="mse", **data)
        >>> found["out/kernel"].ravel().tolist()
        [6.0, 4.0]

    Reference:
        Lee et al., "SNIP: Single-shot Network Pruning based on Connection
        Sensitivity", 2019, arXiv:1810.02340, equations 4 and 5.
    """

    needs = ("x", "y", "loss")

    def __init__(self, rounds: int = 1):
        self.rounds = rounds

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `|dL/dc|`."""
        found = average(context, mask_gradients)
        return {path: np.abs(gradient) for path, gradient in found.items()}


@register("iterative_snip")
class IterativeSNIP(SNIP):
    """SNIP whose survivors are scored anew in every round.

    Args:
        rounds: how many; each removes the same fraction of the survivors.

    Example:
        >>> from tf_lottery.pruners import prune
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[3.0], [-1.0]]), np.zeros(1)])
        >>> data = dict(x=np.array([[1.0, 2.0]]), y=np.zeros((1, 1)))
        >>> mask = prune(model, 0.5, "iterative_snip", loss="mse", **data)
        >>> mask["out/kernel"].ravel().tolist()
        [True, False]

    Reference:
        de Jorge et al., "Progressive Skeletonization: Trimming more fat from
        a network at initialization", 2020, arXiv:2006.09081, section 4.
    """

    def __init__(self, rounds: int = 100):
        super().__init__(rounds)


@register("force")
class FORCE(IterativeSNIP):
    """Iterative SNIP in which pruned weights may come back: FORCE.

    In a round all weights w are scored, also those that the rounds before
    have pruned, by the gradient of the network that these left:
    `score = |w * dL/dw'|` at `w' = c * w`. A weight that the model's own mask
    prunes stays pruned.

    Args:
        rounds: how many.

    Example:
        >>> from tf_lottery.pruners import prune
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[3.0], [-1.0]]), np.zeros(1)])
        >>> data = dict(x=np.array([[1.0, 2.0]]), y=np.zeros((1, 1)))
        >>> mask = prune(model, 0.5, FORCE(rounds=2), loss="mse", **data)
        >>> mask["out/kernel"].ravel().tolist()
        [True, False]

    Reference:
        de Jorge et al., 2020, arXiv:2006.09081, section 4 and algorithm 1.
    """

    revives = True

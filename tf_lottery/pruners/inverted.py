"""A criterion turned round: what it would prune first is kept."""

from __future__ import annotations

import numpy as np

from tf_lottery.masks import Mask
from tf_lottery.masks import select
from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext


class Inverted(Pruner):
    """Keeps the weights that a criterion scores lowest: `score = -s`.

    s are the scores of `pruner`, in every round of it. Single weights that
    tie are taken from the other end too, so that the two orders are each
    other's reverse: of n weights, the mask of k shares `max(0, 2k - n)` with
    the pruner's own, the fewest possible, where that scores once. Of groups
    and blocks (`context.structure`) the first of those that tie is kept.

    Args:
        pruner: gives the scores, and with them `rounds`, `revives` and
            `needs`. A `find_mask` of its own is not used.

    Example:
        >>> from tf_lottery.pruners import get_pruner, prune
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[-2.0], [1.0]]), np.zeros(1)])
        >>> mask = prune(model, 0.5, Inverted(get_pruner("magnitude")))
        >>> mask["out/kernel"].ravel().tolist()
        [False, True]

    Reference:
        Frankle et al., "Pruning Neural Networks at Initialization: Why Are
        We Missing the Mark?", 2021, arXiv:2009.08576.
    """

    def __init__(self, pruner: Pruner):
        self.pruner = pruner
        self.rounds = pruner.rounds
        self.revives = pruner.revives
        self.needs = pruner.needs

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `-s`."""
        # Not `-s`, by which whole numbers without a sign would wrap.
        return {
            path: 0.0 - np.asarray(score)
            for path, score in self.pruner.scores(context).items()
        }

    def _best(self, context, allowed, collapse):
        if context.structure:
            return super()._best(context, allowed, collapse)
        # Ties go to the lowest index: read backwards, to the highest.
        found = select(
            _backwards(self.scores(context)),
            Mask(_backwards(allowed)),
            context.keep,
            collapse=collapse,
        )
        return Mask(_backwards(found))


def _backwards(arrays):
    return {path: np.flip(arrays[path]) for path in reversed(list(arrays))}

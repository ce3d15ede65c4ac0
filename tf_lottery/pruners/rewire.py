"""Rewirers: masks that move while a network trains, at equal counts."""

from __future__ import annotations

import numpy as np

from tf_lottery import seeds
from tf_lottery.masks import Mask
from tf_lottery.masks import select
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.gradients import average
from tf_lottery.pruners.gradients import dense_gradients
from tf_lottery.pruners.given import require


class Rewirer:
    """Base of all rewirers: override `growth`.

    In every kernel the smallest of the kept weights are dropped, and as many
    of the others are grown, those of the largest `growth`. A dropped weight
    may come back at once, then from 0. The counts stay as they were.

    Attributes:
        needs: as in `Pruner`.
    """

    needs: tuple[str, ...] = ()

    def growth(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `{path: array}`, larger = grow, for every kernel."""
        raise NotImplementedError(
            f"`growth` must be defined by {type(self).__name__}. Return one "
            "array of scores per kernel."
        )

    def rewire(
        self, context: PruningContext, fraction: float
    ) -> tuple[Mask, Mask]:
        """Returns the mask after dropping, and the one after growing.

        Args:
            context: gives model and mask, and the seed.
            fraction: of each kernel's kept weights that are dropped, in
                [0, 1]; at most as many as there are pruned ones.

        Returns:
            Two masks. What the second keeps and the first does not starts
            at 0.

        Example:
            >>> from tf_lottery.layers import mask_model, set_mask
            >>> x = keras.Input((4,))
            >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
            >>> kernel = np.array([[3.0], [1.0], [0.0], [0.0]])
            >>> model.set_weights([kernel, np.zeros(1)])
            >>> model = mask_model(model)
            >>> set_mask(model, {"out/kernel": [[1], [1], [0], [0]]})
            >>> dropped, grown = SET().rewire(PruningContext(model), 0.5)
            >>> dropped.kept, grown.kept, bool(grown["out/kernel"][0, 0])
            (1, 2, True)
        """
        require(context, *self.needs)
        mask = context.mask
        kept = mask.kept_by_path
        moved = {
            path: min(int(fraction * n), mask[path].size - n)
            for path, n in kept.items()
        }
        dropped = select(
            context.kernels,
            mask,
            {path: n - moved[path] for path, n in kept.items()},
            collapse="allow",
            key=np.abs,
        )
        growth = self.growth(context)
        # What is kept comes first, whatever its growth.
        first = {
            path: np.where(dropped[path], np.inf, growth[path])
            for path in mask
        }
        grown = select(first, Mask.ones(mask.shapes), kept, collapse="allow")
        return dropped, grown


class SET(Rewirer):
    """Grows weights at random.

    Reference:
        Mocanu et al., "Scalable training of artificial neural networks with
        adaptive sparse connectivity", 2018, arXiv:1707.04780, algorithm 2.
    """

    def growth(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns uniform noise in [0, 1)."""
        return {
            path: seeds.generator(context.seed, "grow", i).random(shape)
            for i, (path, shape) in enumerate(context.mask.shapes.items())
        }


class RigL(Rewirer):
    """Grows weights where the loss falls fastest: `|dL/dw|`, also at 0.

    Reference:
        Evci et al., "Rigging the Lottery", 2020, arXiv:1911.11134, section 3.
    """

    needs = ("x", "y", "loss")

    def growth(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns the magnitudes of the gradients by all weights."""
        found = average(context, dense_gradients)
        return {path: np.abs(g) for path, g in found.items()}


REWIRERS: dict[str, Rewirer] = {"set": SET(), "rigl": RigL()}


def get_rewirer(method: str | Rewirer) -> Rewirer:
    """Returns the rewirer of a name, or the rewirer given.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(method, Rewirer):
        return method
    if method not in REWIRERS:
        raise ValueError(
            f"`method` must be one of {', '.join(REWIRERS)}. Received: "
            f"method={method!r}. Choose one, or pass a Rewirer."
        )
    return REWIRERS[method]

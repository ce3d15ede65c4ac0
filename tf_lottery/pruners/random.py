"""Random pruning, the baseline of every criterion."""

from __future__ import annotations

import numpy as np

from tf_lottery import seeds
from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import register


@register("random")
class Random(Pruner):
    """Keeps weights chosen uniformly at random: `score ~ U[0, 1)`.

    A kernel's scores depend on the seed and its place in the model only.
    """

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns uniform noise in [0, 1)."""
        return {
            path: seeds.generator(context.seed, "random", i).random(w.shape)
            for i, (path, w) in enumerate(context.kernels.items())
        }

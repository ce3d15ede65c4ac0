"""Magnitude pruning."""

from __future__ import annotations

import numpy as np

from tf_lottery.masks import Mask
from tf_lottery.masks import select
from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import register


@register("magnitude")
class Magnitude(Pruner):
    """Keeps the weights of largest magnitude: `score = |w|`.

    The released code of the paper drops every weight at or below the cut-off,
    one more than asked and all ties; here the count is exact.

    Reference:
        Frankle and Carbin, "The Lottery Ticket Hypothesis", 2019,
        arXiv:1803.03635, section 2; Han et al., 2015, arXiv:1506.02626.
    """

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `|w|`."""
        return {path: np.abs(w) for path, w in context.kernels.items()}

    def find_mask(self, context: PruningContext) -> Mask:
        """As of any pruner, without the scores in memory all at once."""
        return select(
            context.kernels,
            context.mask,
            context.keep,
            collapse=context.collapse,
            key=np.abs,
            structure=context.structure,
        )

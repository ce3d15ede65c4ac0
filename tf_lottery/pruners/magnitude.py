"""Magnitude pruning."""

from __future__ import annotations

import numpy as np

from tf_lottery.masks import threaded
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
        kernels = context.kernels
        size = sum(map(np.size, kernels.values()))
        return dict(zip(kernels, threaded(np.abs, kernels.values(), size)))

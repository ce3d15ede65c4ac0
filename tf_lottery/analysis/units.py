"""How many kept weights lead into each unit, and out of it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

_QUANTILES = np.linspace(0.0, 1.0, 101)


@dataclasses.dataclass(frozen=True)
class Degrees:
    """How the kept weights of a kernel are shared out among units.

    Args:
        units: how many there are: inputs, or outputs.
        possible: weights per unit before any is pruned.
        dead: units without a kept weight.
        mean: kept weights per unit.
        std: standard deviation over units.
        chance: that standard deviation in random masks of as many weights.
        quantiles: degrees in ascending order, at shares 0, 0.01 .. 1 of the
            units; `(101,)` float64.
    """

    units: int
    possible: int
    dead: int
    mean: float
    std: float
    chance: float
    quantiles: np.ndarray

    @property
    def unevenness(self) -> float:
        """`std / chance`: 1 of a random mask; NaN of a full or empty one."""
        return self.std / self.chance if self.chance > 0 else math.nan


def unit_degrees(keep: np.ndarray) -> tuple[Degrees, Degrees] | None:
    """Returns the degrees of a kernel's units: incoming, then outgoing.

    The incoming degree of an output is the number of kept weights that lead
    into it, the outgoing degree of an input that of those that lead out. Of
    a convolution the units are channels. Inputs are on the axis before the
    last, outputs on the last, as Keras stores dense and convolution kernels;
    kernels that lie otherwise (transposed and depthwise convolutions, gates
    of a recurrent layer) are taken by these axes all the same.

    A unit counts as dead in this kernel alone. `tf_lottery.graph` finds what
    is on no path through a whole model.

    Args:
        keep: a kernel's mask, boolean, `(..., inputs, outputs)`.

    Returns:
        Degrees of the outputs, and of the inputs; None of a kernel of one
        axis, which has no inputs and outputs.

    Example:
        >>> mask = np.array([[True, True, False], [False, False, False]])
        >>> incoming, outgoing = unit_degrees(mask)
        >>> incoming.units, incoming.possible, incoming.dead, incoming.mean
        (3, 2, 1, 0.6666666666666666)
        >>> outgoing.units, outgoing.possible, outgoing.dead, outgoing.mean
        (2, 3, 1, 1.0)

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.6.
    """
    keep = np.asarray(keep, bool)
    if keep.ndim < 2:
        return None
    last = keep.ndim - 1
    return _degrees(keep, last), _degrees(keep, last - 1)


def _degrees(keep: np.ndarray, axis: int) -> Degrees:
    others = tuple(i for i in range(keep.ndim) if i != axis)
    counts = np.count_nonzero(keep, axis=others)
    possible = keep.size // counts.size
    # A unit's degree is hypergeometric in a random mask of this count.
    density = np.count_nonzero(keep) / keep.size
    rest = (keep.size - possible) / max(keep.size - 1, 1)
    return Degrees(
        counts.size,
        possible,
        int(np.count_nonzero(counts == 0)),
        float(counts.mean()),
        float(counts.std()),
        math.sqrt(possible * density * (1 - density) * rest),
        np.quantile(counts, _QUANTILES),
    )

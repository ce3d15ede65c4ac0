"""Masks of whole channels, with what reads them."""

from __future__ import annotations

import dataclasses

from tf_lottery.graph import Flow
from tf_lottery.graph import report_of
from tf_lottery.masks import Mask
from tf_lottery.masks import check_emptied
from tf_lottery.masks import counts_at_most
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext

# Halvings of the range of sparsities: to a 4,000th of the network.
_HALVINGS = 12


def find_mask(
    pruner: Pruner, context: PruningContext, sparsity: float, scope: str
) -> Mask:
    """Returns the mask that a pruner finds, whole channels closed.

    What reads a pruned channel is pruned with it, so that the network can be
    shrunk to an equal one. So fewer channels are pruned than their own
    weights would allow: of the sparsities up to the one asked for, the least
    is looked for at which no more than `context.keep` weights are left.

    Args:
        pruner: chooses the weights.
        context: what it looks at.
        sparsity: that `context.keep` was counted by.
        scope: likewise.

    Returns:
        A `Mask`; of other structures than `"channel"` that of the pruner.

    Raises:
        ValueError: as of the pruner; for channels, also a model that is no
            graph of layers.
    """
    if context.structure != "channel":
        return pruner.find_mask(context)
    keep, before = context.keep, context.mask
    most = keep if isinstance(keep, int) else sum(keep.values())
    flow = Flow(context.model)
    collapse = context.collapse

    def closed(sparsity: float) -> Mask:
        now = dataclasses.replace(
            context,
            keep=counts_at_most(before, sparsity, scope),
            # On the way to fewer channels nothing need stay empty.
            collapse="allow" if collapse == "stop" else collapse,
        )
        return report_of(flow, pruner.find_mask(now)).mask

    best, low, high = closed(sparsity), before.sparsity, sparsity
    for _ in range(_HALVINGS):
        if best.kept >= most:
            break
        middle = (low + high) / 2
        mask = closed(middle)
        if mask.kept <= most:
            best, high = mask, middle
        else:
            low = middle
    if collapse == "stop":
        check_emptied(best.kept_by_path, before.kept_by_path)
    return best

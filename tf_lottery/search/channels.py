"""Masks of whole channels, with what reads them."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np

from tf_lottery.graph import Flow
from tf_lottery.graph import report_of
from tf_lottery.layers import get_mask
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


def check_choice(
    model: keras.Model, pruner: Pruner, structure: str | None
) -> None:
    """Checks that a criterion and a structure are for a model.

    Args:
        model: masked.
        pruner: chooses the weights.
        structure: as in `find_at_sparsities`.

    Raises:
        ValueError: the pruner cannot score it; or whole channels are to go of
            a model that is no graph of layers, or of which a masked kernel's
            channel is an output, such as a class.
    """
    pruner.check_model(model)
    if structure != "channel":
        return
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "`structure` must be another than channel on Keras backend "
            f"{keras.backend.backend()}. Received: structure='channel'. What "
            "reads a channel is found with TensorFlow: use that backend."
        )
    flow, mask = Flow(model), get_mask(model)
    for path, keep in mask.items():
        if keep.shape[-1] < 2:
            continue
        without = np.array(keep)
        without[..., 0] = False
        if flow.misses(flow.reached({**mask, path: without})):
            raise ValueError(
                "`exclude` must hold the output layer where whole channels "
                f"are pruned. Received: {path} among the masks, whose channels"
                f" are the model's outputs. Add {path} to exclude."
            )

"""Controls whose masks a criterion chooses: by the wrong scores or data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_lottery import seeds
from tf_lottery.masks import Mask
from tf_lottery.pruners import Inverted
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext
from tf_lottery.tickets import Ticket


def inverted(
    ticket: Ticket, pruner: Pruner, context: PruningContext, seed: int
) -> Mask:
    """The weights that the criterion scores lowest, the ticket's counts.

    Every kernel keeps as many weights as the ticket's, so that only the
    choice within kernels is turned round. If this does as well as the
    ticket, the scores say nothing of single weights.

    Reference:
        Frankle et al., 2021, arXiv:2009.08576.
    """
    keep = ticket.mask.kept_by_path
    # What the ticket keeps nothing of is empty here as well.
    context = dataclasses.replace(context, keep=keep, collapse="allow")
    return Inverted(pruner).find_mask(context)


def random_labels(
    ticket: Ticket, pruner: Pruner, context: PruningContext, seed: int
) -> Mask:
    """The criterion's choice by examples with random labels.

    Each label is drawn anew, uniformly and independently of the others,
    from the classes that occur among these examples: of c classes, one label
    in c stays true by chance. If this does as well as the ticket, the labels
    have told the criterion nothing.

    Reference:
        Su et al., "Sanity-Checking Pruning Methods: Random Tickets can Win
        the Jackpot", 2020, arXiv:2009.11094, section 3.
    """
    y = np.asarray(context.y)
    if y.ndim != 1:
        raise ValueError(
            "`branches` must be without random_labels for labels that are no "
            f"class numbers. Received: labels of shape {y.shape}. Leave it out."
        )
    classes = np.unique(y)
    draws = seeds.generator(seed, "labels").bit_generator.random_raw(len(y))
    y = classes[(draws % len(classes)).astype(int)]
    return pruner.find_mask(_lenient(context, y=y))


def random_pixels(
    ticket: Ticket, pruner: Pruner, context: PruningContext, seed: int
) -> Mask:
    """The criterion's choice by examples with the pixels in disorder.

    The places of the pixels are permuted, in each image by a permutation of
    its own; the channels of a pixel stay together, and labels are true.

    Reference:
        Su et al., 2020, arXiv:2009.11094, section 3.
    """
    x = np.array(context.x)
    if x.ndim < 3:
        raise ValueError(
            "`branches` must be without random_pixels for examples that are no"
            f" images. Received: examples of shape {x.shape}. Leave it out."
        )
    for i, image in enumerate(x):
        pixels = image.reshape(-1, image.shape[-1])
        order = seeds.permutation(len(pixels), seed, "pixels", i)
        x[i] = pixels[order].reshape(image.shape)
    return pruner.find_mask(_lenient(context, x=x))


# With what the search of the ticket prunes by: `(ticket, pruner, context,
# seed)`, its network on the context's model. The weights that are trained are
# those of the rewind step.
SCORED: dict[
    str, Callable[[Ticket, Pruner, PruningContext, int], Mask]
] = {
    function.__name__: function
    for function in (inverted, random_labels, random_pixels)
}

# What a criterion must look at for its choice to become another.
LOOKS_AT = {"random_labels": "y", "random_pixels": "x"}


def _lenient(context: PruningContext, **corrupted: Any) -> PruningContext:
    """A control that empties a kernel says something of its ticket."""
    collapse = "allow" if context.collapse == "stop" else context.collapse
    return dataclasses.replace(context, collapse=collapse, **corrupted)

"""Strong tickets: a mask is found for weights that are not trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.masks import Mask
from tf_lottery.masks import floored
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext
from tf_lottery.search.channels import find_mask
from tf_lottery.search.scored import ScoredModel
from tf_lottery.search.scored import factors


def find_strong(
    train: Callable[..., Mapping[str, Any] | None],
    context: PruningContext,
    weights: Mapping[str, np.ndarray],
    pruner: Pruner,
    *,
    by: str | None,
    sparsity: float,
    scope: str,
    rescale: str,
    scored: ScoredModel | None,
    **how: Any,
) -> tuple[Mask, Mapping[str, Any] | None]:
    """Finds a mask for weights that stay what they are, and puts it on them.

    Args:
        train: called with a `ScoredModel`, whose scores it trains; or, by a
            criterion, with the masked network and `frozen=True`, and then it
            is to train nothing.
        context: with the model and the counts.
        weights: `{path: array}`, the state that the mask is for.
        pruner: of a mask by criterion; it looks at the context's model.
        by: one of `MASK_BY`.
        sparsity: of the mask.
        scope: as in `find_at_sparsities`.
        rescale: as of `ScoredModel`.
        scored: around the context's model; made if none.
        **how: `level` and `seed`, for `train`.

    Returns:
        The mask, and what `train` returned. The model holds the mask, and the
        weights with their factors.
    """
    model = context.model
    for path in context.mask:
        if not np.any(weights[path]):
            raise ValueError(
                "`init` must draw the weights that are to be masked and not "
                f"trained. Received: {path}, all 0. Choose another "
                "initialisation, or exclude it."
            )
    if by == "criterion":
        mask = find_mask(pruner, context, sparsity, scope)
        set_state(model, weights)
        set_mask(model, mask)
        set_state(model, rescaled(weights, mask, rescale))
        return mask, train(model, start_step=0, frozen=True, **how)
    before = context.mask.kept_by_path
    keep = context.keep
    if context.collapse == "floor" and not isinstance(keep, int):
        keep = floored(keep, before)
    if scored is None:
        scored = ScoredModel(model, by=by or "", keep=keep, rescale=rescale)
    set_state(model, weights)
    scored.start(keep, context.seed)
    metrics = train(scored, start_step=0, **how)
    mask = scored.settle()
    emptied = [k for k, n in mask.kept_by_path.items() if before[k] and not n]
    if context.collapse == "stop" and emptied:
        raise ValueError(
            "`collapse` must be allow for scores that leave a kernel empty. "
            f"Received: collapse='stop', and {', '.join(emptied)} would keep "
            "no weight. Prune less, or choose scope='uniform'."
        )
    return mask, metrics


def check_strong(*, by: str | None, scope: str, collapse: str) -> None:
    """Checks how strong tickets are chosen, before anything is trained.

    Args:
        by: one of `MASK_BY`.
        scope: as in `find_at_sparsities`.
        collapse: likewise.

    Raises:
        ValueError: scores cannot keep to a floor.
    """
    if by != "criterion" and collapse == "floor" and scope == "global":
        raise ValueError(
            "`collapse` must be stop or allow for scores that compete over "
            "all kernels. Received: collapse='floor', scope='global'. Choose "
            "one of these, or another scope."
        )


def rescaled(
    weights: Mapping[str, np.ndarray], mask: Mask, rescale: str
) -> dict[str, np.ndarray]:
    """Returns the weights with the factors of the kernels, 0 where pruned.

    Args:
        weights: `{path: array}`.
        mask: of the network.
        rescale: as of `ScoredModel`.
    """
    by_path = factors(mask, rescale)
    return {
        path: np.where(mask[path], value, 0).astype(value.dtype) * by_path[path]
        if path in mask
        else value
        for path, value in weights.items()
    }

"""Scoring and pruning a model in one call."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import keras
import numpy as np

from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked
from tf_lottery.layers import set_mask
from tf_lottery.masks import Mask
from tf_lottery.masks import check_target
from tf_lottery.masks import structured_sparsity
from tf_lottery.masks import target_counts
from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import get_pruner
from tf_lottery.pruners.given import require


def scores(
    model: keras.Model,
    criterion: str | Pruner,
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
    loss: Callable | None = None,
    seed: int = 0,
    initial: Mapping[str, np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
    """Scores every prunable weight of a model by a criterion.

    Args:
        model: a Keras model, with masks or without; it is not changed.
        criterion: a name in `PRUNERS`, or a `Pruner`.
        x: inputs, for criteria that need data.
        y: their targets.
        loss: `(y, outputs) -> losses`, for criteria that need gradients; by
            default that of a compiled model.
        seed: of random criteria and of the model's random layers.
        initial: `{path: array}`, the weights that training began with, for
            criteria that compare the present ones with them.

    Returns:
        `{path: float array}`, raw; larger = keep. A criterion that prunes in
        rounds gives the scores of its first.

    Raises:
        ValueError: an unknown criterion, one that needs what is not given,
            or a model that cannot be masked.

    Example:
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[-2.0], [1.0]]), np.zeros(1)])
        >>> scores(model, "magnitude")["out/kernel"].ravel().tolist()
        [2.0, 1.0]
    """
    pruner = get_pruner(criterion)
    with masked(model):
        context = PruningContext(
            model, seed=seed, x=x, y=y, loss=loss, initial=initial
        )
        require(context, *pruner.needs)
        return pruner.scores(context)


def prune(
    model: keras.Model,
    sparsity: float | None = None,
    criterion: str | Pruner = "magnitude",
    scope: str = "global",
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
    loss: Callable | None = None,
    seed: int = 0,
    collapse: str = "stop",
    optimizer: keras.optimizers.Optimizer | None = None,
    initial: Mapping[str, np.ndarray] | None = None,
    structure: str | None = None,
) -> Mask:
    """Prunes a model to a sparsity, in place.

    Of n prunable weights, `n - round(sparsity * n)` are kept: those of the
    highest scores, ties broken by flat index. Under the uniform scope the
    rule holds for every kernel by itself. Of blocks and channels, as many of
    the best are kept as that count holds, so fewer weights by less than one.

    Args:
        model: a Keras model; one without masks is given masks in place.
        sparsity: fraction of the prunable weights to be zero, in [0, 1). An
            N:M structure fixes it at `1 - N / M`: leave it out, or give it
            to two decimals.
        criterion: a name in `PRUNERS`, or a `Pruner`.
        scope: `"global"`, `"uniform"` (every kernel alike; `"layerwise"` is
            the same here), `"erk"` or `"smart_ratio"`.
        x: inputs, for criteria that need data.
        y: their targets.
        loss: `(y, outputs) -> losses`, for criteria that need gradients; by
            default that of a compiled model.
        seed: of random criteria and of the model's random layers.
        collapse: where a kernel would be left empty: `"stop"` raises,
            `"floor"` keeps its best weight, `"allow"` goes on.
        optimizer: what trains the model, as in `set_mask`; by default that of
            a compiled model.
        initial: as in `scores`.
        structure: what stays or goes together, None for single weights.
            `"N:M"`, such as `"2:4"`: of every M consecutive inputs of a unit
            the N best are kept, at each place of a convolution's kernel by
            itself. `"AxB"`, such as `"1x4"`: blocks of A inputs and B
            outputs. `"channel"`: whole units or filters.

    Returns:
        The `Mask`, also set on the model.

    Raises:
        ValueError: an unknown name, a criterion that needs what is not given,
            a sparsity outside [0, 1), below the model's or not the
            structure's, or a kernel left empty under `"stop"`.

    Example:
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[-2.0], [1.0]]), np.zeros(1)])
        >>> prune(model, 0.5)["out/kernel"].ravel().tolist()
        [True, False]
    """
    pruner = get_pruner(criterion)
    target = structured_sparsity(sparsity, structure)
    check_target(target, scope, collapse)
    # A model that cannot be pruned stays as it is.
    with masked(model):
        context = PruningContext(
            model,
            seed=seed,
            x=x,
            y=y,
            loss=loss,
            collapse=collapse,
            initial=initial,
            structure=structure,
        )
        keep = target_counts(context.mask, target, scope, structure)
        mask = pruner.find_mask(dataclasses.replace(context, keep=keep))
    if not is_masked(model):
        mask_model(model, in_place=True)
    set_mask(model, mask, optimizer)
    return get_mask(model)

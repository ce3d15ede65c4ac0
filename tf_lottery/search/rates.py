"""Which kernel is pruned at which rate."""

from __future__ import annotations

import keras
from keras.src.models.functional import Functional

from tf_lottery.layers import NOT_KERNELS
from tf_lottery.layers import Masked
from tf_lottery.layers import MaskedKernel
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import walk
from tf_lottery.masks import PruningRates
from tf_lottery.masks import check_rate


def pruning_rates(
    model: keras.Model,
    *,
    prune_rate: float = 0.2,
    conv_prune_rate: float | None = None,
    output_prune_rate: float | None = None,
    scope: str = "layerwise",
) -> PruningRates:
    """Returns what a round removes from a model's kernels.

    Args:
        model: a masked model.
        prune_rate: fraction of the surviving weights, in (0, 1).
        conv_prune_rate: of convolution kernels under the layerwise scope;
            `prune_rate` by default.
        output_prune_rate: of the kernels that give the model's outputs under
            the layerwise scope; half of `prune_rate` by default.
        scope: as in `PruningRates`.

    Raises:
        ValueError: a rate outside (0, 1) or an unknown scope.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, figure 2: output layers
        are pruned at half the rate of the fully connected ones.
    """
    if conv_prune_rate is None:
        conv_prune_rate = prune_rate
    half = output_prune_rate is None
    if output_prune_rate is None:
        output_prune_rate = prune_rate / 2
    check_rate("prune_rate", prune_rate)
    check_rate("conv_prune_rate", conv_prune_rate)
    check_rate("output_prune_rate", output_prune_rate)
    raw = {id(v): path for path, (v, _) in masked_kernels(model).items()}
    found: list[keras.layers.Layer] | None = []
    if scope == "layerwise" and output_prune_rate != prune_rate:
        found = output_layers(model)
        if found is None:
            raise ValueError(
                "`output_prune_rate` must equal prune_rate for a model that "
                "does not say which layer gives its outputs. Received: "
                f"output_prune_rate={None if half else output_prune_rate}, "
                f"and {model.name!r} of class {type(model).__name__}. Pass "
                f"output_prune_rate={prune_rate}, or scope='global'."
            )
    outputs = {id(layer) for layer in found or ()}
    by_path = {}
    for layer in walk(model):
        if not isinstance(layer, MaskedKernel):
            continue
        rate = prune_rate
        if hasattr(layer, "kernel_size"):
            rate = conv_prune_rate
        if id(layer) in outputs:
            rate = output_prune_rate
        for name in layer.kernel_names:
            by_path[raw[id(layer.raw_kernel(name))]] = rate
    return PruningRates(scope, prune_rate, by_path)


def output_layers(
    model: keras.Model,
) -> list[keras.layers.Layer] | None:
    """Returns the masked layers whose kernels give the model's outputs.

    From every output back through layers without kernels (activations,
    pooling, normalisation, sums) to the first layers with one; of attention,
    recurrent layers and wrappers, the layers inside.

    Args:
        model: a masked model.

    Returns:
        None where a subclassed model, or a layer of the user's own around
        masked layers, does not say how its layers are joined.
    """
    if not isinstance(model, (keras.Sequential, Functional)):
        return None
    found: dict[int, keras.layers.Layer] = {}
    # With each tensor, from inside out, the calls of the models around it: as
    # pairs of a model's own input and the tensor that it was called on.
    pending: list[tuple] = [(tensor, ()) for tensor in model.outputs]
    seen = set()
    while pending:
        tensor, calls = pending.pop()
        key = (id(tensor), *(id(outer) for call in calls for _, outer in call))
        if key in seen:
            continue
        seen.add(key)
        operation, node, index = tensor._keras_history
        inputs = operation._inbound_nodes[node].input_tensors
        inside = _masked_kernels_in(operation)
        if isinstance(operation, (keras.Sequential, Functional)):
            call = tuple(zip(operation.inputs, inputs))
            pending.append((operation.outputs[index], (call, *calls)))
        elif inside:
            known = (Masked, keras.layers.Wrapper, keras.layers.RNN)
            if not isinstance(operation, known):
                return None
            found.update({id(layer): layer for layer in inside})
        elif not inputs and calls:
            pending += [(o, calls[1:]) for i, o in calls[0] if i is tensor]
        elif isinstance(operation, NOT_KERNELS) or not any(
            v.ndim > 1 for v in getattr(operation, "weights", ())
        ):
            pending += [(t, calls) for t in inputs]
    return list(found.values())


def _masked_kernels_in(operation):
    if not isinstance(operation, keras.layers.Layer):
        return []
    layers = (operation, *walk(operation))
    return [layer for layer in layers if isinstance(layer, MaskedKernel)]

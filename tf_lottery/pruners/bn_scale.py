"""Channels by the scales of batch normalisation."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tf_lottery.layers import masked_kernels
from tf_lottery.layers import read
from tf_lottery.layers import walk
from tf_lottery.layers.graph import follow
from tf_lottery.layers.graph import functional_of
from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import register

_L = keras.layers
# Their kernels have the outputs last but one.
_TRANSPOSED = (_L.Conv1DTranspose, _L.Conv2DTranspose, _L.Conv3DTranspose)


@register("bn_scale")
class BatchNormScale(Pruner):
    """Keeps channels of large BatchNormalization scale: `score = |gamma_c|`.

    Meant for `structure="channel"`: the weights of output channel c have
    `|gamma_c|` in all, divided evenly, where gamma is the scale of the
    BatchNormalization that the kernel's layer is followed by. Several of them
    add up. Kernels that none follows, such as the output layer's, must be
    excluded from the masks; for `structure="channel"`, which takes the last
    axis, those of transposed convolutions too, where that is the inputs'.

    An L1 penalty on gamma while the network trains makes scales comparable;
    in Keras it is `BatchNormalization(gamma_regularizer=keras.regularizers.
    L1(1e-4))`.

    Example:
        >>> from tf_lottery import mask_model, prune
        >>> x = keras.Input((2,))
        >>> bn = keras.layers.BatchNormalization()
        >>> y = bn(keras.layers.Dense(3, name="one")(x))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="two")(y))
        >>> _ = bn.gamma.assign([0.5, -2.0, 1.0])
        >>> model = mask_model(model, exclude="two/*")
        >>> mask = prune(model, 0.3, "bn_scale", structure="channel")
        >>> mask["one/kernel"].any(axis=0).tolist()
        [False, True, True]

    Reference:
        Liu et al., "Learning Efficient Convolutional Networks through Network
        Slimming", 2017, arXiv:1708.06519, section 3; as used by You et al.,
        "Drawing Early-Bird Tickets", 2020, arXiv:1909.11957.
    """

    def check_model(self, model: keras.Model) -> None:
        """Raises ValueError where a kernel has no such scale."""
        found = {path for path, _ in _normalized(model)}
        missing = [path for path in masked_kernels(model) if path not in found]
        if missing and not found:
            raise ValueError(
                "`criterion` must be another than bn_scale for a model without"
                " scales. Received: no kernel is followed by a "
                "BatchNormalization with a scale. Use for example magnitude."
            )
        if missing:
            raise ValueError(
                "`criterion` must be another than bn_scale for kernels that no"
                " BatchNormalization with a scale follows. Received: "
                f"{', '.join(missing)}. Exclude them, with exclude="
                f"{','.join(missing)!r}."
            )

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `|gamma_c| / n_c`, of n_c kept weights in channel c.

        Raises:
            ValueError: no BatchNormalization follows a kernel, all scales are
                the same, the model is no graph of layers, or channels of a
                transposed convolution are to go.
        """
        self.check_model(context.model)
        mask, axes = context.mask, _output_axes(context.model)
        turned = [path for path, axis in axes.items() if axis != -1]
        if context.structure == "channel" and turned:
            raise ValueError(
                "`structure` must be another than channel for bn_scale of "
                "transposed convolutions, whose channels are inputs here. "
                f"Received: {', '.join(turned)}. Exclude them, with exclude="
                f"{','.join(turned)!r}."
            )
        scales: dict[str, np.ndarray] = {}
        for path, layer in _normalized(context.model):
            scale = np.abs(np.asarray(read(layer.gamma), "float64"))
            scales[path] = scales.get(path, 0) + scale
        every = np.concatenate(list(scales.values()))
        if every.size > 1 and np.ptp(every) == 0:
            raise ValueError(
                "`criterion` must be another than bn_scale where all scales "
                f"are the same. Received: {every.size} scales of {every[0]:g}."
                " Train the network first."
            )
        result = {}
        for path, keep in mask.items():
            last = np.moveaxis(keep, axes[path], -1)
            count = last.sum(axis=tuple(range(keep.ndim - 1)))
            share = scales[path] / np.maximum(count, 1)
            spread = np.broadcast_to(share, last.shape)
            result[path] = np.moveaxis(spread, -1, axes[path])
        return result


def _output_axes(model: keras.Model) -> dict[str, int]:
    """Which axis of each kernel is that of its outputs."""
    turned = {
        id(v)
        for layer in walk(model)
        if isinstance(layer, _TRANSPOSED)
        for v in layer.weights
    }
    return {
        path: -2 if id(raw) in turned else -1
        for path, (raw, _) in masked_kernels(model).items()
    }


def _normalized(
    model: keras.Model,
) -> list[tuple[str, keras.layers.BatchNormalization]]:
    """Kernels and the normalisations, with a scale, that follow them."""
    functional = functional_of(model)
    if functional is None:
        raise ValueError(
            "`model` must be Sequential or functional for criterion bn_scale."
            f" Received: model {model.name!r} of class "
            f"{type(model).__name__}. Its layers' order cannot be read."
        )
    paths = {id(raw): k for k, (raw, _) in masked_kernels(model).items()}
    axes = _output_axes(model)
    found: list[tuple[str, keras.layers.BatchNormalization]] = []

    def call(node: Any, given: list) -> list:
        layer = node.operation
        if isinstance(layer, keras.layers.BatchNormalization) and layer.scale:
            # Of a depthwise kernel the last axis is not the output's.
            found.extend(
                (path, layer)
                for path, size in given[0]
                if size == layer.gamma.shape[0]
            )
        weights = getattr(layer, "weights", ())
        own = [(paths[id(v)], v) for v in weights if id(v) in paths]
        kernels = [(path, v.shape[axes[path]]) for path, v in own]
        return [kernels] * len(node.outputs)

    known: dict[int, Any] = {id(x): [] for x in functional.inputs}
    follow(functional, known, call, lambda inner, node: True)
    return found

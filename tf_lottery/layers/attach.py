"""Attaching masks to a Keras model and taking them off again."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import keras
import numpy as np

from tf_lottery.layers.cloning import check_model
from tf_lottery.layers.cloning import copied_layers
from tf_lottery.layers.cloning import copy_model
from tf_lottery.layers.cloning import models_in
from tf_lottery.layers.cloning import rebuilt
from tf_lottery.layers.masked import MASKED_LAYERS
from tf_lottery.layers.masked import MaskedKernel
from tf_lottery.layers.state import masked_kernels
from tf_lottery.layers.state import match_paths
from tf_lottery.layers.state import named_variables
from tf_lottery.layers.state import walk
from tf_lottery.masks import Mask

# Trainable state of two or more dimensions that is no kernel.
_NOT_KERNELS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
    keras.layers.RMSNormalization,
    keras.layers.PReLU,
)


def mask_model(
    model: keras.Model, *, exclude: str | Sequence[str] = ()
) -> keras.Model:
    """Returns a copy of `model` whose kernels carry masks, all ones.

    The copy has the same weights, names, variable paths and outputs (but Keras
    numbers seed generators anew). Kernels of Dense, EinsumDense, Conv1D/2D/3D
    and DepthwiseConv2D layers are masked; biases and normalisation are not.
    The given model is left alone.

    Args:
        model: a built Sequential or functional model; nested models and
            shared layers are followed.
        exclude: patterns of variable paths (`"output/*"`) whose kernels stay
            dense; they do not count as prunable.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: the model is subclassed or not built, is masked already,
            has nothing to prune, holds a layer with a kernel that cannot be
            masked or a model whose own methods a copy would lose, or a
            pattern matches nothing.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(3, name="out")])
        >>> get_mask(mask_model(model)).size
        12
    """
    check_model(model)
    if is_masked(model):
        raise ValueError(
            f"`model` must be without masks. Received: model {model.name!r}, "
            "masked already. Use it as it is, or strip_masks it first."
        )
    maskable = _maskable_layers(model, exclude)

    def masked(layer):
        cls = type(layer)
        cls = MASKED_LAYERS[cls] if id(layer) in maskable else cls
        return rebuilt(layer, cls)

    return copy_model(model, masked)


def is_masked(model: keras.Model) -> bool:
    """Returns whether any layer of the model carries a mask."""
    return any(isinstance(layer, MaskedKernel) for layer in walk(model))


def add_masks(model: keras.Model) -> None:
    """Gives a model masks of ones in place, unless it has masks already.

    Layers change their class to the masked one and keep their variables.

    Args:
        model: a built Sequential or functional model.

    Raises:
        TypeError, ValueError: as `mask_model`.
    """
    check_model(model)
    if is_masked(model):
        return
    maskable = _maskable_layers(model, ())
    for layer in walk(model):
        if id(layer) in maskable:
            MASKED_LAYERS[type(layer)].convert(layer)
    # Functions that Keras compiled before do not know the masks.
    for part in models_in(model):
        for kind in ("train", "test", "predict"):
            setattr(part, f"{kind}_function", None)


def strip_masks(model: keras.Model) -> keras.Model:
    """Returns a copy of `model` in stock layers, pruned weights exactly 0.

    Args:
        model: a model that `mask_model` returned.

    Returns:
        A `keras.Model` with the same outputs, that needs this library neither
        to run nor to load.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: `model` has no masks, or a class whose own methods a copy
            would lose.
    """
    check_model(model)
    apply_masks(model)

    stocks = {masked: stock for stock, masked in MASKED_LAYERS.items()}

    def stock(layer):
        return rebuilt(layer, stocks.get(type(layer), type(layer)))

    return copy_model(model, stock)


def get_mask(model: keras.Model) -> Mask:
    """Returns the model's current mask, a copy.

    Args:
        model: a masked model.

    Returns:
        A `Mask` by path of the kernels.

    Raises:
        ValueError: `model` has no masks.
    """
    return Mask(
        {
            path: np.asarray(mask) != 0
            for path, (_, mask) in _kernels(model).items()
        }
    )


def set_mask(
    model: keras.Model,
    mask: Mask,
    optimizer: keras.optimizers.Optimizer | None = None,
) -> None:
    """Sets the model's mask and zeroes the raw weights that it prunes.

    Args:
        model: a masked model.
        mask: `{path: boolean array}` for every masked kernel.
        optimizer: its per-weight slots at pruned positions are set to their
            neutral value, so that masking in the middle of training leaves no
            momentum behind. By default that of a compiled model.

    Raises:
        ValueError: `model` has no masks or `mask` does not fit.
    """
    kernels = _kernels(model)
    if optimizer is None:
        optimizer = getattr(model, "optimizer", None)
    mask = mask if isinstance(mask, Mask) else Mask(mask)
    given = match_paths(
        {k: tuple(raw.shape) for k, (raw, _) in kernels.items()},
        mask.shapes,
        "mask",
    )
    for path, (raw, variable) in kernels.items():
        keep = mask[given[path]]
        variable.assign(keep.astype(variable.dtype))
        for slot, neutral in [(raw, 0.0), *_slots(optimizer, raw)]:
            value = np.asarray(slot)
            neutral = np.asarray(neutral, value.dtype)
            slot.assign(np.where(keep, value, neutral))


def apply_masks(model: keras.Model) -> None:
    """Zeroes the raw weights at pruned positions."""
    set_mask(model, get_mask(model))


def _slots(optimizer, raw):
    """The optimizer's per-weight slots of `raw`, each with its neutral value.

    Keras holds each kind of slot in a list in the order of the variables.
    Names would not do: equal layers of two nested models share theirs.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    if optimizer is None or not optimizer.built:
        return
    variables = optimizer._trainable_variables
    index = next((i for i, v in enumerate(variables) if v is raw), None)
    if index is None:
        return
    for name, slots in vars(optimizer).items():
        if not isinstance(slots, list) or len(slots) != len(variables):
            continue
        slot = slots[index]
        if slot is raw or getattr(slot, "shape", None) != raw.shape:
            continue
        start = getattr(optimizer, "initial_accumulator_value", 0.0)
        yield slot, start if name == "_accumulators" else 0.0


def _kernels(model):
    kernels = masked_kernels(model)
    if not kernels:
        raise ValueError(
            f"`model` must have masks. Received: model {model.name!r} without"
            ". Pass it through mask_model first."
        )
    return kernels


def _excluded_layers(model, exclude):
    """Ids of the layers whose kernels `exclude` keeps dense."""
    patterns = [exclude] if isinstance(exclude, str) else list(exclude)
    kernels = {
        id(v): path for path, v in named_variables(model).items() if v.ndim > 1
    }
    # A wrapper may hold the kernel of the layer inside as its own, too.
    layers = {}
    for layer in walk(model):
        own = [kernels.get(id(v)) for v in layer._trainable_variables]
        for path in filter(None, own):
            layers.setdefault(path, set()).add(id(layer))
    chosen = set()
    for pattern in patterns:
        # A Sequential's own name stands before its layers' in a path.
        paths = [
            path
            for path in layers
            if fnmatch.fnmatchcase(path, pattern)
            or fnmatch.fnmatchcase(path, f"*/{pattern}")
        ]
        if not paths:
            raise ValueError(
                "`exclude` must match kernels of the model. Received: "
                f"exclude={pattern!r}, which matches none. Kernels are "
                f"{', '.join(list(layers)[:8])}."
            )
        chosen.update(*(layers[path] for path in paths))
    return chosen


def _maskable_layers(model, exclude):
    """Ids of the layers to be masked; every other kernel is accounted for."""
    excluded = _excluded_layers(model, exclude)
    _check_reachable(model, excluded)
    layers = {
        id(layer)
        for layer in copied_layers(model)
        if type(layer) in MASKED_LAYERS and id(layer) not in excluded
    }
    if not layers:
        raise ValueError(
            "`model` must have a kernel to prune. Received: model "
            f"{model.name!r} with none, or none left after exclude. Exclude "
            "less, or give a model with Dense or convolution layers."
        )
    return layers


def _check_reachable(model, excluded):
    """Names every kernel that would stay dense without a word."""
    dense = []
    for layer in (model, *copied_layers(model)):
        whole = not isinstance(layer, keras.Model)
        kernels = [
            variable
            for part in ((layer, *walk(layer)) if whole else (layer,))
            if id(part) not in excluded and not isinstance(part, _NOT_KERNELS)
            for variable in part._trainable_variables
            if variable.ndim > 1
        ]
        if id(layer) not in excluded and (
            getattr(layer, "lora_enabled", False)
            or getattr(layer, "quantization_mode", None)
        ):
            dense.append(f"{layer.name} (with LoRA or quantised)")
        elif kernels and type(layer) not in MASKED_LAYERS:
            kind, first = type(layer).__name__, kernels[0].path
            dense.append(f"{layer.name} ({kind}, {first})")
    if dense:
        raise ValueError(
            "`model` must hold only kernels that can be masked. Received: "
            f"{', '.join(dense)}. Name them in exclude to keep them dense."
        )

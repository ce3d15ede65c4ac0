"""Attaching masks to a Keras model and taking them off again."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

import keras
import numpy as np

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
_STOCK = {masked: stock for stock, masked in MASKED_LAYERS.items()}


def mask_model(
    model: keras.Model, *, exclude: str | Sequence[str] = ()
) -> keras.Model:
    """Returns a copy of `model` whose kernels carry masks, all ones.

    The copy has the same weights, names, variable paths and outputs. Kernels
    of Dense, EinsumDense, Conv1D/2D/3D and DepthwiseConv2D layers are masked;
    biases and normalisation are not. The given model is left alone.

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
            masked, or a pattern matches nothing.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(3, name="out")])
        >>> get_mask(mask_model(model)).size
        12
    """
    _check_model(model)
    if is_masked(model):
        raise ValueError(
            f"`model` must be without masks. Received: model {model.name!r}, "
            "masked already. Use it as it is, or strip_masks it first."
        )
    maskable = _maskable_layers(model, exclude)

    def masked(layer):
        cls = type(layer)
        cls = MASKED_LAYERS[cls] if id(layer) in maskable else cls
        return cls.from_config(layer.get_config())

    return _copy(model, masked)


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
    _check_model(model)
    if is_masked(model):
        return
    maskable = _maskable_layers(model, ())
    for layer in walk(model):
        if id(layer) in maskable:
            MASKED_LAYERS[type(layer)].convert(layer)
    # Functions that Keras compiled before do not know the masks.
    for kind in ("train", "test", "predict"):
        setattr(model, f"{kind}_function", None)


def strip_masks(model: keras.Model) -> keras.Model:
    """Returns a copy of `model` in stock layers, pruned weights exactly 0.

    Args:
        model: a model that `mask_model` returned.

    Returns:
        A `keras.Model` with the same outputs, that needs this library neither
        to run nor to load.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: `model` has no masks.
    """
    _check_model(model)
    apply_masks(model)

    def stock(layer):
        cls = _STOCK.get(type(layer), type(layer))
        return cls.from_config(layer.get_config())

    return _copy(model, stock)


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
            path: keras.ops.convert_to_numpy(mask) != 0
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
        optimizer: where given, its per-weight slots at pruned positions are
            set to their neutral value, so that masking in the middle of
            training leaves no momentum behind.

    Raises:
        ValueError: `model` has no masks or `mask` does not fit.
    """
    kernels = _kernels(model)
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
            value = keras.ops.convert_to_numpy(slot)
            neutral = np.asarray(neutral, value.dtype)
            slot.assign(np.where(keep, value, neutral))


def apply_masks(model: keras.Model) -> None:
    """Zeroes the raw weights at pruned positions."""
    set_mask(model, get_mask(model))


def _slots(optimizer, raw):
    """The optimizer's per-weight slots of `raw`, each with its neutral value.

    Keras names a slot after the variable that it belongs to.
    """
    if optimizer is None or not optimizer.built:
        return
    prefix = raw.path.replace("/", "_") + "_"
    for slot in optimizer.variables:
        name = slot.path.rpartition("/")[2]
        if name.startswith(prefix) and slot.shape == raw.shape:
            start = getattr(optimizer, "initial_accumulator_value", 0.0)
            yield slot, start if name == prefix + "accumulator" else 0.0


def _kernels(model):
    kernels = masked_kernels(model)
    if not kernels:
        raise ValueError(
            f"`model` must have masks. Received: model {model.name!r} without"
            ". Pass it through mask_model first."
        )
    return kernels


def _check_model(model):
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a Keras 3 model. Received: "
            f"model={type(model).__module__}.{type(model).__name__}. Build it "
            "with keras, not tf_keras."
        )
    for part in (model, *walk(model)):
        if not isinstance(part, keras.Model):
            continue
        # Sequential and functional models only; a subclass with its own call
        # does not say how its layers are joined.
        if not hasattr(part, "_functional") and not hasattr(
            part, "_operations"
        ):
            raise ValueError(
                "`model` must be a Sequential or functional model. Received: "
                f"{part.name!r} of class {type(part).__name__}. Rewrite it "
                "with keras.Input and keras.Model."
            )


def _excluded_layers(model, exclude):
    """Ids of the layers whose kernels `exclude` keeps dense."""
    patterns = [exclude] if isinstance(exclude, str) else list(exclude)
    kernels = {
        id(v): path for path, v in named_variables(model).items() if v.ndim > 1
    }
    layers = {}
    for layer in walk(model):
        own = [kernels.get(id(v)) for v in layer._trainable_variables]
        for path in filter(None, own):
            layers[path] = id(layer)
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
        chosen |= {layers[path] for path in paths}
    return chosen


def _maskable_layers(model, exclude):
    """Ids of the layers to be masked; every other kernel is accounted for."""
    excluded = _excluded_layers(model, exclude)
    _check_reachable(model, excluded)
    layers = {
        id(layer)
        for layer in walk(model)
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
    for layer in walk(model):
        if id(layer) in excluded or isinstance(layer, _NOT_KERNELS):
            continue
        if getattr(layer, "lora_enabled", False) or getattr(
            layer, "quantization_mode", None
        ):
            dense.append(f"{layer.name} (with LoRA or quantised)")
        elif type(layer) not in MASKED_LAYERS and any(
            v.ndim > 1 for v in layer._trainable_variables
        ):
            dense.append(f"{layer.name} ({type(layer).__name__})")
    if dense:
        raise ValueError(
            "`model` must hold only kernels that can be masked. Received: "
            f"{', '.join(dense)}. Name them in exclude to keep them dense."
        )


def _copy(model, clone_function):
    if not model.built:
        named_variables(model)  # Raises with the reason.
    copy = keras.models.clone_model(
        model, clone_function=clone_function, recursive=True
    )
    source = named_variables(model)
    target = named_variables(copy)
    # By order, not by path: a copy may be numbered anew.
    for (path, old), new in zip(source.items(), target.values(), strict=True):
        if old.shape != new.shape:
            raise RuntimeError(
                f"The copy of {path} must be of shape {old.shape}. Received: "
                f"{new.shape}. A custom layer's get_config is incomplete."
            )
        new.assign(old)
        new.trainable = old.trainable
    return copy

"""Attaching masks to a Keras model and taking them off again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import keras
import numpy as np

from tf_lottery.layers.cloning import check_model
from tf_lottery.layers.cloning import copy_model
from tf_lottery.layers.cloning import why_not_copied
from tf_lottery.layers.convert import check_kernels
from tf_lottery.layers.convert import convert_model
from tf_lottery.layers.convert import revert_model
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.slots import neutral_slots
from tf_lottery.layers.state import masked_kernels
from tf_lottery.layers.state import named_variables
from tf_lottery.layers.state import read
from tf_lottery.layers.state import walk
from tf_lottery.masks import Mask
from tf_lottery.masks import match_paths
from tf_lottery.masks import threaded


def mask_model(
    model: keras.Model,
    *,
    exclude: str | Sequence[str] = (),
    in_place: bool | None = None,
) -> keras.Model:
    """Gives a model's kernels masks, all ones.

    Kernels of dense, convolution, recurrent, attention and embedding layers
    are masked, wherever in the model they are; biases and normalisation are
    not. Weights, names, variable paths and outputs stay the same (but Keras
    numbers the seed generators of a copy anew).

    Mask a model before it is put into another one that is trained, and before
    a function of your own that uses it is compiled: what was traced earlier
    goes on computing without masks.

    Args:
        model: a built Keras model.
        exclude: names of layers, or patterns of variable paths
            (`"block*/kernel"`), whose kernels stay dense; they do not count
            as prunable. A pattern that matches no path as a whole is tried
            against parts of them.
        in_place: True changes the model itself, and a compiled one goes on
            with its optimizer. False leaves it alone and masks a copy. By
            default a model that can be copied is (Sequential and functional
            ones), and a subclassed one is changed.

    Returns:
        The masked model: an uncompiled copy, or `model` itself.

    Raises:
        TypeError: `model` is not a Keras model, `exclude` holds no text.
        ValueError: the model is not built, is masked already, has nothing to
            prune, holds a layer with a kernel that cannot be masked, or
            cannot be copied with `in_place=False`; or a pattern matches
            nothing.
        RuntimeError: a layer's `get_config` does not rebuild it.

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
    named_variables(model)  # Raises where the model is not built.
    if in_place is None:
        in_place = why_not_copied(model) is not None
    if not in_place:
        # Before the copy, whose own errors would come first.
        check_kernels(model, exclude)
        model = copy_model(model)
    convert_model(model, exclude)
    return model


def is_masked(model: keras.Model) -> bool:
    """Returns whether any layer of the model carries a mask."""
    return any(isinstance(layer, Masked) for layer in walk(model))


@contextlib.contextmanager
def masked(model: keras.Model) -> Iterator[keras.Model]:
    """Masks a model in place for as long as the context lasts.

    A model with masks is left as it is.
    """
    added = not is_masked(model)
    if added:
        mask_model(model, in_place=True)
    try:
        yield model
    finally:
        if added:
            revert_model(model)


def strip_masks(
    model: keras.Model, *, in_place: bool | None = None
) -> keras.Model:
    """Takes the masks off a model; its pruned weights are exactly 0.

    Args:
        model: a model that `mask_model` returned.
        in_place: True changes the model itself, False a copy; by default a
            model that can be copied is, however it was given its masks.

    Returns:
        A model of stock layers with the same outputs, that needs this library
        neither to run nor to load: an uncompiled copy, or `model` itself.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: `model` has no masks, or cannot be copied with
            `in_place=False`.
    """
    check_model(model)
    apply_masks(model)
    if in_place is None:
        in_place = why_not_copied(model) is not None
    if not in_place:
        model = copy_model(model)
    revert_model(model)
    return model


def get_mask(model: keras.Model) -> Mask:
    """Returns the model's current mask, a copy.

    Args:
        model: a masked model.

    Returns:
        A `Mask` by path of the kernels.

    Raises:
        ValueError: `model` has no masks.
    """
    kernels = _kernels(model)
    values = [read(mask) for _, mask in kernels.values()]
    size = sum(map(np.size, values))
    arrays = list(threaded(lambda value: value != 0, values, size))
    for array in arrays:
        # So that the mask need not copy it.
        array.flags.writeable = False
    return Mask(dict(zip(kernels, arrays)))


def set_mask(
    model: keras.Model,
    mask: Mask | Mapping[str, np.ndarray],
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
    slots = neutral_slots(optimizer)
    for path, (raw, variable) in kernels.items():
        keep = mask[given[path]]
        variable.assign(keep.astype(variable.dtype))
        for slot, neutral in [(raw, 0.0), *slots.get(id(raw), ())]:
            value = read(slot)
            neutral = np.asarray(neutral, value.dtype)
            slot.assign(np.where(keep, value, neutral))


def apply_masks(model: keras.Model) -> None:
    """Zeroes the raw weights at pruned positions."""
    set_mask(model, get_mask(model))


def _kernels(model):
    kernels = masked_kernels(model)
    if not kernels:
        raise ValueError(
            f"`model` must have masks. Received: model {model.name!r} without"
            ". Pass it through mask_model first."
        )
    return kernels

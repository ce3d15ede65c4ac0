"""Turning a model's layers into masked ones and back, in place."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from typing import Any

import keras
from keras.src.models.functional import Functional

from tf_lottery.layers.inside import MaskedInside
from tf_lottery.layers.masked import MASKED_LAYERS
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.masked import MaskedKernel
from tf_lottery.layers.state import named_variables
from tf_lottery.layers.state import walk

# Trainable state of two or more dimensions that is no kernel.
NOT_KERNELS = (
    keras.layers.BatchNormalization,
    keras.layers.LayerNormalization,
    keras.layers.GroupNormalization,
    keras.layers.UnitNormalization,
    keras.layers.RMSNormalization,
    keras.layers.PReLU,
)


def convert_model(
    model: keras.Model, exclude: str | Sequence[str] = ()
) -> None:
    """Turns the model's layers with kernels into masked ones, in place.

    Args:
        model: a built model without masks.
        exclude: patterns of variable paths whose kernels stay dense.

    Raises:
        ValueError: before anything is changed, where a kernel cannot be
            masked, none is left to prune, or a pattern matches nothing.
    """
    dense = check_kernels(model, exclude)
    for layer in list(walk(model)):
        kernels = dense.get(id(layer), {})
        # A layer that makes others has converted them by now.
        if type(layer) in MASKED_LAYERS and not all(kernels.values()):
            MASKED_LAYERS[type(layer)].convert(
                layer, [name for name, kept in kernels.items() if kept]
            )
    _guard(model)
    _forget_compiled(model)


def check_kernels(
    model: keras.Model, exclude: str | Sequence[str] = ()
) -> dict[int, dict[str, bool]]:
    """Raises where `convert_model` would, and changes nothing.

    Returns:
        `{id of a layer: {kernel: stays dense}}` of the layers to mask.
    """
    excluded = _excluded(model, exclude)
    _check_reachable(model, excluded)
    _check_shared(model, excluded)
    dense = {
        id(layer): _dense_kernels(layer, excluded)
        for layer in walk(model)
        if type(layer) in MASKED_LAYERS
    }
    if all(all(kernels.values()) for kernels in dense.values()):
        raise ValueError(
            "`model` must have a kernel to prune. Received: model "
            f"{model.name!r} with none, or none left after exclude. Exclude "
            "less, or give a model with layers that have kernels."
        )
    return dense


def revert_model(model: keras.Model) -> None:
    """Turns the model's masked layers into stock ones, in place."""
    for layer in (model, *walk(model)):
        if isinstance(vars(layer).get("get_config"), Refusal):
            del vars(layer)["get_config"]
        if isinstance(layer, Masked):
            layer.revert()
    _forget_compiled(model)


def models_in(model: keras.Model) -> list[keras.Model]:
    """Returns `model` and the models inside it, outer before inner."""
    return [p for p in (model, *walk(model)) if isinstance(p, keras.Model)]


def _forget_compiled(model):
    # Functions that Keras compiled before do not know of the change.
    for part in models_in(model):
        for kind in ("train", "test", "predict"):
            if getattr(part, f"{kind}_function", None) is not None:
                getattr(part, f"make_{kind}_function")(force=True)


def _dense_kernels(layer, excluded):
    """`{name: stays dense}` of every kernel of a layer that can be masked.

    The names are those that `dense_kernels` of its masked class takes.
    """
    cls = MASKED_LAYERS[type(layer)]
    if issubclass(cls, MaskedKernel):
        return {
            name: id(_raw(layer, name)) in excluded
            for name in cls.kernels_of(layer)
        }
    inside: dict[str, bool] = {}
    for part in walk(layer):
        if issubclass(MASKED_LAYERS.get(type(part), Masked), MaskedKernel):
            for name, dense in _dense_kernels(part, excluded).items():
                path = f"{part.name}/{name}"
                if inside.setdefault(path, dense) != dense:
                    raise ValueError(
                        "`exclude` must match all or none of the kernels of "
                        f"one name inside a layer. Received: {path} of layer "
                        f"{layer.name!r}, excluded once and once not. Give "
                        "the layers inside names of their own."
                    )
    return inside


def _raw(layer, name):
    raw_name = MASKED_LAYERS[type(layer)]._raw_names[name]
    return layer.__dict__.get(name, layer.__dict__.get(raw_name))


def _excluded(model, exclude):
    """Ids of the variables that `exclude` keeps dense."""
    several = isinstance(exclude, (list, tuple, set, frozenset))
    patterns = exclude if several else [exclude]
    trained = {
        id(v)
        for layer in (model, *walk(model))
        for v in layer._trainable_variables
    }
    # A registered kernel may have one axis.
    registered = {
        id(_raw(layer, name))
        for layer in walk(model)
        if issubclass(MASKED_LAYERS.get(type(layer), Masked), MaskedKernel)
        for name in MASKED_LAYERS[type(layer)].kernels_of(layer)
    }
    kernels = {
        path: id(v)
        for path, v in named_variables(model).items()
        if id(v) in registered or (v.ndim > 1 and id(v) in trained)
    }
    chosen = set()
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(
                "`exclude` must hold patterns of variable paths. Received: "
                f"{pattern!r}. Write for example 'head/*', where head is the "
                "name of a layer."
            )
        # A Sequential's own name stands before its layers' in a path.
        matches = (
            _matching(kernels, pattern)
            or _matching(kernels, f"*/{pattern}")
            or _matching(kernels, f"{pattern}/*")
            or _matching(kernels, f"*/{pattern}/*")
        )
        if not matches:
            raise ValueError(
                "`exclude` must match kernels of the model. Received: "
                f"exclude={pattern!r}, which matches none. Kernels are "
                f"{', '.join(list(kernels)[:8])}."
            )
        chosen.update(matches)
    return chosen


def _matching(kernels, pattern):
    return [
        kernel
        for path, kernel in kernels.items()
        if fnmatch.fnmatchcase(path, pattern)
    ]


def _check_reachable(model, excluded):
    """Names every kernel that would stay dense without a word."""
    dense = [
        f"{layer.name} ({reason})"
        for layer in (model, *walk(model))
        if (reason := _unreachable(layer, excluded))
    ]
    if dense:
        raise ValueError(
            "`model` must hold only kernels that can be masked. Received: "
            f"{', '.join(dense)}. Name them in mask_model's exclude to keep "
            "them dense, or register_layer a class of your own."
        )


def _check_shared(model, excluded):
    """Names every kernel that is used where its mask would not be seen."""
    users: dict[int, list[str]] = {}
    kernels = {}
    for layer in walk(model):
        cls = MASKED_LAYERS.get(type(layer))
        if cls is not None and issubclass(cls, MaskedKernel):
            for name in cls.kernels_of(layer):
                raw = _raw(layer, name)
                kernels[id(raw)] = raw
                users.setdefault(id(raw), []).append(layer.name)
    for part in models_in(model):
        for operation in getattr(part, "operations", ()):
            for node in operation._inbound_nodes:
                # A tensor operation on the variable itself, as `@ kernel.T`.
                arguments = (node.arguments.args, node.arguments.kwargs)
                for value in keras.tree.flatten(arguments):
                    if isinstance(value, keras.Variable):
                        users.setdefault(id(value), []).append(operation.name)
    shared = [
        f"{raw.path} (in {', '.join(users[i])})"
        for i, raw in kernels.items()
        if len(users[i]) > 1 and i not in excluded
    ]
    if shared:
        raise ValueError(
            "`model` must use each kernel in the one layer that holds it. "
            f"Received: {'; '.join(shared)}. Call that layer twice, or "
            "mask_model(exclude=...) the kernel."
        )


def _unreachable(layer, excluded):
    kind = type(layer).__name__
    if isinstance(layer, keras.layers.TFSMLayer):
        return f"{kind}, whose weights Keras does not see"
    kernels = [
        v
        for v in layer._trainable_variables
        if v.ndim > 1 and id(v) not in excluded
    ]
    if isinstance(layer, keras.layers.SpectralNormalization):
        inner = layer.layer._trainable_variables
        if any(v.ndim > 1 and id(v) not in excluded for v in inner):
            return f"{kind}, which assigns to the kernel inside"
    if isinstance(layer, NOT_KERNELS) or not (
        kernels or type(layer) in MASKED_LAYERS
    ):
        return None
    if getattr(layer, "lora_enabled", False) or getattr(
        layer, "quantization_mode", None
    ):
        return f"{kind} with LoRA or quantised"
    cls = MASKED_LAYERS.get(type(layer))
    if cls is None:
        return f"{kind}, {kernels[0].path}"
    if issubclass(cls, MaskedKernel):
        if not layer.built:
            return f"{kind}, not built: no call of the model has reached it"
        for name in cls.kernels_of(layer):
            raw = _raw(layer, name)
            if not isinstance(raw, keras.Variable):
                return f"{kind}, whose `{name}` is no variable"
        if not cls.__module__.startswith(__package__):
            # A registered class: a bias may have two dimensions.
            named = {id(_raw(layer, name)) for name in cls.kernels_of(layer)}
            for v in kernels:
                if id(v) not in named and v.name != "bias":
                    return f"{kind}, registered without {v.path}"
    return None


def _guard(model):
    """Lets no file be written from which masks would come back dense.

    A layer or model of the user's own that makes its layers in `__init__` is
    rebuilt from its config with stock layers. Where the config does not hold
    the masked layers, asking for it, as `.keras` files and clones do, is an
    error; a Ticket and a weights file carry the masks.
    """
    plain = (keras.Sequential, keras.Model, Functional)
    # Inner before outer, which hands the question on where it asks them.
    for part in reversed((model, *walk(model))):
        if isinstance(part, Masked) or type(part) in plain:
            continue
        held = _masked_inside(part)
        try:
            config = type(part).get_config(part) if held else {}
        except _MasksLost:
            continue
        except NotImplementedError:
            config = {}
        if _count_masked(config) < held:
            part.__dict__["get_config"] = Refusal(part)


class _MasksLost(ValueError):
    pass


class Refusal:
    """Stands in an instance for its `get_config`."""

    def __init__(self, part):
        self._text = (
            f"{part.name!r} of class {type(part).__name__} must not be "
            "rebuilt from its config: its masks would be lost. Received: a "
            "masked model to copy, or to save as .keras. Use a Ticket or "
            "save_weights, strip_masks first, or "
            f"register_layer({type(part).__name__}) where it is a layer that "
            "makes its layers from its config."
        )

    def __call__(self):
        raise _MasksLost(self._text)


def _masked_inside(part):
    """Number of masked layers that the config of `part` must hold."""
    rebuilt = {
        id(inner)
        for layer in walk(part)
        if isinstance(layer, MaskedInside)
        for inner in walk(layer)
    }
    return sum(
        isinstance(layer, Masked) and id(layer) not in rebuilt
        for layer in walk(part)
    )


def _count_masked(config: Any) -> int:
    """Number of masked layers in a serialized config."""
    if isinstance(config, dict):
        name = str(config.get("registered_name", ""))
        here = name.startswith("tf_lottery>Masked")
        return here + sum(map(_count_masked, config.values()))
    if isinstance(config, (list, tuple)):
        return sum(map(_count_masked, config))
    return 0

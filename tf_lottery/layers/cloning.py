"""Copies of a Keras model, layer by layer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
from keras.src.models.functional import Functional

from tf_lottery.layers.convert import Refusal
from tf_lottery.layers.convert import models_in
from tf_lottery.layers.masked import MASKED_LAYERS
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.state import masked_kernels
from tf_lottery.layers.state import named_variables
from tf_lottery.layers.state import refresh
from tf_lottery.layers.state import walk


#: What copies share with their model: they have no weights, and what a lookup
#: has adapted to is not in its config.
SHARED = (
    keras.layers.Lambda,
    keras.layers.StringLookup,
    keras.layers.IntegerLookup,
    keras.layers.TextVectorization,
)


def check_model(model: keras.Model) -> None:
    """Raises TypeError unless `model` is a Keras 3 model."""
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a Keras 3 model. Received: "
            f"model={type(model).__module__}.{type(model).__name__}. Build it "
            "with keras, not tf_keras."
        )


def why_not_copied(model: keras.Model) -> str | None:
    """Returns why a model cannot be copied; None where it can.

    A subclassed model does not say how its layers are joined; and
    `clone_model` drops the methods of some classes in silence.
    """
    for part in models_in(model):
        kind = type(part).__name__
        if not isinstance(part, (keras.Sequential, Functional)):
            return f"{part.name!r} of class {kind} is a subclassed model"
        lost = _lost_methods(part)
        if lost:
            return (
                f"{part.name!r} of class {kind} defines {', '.join(lost)}, "
                "which a copy would lose"
            )
    return None


def copy_model(model: keras.Model) -> keras.Model:
    """Returns an uncompiled copy of `model` with the same state and masks.

    A Lambda, whose function cannot be read back from its config, and adapted
    lookup layers are shared: they have no weights.

    Args:
        model: a built Sequential or functional model.

    Raises:
        ValueError: `model` is not built, or cannot be copied.
        RuntimeError: a layer's `get_config` does not rebuild it.
    """
    if not model.built:
        named_variables(model)  # Raises with the reason.
    reason = why_not_copied(model)
    if reason:
        raise ValueError(
            "`model` must be one that can be copied: Sequential, or "
            f"functional without methods of its own. Received: {reason}. Use "
            "in_place=True, which changes the model itself."
        )
    with _uncompiled(model), _unguarded(model) as guards:
        try:
            copy = keras.models.clone_model(
                model, clone_function=_rebuilt, recursive=True
            )
        except (NotImplementedError, TypeError, ValueError) as error:
            text = " ".join(str(error).split())[:300]
            raise RuntimeError(
                "`model` must be rebuilt by the configs of its layers. "
                f"Received: {type(error).__name__}: {text} Give that layer a "
                "get_config, or use in_place=True."
            ) from error
    pairs = list(zip(walk(model), walk(copy)))
    for old, new in pairs:
        # Inside a wrapper it is not shared, and its config does not say.
        if new is not old and _adapted(old):
            raise RuntimeError(
                "`model` must be rebuilt by the configs of its layers. "
                f"Received: {old.name!r}, whose copy would lose what it has "
                "adapted to. Give it its vocabulary, or use in_place=True."
            )
    # A layer that makes layers by itself makes stock ones.
    for old, new in pairs:
        if isinstance(old, Masked) and type(new) is old.stock_class:
            MASKED_LAYERS[type(new)].convert(new, old.dense_kernels)
        if id(old) in guards:
            new.__dict__["get_config"] = guards[id(old)]
    # Setting a model's flag sets its layers', so outer before inner.
    for old, new in [(model, copy), *pairs]:
        if isinstance(old, keras.Model):
            new.trainable = old.trainable
    for old, new in pairs:
        if not isinstance(old, keras.Model):
            new.trainable = old.trainable
    source = named_variables(model)
    target = named_variables(copy)
    # By order, not by path: a copy may be numbered anew.
    same = [v.shape for v in source.values()] == [
        v.shape for v in target.values()
    ]
    if not same:
        raise RuntimeError(
            "`model` must be rebuilt by the configs of its layers. Received: "
            f"{_difference(source, target)}. A custom layer's get_config is "
            "incomplete; mend it, or use in_place=True."
        )
    # A copy of the values too: JAX would give both models one buffer, and
    # training one of them frees it.
    for old, new in zip(source.values(), target.values()):
        new.assign(keras.ops.copy(old))
        new.trainable = old.trainable
        # A wrapper's config rebuilds what it holds without its own name.
        new._path = old._path
    masks = masked_kernels(model).values(), masked_kernels(copy).values()
    for (_, old), (_, new) in zip(*masks, strict=True):
        new.assign(keras.ops.copy(old))
    refresh(copy)
    return copy


def _difference(source, target):
    for (path, old), new in zip(source.items(), target.values()):
        if old.shape != new.shape:
            return f"{path} of shape {old.shape}, copied as {new.shape}"
    return f"{len(source)} variables, copied as {len(target)}"


def _adapted(layer):
    lookups = keras.layers.StringLookup, keras.layers.IntegerLookup
    return isinstance(layer, lookups) and layer.input_vocabulary is None


def _rebuilt(layer):
    if isinstance(layer, SHARED):
        return layer
    return type(layer).from_config(layer.get_config())


def _lost_methods(part):
    """Methods of a model's class that `clone_model` would drop in silence.

    It makes a plain Sequential of every Sequential, and keeps the class of a
    functional model only where that is built from inputs and outputs alone.
    """
    sequential = isinstance(part, keras.Sequential)
    base = keras.Sequential if sequential else Functional
    classes = type(part).__mro__
    names = {n for c in classes[: classes.index(base)] for n in vars(c)}
    if not sequential and "__init__" not in names:
        return []
    return sorted(
        name
        for name in names - {"get_config", "from_config"}
        if not name.startswith("_")
        or (hasattr(base, name) and not name.startswith("__"))
    )


@contextlib.contextmanager
def _uncompiled(model) -> Iterator[None]:
    # clone_model compiles its copy from a config, which fails for a loss or
    # metric that is a plain function.
    compiled = [part for part in models_in(model) if part.compiled]
    for part in compiled:
        part.compiled = False
    try:
        yield
    finally:
        for part in compiled:
            part.compiled = True


@contextlib.contextmanager
def _unguarded(model) -> Iterator[dict]:
    """Lifts the refusals of `convert_model`: the copy gets its masks."""
    layers = [
        p
        for p in (model, *walk(model))
        if isinstance(vars(p).get("get_config"), Refusal)
    ]
    guards = {id(p): vars(p).pop("get_config") for p in layers}
    try:
        yield guards
    finally:
        for part in layers:
            vars(part)["get_config"] = guards[id(part)]

"""Copies of a Keras model, layer by layer."""

from __future__ import annotations

import contextlib
from typing import Any
from collections.abc import Callable, Iterator

import keras
from keras.src.models.functional import Functional

from tf_lottery.layers.state import named_variables
from tf_lottery.layers.state import refresh
from tf_lottery.layers.state import walk


def check_model(model: keras.Model) -> None:
    """Raises unless `model` is Sequential or functional, all the way down.

    Raises:
        TypeError: `model` is not a Keras model.
        ValueError: `model`, or a model inside, is subclassed: it does not say
            how its layers are joined.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must be a Keras 3 model. Received: "
            f"model={type(model).__module__}.{type(model).__name__}. Build it "
            "with keras, not tf_keras."
        )
    for part in models_in(model):
        if not isinstance(part, (keras.Sequential, Functional)):
            raise ValueError(
                "`model` must be a Sequential or functional model. Received: "
                f"{part.name!r} of class {type(part).__name__}. Rewrite it "
                "with keras.Input and keras.Model."
            )


def models_in(model: keras.Model) -> list[keras.Model]:
    """Returns `model` and the models inside it, outer before inner."""
    return [p for p in (model, *walk(model)) if isinstance(p, keras.Model)]


def copied_layers(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yields the layers that `copy_model` hands to its clone function.

    What another layer holds, as a wrapper or an attention layer does, is not
    among them: that layer rebuilds it by itself.
    """
    for layer in model.layers:
        yield layer
        if isinstance(layer, keras.Model):
            yield from copied_layers(layer)


def copy_model(
    model: keras.Model,
    clone_function: Callable[[keras.layers.Layer], keras.layers.Layer],
) -> keras.Model:
    """Returns an uncompiled copy of `model` with the same state.

    Args:
        model: a built Sequential or functional model.
        clone_function: makes the new layer of an old one.

    Raises:
        ValueError: `model` is not built, or is of a class with methods of its
            own that the copy would lose.
        RuntimeError: a layer's `get_config` does not rebuild it.
    """
    if not model.built:
        named_variables(model)  # Raises with the reason.
    for part in models_in(model):
        _check_class(part)
    with _uncompiled(model):
        copy = keras.models.clone_model(
            model, clone_function=clone_function, recursive=True
        )
    # Setting a model's flag sets its layers', so outer before inner.
    for old, new in zip(models_in(model), models_in(copy), strict=True):
        new.trainable = old.trainable
    for old, new in zip(copied_layers(model), copied_layers(copy)):
        if not isinstance(old, keras.Model):
            new.trainable = old.trainable
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
    refresh(copy)
    return copy


def rebuilt(layer: keras.layers.Layer, cls: Any) -> keras.layers.Layer:
    """Returns a new, unbuilt layer of class `cls` with the same config.

    A Lambda is returned itself: its function cannot be read back from the
    config, and as it has no state two models can share it.
    """
    if isinstance(layer, keras.layers.Lambda):
        return layer
    return cls.from_config(layer.get_config())


def _check_class(part):
    """Refuses a class whose methods `clone_model` would drop in silence.

    It makes a plain Sequential of every Sequential, and keeps the class of a
    functional model only where that is built from inputs and outputs alone.
    """
    sequential = isinstance(part, keras.Sequential)
    base = keras.Sequential if sequential else Functional
    classes = type(part).__mro__
    names = {n for c in classes[: classes.index(base)] for n in vars(c)}
    if not sequential and "__init__" not in names:
        return
    lost = sorted(
        name
        for name in names - {"get_config", "from_config"}
        if hasattr(base, name) and not name.startswith("__")
    )
    if lost:
        raise ValueError(
            "`model` must be of a class that can be copied. Received: "
            f"{part.name!r} of class {type(part).__name__}, which defines "
            f"{', '.join(lost)}. Give keras.Model(inputs, outputs) and keep "
            "that behaviour outside, or a subclass of keras.Model without "
            "an __init__."
        )


@contextlib.contextmanager
def _uncompiled(model):
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

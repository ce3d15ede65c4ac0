"""A model's state by path: what a ticket saves and rewinding restores."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import keras
import numpy as np

from tf_lottery.layers.masked import MaskedKernel
from tf_lottery.masks import match_paths


def walk(layer: keras.layers.Layer) -> Iterator[keras.layers.Layer]:
    """Yields the layers inside `layer`, each once, outer before inner."""
    seen = set()
    stack = [layer]
    while stack:
        current = stack.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if current is not layer:
            yield current
        # The one call that also finds the layers that a wrapper holds.
        inner = current._flatten_layers(include_self=False, recursive=False)
        stack.extend(reversed(inner))


def masked_kernels(
    model: keras.Model,
) -> dict[str, tuple[keras.Variable, keras.Variable]]:
    """Returns `{path: (raw kernel, mask)}` in the order of the layers."""
    paths = {id(v): path for path, v in named_variables(model).items()}
    return {
        paths[id(raw)]: (raw, mask) for raw, mask in _raw_and_mask(model)
    }


def _raw_and_mask(model):
    for layer in walk(model):
        if isinstance(layer, MaskedKernel):
            for name in layer.kernel_names:
                if (mask := layer.mask_of(name)) is not None:
                    yield layer.raw_kernel(name), mask


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns `{path: variable}` of a model's state, masks left out.

    State is everything that training changes: weights, normalisation
    statistics and seed generators. A path is Keras' `variable.path` (without
    the number that it gives to seed generators in each process); where
    several variables share one, as equal layers of two nested models do, the
    later ones get `#2`, `#3` and so on, in the order of the model.

    Args:
        model: a built Keras model.

    Returns:
        A dict in the order of `model.variables`.

    Raises:
        ValueError: the model is not built.

    Example:
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> list(named_variables(model))
        ['out/kernel', 'out/bias']
    """
    if not model.built:
        raise ValueError(
            f"`model` must be built. Received: model {model.name!r} without "
            "weights. Give it an Input, or call it on a batch first."
        )
    masks = {id(mask) for _, mask in _raw_and_mask(model)}
    result: dict[str, keras.Variable] = {}
    count: dict[str, int] = {}
    weights = {id(v) for v in model.weights}
    for variable in model.variables:
        if id(variable) in masks:
            continue
        path = variable.path
        if id(variable) not in weights:
            # Keras numbers seed generators per process, not per model.
            path = re.sub(r"_\d+(?=/)", "", path)
        count[path] = count.get(path, 0) + 1
        if count[path] > 1:
            path = f"{path}#{count[path]}"
        result[path] = variable
    return result


def read(variable: keras.Variable) -> np.ndarray:
    """Returns a variable's values to look at, not to keep or to change.

    Where the backend shares its memory nothing is copied: the array is then
    read-only, and must not outlive the variable's next assignment.
    """
    if hasattr(variable.value, "read_value"):  # TensorFlow's.
        try:
            return np.asarray(memoryview(variable.value.read_value()))
        except (BufferError, TypeError, ValueError):
            pass  # On a GPU, or of a type that Python has no word for.
    return np.asarray(variable)


def get_state(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns `{path: array}`, a copy of the model's state, masks left out.

    Args:
        model: a built Keras model, masked or not.

    Returns:
        Arrays of the variables' own shapes and dtypes; a masked model and its
        dense twin give the same paths, but for the numbers that Keras gives
        to seed generators.
    """
    return {
        path: np.array(read(v))
        for path, v in named_variables(model).items()
    }


def set_state(model: keras.Model, state: Mapping[str, np.ndarray]) -> None:
    """Restores what `get_state` returned; masks stay and are applied.

    Args:
        model: a built Keras model of the same architecture.
        state: `{path: array}`.

    Raises:
        ValueError: a path is missing, unknown, or of another shape.
    """
    variables = named_variables(model)
    given = match_paths(
        {k: tuple(v.shape) for k, v in variables.items()},
        {k: np.shape(v) for k, v in state.items()},
        "state",
    )
    masks = {path: mask for path, (_, mask) in masked_kernels(model).items()}
    for path, variable in variables.items():
        value = np.asarray(state[given[path]])
        if path in masks:
            keep = read(masks[path]) != 0
            # `where`, not a product: 0 * NaN and -1 * 0 are not 0.
            value = np.where(keep, value, np.zeros_like(value))
        variable.assign(value)
    refresh(model)


def refresh(model: keras.Model) -> None:
    """Makes layers compute with the variables that were assigned to them.

    An adapted Normalization computes with tensors that it derives from its
    variables when it is built or loaded, not with the variables.
    """
    for layer in walk(model):
        # A Discretization derives its boundaries of data that it has no more.
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()

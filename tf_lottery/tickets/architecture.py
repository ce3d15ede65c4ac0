"""Building the network that a ticket describes, without trusting it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from typing import Any

import keras

from tf_lottery.tickets.reading import one_line

# What Keras writes for its own classes; its other modules hold functions that
# read and write files.
_CLASSES = re.compile(
    r"keras(\.(layers|models|activations|constraints|initializers|losses"
    r"|metrics|optimizers(\.schedules)?|random|regularizers|quantizers"
    r"|dtype_policies|src\.(models|ops|layers|random|quantizers)(\.\w+)+))?"
)
_FUNCTIONS = re.compile(
    r"builtins|keras\.(activations|constraints|initializers|losses|metrics"
    r"|ops(\.\w+)?|random|regularizers)"
)
# These run what another file holds.
_FOREIGN = {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_VALUES = {
    "__keras_tensor__", "__bytes__", "__ellipsis__", "__slice__",
    "__numpy__", "__tensor__",
}
_DTYPE = re.compile("bool|bfloat16|(float|u?int|complex)[0-9]{1,3}")


def build_architecture(text: str, size: int) -> keras.Model:
    """Builds a model from its JSON, which anyone may have written.

    Classes are Keras' own, or registered in this process with
    `keras.saving.register_keras_serializable`. Code is never read, whatever
    `keras.config` allows; files are not either. With TensorFlow a model that
    is much larger than it should be is refused before it takes memory.

    Args:
        text: what `model.to_json()` returned.
        size: number of entries in its state.

    Returns:
        A `keras.Model`, not compiled.

    Raises:
        ValueError: in one line, for a text that is anything else.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(3, name="out")])
        >>> build_architecture(model.to_json(), 15).count_params()
        15
    """
    try:
        config = json.loads(text)
        problem = _problem(config)
        if problem is None:
            # Compiled it would bring an optimizer with state.
            config.pop("compile_config", None)
            with _limited(4 * size + 2**16):
                model = keras.models.model_from_json(json.dumps(config))
            if isinstance(model, keras.Model):
                return model
            problem = f"a {type(model).__name__}"
    # A layer can fail in any way on a config that it did not write.
    except Exception as error:
        raise _refused(f"{type(error).__name__}: {error}") from error
    raise _refused(problem)


def _refused(reason: str) -> ValueError:
    return ValueError(
        "`architecture` must describe a model of Keras' own layers, and of "
        f"classes registered in this process. Received: {one_line(reason)}. "
        "Build the model yourself, then call the ticket's apply_to on it."
    )


def _problem(config: Any) -> str | None:
    """Says what in a model's JSON does more than describe a model."""
    if not isinstance(config, dict) or "class_name" not in config:
        return "JSON that is no model"
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, list):
            stack += value
        elif isinstance(value, dict):
            stack += value.values()
            problem = _problem_of(value) if "class_name" in value else None
            # A lookup layer would read the file of that name.
            if isinstance(value.get("vocabulary"), str):
                problem = f"a vocabulary in a file {value['vocabulary']!r}"
            if problem:
                return problem
    return None


def _problem_of(value: dict[str, Any]) -> str | None:
    name, module = value["class_name"], value.get("module")
    inner = value.get("config")
    if name in ("__numpy__", "__tensor__"):
        dtype = inner.get("dtype") if isinstance(inner, dict) else None
        known = isinstance(dtype, str) and _DTYPE.fullmatch(dtype)
        return None if known else f"an array of type {dtype!r}"
    if name in _VALUES:
        return None
    if name == "function":
        known = isinstance(module, str) and _FUNCTIONS.fullmatch(module)
        # Not by its `registered_name`, which Keras does not look at here.
        if known or _registered(inner):
            return None
        return f"function {inner!r} of module {module!r}"
    if _registered(value, key=True):
        return None
    own = (
        isinstance(name, str)
        and isinstance(module, str)
        and _CLASSES.fullmatch(module)
        # Keras' functions have small letters.
        and name[:1].isupper()
        and name not in _FOREIGN
    )
    if own and name == "Lambda":
        call = inner.get("function") if isinstance(inner, dict) else None
        own = isinstance(call, dict) and call.get("class_name") == "function"
    return None if own else f"class {name!r} of module {module!r}"


def _registered(value: Any, key: bool = False) -> bool:
    name = value.get("registered_name") if key else value
    if not isinstance(name, str):
        return False
    return keras.saving.get_registered_object(name) is not None


@contextlib.contextmanager
def _limited(most: int) -> Iterator[None]:
    """Refuses variables of more than `most` entries together."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    left = most

    def create(next_creator, **kwargs):
        nonlocal left
        value = kwargs.get("initial_value")
        if callable(value):
            # In a graph of its own it has a shape and takes no memory.
            with tf.Graph().as_default():
                value = value()
        size = tf.TensorShape(value.shape).num_elements() or 0
        left -= size
        if left < 0:
            raise ValueError("a model that is larger than its ticket")
        return next_creator(**kwargs)

    with tf.variable_creator_scope(create):
        yield

"""A user's own model, named "package.module:function"."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import inspect
import os
import re
import sys
from typing import Any, Callable, Iterator

import keras

from tf_lottery.layers import walk
from tf_lottery.layers import why_not_copied
from tf_lottery.models import scope
from tf_lottery.models.output import gives_probabilities

# What TensorFlow takes as the name of a scope.
_SCOPE = re.compile(r"[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*")


def find_function(name: str) -> Callable[..., Any]:
    """Imports the function that "package.module:function" names.

    Args:
        name: dotted module, colon, function. The current directory is on the
            path for the import, as a user at a terminal expects.

    Returns:
        The function.

    Raises:
        TypeError: what is named is not callable.
        ValueError: the name has the wrong form, the module cannot be
            imported, or it has no such function.

    Example:
        >>> find_function("keras.models:Sequential").__name__
        'Sequential'
    """
    module_name, _, attribute = name.partition(":")
    parts = module_name.split(".")
    if not all(part.isidentifier() for part in (*parts, attribute)):
        raise ValueError(
            "`model` must be a registered name or 'package.module:function'. "
            f"Received: model={name!r}. Put dots between packages and one "
            "colon before the function."
        )
    try:
        # An initialiser made at the module's top level draws its seed now.
        with _working_directory_importable(), scope.seeded(0):
            module = importlib.import_module(module_name)
    # A user's module can fail in any way while it is imported.
    except (Exception, SystemExit) as error:
        raise ValueError(
            f"`model` must name a module that can be imported. Received: "
            f"model={name!r}. Importing it failed: {type(error).__name__}: "
            f"{' '.join(str(error).split())}. The folder searched first is "
            f"{os.getcwd()}."
        ) from error
    if not hasattr(module, attribute):
        public = [key for key in vars(module) if not key.startswith("_")]
        close = difflib.get_close_matches(attribute, public, n=1)
        hint = (
            f"Did you mean {close[0]!r}?" if close else "Correct the name."
        )
        raise ValueError(
            f"`model` must name a function of {module_name}. Received: "
            f"model={name!r}. {hint}"
        )
    function = getattr(module, attribute)
    if not callable(function):
        raise TypeError(
            "`model` must name something callable. Received: "
            f"model={name!r}, a {type(function).__name__}. Wrap it in a "
            "function that builds the model anew."
        )
    return function


def build(
    name: str, input_shape: tuple[int, ...], num_classes: int
) -> keras.Model:
    """Calls a user's function and checks that its model fits the data.

    The function takes parameters named `input_shape` and `num_classes`, or
    two positional ones, or none.

    Args:
        name: as in `find_function`.
        input_shape: `(height, width, channels)`, pixels, which come as floats
            in [0, 1]; or `(length,)`, tokens, each of which is to have its
            logits.
        num_classes: width of the output, logits.

    Returns:
        The user's model.

    Raises:
        TypeError: the function takes other arguments, or returns no
            `keras.Model`.
        ValueError: the model is not built, was returned before, does not fit
            the data, takes images as integers, or ends in a softmax or a
            sigmoid.

    Example:
        >>> build("my_models:small", (8, 8, 1), 10)  # doctest: +SKIP
    """
    function = find_function(name)
    args, kwargs = _arguments(name, function, input_shape, num_classes)
    try:
        with _working_directory_importable():
            model = function(*args, **kwargs)
    except (Exception, SystemExit) as error:
        raise ValueError(
            "`model` must name a function that builds a model. Received: "
            f"model={name!r}, which raised {type(error).__name__}: "
            f"{' '.join(str(error).split())}. Correct the function."
        ) from error
    if not isinstance(model, keras.Model):
        raise TypeError(
            "`model` must name a function that returns a keras.Model. "
            f"Received: model={name!r}, which returns a "
            f"{type(model).__name__}. Return the model itself."
        )
    reason = why_not_copied(model)
    if reason:
        raise ValueError(
            "`model` must name a function that returns a Sequential or "
            f"functional model. Received: model={name!r}, where {reason}. Use "
            "callbacks.LotteryTicket or find_tickets for it."
        )
    if not model.built or not model.variables:
        raise ValueError(
            "`model` must return a built model. Received: "
            f"model={name!r}, whose weights do not exist yet. Start it with "
            "keras.Input, or call its build() in the function."
        )
    if getattr(model, "_tf_lottery_handed_out", False):
        raise ValueError(
            "`model` must name a function that builds a new model each time. "
            f"Received: model={name!r}, which returned one model twice. "
            "Create the layers inside the function."
        )
    _check_fit(name, model, input_shape, num_classes)
    # A shared model would carry trained weights into the next replicate.
    model._tf_lottery_handed_out = True
    return model


def _arguments(
    name: str,
    function: Callable[..., Any],
    input_shape: tuple[int, ...],
    num_classes: int,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    named = {"input_shape": input_shape, "num_classes": num_classes}
    signature = inspect.signature(function)
    # Named parameters come first: a function whose two are optional would
    # otherwise be built for its defaults and not for the data.
    if all(
        key in signature.parameters
        and signature.parameters[key].kind
        is not inspect.Parameter.POSITIONAL_ONLY
        for key in named
    ):
        candidates: list[tuple[tuple[Any, ...], dict[str, Any]]]
        candidates = [((), named)]
    else:
        candidates = [((), {}), (tuple(named.values()), {})]
    for args, kwargs in candidates:
        with contextlib.suppress(TypeError):
            signature.bind(*args, **kwargs)
            return args, kwargs
    raise TypeError(
        "`model` must name a function of no argument or of (input_shape, "
        f"num_classes). Received: model={name!r}, whose arguments are "
        f"{signature}. Give the others a default."
    )


def _check_fit(
    name: str,
    model: keras.Model,
    input_shape: tuple[int, ...],
    num_classes: int,
) -> None:
    inputs, outputs = _shapes(model, input_shape)
    fits = len(inputs) == len(outputs) == 1
    fits = fits and len(inputs[0]) == 1 + len(input_shape)
    fits = fits and all(
        have in (None, want)
        for have, want in zip(inputs[0][1:], input_shape, strict=True)
    )
    text = len(input_shape) == 1
    wanted = (*input_shape, num_classes) if text else (num_classes,)
    given = tuple(outputs[0][1:])
    if text and None in given[:1]:
        # Of a model for sequences of any length.
        given = (*input_shape, *given[1:])
    if not fits or given != wanted:
        noun = "tokens" if text else "images"
        logits = f"{'x'.join(map(str, wanted))} logits"
        raise ValueError(
            f"`model` must map {noun} of shape {input_shape} to "
            f"{logits}. Received: model={name!r}, which maps "
            f"{_text(inputs)} to {_text(outputs)}. Change the function, or "
            "let it take (input_shape, num_classes)."
        )
    dtype = model.inputs[0].dtype
    # A cast of [0, 1] to integers leaves zeros and ones.
    if not text and not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            "`model` must take images as floats in [0, 1]. Received: "
            f"model={name!r}, whose input is {dtype}. Give its keras.Input no "
            "dtype, and leave out a division by 255."
        )
    if gives_probabilities(model):
        raise ValueError(
            "`model` must give logits. Received: "
            f"model={name!r}, which ends in a softmax or a sigmoid. Remove "
            "it: the loss applies a softmax."
        )
    if not model.trainable_variables:
        raise ValueError(
            "`model` must have trainable weights. Received: "
            f"model={name!r}, all of whose layers are frozen. Unfreeze some."
        )
    for layer in walk(model):
        if not _SCOPE.fullmatch(layer.name):
            raise ValueError(
                "`model` must have layer names that TensorFlow takes. "
                f"Received: model={name!r} with a layer {layer.name!r}. Use "
                "letters, digits and underscores."
            )


def _shapes(
    model: keras.Model, input_shape: tuple[int, ...]
) -> tuple[list[tuple], list[tuple]]:
    if getattr(model, "inputs", None):
        return (
            [tuple(tensor.shape) for tensor in model.inputs],
            [tuple(tensor.shape) for tensor in model.outputs],
        )
    # A subclassed model states no input shape: ask it for the data's.
    shape = (None, *input_shape)
    return [shape], [tuple(model.compute_output_shape(shape))]


def _text(shapes: list[tuple]) -> str:
    return " and ".join(str(tuple(shape[1:])) for shape in shapes)


@contextlib.contextmanager
def _working_directory_importable() -> Iterator[None]:
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path.remove(folder)

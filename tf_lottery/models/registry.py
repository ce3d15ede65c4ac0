"""Names of models, and how a name and a seed become a built model."""

from __future__ import annotations

import difflib
import numbers
from typing import Any, Callable

import keras

from tf_lottery.models import custom
from tf_lottery.models import initial
from tf_lottery.models import scope

Builder = Callable[[Any, int], keras.Model]

MODELS: dict[str, Builder] = {}
#: What each takes: "images" or "text".
KINDS: dict[str, str] = {}

# NumPy's seeds are the narrowest of those that are set.
_SEED_LIMIT = 2**32


def register(name: str, kind: str = "images") -> Callable[[Builder], Builder]:
    """Returns a decorator that adds a builder to `MODELS`.

    Args:
        name: what users write, such as "lenet_300_100"; no colon, because a
            colon marks a user's own "package.module:function".
        kind: what it takes, "images" or "text": tokens, of an input shape of
            one dimension.

    Returns:
        A decorator that returns the builder unchanged.

    Raises:
        ValueError: `name` is taken by another builder, or has a colon.

    Example:
        >>> register("lenet_300_100")(MODELS["lenet_300_100"]).__name__
        'lenet_300_100'
    """

    def add(builder: Builder) -> Builder:
        if ":" in name or MODELS.get(name, builder) is not builder:
            raise ValueError(
                "`name` must be new and without a colon. Received: "
                f"name={name!r}. Choose another name."
            )
        MODELS[name] = builder
        KINDS[name] = kind
        return builder

    return add


def check_model(name: str) -> None:
    """Checks a model's name without building it.

    Args:
        name: a key of `MODELS`, or "package.module:function", which is
            imported with the current directory on the path.

    Raises:
        TypeError: `name` is not a string, or the function that it names is
            not callable.
        ValueError: the name is unknown, or cannot be imported.

    Example:
        >>> check_model("conv_2")
    """
    if not isinstance(name, str):
        raise TypeError(
            f"`model` must be a string. Received: model={name!r}. Pass one "
            f"of {', '.join(sorted(MODELS))}, or 'package.module:function'."
        )
    if ":" in name:
        custom.find_function(name)
    elif name not in MODELS:
        close = difflib.get_close_matches(name, MODELS, n=1)
        hint = f"Did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"`model` must be one of {', '.join(sorted(MODELS))}, or "
            f"'package.module:function'. Received: model={name!r}. {hint}"
            "Correct the name."
        )


def build_model(
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    seed: int,
    init: str | None = None,
) -> keras.Model:
    """Returns a dense, built model whose weights are a function of `seed`.

    The model is built with fresh layer-name counters and freshly seeded
    generators (Python, NumPy, TensorFlow and Keras), which are put back
    afterwards. So neither its variable paths nor its weights depend on what
    the process did before, and the caller's random numbers are undisturbed.

    Args:
        name: as in `check_model`.
        input_shape: `(height, width, channels)`, pixels; or `(length,)`,
            tokens of a text.
        num_classes: width of the output, logits.
        seed: an integer in `[0, 2**32)`.
        init: name of a random Keras initialiser for every kernel, as in
            `initial.check_init`; None is the model's own initialisation.

    Returns:
        A built `keras.Model`.

    Raises:
        TypeError: `name` or `seed` has the wrong type, or a user's function
            returns no Keras model.
        ValueError: an argument is unknown or out of range, the model is of
            another kind of data, the input is too small for it, or a user's
            model does not fit the data.

    Example:
        >>> model = build_model("lenet_300_100", (28, 28, 1), 10, seed=0)
        >>> model.count_params()
        266610
    """
    check_model(name)
    initial.check_init(init)
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
        raise TypeError(
            f"`seed` must be an integer. Received: seed={seed!r}. Derive one "
            "with `tf_lottery.seeds.derive`."
        )
    if not 0 <= seed < _SEED_LIMIT:
        raise ValueError(
            f"`seed` must be in [0, 2**32). Received: seed={seed}. Derive "
            "one with `tf_lottery.seeds.derive`."
        )
    input_shape = tuple(int(side) for side in input_shape)
    _check_kind(name, "text" if len(input_shape) == 1 else "images")
    with scope.clean_names(), scope.seeded(int(seed)):
        if ":" in name:
            model = custom.build(name, input_shape, int(num_classes))
        else:
            model = MODELS[name](input_shape, int(num_classes))
        if init is not None:
            initial.redraw_kernels(model, init, seed=int(seed))
    return model


def _check_kind(name: str, kind: str) -> None:
    if KINDS.get(name, kind) != kind:
        known = ", ".join(sorted(k for k in MODELS if KINDS[k] == kind))
        raise ValueError(
            f"`model` must be one of {kind} for a data set of {kind}. "
            f"Received: model={name!r}, of {KINDS[name]}. Choose one of "
            f"{known}, or another data set."
        )

"""Replacing the initialisation of a model's kernels."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Callable

import keras

from tf_lottery import seeds
from tf_lottery.layers import named_variables

# Recurrent kernels and embeddings have initialisers of their own kind.
_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")


def kaiming_normal(seed: int | None = None) -> keras.initializers.Initializer:
    """Returns PyTorch's `kaiming_normal_`: normal, variance 2 / fan_in.

    Keras' `HeNormal` has the same variance, but is truncated at 2.27 of these
    deviations.

    Args:
        seed: as of Keras' initialisers.

    Example:
        >>> kaiming_normal(seed=0)((3, 2)).shape
        TensorShape([3, 2])

    Reference:
        He et al., Delving Deep into Rectifiers, 2015, arXiv:1502.01852,
        section 2.2.
    """
    return keras.initializers.VarianceScaling(
        2.0, "fan_in", "untruncated_normal", seed=seed
    )


@keras.saving.register_keras_serializable("tf_lottery")
class SignedKaimingConstant(keras.initializers.Initializer):
    """Weights of one magnitude, sqrt(2 / fan_in), with random signs.

    Args:
        seed: as of Keras' initialisers.

    Example:
        >>> w = SignedKaimingConstant(seed=0)((8, 4))
        >>> sorted({float(v) for v in keras.ops.ravel(w)})
        [-0.5, 0.5]

    Reference:
        Ramanujan et al., What's Hidden in a Randomly Weighted Neural
        Network?, 2020, arXiv:1911.13299, section 4.4.
    """

    def __init__(self, seed: int | None = None):
        self._seed = seed
        self._normal = kaiming_normal(seed)

    def get_config(self):
        return {"seed": self._seed}

    def __call__(self, shape, dtype=None):
        drawn = self._normal(shape, dtype="float32")
        fan_in = max(1, math.prod(shape[:-1]))
        size = math.sqrt(2.0 / fan_in)
        signed = keras.ops.where(drawn < 0, -size, size)
        return keras.ops.cast(signed, dtype or keras.config.floatx())


def random_initializers() -> dict[
    str, Callable[..., keras.initializers.Initializer]
]:
    """Returns Keras' random initialisers by their snake-case names.

    Those that draw nothing (zeros, identity) are left out: they would give
    every replicate the same network. `kaiming_normal` and
    `signed_kaiming_constant` are added.

    Example:
        >>> "he_normal" in random_initializers()
        True
    """
    found = {
        name: value
        for name, value in inspect.getmembers(
            keras.initializers, inspect.isclass
        )
        if name.islower() and "seed" in inspect.signature(value).parameters
    }
    return {
        **found,
        "kaiming_normal": kaiming_normal,
        "signed_kaiming_constant": SignedKaimingConstant,
    }


def check_init(init: str | None) -> None:
    """Checks the name of an initialiser.

    Args:
        init: a name in `random_initializers()`, or None.

    Raises:
        ValueError: the name is unknown.

    Example:
        >>> check_init("he_normal")
    """
    known = random_initializers()
    if init is None or init in known:
        return
    close = difflib.get_close_matches(str(init), known, n=1)
    hint = f"Did you mean {close[0]!r}? " if close else ""
    raise ValueError(
        f"`init` must be None or one of {', '.join(known)}. Received: "
        f"init={init!r}. {hint}Leave it out for the model's own."
    )


def redraw_kernels(model: keras.Model, init: str, *, seed: int) -> None:
    """Draws every kernel of at least two dimensions anew, in place.

    Replaced are the weights named "kernel", "depthwise_kernel" and
    "pointwise_kernel" of all layers (Dense, convolutions, EinsumDense, the
    projections inside attention); biases, recurrent kernels and embeddings
    keep their values. Each has a seed of its own, derived from `seed` and
    its path, so that kernels of equal shape differ.

    Args:
        model: a built model.
        init: a name in `random_initializers()`.
        seed: the seed from which the kernels' seeds are derived.

    Example:
        >>> inputs = keras.Input((2,))
        >>> model = keras.Model(inputs, keras.layers.Dense(3)(inputs))
        >>> redraw_kernels(model, "random_normal", seed=0)
    """
    make = random_initializers()[init]
    trainable = {id(v) for v in model.trainable_variables}
    # Equal layers of two nested models share `variable.path`.
    for path, variable in named_variables(model).items():
        if id(variable) not in trainable:
            continue
        if variable.name not in _KERNELS or len(variable.shape) < 2:
            continue
        draw = make(seed=seeds.derive(seed, "init", path))
        variable.assign(draw(variable.shape, dtype=variable.dtype))

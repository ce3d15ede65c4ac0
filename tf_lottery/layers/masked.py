"""Keras layers whose kernels carry a mask.

A masked layer is the stock layer with a non-trainable `<kernel>_mask` beside
each kernel, and with the kernel's attribute answering `raw * mask`. Whatever
the stock layer computes, it computes with the masked kernel; the gradient of
the raw kernel is masked by the product rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import keras

PACKAGE = "tf_lottery"


class MaskedKernel:
    """Mixin that masks a layer's kernels; stands before the layer class.

    Subclasses name the attributes that hold kernels in `masked_kernels`. The
    raw kernel is what the optimizer sees and what a file stores; at pruned
    positions it is kept at exactly 0, so the mask is redundant for the values
    but not for the gradients.

    Example:
        >>> layer = MaskedDense(2)
        >>> layer.build((None, 3))
        >>> _ = layer.kernel_mask.assign([[1, 0], [1, 1], [0, 1]])
        >>> int(np.count_nonzero(layer.kernel))
        4
    """

    masked_kernels: ClassVar[tuple[str, ...]] = ("kernel",)
    # What every layer that this is mixed into has.
    name: str
    built: bool
    add_weight: Callable[..., keras.Variable]
    _trainable_variables: list[keras.Variable]
    _non_trainable_variables: list[keras.Variable]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in cls.masked_kernels:
            if not isinstance(cls.__dict__.get(name), property):
                setattr(cls, name, _masked_property(cls, name))

    # Keras inspects this signature: it must name `input_shape`.
    def build(self, input_shape):
        super().build(input_shape)
        self.add_masks()

    def add_masks(self) -> None:
        """Adds one mask of ones per kernel; the layer must be built."""
        for name in self.masked_kernels:
            raw = self.raw_kernel(name)
            mask = self.add_weight(
                name=f"{name}_mask",
                shape=raw.shape,
                initializer="ones",
                trainable=False,
                dtype=raw.dtype,
            )
            setattr(self, f"{name}_mask", mask)

    @classmethod
    def convert(cls, layer: keras.layers.Layer) -> None:
        """Turns a built stock layer into this class, in place."""
        layer.__class__ = cls
        # As Keras' own enable_lora does: a built layer takes no new state.
        layer._tracker.unlock()
        try:
            for name in cls.masked_kernels:
                if name in layer.__dict__:
                    layer.__dict__[f"_{name}"] = layer.__dict__.pop(name)
            layer.add_masks()
        finally:
            layer._tracker.lock()

    def raw_kernel(self, name: str = "kernel") -> keras.Variable:
        """Returns the variable that stores a kernel, without its mask."""
        raw = getattr(self, f"_{name}", None)
        if raw is None:
            raise AttributeError(
                f"`{name}` must be built before it is read. Received: layer "
                f"{self.name!r} not built. Build it, or call it on an input."
            )
        return raw

    # By name: the stock methods know their own variables only, and would drop
    # the mask, or save the masked kernel in place of the raw one.
    def save_own_variables(self, store):
        for variable in self._own_variables():
            store[variable.name] = variable

    def load_own_variables(self, store):
        variables = {v.name: v for v in self._own_variables()}
        if set(store.keys()) != set(variables):
            raise ValueError(
                f"The weights of masked layer {self.name!r} must be "
                f"{sorted(variables)}. Received: {sorted(store.keys())}. Use "
                "a file that was saved from the same masked model."
            )
        for name, variable in variables.items():
            variable.assign(store[name])

    def _own_variables(self) -> list[keras.Variable]:
        return self._trainable_variables + self._non_trainable_variables


def _masked_property(owner: type, name: str) -> property:
    def masked(self):
        # Dense, Conv and EinsumDense define `kernel` as a property over
        # `_kernel`; the others assign it in build, through the setter below.
        inherited = getattr(super(owner, type(self)), name, None)
        if isinstance(inherited, property):
            raw = inherited.fget(self)
        else:
            raw = self.raw_kernel(name)
        mask = getattr(self, f"{name}_mask", None)
        return raw if mask is None else raw * mask

    def assign(self, value):
        setattr(self, f"_{name}", value)

    return property(masked, assign, doc=f"The masked {name}: raw * mask.")


def _register(cls: type) -> type:
    return keras.saving.register_keras_serializable(PACKAGE)(cls)


@_register
class MaskedDense(MaskedKernel, keras.layers.Dense):
    """`keras.layers.Dense` with a masked kernel."""


@_register
class MaskedEinsumDense(MaskedKernel, keras.layers.EinsumDense):
    """`keras.layers.EinsumDense` with a masked kernel."""


@_register
class MaskedConv1D(MaskedKernel, keras.layers.Conv1D):
    """`keras.layers.Conv1D` with a masked kernel."""


@_register
class MaskedConv2D(MaskedKernel, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a masked kernel."""


@_register
class MaskedConv3D(MaskedKernel, keras.layers.Conv3D):
    """`keras.layers.Conv3D` with a masked kernel."""


@_register
class MaskedDepthwiseConv2D(MaskedKernel, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with a masked kernel."""


# The one list of what can be masked: stock class -> masked class.
MASKED_LAYERS: dict[type, type[MaskedKernel]] = {
    cls.__mro__[2]: cls
    for cls in (
        MaskedDense,
        MaskedEinsumDense,
        MaskedConv1D,
        MaskedConv2D,
        MaskedConv3D,
        MaskedDepthwiseConv2D,
    )
}

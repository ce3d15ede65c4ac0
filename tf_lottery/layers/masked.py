"""What makes a Keras layer carry masks.

A masked layer is the stock layer with a non-trainable `<kernel>_mask` beside
each kernel, and with the kernel's attribute answering `raw * mask`. Whatever
the stock layer computes, it computes with the masked kernel; the gradient of
the raw kernel is masked by the product rule.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar

import keras

PACKAGE = "tf_lottery"
# The config entry that names the kernels a layer keeps dense.
DENSE_KERNELS = "dense_kernels"
# Where a converted layer keeps the method that it gets back.
_STOCK_QUANTIZE = "_stock_quantize"


class Masked:
    """Base of the two mixins: a layer that rebuilds its masks from a config.

    A class is mixed as `class MaskedDense(MaskedKernel, keras.layers.Dense)`.
    Kernels in `dense_kernels` keep no mask; the config carries their names.
    """

    dense_kernels: tuple[str, ...] = ()
    stock_class: ClassVar[Any]
    build: Callable[..., None]
    get_config: Callable[..., dict[str, Any]]
    _untrack_variable: Callable[[keras.Variable], None]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.stock_class = next(
            base for base in cls.__mro__ if not issubclass(base, Masked)
        )
        if cls.stock_class is not object:
            cls.build = _masked_build(cls.stock_class.build)
            cls.get_config = _masked_config(cls.stock_class.get_config)

    @classmethod
    def from_config(cls, config: dict[str, Any], *args: Any, **kwargs: Any):
        config = dict(config)
        dense = tuple(config.pop(DENSE_KERNELS, ()))
        layer = super().from_config(  # type: ignore[misc]
            config, *args, **kwargs
        )
        if dense:
            layer.dense_kernels = dense
        layer.add_masks()
        return layer

    def add_masks(self) -> None:
        """Adds masks of ones, once the layer has what they go with."""
        raise NotImplementedError

    @classmethod
    def convert(
        cls, layer: keras.layers.Layer, dense_kernels: Iterable[str] = ()
    ) -> None:
        """Turns a stock layer into this class, in place.

        Args:
            layer: of the stock class, built or not.
            dense_kernels: names of kernels that get no mask.
        """
        layer.__class__ = cls
        if dense_kernels:
            layer.dense_kernels = tuple(dense_kernels)
        layer.add_masks()

    def revert(self) -> None:
        """Turns the layer, not those inside, back into the stock class."""
        self.__dict__.pop("dense_kernels", None)
        self.__class__ = self.stock_class


def _masked_build(stock_build: Callable) -> Callable:
    # Keras reads the signature of `build`: it must be the stock one.
    @functools.wraps(stock_build)
    def build(self, *args, **kwargs):
        stock_build(self, *args, **kwargs)
        # Keras binds it to the instance, where it outlives `revert`.
        if isinstance(self, Masked):
            self.add_masks()

    return build


def _masked_config(stock_config: Callable) -> Callable:
    # Of a class without a `get_config` Keras keeps the arguments by itself.
    # It knows by a mark on the method, which `wraps` copies.
    @functools.wraps(stock_config)
    def get_config(self):
        config = stock_config(self)
        if self.dense_kernels:
            config[DENSE_KERNELS] = list(self.dense_kernels)
        return config

    return get_config


def _mask_once_built(layer):
    # Keras binds `build` to the instance when it is made: to the stock one.
    stock_build = layer.build

    @functools.wraps(stock_build)
    def build(*args, **kwargs):
        stock_build(*args, **kwargs)
        if isinstance(layer, Masked):
            layer.add_masks()

    layer.__dict__["build"] = build


class MaskedKernel(Masked):
    """Mixin that masks a layer's kernels; stands before the layer class.

    Subclasses name the attributes that hold kernels in `masked_kernels`. The
    raw kernel is what the optimizer sees and what a file stores; at pruned
    positions it is kept at exactly 0, so the mask is redundant for the values
    but not for the gradients.

    Example:
        >>> class MaskedDense(MaskedKernel, keras.layers.Dense):
        ...     pass
        >>> layer = MaskedDense(2)
        >>> layer.build((None, 3))
        >>> _ = layer.kernel_mask.assign([[1, 0], [1, 1], [0, 1]])
        >>> int(np.count_nonzero(layer.kernel))
        4
    """

    masked_kernels: ClassVar[tuple[str, ...]] = ("kernel",)
    _raw_names: ClassVar[dict[str, str]] = {}
    # What every layer that this is mixed into has.
    name: str
    built: bool
    add_weight: Callable[..., keras.Variable]
    _tracker: Any
    _trainable_variables: list[keras.Variable]
    _non_trainable_variables: list[keras.Variable]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Dense, Conv, EinsumDense and Embedding define the kernel as a
        # property over an attribute with an underscore; the others assign it
        # in build, through the setter of the property made here.
        cls._raw_names = {
            name: f"_{name}"
            if isinstance(getattr(cls.stock_class, name, None), property)
            else f"_raw_{name}"
            for name in cls.masked_kernels
        }
        for name in cls.masked_kernels:
            if not isinstance(vars(cls).get(name), property):
                setattr(cls, name, _masked_property(cls, name))

    @classmethod
    def kernels_of(cls, layer: keras.layers.Layer) -> tuple[str, ...]:
        """Names of the kernels that a layer of the stock class has."""
        return cls.masked_kernels

    @property
    def kernel_names(self) -> tuple[str, ...]:
        """Names of the kernels that carry a mask, or will once built."""
        return tuple(
            name
            for name in self.kernels_of(self)
            if name not in self.dense_kernels
        )

    def add_masks(self) -> None:
        """Adds one mask of ones per kernel, if the layer is built."""
        if not self._has_kernels():
            return
        # As Keras' own enable_lora does: a built layer takes no new state.
        locked = self._tracker.locked
        self._tracker.unlock()
        try:
            for name in self.kernel_names:
                if self.mask_of(name) is None:
                    raw = self.raw_kernel(name)
                    mask = self.add_weight(
                        name=f"{name}_mask",
                        shape=raw.shape,
                        initializer="ones",
                        trainable=False,
                        dtype=raw.dtype,
                    )
                    setattr(self, f"{name}_mask", mask)
        finally:
            if locked:
                self._tracker.lock()

    def _has_kernels(self) -> bool:
        return self.built or any(
            raw in self.__dict__ for raw in self._raw_names.values()
        )

    def mask_of(self, name: str = "kernel") -> keras.Variable | None:
        """Returns the mask of a kernel; None for a dense one."""
        return getattr(self, f"{name}_mask", None)

    def raw_kernel(self, name: str = "kernel") -> keras.Variable:
        """Returns the variable that stores a kernel, without its mask."""
        raw = getattr(self, self._raw_names[name], None)
        if not isinstance(raw, keras.Variable):
            raise AttributeError(
                f"`{name}` must be a variable of layer {self.name!r}, which "
                f"must be built. Received: {raw!r}. Build the layer, or call "
                "it on an input."
            )
        return raw

    @classmethod
    def convert(
        cls, layer: keras.layers.Layer, dense_kernels: Iterable[str] = ()
    ) -> None:
        """Turns a stock layer into this class, in place.

        Args:
            layer: of the stock class, built or not.
            dense_kernels: names of kernels that get no mask.
        """
        for name, raw in cls._raw_names.items():
            if name in layer.__dict__:
                layer.__dict__[raw] = layer.__dict__.pop(name)
        # Keras bound the stock one; without it the class's own is found.
        if "quantize" in layer.__dict__:
            layer.__dict__[_STOCK_QUANTIZE] = layer.__dict__.pop("quantize")
        super().convert(layer, dense_kernels)
        if not layer.built:
            _mask_once_built(layer)

    def revert(self) -> None:
        """Turns the layer back into the stock class, in place."""
        for name in self.kernel_names:
            mask = self.mask_of(name)
            if mask is None:
                continue
            self._untrack_variable(mask)
            # Past Layer.__delattr__, which collects garbage every time.
            super(keras.layers.Layer, self).__delattr__(f"{name}_mask")
        raw_names = type(self)._raw_names
        super().revert()
        for name, raw in raw_names.items():
            if raw != f"_{name}" and raw in self.__dict__:
                self.__dict__[name] = self.__dict__.pop(raw)
        if _STOCK_QUANTIZE in self.__dict__:
            self.__dict__["quantize"] = self.__dict__.pop(_STOCK_QUANTIZE)

    def enable_lora(self, *args: Any, **kwargs: Any) -> None:
        raise ValueError(
            f"Layer {self.name!r} must be without masks to be given LoRA. "
            "Received: a masked layer. strip_masks the model first."
        )

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        if not isinstance(self, Masked):
            # Keras binds it to the instance, where it outlives `revert`.
            return type(self).quantize(self, *args, **kwargs)
        raise ValueError(
            f"Layer {self.name!r} must be without masks to be quantised. "
            "Received: a masked layer. strip_masks the model first."
        )

    # The stock methods know their own variables only: they would drop the
    # mask, or save the masked kernel in place of the raw one.
    def save_own_variables(self, store):
        for name, variable in self._own_variables().items():
            store[name] = variable

    def load_own_variables(self, store):
        variables = self._own_variables()
        if set(store.keys()) != set(variables):
            raise ValueError(
                f"The weights of masked layer {self.name!r} must be "
                f"{sorted(variables)}. Received: {sorted(store.keys())}. Use "
                "a file that was saved from the same masked model, or load "
                "into the model before its masks are added."
            )
        for name, variable in variables.items():
            variable.assign(store[name])

    def _own_variables(self) -> dict[str, keras.Variable]:
        """Masks by name, the rest by number: names need not be unique."""
        masks = {
            f"{name}_mask": mask
            for name in self.kernel_names
            if (mask := self.mask_of(name)) is not None
        }
        known = {id(mask) for mask in masks.values()}
        own = self._trainable_variables + self._non_trainable_variables
        rest = [v for v in own if id(v) not in known]
        return {**{str(i): v for i, v in enumerate(rest)}, **masks}


# Of a thread's own: replicas are traced in threads.
_forward = threading.local()


@contextlib.contextmanager
def raw_kernels() -> Iterator[None]:
    """Inside it masked layers compute with raw kernels, without the product.

    For a training step that keeps pruned weights at exactly 0, where the
    product with the mask changes no value, and that masks the gradients
    itself: the mask is then read once in a step instead of twice.
    """
    before = getattr(_forward, "raw", False)
    _forward.raw = True
    try:
        yield
    finally:
        _forward.raw = before


@contextlib.contextmanager
def kernels_as(values: Mapping[int, Any]) -> Iterator[None]:
    """Inside it masked layers compute with these kernels, not with their own.

    Args:
        values: `{id of the raw kernel: tensor}`; kernels that it does not
            name stay as they are.
    """
    before = getattr(_forward, "values", {})
    _forward.values = values
    try:
        yield
    finally:
        _forward.values = before


def _masked_property(owner: type[MaskedKernel], name: str) -> property:
    raw_name = owner._raw_names[name]

    def masked(self):
        raw = getattr(self, raw_name, None)
        if raw is None:
            return self.raw_kernel(name)  # Raises with the reason.
        value = getattr(_forward, "values", {}).get(id(raw))
        if value is not None:
            # As Keras' own variables follow the precision of the layer.
            return keras.ops.cast(value, raw.value.dtype)
        mask = self.mask_of(name)
        if mask is None or getattr(_forward, "raw", False):
            return raw
        return raw * mask

    def assign(self, value):
        setattr(self, raw_name, value)

    return property(masked, assign, doc=f"The masked {name}: raw * mask.")


# The one list of what can be masked: stock class -> masked class.
MASKED_LAYERS: dict[type, type[Masked]] = {}


def masked_class(cls: type[Masked]) -> type[Masked]:
    """Class decorator: `cls` masks its stock class, also in saved files."""
    keras.saving.register_keras_serializable(PACKAGE)(cls)
    MASKED_LAYERS[cls.stock_class] = cls
    return cls

"""What each kind of layer does to constant and to unread channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf_lottery.export.compact_graph import Classes
from tf_lottery.export.compact_graph import Step
from tf_lottery.export.compact_graph import Value

_L = keras.layers
_LINEAR = (_L.Dense, _L.Conv1D, _L.Conv2D, _L.Conv3D)
_DEPTHWISE = (_L.DepthwiseConv1D, _L.DepthwiseConv2D)
_PADDING = (_L.ZeroPadding1D, _L.ZeroPadding2D, _L.ZeroPadding3D)
# In inference they give what they are given.
_IDENTITY = (
    _L.Identity, _L.Dropout, _L.GaussianDropout, _L.GaussianNoise,
    _L.AlphaDropout, _L.SpatialDropout1D, _L.SpatialDropout2D,
    _L.SpatialDropout3D, _L.ActivityRegularization,
)
# The mean, the maximum or a part of a constant is that constant; padding of
# pooling is never counted.
_PLACES = (
    _L.MaxPooling1D, _L.MaxPooling2D, _L.MaxPooling3D, _L.AveragePooling1D,
    _L.AveragePooling2D, _L.AveragePooling3D, _L.GlobalMaxPooling1D,
    _L.GlobalMaxPooling2D, _L.GlobalMaxPooling3D, _L.GlobalAveragePooling1D,
    _L.GlobalAveragePooling2D, _L.GlobalAveragePooling3D, _L.Cropping1D,
    _L.Cropping2D, _L.Cropping3D,
)
_POINTWISE = (_L.ReLU, _L.LeakyReLU, _L.ELU)
_FUNCTIONS = tuple(
    getattr(keras.activations, name)
    for name in (
        "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu",
        "silu", "sigmoid", "tanh", "softplus", "softsign", "exponential",
        "hard_sigmoid", "hard_silu", "mish",
    )
)
# The operations behind `keras.ops.relu` and the like.
_NAMED = ("Relu", "Relu6", "Sigmoid", "Silu", "Softplus", "Gelu", "Tanh")


def _finite(values: np.ndarray) -> np.ndarray:
    # An infinite one cannot be folded: it counts as varying.
    return np.where(np.isfinite(values), values, np.nan)


def _evaluate(function: Callable, values: np.ndarray) -> np.ndarray:
    tensor = keras.ops.convert_to_tensor(values[None], dtype="float64")
    result = np.array(keras.ops.convert_to_numpy(function(tensor))[0], float)
    return np.where(np.isnan(values), np.nan, _finite(result))


def _is_pointwise(activation: Any) -> bool:
    return activation in _FUNCTIONS or type(activation) in _POINTWISE


class Rule:
    """A step that is left as it is: it reads all and gives all.

    Args:
        step: the call.
        why: the reason, for the notes.
    """

    # Whether channels of the outputs can be left out, if nobody needs them.
    gives_all = True

    def __init__(self, step: Step, why: str = "is of an unknown kind"):
        self.step = step
        self.why = why

    def forward(self, classes: Classes) -> None:
        """Fills in the classes and constants of the outputs."""
        for value in self.step.outputs:
            value.classes = classes.new(value.channels)
            value.constant = np.full(value.channels, np.nan)

    def reads(self, kept: np.ndarray) -> list[np.ndarray]:
        """Returns the classes that it needs, given those that are `kept`."""
        return [value.classes for value in self.step.inputs]

    def blocked(self, kept: np.ndarray) -> int:
        """Number of constant channels that it keeps from being removed."""
        return sum(
            int((~np.isnan(v.constant)).sum()) for v in self.step.inputs
        )

    def config(self, kept: np.ndarray) -> dict[str, Any]:
        """Returns the new operation's config."""
        return self.step.operation.get_config()

    def weights(self, kept: np.ndarray) -> list[np.ndarray]:
        """Returns the new operation's weights."""
        return getattr(self.step.operation, "get_weights", list)()


class Linear(Rule):
    """A Dense layer or a convolution: sums over all input channels."""

    def __init__(self, step: Step):
        layer = step.operation
        activation = layer.activation
        # A layer's instance or a partial function has no `__name__`.
        name = getattr(activation, "__name__", type(activation).__name__)
        super().__init__(step, f"has activation {name}")
        self.gives_all = not _is_pointwise(activation)
        kernel = np.asarray(layer.kernel)
        # (places of the kernel, channels in, channels out).
        self._kernel = kernel.reshape(-1, *kernel.shape[-2:])
        self._used = (self._kernel != 0).any(axis=0)
        self._bias = np.zeros(kernel.shape[-1], "float64")
        if layer.use_bias:
            self._bias = np.asarray(layer.bias, dtype="float64")
        # The zeros beside a constant channel are not that constant.
        self._border = (
            getattr(layer, "padding", "valid") != "valid"
            and self._kernel.shape[0] > 1
        )

    @property
    def _foldable(self) -> np.ndarray:
        constant = self.step.inputs[0].constant
        known = ~np.isnan(constant)
        return known & (constant == 0) if self._border else known

    def _folded(self, chosen: np.ndarray) -> np.ndarray:
        constant = self.step.inputs[0].constant[chosen]
        rows = self._kernel[:, chosen]
        return constant @ rows.sum(axis=0, dtype="float64")

    def forward(self, classes: Classes) -> None:
        """Makes constants of units whose inputs are constant or cut."""
        super().forward(classes)
        if self.gives_all:
            return
        varies = self._used[~self._foldable].any(axis=0)
        value = self._bias + self._folded(self._foldable)
        value[varies] = np.nan
        (out,) = self.step.outputs
        out.constant = _evaluate(self.step.operation.activation, value)

    def read_features(self, kept: np.ndarray) -> np.ndarray:
        """Which inputs have a weight to an output that is kept."""
        return self._used[:, kept[self.step.outputs[0].classes]].any(axis=1)

    def reads(self, kept: np.ndarray) -> list[np.ndarray]:
        """Inputs with a weight to a kept unit."""
        needed = self.read_features(kept) & ~self._foldable
        return [self.step.inputs[0].classes[needed]]

    def blocked(self, kept: np.ndarray) -> int:
        """Constants that cannot be folded into the bias."""
        constant = ~np.isnan(self.step.inputs[0].constant) & ~self._foldable
        return int((constant & self.read_features(kept)).sum())

    def _shift(self, kept: np.ndarray) -> np.ndarray:
        gone = ~kept[self.step.inputs[0].classes]
        shift = self._folded(gone & self._foldable)
        return shift[kept[self.step.outputs[0].classes]]

    def config(self, kept: np.ndarray) -> dict[str, Any]:
        """With the kept units, and a bias where one is folded in."""
        config = super().config(kept)
        size = "units" if "units" in config else "filters"
        config[size] = int(kept[self.step.outputs[0].classes].sum())
        config["use_bias"] = config["use_bias"] or bool(
            self._shift(kept).any()
        )
        return config

    def weights(self, kept: np.ndarray) -> list[np.ndarray]:
        """Kernel of kept inputs and units; bias with what is folded."""
        rows = kept[self.step.inputs[0].classes]
        columns = kept[self.step.outputs[0].classes]
        kernel = np.asarray(self.step.operation.kernel)
        kernel = kernel[..., rows, :][..., columns]
        bias = self._bias[columns] + self._shift(kept)
        # A unit that nobody reads may have lost a part of what it sums: the
        # rest might overflow, and infinity times 0 is no 0.
        lost = self._used[~rows & ~self._foldable][:, columns].any(axis=0)
        kernel = np.where(lost, 0, kernel)
        return [kernel] + [
            np.where(lost, 0, bias)
        ] * self.config(kept)["use_bias"]


class Passing(Rule):
    """A step whose outputs are made of the channels that it is given."""

    gives_all = False

    def reads(self, kept: np.ndarray) -> list[np.ndarray]:
        """None beyond its own channels, which are its output's."""
        return []

    def blocked(self, kept: np.ndarray) -> int:
        """None: constants go where their channels go."""
        return 0


class Channelwise(Passing):
    """Each output channel is a function of the one input channel beside it.

    Args:
        step: the call.
        function: `(channels,)` constants in, constants out.
    """

    def __init__(self, step: Step, function: Callable):
        super().__init__(step, "puts zeros beside them")
        self._function = function

    def forward(self, classes: Classes) -> None:
        """Passes constants through the function."""
        (given,), (out,) = self.step.inputs, self.step.outputs
        out.classes = given.classes
        out.constant = self._function(given.constant)

    def blocked(self, kept: np.ndarray) -> int:
        """Constants that are none after it."""
        (given,), (out,) = self.step.inputs, self.step.outputs
        lost = ~np.isnan(given.constant) & np.isnan(out.constant)
        return int((lost & kept[given.classes]).sum())

    def weights(self, kept: np.ndarray) -> list[np.ndarray]:
        """Of the kept channels."""
        chosen = kept[self.step.inputs[0].classes]
        # A depthwise kernel ends in (channels, 1), all else in (channels,).
        return [
            w[..., chosen, :] if w.ndim > 1 else w[chosen]
            for w in super().weights(kept)
        ]


class Flat(Passing):
    """Flatten and Reshape: the channels as they are, or place by place."""

    def forward(self, classes: Classes) -> None:
        """Repeats the channels for every position."""
        (given,), (out,) = self.step.inputs, self.step.outputs
        places = out.channels // given.channels
        out.classes = np.tile(given.classes, places)
        out.constant = np.tile(given.constant, places)

    def config(self, kept: np.ndarray) -> dict[str, Any]:
        """With the kept size."""
        config = super().config(kept)
        if "target_shape" in config:
            (out,) = self.step.outputs
            places = [-1 if n is None else n for n in out.shape[1:-1]]
            size = int(kept[out.classes].sum())
            config["target_shape"] = (*places, size)
        return config


class Join(Passing):
    """Add, whose summands' channels are tied, and Concatenate."""

    def forward(self, classes: Classes) -> None:
        """Ties or strings together the channels of the inputs."""
        (out,), given = self.step.outputs, self.step.inputs
        if type(self.step.operation) is _L.Concatenate:
            out.classes = np.concatenate([v.classes for v in given])
            out.constant = np.concatenate([v.constant for v in given])
            return
        for value in given[1:]:
            classes.tie(given[0].classes, value.classes)
        out.classes = given[0].classes
        out.constant = _finite(np.sum([v.constant for v in given], axis=0))


def rule_of(step: Step) -> Rule:
    """Returns the rule of a step; a plain `Rule` where it is left alone."""
    operation, kind = step.operation, type(step.operation)
    if getattr(operation, "data_format", None) == "channels_first":
        return Rule(step, "has its channels first")
    if step.calls > 1 and getattr(operation, "weights", None):
        return Rule(step, "is called more than once")
    if getattr(operation, "lora_enabled", False) or getattr(
        operation, "quantization_mode", None
    ):
        return Rule(step, "has LoRA or is quantised")
    if len(step.outputs) > 1 or not all(
        v.channels for v in (*step.inputs, *step.outputs)
    ):
        return Rule(step, "has several outputs or open sizes")
    if step.node.arguments.kwargs.get("training"):
        return Rule(step, "is called with training=True")
    if kind in (_L.Add, _L.Concatenate) or _is_sum(step):
        return _joined(step)
    if len(step.inputs) > 1:
        return Rule(step)
    return _single(step, operation, kind)


def _is_sum(step: Step) -> bool:
    operation = step.operation
    # `a + b` of two tensors of the graph.
    return (
        type(operation).__module__ == "keras.src.ops.numpy"
        and type(operation).__name__ == "Add"
        and len(step.inputs) == 2
    )


def _joined(step: Step) -> Rule:
    if type(step.operation) is _L.Concatenate:
        if step.operation.axis not in (-1, len(step.inputs[0].shape) - 1):
            return Rule(step, "joins along another axis than the channels'")
    elif len({v.channels for v in step.inputs}) > 1:
        return Rule(step, "adds a single channel to several")
    return Join(step)


def _single(step: Step, operation: Any, kind: type) -> Rule:
    if kind in _LINEAR:
        if getattr(operation, "groups", 1) > 1:
            return Rule(step, "is grouped")
        if getattr(operation.activation, "weights", None):
            return Rule(step, "has an activation with weights")
        return Linear(step)
    if kind in _DEPTHWISE and operation.depth_multiplier == 1:
        if _is_pointwise(operation.activation):
            return Channelwise(step, _depthwise(operation))
    if kind is _L.BatchNormalization:
        rank = len(step.inputs[0].shape)
        if operation.axis in (-1, rank - 1):
            return Channelwise(step, _normalization(operation))
    if kind in _IDENTITY:
        return Channelwise(step, np.copy)
    if kind in _PLACES:
        return Channelwise(step, np.copy)
    if kind in _PADDING:
        return Channelwise(step, lambda c: np.where(c == 0, 0.0, np.nan))
    if kind in _POINTWISE:
        return Channelwise(step, lambda c: _evaluate(operation, c))
    if kind.__module__ == "keras.src.ops.nn" and kind.__name__ in _NAMED:
        return Channelwise(step, lambda c: _evaluate(operation, c))
    if kind is _L.Rescaling and not (
        np.ndim(operation.scale) or np.ndim(operation.offset)
    ):
        return Channelwise(step, lambda c: _evaluate(operation, c))
    if kind is _L.Activation and _is_pointwise(operation.activation):
        function = operation.activation
        return Channelwise(step, lambda c: _evaluate(function, c))
    if kind in (_L.Flatten, _L.Reshape) and _keeps_channels(*step.inputs,
                                                            *step.outputs):
        return Flat(step)
    return Rule(step)


def _keeps_channels(given: Value, out: Value) -> bool:
    flat = len(out.shape) == 2 and out.channels % given.channels == 0
    return flat or out.channels == given.channels


def _normalization(layer: Any) -> Callable:
    def apply(constant):
        mean = np.asarray(layer.moving_mean, float)
        variance = np.asarray(layer.moving_variance, float)
        scale = 1 / np.sqrt(variance + layer.epsilon)
        if layer.scale:
            scale = scale * np.asarray(layer.gamma, float)
        value = np.where(scale == 0, 0.0, (constant - mean) * scale)
        return value + (np.asarray(layer.beta, float) if layer.center else 0)

    return apply


def _depthwise(layer: Any) -> Callable:
    def apply(constant):
        kernel = np.asarray(layer.kernel, float)[..., 0]
        kernel = kernel.reshape(-1, kernel.shape[-1])
        if layer.padding != "valid" and kernel.shape[0] > 1:
            constant = np.where(constant == 0, 0.0, np.nan)
        dead = ~kernel.any(axis=0)
        value = np.where(dead, 0.0, constant * kernel.sum(axis=0))
        if layer.use_bias:
            value = value + np.asarray(layer.bias, float)
        return _evaluate(layer.activation, value)

    return apply

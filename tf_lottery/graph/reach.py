"""What reaches what in a model: each operation as a sum of ones.

To find out which entries of a tensor depend on which others, an operation is
replaced by one that is linear with coefficients of 0 or more, and that has a
coefficient above 0 exactly where there is a dependence. Then a forward pass
from ones is above 0 where the input reaches, and its gradient where the
output is reached. Both are made 0 or 1 after every operation, so neither
depth nor width can make them overflow or vanish.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.layers import Masked

_L = keras.layers

# Layers that sum over inputs times a kernel, position by position.
_KERNELS = (
    _L.Dense, _L.EinsumDense, _L.Conv1D, _L.Conv2D, _L.Conv3D,
    _L.Conv1DTranspose, _L.Conv2DTranspose, _L.Conv3DTranspose,
    _L.DepthwiseConv1D, _L.DepthwiseConv2D, _L.SeparableConv1D,
    _L.SeparableConv2D,
)
# Each entry of the output depends on its own of the input. Softmax is taken
# as one of them: what reaches a logit is said to reach its probability only.
_POINTWISE = (
    _L.Activation, _L.ReLU, _L.LeakyReLU, _L.PReLU, _L.ELU, _L.Softmax,
    _L.BatchNormalization, _L.Normalization, _L.Rescaling, _L.Dropout,
    _L.SpatialDropout1D, _L.SpatialDropout2D, _L.SpatialDropout3D,
    _L.GaussianDropout, _L.GaussianNoise, _L.AlphaDropout, _L.Identity,
    _L.ActivityRegularization, _L.Masking,
)
_POINTWISE_OPS = (
    "Relu", "Relu6", "Sigmoid", "Silu", "Softplus", "Softsign", "Gelu",
    "Tanh", "Elu", "Selu", "Celu", "LeakyRelu", "HardSigmoid", "HardSilu",
    "HardTanh", "LogSigmoid", "Softmax", "LogSoftmax", "Absolute", "Exp",
    "Sqrt", "Square", "Negative", "Log", "Clip",
)
# A path through any of the inputs; a product counts as a sum, too.
_JOINED = (
    _L.Add, _L.Subtract, _L.Multiply, _L.Average, _L.Maximum, _L.Minimum,
)
_JOINED_OPS = (
    "Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Maximum",
    "Minimum", "Power",
)
# Linear as they are, with coefficients of 0 or more.
_MOVES = (
    _L.Flatten, _L.Reshape, _L.Permute, _L.RepeatVector, _L.Concatenate,
    _L.Cropping1D, _L.Cropping2D, _L.Cropping3D, _L.ZeroPadding1D,
    _L.ZeroPadding2D, _L.ZeroPadding3D, _L.UpSampling1D, _L.UpSampling2D,
    _L.UpSampling3D, _L.AveragePooling1D, _L.AveragePooling2D,
    _L.AveragePooling3D, _L.GlobalAveragePooling1D,
    _L.GlobalAveragePooling2D, _L.GlobalAveragePooling3D,
)
_MOVES_OPS = (
    "Reshape", "Transpose", "Concatenate", "Stack", "GetItem", "Squeeze",
    "ExpandDims", "Mean", "Sum", "Swapaxes", "Moveaxis", "Ravel", "Repeat",
    "Tile", "Flip", "BroadcastTo",
)
# The gradient of a maximum is at one place; that of the mean is at all.
_MEANS: dict[type, Any] = {
    _L.MaxPooling1D: _L.AveragePooling1D,
    _L.MaxPooling2D: _L.AveragePooling2D,
    _L.MaxPooling3D: _L.AveragePooling3D,
    _L.GlobalMaxPooling1D: _L.GlobalAveragePooling1D,
    _L.GlobalMaxPooling2D: _L.GlobalAveragePooling2D,
    _L.GlobalMaxPooling3D: _L.GlobalAveragePooling3D,
}


@dataclasses.dataclass(frozen=True)
class Reach:
    """An operation's stand-in.

    Args:
        apply: `(inputs, kernels) -> outputs`, lists of float32 tensors.
        kernels: the variables whose entries it takes one by one.
        inside: the variables of an operation that is not looked into.
        unit_axis: of its output, where it has units that may be dead.
        least: what a dependence is above: sums over a kernel are integers,
            of which fast convolutions may miss a little.
    """

    apply: Callable[[list[tf.Tensor], list[tf.Tensor]], list[tf.Tensor]]
    kernels: Sequence[keras.Variable] = ()
    inside: Sequence[keras.Variable] = ()
    unit_axis: int | None = None
    least: float = 0.0


def reach_of(node: Any, shapes: Sequence[tuple[int, ...]]) -> Reach:
    """Returns the stand-in of one call of an operation.

    Args:
        node: the call, of a functional model.
        shapes: of its inputs, without open sizes.

    Returns:
        A `Reach`. Of an operation of unknown kind (normalisation over
        features, attention, recurrent layers, wrappers, a user's own layer)
        every output is taken to depend on every input.
    """
    operation = node.operation
    kind = type(operation)
    if isinstance(operation, Masked):
        kind = operation.stock_class
    module, name = kind.__module__, kind.__name__
    op = name if module.startswith("keras.src.ops.") else None
    held = _held(node)
    if held or getattr(operation, "lora_enabled", False):
        return _everything(node, shapes, held)
    if getattr(operation, "quantization_mode", None):
        return _everything(node, shapes, [])
    if kind in _KERNELS:
        return _kernel(operation, kind, shapes[0])
    if kind is _L.Embedding:
        return Reach(_look_up, operation.weights[:1], unit_axis=-1)
    if kind in _POINTWISE or op in _POINTWISE_OPS:
        return Reach(lambda inputs, _: inputs[:1])
    if kind in _JOINED or op in _JOINED_OPS:
        return Reach(lambda inputs, _: [_sum(inputs)])
    if kind in _MOVES or op in _MOVES_OPS:
        return Reach(lambda inputs, _: _called(node, inputs))
    if kind in _MEANS:
        config = {**operation.get_config(), "dtype": "float32"}
        mean = _MEANS[kind].from_config(config)
        return Reach(lambda inputs, _: [mean(inputs[0])])
    return _everything(node, shapes, [])


def _held(node: Any) -> list[keras.Variable]:
    """Variables that are arguments of the call, as of `x @ kernel`."""
    flat = keras.tree.flatten((node.arguments.args, node.arguments.kwargs))
    return [x for x in flat if isinstance(x, keras.Variable)]


def _kernel(layer: Any, kind: Any, shape: tuple[int, ...]) -> Reach:
    """The layer once more, without bias, activation and its own values."""
    config = layer.get_config()
    config.pop("dense_kernels", None)
    for key in config:
        if key.endswith("_initializer"):
            config[key] = "zeros"
        elif key.endswith(("_regularizer", "_constraint")):
            config[key] = None
    plain = {
        "activation": "linear", "use_bias": False, "bias_axes": None,
        "dtype": "float32", "trainable": True,
    }
    twin = kind.from_config({
        k: plain.get(k, value) for k, value in config.items()
    })
    twin.build(shape)

    def apply(inputs, kernels):
        outputs, _ = twin.stateless_call(kernels, [], inputs[0])
        return [outputs]

    # Kernels are the first variables that any of them makes.
    first = getattr(layer, "data_format", None) == "channels_first"
    return Reach(
        apply,
        layer.weights[: len(twin.weights)],
        unit_axis=1 if first else -1,
        least=0.5,
    )


def _look_up(inputs, kernels):
    # Any row may be looked up.
    return [inputs[0][..., None] * tf.reduce_sum(kernels[0], axis=0)]


def _sum(inputs):
    total = inputs[0]
    for value in inputs[1:]:
        total = total + value
    return total


def _called(node, inputs):
    args, kwargs = node.arguments.fill_in({
        id(old): new for old, new in zip(node.input_tensors, inputs)
    })
    return keras.tree.flatten(node.operation.call(*args, **kwargs))


def _everything(node, shapes, held) -> Reach:
    operation = node.operation
    out = []
    for tensor in node.outputs:
        shape = [1, *tensor.shape[1:]]
        for axis, size in enumerate(shape):
            if size is None:
                known = axis < len(shapes[0])
                shape[axis] = shapes[0][axis] if known else 1
        out.append(shape)

    def apply(inputs, _):
        total = _sum([tf.reduce_sum(x) for x in inputs])
        return [tf.ones(shape) * total for shape in out]

    inside = [*held, *getattr(operation, "weights", ())]
    return Reach(apply, inside=inside)

"""What a model's outputs are."""

from __future__ import annotations

from typing import Any

import keras

# Where each number of the output is one of the input.
_MOVES = (
    keras.layers.Reshape, keras.layers.Flatten, keras.layers.Permute,
    keras.layers.Identity, keras.layers.Dropout,
)
_MOVING_OPS = ("Reshape", "Squeeze", "ExpandDims", "Transpose", "Cast")
_FUNCTIONS = (keras.activations.softmax, keras.activations.sigmoid)


def gives_probabilities(model: keras.Model) -> bool:
    """Whether a model ends in a softmax or sigmoid, rather than in logits.

    Args:
        model: whose first output is followed back to what computes it, into
            nested models too; of one that does not say how its layers are
            joined the last layer is looked at.

    Example:
        >>> gives_probabilities(keras.Sequential([keras.layers.Softmax()]))
        True
        >>> x = keras.Input((3,))
        >>> y = keras.layers.Reshape((3, 1))(keras.ops.softmax(x))
        >>> gives_probabilities(keras.Model(x, y))
        True
    """
    outputs = getattr(model, "outputs", None)
    if outputs:
        return _are_probabilities(outputs[0])
    last = model.layers[-1]
    if isinstance(last, keras.Model):
        return gives_probabilities(last)
    return _bounds(last)


def _are_probabilities(tensor: keras.KerasTensor) -> bool:
    operation, node, index = tensor._keras_history
    outputs = getattr(operation, "outputs", None)
    if isinstance(operation, keras.Model) and outputs:
        return _are_probabilities(outputs[index])
    activation = getattr(operation, "activation", None)
    linear = activation is keras.activations.linear
    if (
        isinstance(operation, _MOVES)
        or type(operation).__name__ in _MOVING_OPS
        or (isinstance(operation, keras.layers.Activation) and linear)
    ):
        inputs = operation._inbound_nodes[node].input_tensors
        return _are_probabilities(inputs[0])
    return _bounds(operation)


def _bounds(operation: Any) -> bool:
    """Whether it applies a softmax or a sigmoid last."""
    if isinstance(operation, keras.layers.Wrapper):
        return _bounds(operation.layer)
    activation = getattr(operation, "activation", None)
    return (
        isinstance(operation, keras.layers.Softmax)
        or type(operation).__name__ in ("Softmax", "Sigmoid")
        or activation in _FUNCTIONS
        or isinstance(activation, keras.layers.Softmax)
    )

"""SynFlow: pruning that needs no data and collapses no layer."""

from __future__ import annotations

import contextlib

import keras
import numpy as np

from tf_lottery.layers import masked_kernels
from tf_lottery.layers import walk
from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import register
from tf_lottery.pruners.gradients import compiled
from tf_lottery.pruners.gradients import replaced

_L = keras.layers
# Activation functions that are layers, or operations of a functional model.
_FUNCTIONS = (_L.ReLU, _L.LeakyReLU, _L.PReLU, _L.ELU, _L.Softmax)
_OPERATIONS = (
    "Relu", "ReLU", "Relu6", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu",
    "Silu", "Mish", "Softplus", "Softsign", "Sigmoid", "HardSigmoid",
    "HardSilu", "LogSigmoid", "Tanh", "HardTanh", "Softmax", "LogSoftmax",
)
# Of equal inputs, as ones are, their statistics leave nothing.
_NORMS = (
    _L.LayerNormalization, _L.GroupNormalization, _L.RMSNormalization,
    _L.UnitNormalization, _L.Normalization,
)


@register("synflow")
class SynFlow(Pruner):
    """Keeps the synaptic flow: `score = |w| * dR/d|w|`.

    `R = 1' |W_L| ... |W_1| 1` is the sum of the outputs for one input of
    ones, where the network computes with the absolute values of all its
    weights: kernels, biases, and BatchNormalization's scales, offsets and
    moving statistics. It is called as in inference: statistics of a batch of
    one would normalise the ones away. For the same reason only the scales and
    offsets, absolute too, are left of layers that normalise by statistics of
    the example itself or of data that they were adapted to: Layer-, Group-,
    RMS- and UnitNormalization, and Normalization; and of Rescaling.
    Activation functions are left out, as R has none: those given to a layer,
    layers of their own such as ReLU and Softmax, and operations of a
    functional model. What the code of a layer or of a subclassed model
    applies stays, as does an attention's softmax.

    Between layers that are positively homogeneous and have no biases scores
    are conserved: what enters a hidden unit leaves it, and all layers have
    the same total. So a layer is left empty last of all, provided that the
    survivors are scored anew round after round; in one round it is not.

    R is a product over the layers. Where it overflows in float32, as it does
    in very deep or wide networks, it is computed again in float64.

    Args:
        rounds: how often the survivors are scored anew; 1 is the one-shot
            variant.
        float64: computes in float64 always, for equal totals up to rounding
            in float64.

    Example:
        >>> from tf_lottery.pruners import scores
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[3.0], [-1.0]]), np.zeros(1)])
        >>> scores(model, "synflow")["out/kernel"].ravel().tolist()
        [3.0, 1.0]

    Reference:
        Tanaka et al., "Pruning neural networks without any data by
        iteratively conserving synaptic flow", 2020, arXiv:2006.05467,
        equation 4 and algorithm 1.
    """

    def __init__(self, rounds: int = 100, float64: bool = False):
        self.rounds = rounds
        self.float64 = float64

    def check_model(self, model: keras.Model) -> None:
        """Raises ValueError for a model that takes token ids."""
        inputs = getattr(model, "inputs", None) or ()
        _check_real(model, keras.tree.flatten(inputs))

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `|w| * dR/d|w|`, float32 or float64.

        Raises:
            ValueError: the model takes token ids or the shape of its input
                is open; R overflows in float64 too; or nothing flows through
                a dense model.
        """
        found = {}
        for dtype in ("float64",) if self.float64 else ("float32", "float64"):
            found = _flow(context, dtype)
            if all(np.isfinite(score).all() for score in found.values()):
                _check_flow(context, found)
                return found
        raise ValueError(
            "`model` must have finite weights whose product over the layers "
            "is below 1e308. Received: synaptic flow that is not finite. "
            "Check the weights, or scale the kernels of a deep network down."
        )


def _check_flow(context, found):
    # What pruning has cut through has no flow left, rightly.
    dense = context.mask.sparsity == 0
    if dense and not any(score.any() for score in found.values()):
        raise ValueError(
            "`criterion` must be another than synflow for a model without "
            "synaptic flow: all weights would score 0. Received: model "
            f"{context.model.name!r}. Look for a kernel of zeros, or for what "
            "makes an input of ones 0; or use for example magnitude."
        )


def _flow(context, dtype):
    model = context.model
    ones = _ones(context)

    def make():
        def flow(inputs):
            return _scores(model, inputs, dtype)

        return flow

    # The layers' types and activations are looked at while tracing.
    with _positive(model, dtype):
        found = compiled(context, ("synflow", dtype), make, 1)(ones)
    return {
        path: np.abs(np.asarray(score))
        for path, score in zip(masked_kernels(model), found)
    }


def _scores(model, inputs, dtype):
    import tensorflow as tf

    weights = {
        id(v): tf.abs(tf.cast(v.value, dtype))
        for v in model.weights
        if keras.backend.is_float_dtype(v.dtype)
    }
    kernels = [weights[id(raw)] for raw, _ in masked_kernels(model).values()]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(kernels)
        with keras.StatelessScope() as scope:
            for variable in model.weights:
                if id(variable) in weights:
                    # The constructor would cast to the variable's type.
                    scope.add_update((variable, weights[id(variable)]))
            outputs = model(inputs, training=False)
        total = tf.add_n(
            [
                tf.reduce_sum(tf.cast(a, dtype))
                for a in keras.tree.flatten(outputs)
            ]
        )
    gradients = tape.gradient(total, kernels, unconnected_gradients="zero")
    return [gradient * w for gradient, w in zip(gradients, kernels)]


def _positive(
    model: keras.Model, dtype: str
) -> contextlib.AbstractContextManager[None]:
    """Inside it layers compute in `dtype` and without activation functions."""
    layers = [
        layer
        for layer in (model, *walk(model))
        if keras.backend.is_float_dtype(layer.compute_dtype)
    ]
    now = {
        "_dtype_policy": keras.DTypePolicy(dtype),
        "activation": keras.activations.linear,
    }
    changes = [
        (layer, {name: now[name] for name in now if _is_used(layer, name)})
        for layer in layers
    ]
    changes += [(one, {"call": _same}) for one in _functions(layers)]
    for one in layers:
        if isinstance(one, _NORMS):
            changes.append((one, {"call": _scaled(one)}))
        if isinstance(one, _L.Rescaling):
            values = {n: np.abs(vars(one)[n]) for n in ("scale", "offset")}
            changes.append((one, values))
    return replaced(changes)


def _functions(layers):
    # It weighs what is added up, rather than bending what a unit gives.
    attention = {id(getattr(layer, "_softmax", None)) for layer in layers}
    for layer in layers:
        if isinstance(layer, _FUNCTIONS) and id(layer) not in attention:
            yield layer
        for one in getattr(layer, "operations", ()):
            own = not isinstance(one, keras.layers.Layer)
            if own and type(one).__name__ in _OPERATIONS:
                yield one


def _same(inputs, *args, **kwargs):
    return inputs


def _scaled(layer):
    """What a normalisation does apart from normalising."""
    rms = isinstance(layer, _L.RMSNormalization)
    scale = layer.scale if rms else getattr(layer, "gamma", None)
    offset = getattr(layer, "beta", None)

    def call(inputs, *args, **kwargs):
        def spread(variable):
            shape = [1] * len(inputs.shape)
            for axis in np.atleast_1d(layer.axis):
                shape[axis] = inputs.shape[axis]
            return keras.ops.reshape(variable.value, shape)

        outputs = keras.ops.cast(inputs, layer.compute_dtype)
        if scale is not None:
            outputs *= spread(scale)
        return outputs if offset is None else outputs + spread(offset)

    return call


def _is_used(layer, name):
    # A class of the user's may keep an activation by name.
    value = vars(layer).get(name)
    return callable(value) or isinstance(value, keras.DTypePolicy)


def _ones(context):
    """One input of ones, of the structure that the model takes."""
    import tensorflow as tf

    inputs = _inputs(context)
    leaves = keras.tree.flatten(inputs)
    _check_real(context.model, leaves)
    return keras.tree.map_structure(
        lambda leaf: tf.ones((1, *leaf.shape[1:])), inputs
    )


def _check_real(model, leaves):
    types = [keras.backend.standardize_dtype(leaf.dtype) for leaf in leaves]
    if not all(map(keras.backend.is_float_dtype, types)) or any(
        isinstance(layer, keras.layers.Embedding) for layer in walk(model)
    ):
        raise ValueError(
            "`model` must take real numbers: ones are no token ids. Received: "
            f"model {model.name!r}, which takes {', '.join(types)} or "
            "has an Embedding. Prune it by another criterion, such as snip."
        )


def _inputs(context):
    """What has the structure, shapes and types of the model's inputs."""
    model = context.model
    inputs = getattr(model, "_inputs_struct", None)
    if inputs is None:
        inputs = getattr(model, "inputs", None)
    if inputs is not None and all(
        None not in leaf.shape[1:] for leaf in keras.tree.flatten(inputs)
    ):
        one = isinstance(inputs, list) and len(inputs) == 1
        return inputs[0] if one else inputs
    if context.x is None:
        raise ValueError(
            "`x` must be given for a model whose input shape is open. "
            f"Received: x=None for model {model.name!r}. Pass any example; "
            "only its shape is used."
        )
    return keras.tree.map_structure(np.asarray, context.x)

"""How often each kernel of a model is used for one example."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell

from tf_lottery.layers import NOT_KERNELS
from tf_lottery.layers import MaskedKernel
from tf_lottery.layers import named_variables
from tf_lottery.layers import walk


@dataclasses.dataclass(frozen=True)
class KernelUse:
    """How much work a kernel does for one example.

    Args:
        size: number of its entries.
        uses: how often each entry is multiplied.
    """

    size: int
    uses: int


def kernel_uses(
    model: keras.Model, *, input_shape: Sequence[int] | None = None
) -> dict[str, KernelUse]:
    """Returns `{path: KernelUse}` of every kernel, for one example.

    The model is traced once on an input of its shape, as an inference, and
    every call of a layer with a kernel is written down. Nothing is computed.

    Args:
        model: a built Keras model, masked or not; it is not changed.
        input_shape: of one example, where the model has no `Input`.

    Raises:
        ValueError: the model has no known input shape, cannot be traced,
            leaves a size open, calls a layer inside a loop or branch of the
            graph, does not call one, or has weights in a layer of unknown
            kind. The text names the layer.
    """
    trace = _Trace(model)
    specs = _input_specs(model, input_shape)
    batch = keras.tree.flatten(specs)[0].shape[0]
    trace.run(specs)
    paths = {id(v): path for path, v in named_variables(model).items()}
    result = {}
    for variable, layer, uses in trace.counted():
        if uses % batch:
            raise _refusal(layer, f"is not used alike by all {batch} examples")
        size = math.prod(variable.shape)
        result[paths[id(variable)]] = KernelUse(size, uses // batch)
    return result


def _input_specs(model, input_shape):
    if input_shape is not None:
        return tf.TensorSpec((1, *input_shape), keras.config.floatx())
    if not getattr(model, "inputs", None):
        raise ValueError(
            "`input_shape` must be given for a model without `Input`. "
            f"Received: input_shape=None, model {model.name!r}. Pass the "
            "shape of one example."
        )
    sequential = isinstance(model, keras.Sequential)
    return keras.tree.map_structure(
        lambda x: tf.TensorSpec((x.shape[0] or 1, *x.shape[1:]), x.dtype),
        model.inputs[0] if sequential else model.input,
    )


def _refusal(layer, why: str) -> ValueError:
    return ValueError(
        "`model` must be one whose FLOPs can be counted. Received: layer "
        f"{layer.name!r} of class {_kind(layer).__name__}, which {why}."
    )


def _kind(layer) -> type:
    return getattr(layer, "stock_class", type(layer))


class _Trace:
    """Writes down the calls of the layers with kernels."""

    def __init__(self, model: keras.Model):
        self._model = model
        self._layers = [model, *walk(model)]
        self._uses: dict[int, dict[str, int]] = {}
        self._graph: Any = None
        self._in_recurrent = False
        self._refused: ValueError | None = None

    def run(self, specs: Any) -> None:
        """Traces the model's call on tensors of these specs."""
        self._check()

        def call(x):
            self._graph = tf.compat.v1.get_default_graph()
            return self._model(x, training=False)

        hooked = [x for x in self._layers if _kind(x) in _RULES | _RECURRENT]
        own = [vars(layer).get("call") for layer in hooked]
        for layer in hooked:
            # Past Layer.__setattr__; whoever calls it finds this one first.
            vars(layer)["call"] = self._hook(layer, layer.call)
        try:
            # As Keras itself traces: without AutoGraph.
            tf.function(call, autograph=False).get_concrete_function(specs)
        except Exception as error:
            # A user's own code may raise anything.
            raise self._refused or ValueError(
                "`model` must be one that can be traced. Received: model "
                f"{self._model.name!r}, which raised {type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}"
            ) from error
        finally:
            for layer, before in zip(hooked, own):
                del vars(layer)["call"]
                if before is not None:
                    vars(layer)["call"] = before
            # They would be tensors of a graph that is gone.
            self._model._clear_losses()

    def counted(self):
        """Yields (variable, layer, uses by the whole batch)."""
        for layer in self._layers:
            rule = _RULES.get(_kind(layer))
            if rule is None or not layer.built:
                continue
            uses = self._uses.get(id(layer))
            if uses is None:
                if _kind(layer) not in _TABLES:
                    raise _refusal(layer, "the model does not call")
                uses = {}
            for name in _kernel_names(layer):
                variable = (
                    layer.raw_kernel(name)
                    if isinstance(layer, MaskedKernel)
                    else getattr(layer, name)
                )
                yield variable, layer, uses.get(name, 0)

    def _check(self) -> None:
        for layer in self._layers:
            if getattr(layer, "lora_enabled", False) or getattr(
                layer, "quantization_mode", None
            ):
                raise _refusal(layer, "has LoRA or is quantised")
            if _kind(layer) in _RULES or isinstance(layer, NOT_KERNELS):
                continue
            weights = [
                v.path for v in layer._trainable_variables if v.ndim >= 2
            ]
            if weights or isinstance(layer, MaskedKernel):
                raise _refusal(layer, "has weights of unknown use")

    def _hook(self, layer, call):
        def hooked(*args, **kwargs):
            if self._in_recurrent:
                return call(*args, **kwargs)
            inputs = args[0] if args else next(iter(kwargs.values()))
            kind = _kind(layer)
            if kind in _RECURRENT:
                return self._recurrent(layer, call, inputs, args, kwargs)
            outputs = call(*args, **kwargs)
            uses = _RULES[kind](layer, inputs, outputs, kwargs)
            self._add(layer, uses)
            return outputs

        return hooked

    def _recurrent(self, layer, call, inputs, args, kwargs):
        cells = getattr(layer.cell, "cells", [layer.cell])
        if any(_kind(cell) not in _CELLS for cell in cells):
            # Its layers are counted if the loop is unrolled, else refused.
            return call(*args, **kwargs)
        # The loop's body is traced any number of times, or replaced.
        self._in_recurrent = True
        try:
            outputs = call(*args, **kwargs)
        finally:
            self._in_recurrent = False
        for cell in cells:
            uses = _CELLS[_kind(cell)](cell, inputs[:, 0], outputs, kwargs)
            steps = inputs.shape[1]
            self._add(cell, {
                name: _product([steps, count]) for name, count in uses.items()
            })
        return outputs

    def _add(self, layer, uses: dict[str, int | None]) -> None:
        why = None
        graph = tf.compat.v1.get_default_graph()
        # `vectorized_map` traces its function into the same graph, once, in
        # a name scope of its own.
        mapped = re.search(r"(^|/)loop_body", graph.get_name_scope() or "")
        if graph is not self._graph or mapped:
            why = "is called inside a loop, branch or function of the graph"
        elif None in uses.values():
            why = "is applied to a size left open (None)"
        if why:
            # Kept: user code may catch it, Keras rewords it.
            self._refused = _refusal(layer, why)
            raise self._refused
        total = self._uses.setdefault(id(layer), {})
        for name, count in uses.items():
            total[name] = total.get(name, 0) + (count or 0)


def _product(sizes) -> int | None:
    sizes = list(sizes)
    return None if None in sizes else math.prod(sizes)


def _kernel_names(layer) -> tuple[str, ...]:
    kind = _kind(layer)
    if kind in _SEPARABLE:
        return ("depthwise_kernel", "pointwise_kernel")
    if kind in _CELLS:
        return ("kernel", "recurrent_kernel")
    if kind in _TABLES:
        tied = getattr(layer, "tie_weights", True)
        return ("embeddings",) if tied else ("embeddings", "reverse_embeddings")
    return ("kernel",)


def _alike(layer, count):
    return dict.fromkeys(_kernel_names(layer), count)


def _rows(layer, inputs, outputs, kwargs):
    return _alike(layer, _product(inputs.shape[:-1]))


def _positions(layer, tensor):
    """The batch times the positions of a channels-last or -first tensor."""
    shape = list(tensor.shape)
    del shape[1 if layer.data_format == "channels_first" else -1]
    return _alike(layer, _product(shape))


def _at_output(layer, inputs, outputs, kwargs):
    return _positions(layer, outputs)


def _at_input(layer, inputs, outputs, kwargs):
    return _positions(layer, inputs)


def _einsum(layer, inputs, outputs, kwargs):
    # An entry meets every input that agrees with it in the indices of both.
    given, kernel = layer.equation.replace(" ", "").split("->")[0].split(",")
    before, dots, after = given.partition("...")
    shared = [
        size
        for index, size in (
            *zip(before, inputs.shape),
            *zip(after[::-1], inputs.shape[::-1]),
        )
        if index in kernel
    ]
    total, common = _product(inputs.shape), _product(shared)
    known = total is not None and common
    return _alike(layer, total // common if known else None)


def _convolved_cell(cell, inputs, outputs, kwargs):
    # Of a cell (output, states), of its layer an output with or without time.
    shape = list(keras.tree.flatten(outputs)[0].shape)[-(cell.rank + 1):]
    del shape[0 if cell.data_format == "channels_first" else -1]
    return _alike(cell, _product([inputs.shape[0], *shape]))


def _look_up(layer, inputs, outputs, kwargs):
    if not kwargs.get("reverse", False):
        return {}
    return {_kernel_names(layer)[-1]: _product(inputs.shape[:-1])}


_L = keras.layers
_SEPARABLE = {_L.SeparableConv1D, _L.SeparableConv2D}
_TABLES = {_L.Embedding}
if hasattr(_L, "ReversibleEmbedding"):
    _TABLES.add(_L.ReversibleEmbedding)
_CELLS: dict[type, Callable[..., dict]] = {
    _L.SimpleRNNCell: _rows,
    _L.LSTMCell: _rows,
    _L.GRUCell: _rows,
    ConvLSTMCell: _convolved_cell,
}
# Layers that call a cell once per time step.
_RECURRENT = dict.fromkeys((
    _L.RNN, _L.SimpleRNN, _L.LSTM, _L.GRU,
    _L.ConvLSTM1D, _L.ConvLSTM2D, _L.ConvLSTM3D,
))
# How often an entry of each kernel is used in a call, by the whole batch.
# Exact classes: a subclass may compute something else.
_RULES: dict[type, Callable[..., dict]] = {
    _L.Dense: _rows,
    _L.EinsumDense: _einsum,
    **dict.fromkeys((
        _L.Conv1D, _L.Conv2D, _L.Conv3D, _L.DepthwiseConv1D,
        _L.DepthwiseConv2D, _L.SeparableConv1D, _L.SeparableConv2D,
    ), _at_output),
    **dict.fromkeys((
        _L.Conv1DTranspose, _L.Conv2DTranspose, _L.Conv3DTranspose,
    ), _at_input),
    **dict.fromkeys(_TABLES, _look_up),
    **_CELLS,
}

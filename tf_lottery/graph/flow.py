"""Ones that flow through a model's graph, forwards and backwards."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.models.functional import Functional

from tf_lottery.graph.reach import Reach
from tf_lottery.graph.reach import reach_of
from tf_lottery.layers import named_variables
from tf_lottery.layers.graph import follow
from tf_lottery.layers.graph import functional_of

_Masks = Mapping[str, np.ndarray]


@dataclasses.dataclass
class _Step:
    """One call: where its inputs and outputs are among all tensors."""

    reach: Reach
    name: str
    inputs: list[int]
    outputs: list[int]


class Flow:
    """A functional model, nested ones laid open, through which ones flow.

    Args:
        model: a Sequential or functional model.
        input_shape: of one example, where the model leaves sizes open.

    Attributes:
        variables: `{path: variable}` of the model.

    Raises:
        ValueError: the model is no graph of layers, or leaves sizes open.
    """

    def __init__(
        self, model: keras.Model, input_shape: Sequence[int] | None = None
    ):
        functional = _functional(model)
        self.variables = named_variables(model)
        self._paths = {id(v): path for path, v in self.variables.items()}
        self._sources = _inputs(functional, input_shape)
        self._shapes = [tuple(x.shape) for x in self._sources]
        self._steps: list[_Step] = []
        slots = {id(x): i for i, x in enumerate(functional.inputs)}
        follow(functional, slots, self._add, _opens)
        self._ends = [slots[id(x)] for x in functional.outputs]

    def _add(self, node, given):
        reach = reach_of(node, [self._shapes[i] for i in given])
        kernels = [tf.zeros(v.shape) for v in reach.kernels]
        zeros = [tf.zeros(self._shapes[i]) for i in given]
        shapes = [tuple(x.shape) for x in reach.apply(zeros, kernels)]
        out = list(range(len(self._shapes), len(self._shapes) + len(shapes)))
        self._shapes += shapes
        self._steps.append(_Step(reach, node.operation.name, given, out))
        return out

    def _kernels(self, step, mask):
        return [
            tf.cast(mask[path], tf.float32)
            if (path := self._paths[id(v)]) in mask
            else tf.ones(v.shape)
            for v in step.reach.kernels
        ]

    def reached(self, mask: _Masks) -> list[tf.Tensor]:
        """Returns, of every tensor, 1 where the input reaches, else 0.

        Args:
            mask: `{path: boolean array}`; kernels without one are whole.
        """
        live = list(self._sources)
        for step in self._steps:
            found = step.reach.apply(
                [live[i] for i in step.inputs], self._kernels(step, mask)
            )
            live += [_above(x, step.reach.least) for x in found]
        return live

    def used(
        self, mask: _Masks, live: list[tf.Tensor]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Returns what lies on a path from an input to an output.

        Args:
            mask: as in `reached`.
            live: what `reached` returned for it.

        Returns:
            `{path: boolean array}` of the kernels of `mask`; and, of layers
            with units, `{layer: (units,) boolean}`, in order.
        """
        needed = [tf.zeros(shape) for shape in self._shapes]
        for i in self._ends:
            needed[i] = tf.ones(self._shapes[i])
        used = {path: np.zeros(np.shape(m), bool) for path, m in mask.items()}
        units: dict[str, np.ndarray] = {}
        for step in reversed(self._steps):
            self._backward(step, mask, live, needed, used)
            axis = step.reach.unit_axis
            if axis is not None:
                (out,) = step.outputs
                alive = (live[out] * needed[out]).numpy() > 0
                alive = np.moveaxis(alive, axis, -1)
                alive = alive.reshape(-1, alive.shape[-1]).any(axis=0)
                layer = self._paths[id(step.reach.kernels[0])]
                layer = layer.rpartition("/")[0] or step.name
                units[layer] = units.get(layer, False) | alive
        used = {path: used[path] & m for path, m in mask.items()}
        return used, dict(reversed(units.items()))

    def is_cut(self, live: list[tf.Tensor]) -> bool:
        """Whether some output does not depend on the input.

        Args:
            live: what `reached` returned.
        """
        return not all(_any(live[i]) for i in self._ends)

    def misses(self, live: list[tf.Tensor]) -> bool:
        """Whether some entry of an output does not depend on the input.

        Args:
            live: what `reached` returned.
        """
        return any(not tf.reduce_all(live[i] > 0) for i in self._ends)

    def ends(self, live: list[tf.Tensor]) -> list[str]:
        """Returns the paths of the kernels that the input goes no further than.

        Args:
            live: what `reached` returned.
        """
        return [
            self._paths[id(v)]
            for step in self._steps
            if any(_any(live[i]) for i in step.inputs)
            and not any(_any(live[i]) for i in step.outputs)
            for v in step.reach.kernels
        ]

    def _backward(self, step, mask, live, needed, used):
        """Marks what a call needs of its inputs, and its kernels' entries."""
        reach = step.reach
        inputs = [live[i] for i in step.inputs]
        kernels = self._kernels(step, mask)
        wanted = [needed[i] for i in step.outputs]
        with tf.GradientTape() as tape:
            tape.watch([*inputs, *kernels])
            outputs = reach.apply(inputs, kernels)
        gradients = tape.gradient(
            outputs,
            [*inputs, *kernels],
            output_gradients=wanted,
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        for i, gradient in zip(step.inputs, gradients):
            needed[i] = tf.maximum(needed[i], _above(gradient, reach.least))
        for variable, gradient in zip(
            reach.kernels, gradients[len(inputs) :]
        ):
            path = self._paths[id(variable)]
            if path in used:
                used[path] |= (gradient > reach.least).numpy()
        if any(map(_any, inputs)) and any(map(_any, wanted)):
            for variable in reach.inside:
                path = self._paths.get(id(variable))
                if path in used:
                    used[path][:] = True


def _above(values: tf.Tensor, least: float) -> tf.Tensor:
    return tf.cast(values > least, tf.float32)


def _any(values: tf.Tensor) -> bool:
    return bool(tf.reduce_any(values > 0))


def _functional(model: keras.Model) -> Functional:
    functional = functional_of(model)
    if functional is None:
        raise ValueError(
            "`model` must be Sequential or functional, and built. Received: "
            f"model {model.name!r} of class {type(model).__name__}. What a "
            "subclassed model does with its layers cannot be read."
        )
    return functional


def _opens(inner: Functional, node: Any) -> bool:
    """Whether a nested model is called on inputs of its own shapes."""
    return [tuple(x.shape)[1:] for x in inner.inputs] == [
        tuple(x.shape)[1:] for x in node.input_tensors
    ]


def _inputs(model: Functional, shape) -> list[tf.Tensor]:
    shapes = [tuple(x.shape)[1:] for x in model.inputs]
    if shape is not None and len(shapes) == 1:
        shapes = [tuple(shape)]
    if any(n is None for s in shapes for n in s):
        raise ValueError(
            "`input_shape` must be given for a model that leaves sizes open. "
            f"Received: inputs {shapes} of model {model.name!r}. Pass the "
            "shape of one example, or build the model with it."
        )
    return [tf.ones((1, *s)) for s in shapes]

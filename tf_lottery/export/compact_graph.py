"""The graph of a functional model, with its nested models laid open."""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import keras
import numpy as np
from keras.src.models.functional import Functional

from tf_lottery.layers.graph import follow


class Classes:
    """Which channels of which tensors stay or go together."""

    def __init__(self) -> None:
        self._parent: list[int] = []

    def __len__(self) -> int:
        return len(self._parent)

    def new(self, count: int) -> np.ndarray:
        """Returns `count` new classes of one channel each."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def tie(self, one: np.ndarray, other: np.ndarray) -> None:
        """Makes one class of the classes at equal positions."""
        for a, b in zip(one.tolist(), other.tolist()):
            self._parent[self._root(a)] = self._root(b)

    def roots(self) -> np.ndarray:
        """Returns the one number by which each class is to be known."""
        return np.array([self._root(i) for i in range(len(self))], int)

    def _root(self, i: int) -> int:
        while self._parent[i] != i:
            self._parent[i] = self._parent[self._parent[i]]
            i = self._parent[i]
        return i


@dataclasses.dataclass(eq=False)
class Value:
    """A tensor of the graph, and what is known of its channels.

    Channels lie on the last axis. Channels of one class, in whichever
    tensors, stay or go together.

    Args:
        shape: with the batch, None where open.
        classes: `(channels,)` int, the class of each channel.
        constant: `(channels,)` float64, the value that a channel has at all
            places of all examples, NaN where it varies.
        tensor: its counterpart in the new model.
    """

    shape: tuple[int | None, ...]
    classes: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(0, int)
    )
    constant: np.ndarray = dataclasses.field(
        default_factory=lambda: np.zeros(0)
    )
    tensor: Any = None

    @property
    def channels(self) -> int:
        """Size of the last axis, 0 where it is open or there is none."""
        return (self.shape[-1] or 0) if len(self.shape) > 1 else 0


@dataclasses.dataclass(eq=False)
class Step:
    """One call of an operation that is no nested model."""

    node: Any
    inputs: list[Value]
    outputs: list[Value]
    calls: int = 1

    @property
    def operation(self) -> Any:
        """The layer, or the operation of `keras.ops`."""
        return self.node.operation

    @property
    def name(self) -> str:
        """Name of the operation in the given model."""
        return self.operation.name

    @property
    def variables(self) -> list[keras.Variable]:
        """Variables that are arguments of the call, as of `x @ kernel`."""
        given = (self.node.arguments.args, self.node.arguments.kwargs)
        flat = keras.tree.flatten(given)
        return [x for x in flat if isinstance(x, keras.Variable)]

    def arguments(self) -> tuple[tuple, dict]:
        """The call's arguments, with the tensors of the new model."""
        return self.node.arguments.fill_in({
            id(old): value.tensor
            for old, value in zip(self.node.input_tensors, self.inputs)
        })


@dataclasses.dataclass(frozen=True)
class Graph:
    """Steps in the order of computation, and the ends of the graph."""

    steps: list[Step]
    inputs: list[Value]
    outputs: list[Value]


def read_graph(model: Functional) -> Graph:
    """Returns the steps of a functional model, nested ones' among them."""
    values = {id(x): Value(tuple(x.shape)) for x in model.inputs}
    inputs = [values[id(x)] for x in model.inputs]
    steps: list[Step] = []

    def add(node, given):
        outputs = [Value(tuple(x.shape)) for x in node.outputs]
        steps.append(Step(node, given, outputs))
        return outputs

    follow(model, values, add, _opens)
    calls = collections.Counter(id(step.operation) for step in steps)
    for step in steps:
        step.calls = calls[id(step.operation)]
    return Graph(steps, inputs, [values[id(x)] for x in model.outputs])


def _opens(inner: Functional, node: Any) -> bool:
    """Whether a nested model computes what its calls do by themselves."""
    # It casts what it is given to the dtype of its input.
    same = [(tuple(x.shape), x.dtype) for x in inner.inputs] == [
        (tuple(x.shape), x.dtype) for x in node.input_tensors
    ]
    # With training=True its normalisations do not compute as in inference.
    return same and all(
        v is None or v is False
        for v in keras.tree.flatten(node.arguments.kwargs)
    )

"""Which kept weights matter: those on a path from input to output."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.models.functional import Functional

from tf_lottery.analysis.reach import Reach
from tf_lottery.analysis.reach import reach_of
from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.layers import named_variables
from tf_lottery.masks import Mask

_NAMED = 3


@dataclasses.dataclass(frozen=True)
class PathReport:
    """How much of a masked network is left in use.

    Args:
        mask: the kept weights that lie on a path from an input to an output.
        kept: number of weights that the given mask keeps.
        empty: paths of the kernels without any weight left.
        dead_units: `{layer: units}` that are on no path, where there are any:
            output channels without a path from the input, or to an output.
        cut_by: paths of the kernels that keep some output of the model from
            depending on its input. Those that do so by themselves; where
            none does, those at which what comes from the input ends.
        is_cut: whether some output of the model does not depend on its input.
    """

    mask: Mask
    kept: int
    empty: tuple[str, ...]
    dead_units: Mapping[str, int]
    cut_by: tuple[str, ...]
    is_cut: bool

    @property
    def density(self) -> float:
        """Fraction of the prunable weights that the given mask keeps."""
        return self.kept / self.mask.size

    @property
    def effective_density(self) -> float:
        """Fraction of the prunable weights that is kept and on a path."""
        return self.mask.density

    def __str__(self) -> str:
        """One line for people."""
        parts = []
        if self.is_cut:
            by = f": cut by {_some(self.cut_by)}" if self.cut_by else ""
            parts.append(f"an output does not depend on the input{by}")
        if self.empty:
            verb = "is" if len(self.empty) == 1 else "are"
            parts.append(f"{_some(self.empty)} {verb} empty")
        if self.dead_units:
            units = [
                f"{n} dead unit{'s' * (n > 1)} in {layer}"
                for layer, n in self.dead_units.items()
            ]
            parts.append(_some(units))
        parts.append(
            f"effective density {100 * self.effective_density:.3g} % of "
            f"{100 * self.density:.3g} %"
        )
        return "; ".join(parts)


def check_paths(
    model: keras.Model,
    mask: Mask | None = None,
    *,
    input_shape: Sequence[int] | None = None,
) -> PathReport:
    """Finds the kept weights on a path from an input to an output.

    A weight counts where what it multiplies depends on the input and what it
    is added to is on the way to an output, at some position. Biases carry
    nothing from the input; activations and normalisation per channel are
    taken to pass on each entry, and a product of two tensors either factor.
    Nothing is computed with the weights' values, and nothing is changed.

    This is exact, border positions of convolutions included, for models of
    Dense, convolution, embedding, pooling, reshaping, joining and pointwise
    layers, nested and shared ones too. Of other layers (attention, recurrent,
    layer normalisation, a user's own) every output is taken to depend on
    every input, and all kept weights inside are taken to be in use: what is
    called dead is dead, but more may be.

    Args:
        model: a Sequential or functional Keras model, masked or not; it is
            not changed.
        mask: in place of the model's own. Kernels that it does not name are
            whole.
        input_shape: of one example, where the model leaves sizes open.

    Returns:
        A `PathReport`; `str()` of it is one line.

    Raises:
        ValueError: the model is no graph of layers, leaves sizes open, or has
            no masks, or `mask` is not of its kernels.

    Example:
        >>> x = keras.Input((2,))
        >>> y = keras.layers.Dense(2, name="one")(x)
        >>> model = keras.Model(x, keras.layers.Dense(1, name="two")(y))
        >>> mask = {"one/kernel": [[1, 0], [1, 1]], "two/kernel": [[1], [0]]}
        >>> print(check_paths(model, Mask(mask)))
        1 dead unit in one; effective density 33.3 % of 66.7 %

    Reference:
        Tanaka et al., "Pruning neural networks without any data by
        iteratively conserving synaptic flow", 2020, arXiv:2006.05467,
        section 4 (layer-collapse); Vysogorets and Kempe, "Connectivity
        Matters", 2023, arXiv:2107.02306 (effective sparsity).
    """
    functional = _functional(model)
    variables = named_variables(model)
    if mask is None:
        if not is_masked(model):
            raise ValueError(
                "`mask` must be given for a model without masks. Received: "
                f"mask=None and model {model.name!r}. Pass a Mask, or "
                "mask_model first."
            )
        mask = get_mask(model)
    shapes = {k: tuple(variables[k].shape) for k in mask if k in variables}
    mask.check_shapes(shapes)
    flow = _Flow(functional, variables, _inputs(functional, input_shape))
    return flow.report(mask)


def effective_mask(model: keras.Model, mask: Mask | None = None) -> Mask:
    """Returns the kept weights that lie on a path from input to output.

    Args:
        model: as in `check_paths`.
        mask: as in `check_paths`.

    Returns:
        A `Mask`, a subset of the given one.

    Raises:
        ValueError: as in `check_paths`.

    Example:
        >>> x = keras.Input((2,))
        >>> y = keras.layers.Dense(2, name="one")(x)
        >>> model = keras.Model(x, keras.layers.Dense(1, name="two")(y))
        >>> mask = {"one/kernel": [[1, 0], [1, 1]], "two/kernel": [[1], [0]]}
        >>> effective_mask(model, Mask(mask))["one/kernel"].tolist()
        [[True, False], [True, False]]
    """
    return check_paths(model, mask).mask


def effective_density(model: keras.Model, mask: Mask | None = None) -> float:
    """Returns the fraction of the prunable weights on such a path.

    Args:
        model: as in `check_paths`.
        mask: as in `check_paths`.

    Raises:
        ValueError: as in `check_paths`.

    Reference:
        Vysogorets and Kempe, 2023, arXiv:2107.02306, section 3.
    """
    return check_paths(model, mask).effective_density


@dataclasses.dataclass
class _Step:
    """One call: where its inputs and outputs are among all tensors."""

    reach: Reach
    name: str
    inputs: list[int]
    outputs: list[int]


class _Flow:
    """A functional model with nested ones laid open, ready to be filled."""

    def __init__(self, model: Functional, variables, inputs: list[tf.Tensor]):
        self._paths = {id(v): path for path, v in variables.items()}
        self._variables = variables
        self._shapes = [tuple(x.shape) for x in inputs]
        self._sources = inputs
        self._steps: list[_Step] = []
        slots = {id(x): i for i, x in enumerate(model.inputs)}
        self._read(model, slots)
        self._ends = [slots[id(x)] for x in model.outputs]

    def _read(self, model, slots):
        for depth in sorted(model._nodes_by_depth, reverse=True):
            for node in model._nodes_by_depth[depth]:
                if node.is_input:
                    continue
                given = [slots[id(x)] for x in node.input_tensors]
                inner = _nested(node)
                if inner is not None:
                    inside = {id(x): s for x, s in zip(inner.inputs, given)}
                    self._read(inner, inside)
                    out = [inside[id(x)] for x in inner.outputs]
                else:
                    out = self._add(node, given)
                slots.update((id(x), s) for x, s in zip(node.outputs, out))

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

    def _forward(self, mask) -> list[tf.Tensor]:
        """Of every tensor, 1 where the input reaches, else 0."""
        live = list(self._sources)
        for step in self._steps:
            found = step.reach.apply(
                [live[i] for i in step.inputs], self._kernels(step, mask)
            )
            live += [_above(x, step.reach.least) for x in found]
        return live

    def report(self, mask: Mask) -> PathReport:
        """Returns what there is to say about a mask."""
        live = self._forward(mask)
        needed = [tf.zeros(shape) for shape in self._shapes]
        for i in self._ends:
            needed[i] = tf.ones(self._shapes[i])
        used = {path: np.zeros(m.shape, bool) for path, m in mask.items()}
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
        dead = {k: int((~alive).sum()) for k, alive in units.items()}
        is_cut = self._is_cut(live)
        empty = tuple(path for path, m in mask.items() if not m.any())
        return PathReport(
            Mask({path: used[path] & m for path, m in mask.items()}),
            mask.kept,
            empty,
            {k: n for k, n in reversed(dead.items()) if n},
            self._cut_by(mask, empty, live) if is_cut else (),
            is_cut,
        )

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

    def _is_cut(self, live) -> bool:
        return not all(_any(live[i]) for i in self._ends)

    def _cut_by(self, mask, empty, live) -> tuple[str, ...]:
        alone = []
        for path in empty:
            if self._is_cut(self._forward({path: mask[path]})):
                alone.append(path)
        if alone:
            return tuple(alone)
        ends = [
            self._paths[id(v)]
            for step in self._steps
            if any(_any(live[i]) for i in step.inputs)
            and not any(_any(live[i]) for i in step.outputs)
            for v in step.reach.kernels
        ]
        return tuple(path for path in mask if path in ends)


def _above(values: tf.Tensor, least: float) -> tf.Tensor:
    return tf.cast(values > least, tf.float32)


def _any(values: tf.Tensor) -> bool:
    return bool(tf.reduce_any(values > 0))


def _some(names: Sequence[str]) -> str:
    text = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    return f"{text} and {more} more" if more > 0 else text


def _graph_of(model: Any) -> Functional | None:
    if type(model) is keras.Sequential:
        return model._functional
    return model if type(model) is Functional else None


def _functional(model: keras.Model) -> Functional:
    functional = _graph_of(model)
    if functional is None:
        raise ValueError(
            "`model` must be Sequential or functional, and built. Received: "
            f"model {model.name!r} of class {type(model).__name__}. What a "
            "subclassed model does with its layers cannot be read."
        )
    return functional


def _nested(node) -> Functional | None:
    """The graph of a nested model that is called on its inputs in order."""
    inner = _graph_of(node.operation)
    if inner is None or len(node.arguments.args) != 1:
        return None
    given = node.arguments.args[0]
    in_order = isinstance(given, (list, tuple, keras.KerasTensor))
    same = [tuple(x.shape)[1:] for x in inner.inputs] == [
        tuple(x.shape)[1:] for x in node.input_tensors
    ]
    return inner if in_order and same else None


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

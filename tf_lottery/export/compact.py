"""Removing the units, channels and features that a pruned model ignores."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import numpy as np

from tf_lottery.export.compact_graph import Classes
from tf_lottery.export.compact_graph import Graph
from tf_lottery.export.compact_graph import Step
from tf_lottery.export.compact_graph import read_graph
from tf_lottery.export.compact_rules import Linear
from tf_lottery.export.compact_rules import Rule
from tf_lottery.export.compact_rules import rule_of
from tf_lottery.layers import is_masked
from tf_lottery.layers.cloning import SHARED
from tf_lottery.layers.graph import functional_of
from tf_lottery.layers.state import refresh


@dataclasses.dataclass(frozen=True)
class Compaction:
    """A smaller model that computes the same, and how it came about.

    Args:
        model: plain and functional, nested models laid open; the given model
            itself where it had to be left as it is.
        removed: `{layer: (before, after)}`, units or channels, of the layers
            that lost some.
        notes: what is dead and was left, and why, one line each.
        parameters: number of them before and after.
    """

    model: keras.Model
    removed: dict[str, tuple[int, int]]
    notes: tuple[str, ...]
    parameters: tuple[int, int]


def compact(model: keras.Model) -> Compaction:
    """Returns the same function of inference, without what is dead in it.

    A unit or channel that no varying input reaches is a constant, `act(b)`:
    its share `act(b) @ W` joins the bias of the layers that read it. One
    that no output depends on is dropped. Both follow through normalisation,
    activations, pooling, flattening, sums and concatenations, until nothing
    is left to remove. Outputs agree but for the rounding of sums.

    A nonzero constant before a convolution that pads with zeros stays, since
    it is none at the border. Layers of unknown kind keep all inputs and
    outputs, and every layer keeps at least one unit. Input features that are
    never read stay, with their rows in the first kernels: to gather the others
    takes longer than it saves.

    Args:
        model: a built model without masks, whose pruned weights are 0. It is
            not changed.

    Returns:
        A `Compaction`.

    Raises:
        ValueError: the model is masked or not built.

    Example:
        >>> x = keras.Input((2,))
        >>> y = keras.layers.Dense(3, activation="relu", name="hidden")(x)
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(y))
        >>> model.set_weights([
        ...     np.array([[1, 0, 2], [3, 0, 4]]), np.array([0, 5, 0]),
        ...     np.array([[1], [2], [0]]), np.array([1])])
        >>> done = compact(model)
        >>> done.removed, done.parameters
        ({'hidden': (3, 1)}, (13, 5))
        >>> float(done.model.get_layer("out").bias[0])
        11.0
    """
    if not model.built:
        raise ValueError(
            f"`model` must be built. Received: model {model.name!r} without "
            "weights. Give it an Input, or call it on a batch first."
        )
    if is_masked(model):
        raise ValueError(
            f"`model` must be without masks. Received: model {model.name!r} "
            "with masks. Call strip_masks first."
        )
    functional = functional_of(model)
    if functional is None:
        return _left(model, f"{type(model).__name__} is no functional model")
    graph = read_graph(functional)
    for step in graph.steps:
        if step.variables:
            # The new model would compute with the given one's.
            why = f"{step.name} reads {step.variables[0].path} itself"
            return _left(model, why)
    rules = [rule_of(step) for step in graph.steps]
    kept, notes = _decide(graph, rules, functional)
    builder = _Builder(kept)
    try:
        result = builder.build(functional, graph, rules)
    except Exception as error:
        # A user's own layer may raise anything.
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return _left(model, f"it could not be rebuilt, {text}")
    return Compaction(
        result,
        builder.removed,
        tuple(notes),
        (model.count_params(), result.count_params()),
    )


def _left(model: keras.Model, why: str) -> Compaction:
    size = model.count_params()
    note = f"model {model.name!r} is left as it is: {why}"
    return Compaction(model, {}, (note,), (size, size))


def _decide(
    graph: Graph, rules: list[Rule], model: keras.Model
) -> tuple[np.ndarray, list[str]]:
    """Which classes of channels stay, and the notes."""
    classes = Classes()
    for value in graph.inputs:
        value.classes = classes.new(value.channels)
        value.constant = np.full(value.channels, np.nan)
    for rule in rules:
        rule.forward(classes)
    roots = classes.roots()
    for value in (*graph.inputs, *(v for s in graph.steps for v in s.outputs)):
        value.classes = roots[value.classes]
    kept = np.zeros(len(classes), bool)
    for value in graph.outputs:
        kept[value.classes] = True
    _spread(kept, rules)
    whole = [r for r in rules if r.gives_all]
    unread = {id(r): _unread(kept, r.step.outputs) for r in whole}
    notes = [
        f"{tensor._keras_history.operation.name}: {count} channels are never "
        "read; the model's inputs stay"
        for value, tensor in zip(graph.inputs, model.inputs)
        if (count := _unread(kept, [value]))
    ]
    for value in (*graph.inputs, *(v for r in whole for v in r.step.outputs)):
        kept[value.classes] = True
    _spread(kept, rules)
    for rule in rules:
        first = rule.step.outputs[0].classes
        if isinstance(rule, Linear) and not kept[first].any():
            # A layer has one unit at least. Nobody reads this one, so what
            # it reads may go.
            kept[first[0]] = True
    return kept, notes + _notes(kept, rules, unread)


def _notes(kept, rules, unread) -> list[str]:
    """In the words of the layers that stand in the way."""
    notes = []
    for rule in rules:
        name, why = rule.step.name, rule.why
        border = "pads with zeros" if isinstance(rule, Linear) else why
        if count := rule.blocked(kept):
            notes.append(f"{name}: {count} constant channels before it are "
                         f"left, since it {border}")
        if count := unread.get(id(rule), 0):
            notes.append(f"{name}: {count} channels that nobody reads are "
                         f"left, since it {why}")
    return notes


def _unread(kept: np.ndarray, values: list) -> int:
    return sum(int((~kept[v.classes]).sum()) for v in values)


def _spread(kept: np.ndarray, rules: list[Rule]) -> None:
    """Adds to `kept` what the steps read for what is kept, in place."""
    before = -1
    while before != (before := int(kept.sum())):
        for rule in reversed(rules):
            for needed in rule.reads(kept):
                kept[needed] = True


class _Builder:
    """Builds the model that is left, with the given one's names."""

    def __init__(self, kept: np.ndarray):
        self.removed: dict[str, tuple[int, int]] = {}
        self._kept = kept
        self._operations: dict[int, keras.Operation] = {}
        self._names: set[str] = set()

    def build(
        self, model: keras.Model, graph: Graph, rules: list[Rule]
    ) -> keras.Model:
        """Returns the new model."""
        new = {}
        for value, tensor in zip(graph.inputs, model.inputs):
            layer = tensor._keras_history.operation
            self._names.add(layer.name)
            value.tensor = type(layer).from_config(layer.get_config()).output
            new[id(tensor)] = value.tensor
        for rule in rules:
            self._apply(rule, rule.step)
        for value, tensor in zip(graph.outputs, model.outputs):
            new[id(tensor)] = value.tensor
        given, out = keras.tree.map_structure(
            lambda x: new[id(x)], (model._inputs_struct, model._outputs_struct)
        )
        result = keras.Model(given, out, name=model.name)
        refresh(result)
        return result

    def _apply(self, rule: Rule, step: Step) -> None:
        old = step.operation
        weights = rule.weights(self._kept)
        known = self._operations.get(id(old))
        operation: Any = known
        if known is None and type(old) in SHARED:
            # The copies of a model share them too.
            operation = old
            self._names.add(old.name)
        elif known is None:
            operation = type(old).from_config(rule.config(self._kept))
            operation.name = self._unique(old.name)
        # Without weights each call has an operation, and sizes, of its own.
        if weights or operation is old:
            self._operations[id(old)] = operation
        arguments, named = step.arguments()
        if isinstance(rule, Linear):
            chosen = self._kept[step.outputs[0].classes]
            if not chosen.all():
                size = len(chosen), int(chosen.sum())
                self.removed[operation.name] = size
        tensors = keras.tree.flatten(operation(*arguments, **named))
        for value, tensor in zip(step.outputs, tensors):
            value.tensor = tensor
        if weights and known is None:
            operation.set_weights(weights)

    def _unique(self, name: str) -> str:
        """The name, numbered where nested models' layers share it."""
        result, number = name, 0
        while result in self._names:
            number += 1
            result = f"{name}_{number}"
        self._names.add(result)
        return result

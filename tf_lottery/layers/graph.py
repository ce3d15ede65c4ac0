"""The graph of a functional model, with its nested models laid open."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

import keras
from keras.src.models.functional import Functional


def functional_of(model: Any) -> Functional | None:
    """Returns the graph that a stock model is, None for anything else."""
    if type(model) is keras.Sequential:
        # Without an input it has none yet.
        return model._functional
    return model if type(model) is Functional else None


def nested_in(node: Any) -> Functional | None:
    """Returns the graph of a nested model, called on its inputs in order.

    Args:
        node: a call of an operation, of `Functional._nodes`.

    Returns:
        None for any other operation, and any other way of calling it.
    """
    inner = functional_of(node.operation)
    if inner is None or len(node.arguments.args) != 1:
        return None
    given = node.arguments.args[0]
    in_order = isinstance(given, (list, tuple, keras.KerasTensor))
    return inner if in_order else None


def follow(
    model: Functional,
    known: MutableMapping[int, Any],
    call: Callable[[Any, list], list],
    opens: Callable[[Functional, Any], bool],
) -> None:
    """Visits the calls of a model in the order of computation.

    Args:
        model: whose calls.
        known: `{id(tensor): what stands for it}`, of the model's inputs; the
            tensors inside are added.
        call: `call(node, inputs) -> outputs`, in what stands for the tensors.
        opens: `opens(inner, node)`, whether the calls inside a nested model
            are visited instead of that of the model.
    """
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            if node.is_input:
                continue
            given = [known[id(x)] for x in node.input_tensors]
            inner = nested_in(node)
            if inner is not None and opens(inner, node):
                inside = {id(x): v for x, v in zip(inner.inputs, given)}
                follow(inner, inside, call, opens)
                outputs = [inside[id(x)] for x in inner.outputs]
            else:
                outputs = call(node, given)
            known.update((id(x), v) for x, v in zip(node.outputs, outputs))

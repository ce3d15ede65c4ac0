"""An optimizer's per-weight state: where it is, and how it starts anew."""

from __future__ import annotations

import keras


def neutral_slots(
    optimizer: keras.optimizers.Optimizer | None,
) -> dict[int, list[tuple[keras.Variable, float]]]:
    """Returns the slots of every trained variable, and their neutral values.

    A slot is state with one entry per weight: momentum, second moments,
    moving averages, accumulated gradients. Its neutral value is the one with
    which a weight of 0 stays 0: 0 itself, but for Adagrad and Ftrl the initial
    accumulator, where 0 would divide by it.

    Args:
        optimizer: a Keras optimizer, built or not; None has no slots.

    Returns:
        `{id(variable): [(slot, neutral value)]}`. Factored state, as
        Adafactor's rows and columns, is not per weight and left out.
    """
    result: dict[int, list[tuple[keras.Variable, float]]] = {}
    for part in _parts(optimizer):
        # Keras holds each kind of slot in a list in the order of the
        # variables. Names would not do: equal layers of two nested models
        # share theirs.
        variables = part._trainable_variables
        start = getattr(part, "initial_accumulator_value", 0.0)
        for kind, slots in vars(part).items():
            if not isinstance(slots, list) or len(slots) != len(variables):
                continue
            neutral = start if kind == "_accumulators" else 0.0
            for variable, slot in zip(variables, slots):
                if (
                    isinstance(slot, keras.Variable)
                    and slot is not variable
                    and slot.shape == variable.shape
                ):
                    found = result.setdefault(id(variable), [])
                    found.append((slot, neutral))
    return result


def mixes_weights(optimizer: keras.optimizers.Optimizer | None) -> bool:
    """Returns whether updates leave raw weights nonzero under a mask.

    Muon orthogonalises the update of a whole matrix. The masked kernel, which
    is what the network computes with, is 0 where it is pruned all the same.
    """
    return _is_any(optimizer, "Muon")


def mixes_state(optimizer: keras.optimizers.Optimizer | None) -> bool:
    """Returns whether some state per weight depends on other weights.

    Muon's does, and so does Adafactor's second moment, a product of sums over
    rows and columns.
    """
    return _is_any(optimizer, "Muon", "Adafactor")


def _is_any(optimizer, *names):
    kinds = tuple(
        getattr(keras.optimizers, name)
        for name in names
        if hasattr(keras.optimizers, name)
    )
    return any(isinstance(part, kinds) for part in _parts(optimizer))


def reset_optimizer(
    optimizer: keras.optimizers.Optimizer, model: keras.Model
) -> None:
    """Puts an optimizer back to before its first step.

    The values are those of a new optimizer of the same config, built for the
    model's weights as they are now: a loss scale and an accumulator do not
    start at 0, and a schedule-free momentum starts as the weights. A learning
    rate schedule starts anew with the count of steps; a learning rate that
    was set since stays.

    Args:
        optimizer: as `model` is trained with it; one that has not been built
            yet has nothing to put back.
        model: the model that it trains.

    Raises:
        ValueError: `optimizer` was built for other weights.
    """
    weights = {id(v) for v in model.weights}
    for part in _parts(optimizer):
        if not all(id(v) in weights for v in part._trainable_variables):
            raise ValueError(
                "`optimizer` must be the one that trains `model`. Received: "
                f"{part.name!r}, built for weights that {model.name!r} does "
                "not have. Build a new optimizer for another model."
            )
    for part in _parts(optimizer):
        if inner_optimizers(part):
            part._iterations.assign(0)
            if hasattr(part, "dynamic_scale"):
                part.step_counter.assign(0)
                part.dynamic_scale.assign(part.initial_scale)
        else:
            _reset(part)


def _reset(optimizer):
    rate = optimizer._learning_rate
    if isinstance(rate, keras.Variable):
        config = optimizer.get_config()
    else:
        # A schedule or function of the user's own may have no config.
        try:
            vars(optimizer)["_learning_rate"] = 0.0
            config = optimizer.get_config()
        finally:
            vars(optimizer)["_learning_rate"] = rate
        config["learning_rate"] = rate
    new = type(optimizer).from_config(config)
    new.build(optimizer._trainable_variables)
    # By attribute: inside a LossScaleOptimizer, Nadam's product of momenta is
    # not among `variables`.
    for name, start in vars(new).items():
        if name != "_variables":
            for old, value in zip(_held(vars(optimizer)[name]), _held(start)):
                # A weight is held by both.
                if old is not value:
                    old.assign(value)


def _held(value):
    items = value if isinstance(value, list) else [value]
    return [v for v in items if isinstance(v, keras.Variable)]


def inner_optimizers(
    optimizer: keras.optimizers.Optimizer,
) -> list[keras.optimizers.Optimizer]:
    """Returns the optimizers that one that wraps others steps with."""
    inner = getattr(optimizer, "inner_optimizer", None)
    if inner is not None:
        return [inner]
    return list(getattr(optimizer, "optimizers", ()))


def _parts(optimizer):
    """The optimizers that hold the slots, inside those that wrap them."""
    if optimizer is None or not optimizer.built:
        return
    for part in inner_optimizers(optimizer):
        yield from _parts(part)
    # What wraps may hold slots of its own: averages, accumulated gradients.
    if hasattr(optimizer, "_trainable_variables"):
        yield optimizer

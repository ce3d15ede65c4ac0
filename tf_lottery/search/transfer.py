"""Transfer: tickets found on other data, or by another optimizer."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf_lottery import seeds
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import named_variables
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.layers.state import match_paths
from tf_lottery.masks import Mask
from tf_lottery.search.rates import output_layers
from tf_lottery.search.settings import level_seed
from tf_lottery.tickets import Ticket

State = Mapping[str, np.ndarray]


def transfer_tickets(
    model: keras.Model,
    train: Callable[..., Mapping[str, Any] | None],
    tickets: Callable[[int], Ticket | None],
    *,
    levels: Sequence[int],
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    origin: Callable[[int], Mapping[str, Any]] | None = None,
    dense: Ticket | None = None,
) -> Iterator[Ticket]:
    """Trains tickets that were found elsewhere, each from step 0.

    Level 0 is the dense network from the rewind weights of the source's level
    0; where there is none, from those of the ticket of level 1 and, where
    that has none, the model's own. Another level has the mask and the rewind
    weights of its ticket as they are, from whatever step they are.

    If the output layer is of another shape, as with another number of
    classes, it is new: the model's own weights, and a mask of the density of
    the ticket's in that layer, n - round(s * n) of n weights for its sparsity
    s, but one at least. Its positions are random, and nested from level to
    level. So a network has the density that its ticket had.

    Args:
        model: masked, with its initial weights if `dense` is None.
        train: as in `find_tickets`.
        tickets: returns the source's ticket of a level; None for a level 0
            that it lacks.
        levels: to train, in order.
        seed: as in `find_tickets`.
        config: as in `find_tickets`.
        origin: returns what the ticket of a level should say about where it
            comes from, as plain JSON values; they are `transferred_from` in
            its configuration.
        dense: the ticket of level 0 that is there already, for the weights of
            a new output layer.

    Returns:
        An iterator that trains a level when asked for its `Ticket`.

    Raises:
        ValueError: a ticket does not fit the model.

    Reference:
        Morcos et al., One ticket to win them all, 2019, arXiv:1906.02773,
        section 3.
    """
    # Keras may have numbered the names of the model anew.
    own = get_state(model) if dense is None else dense.for_model(model).rewind
    # NumPy's numbers do not go into a JSON file.
    for level in map(operator.index, levels):
        mask, start = starting_point(model, tickets, level, own, seed)
        set_mask(model, mask)
        set_state(model, start)
        metrics = train(
            model, level=level, seed=level_seed(seed, level), start_step=0
        )
        told = {"transferred_from": dict(origin(level))} if origin else {}
        yield Ticket.of(
            model,
            rewind=start,
            level=level,
            config={**(config or {}), **told},
            metrics=metrics,
        )


def starting_point(
    model: keras.Model,
    tickets: Callable[[int], Ticket | None],
    level: int,
    own: State,
    seed: int,
) -> tuple[Mask, dict[str, np.ndarray]]:
    """Returns mask and weights that a transferred ticket is trained from.

    Args:
        model: masked; it is not changed.
        tickets: as in `transfer_tickets`.
        level: of the target.
        own: `{path: array}`, the state that what the source lacks is taken
            from.
        seed: of the positions in a new output layer.

    Returns:
        The mask, and `{path: array}` by the model's paths.

    Raises:
        ValueError: the ticket does not fit the model.
    """
    ticket = tickets(level)
    if ticket is not None:
        return _fitted(model, ticket, own, seed)
    ticket = None if level else tickets(1)
    if ticket is None:
        raise ValueError(
            "`tickets` must have every level, or level 1 in place of level "
            f"0. Received: no level {level or 1}. Pass one ticket as level 1."
        )
    mask, start = _fitted(model, ticket, own, seed)
    # What the ticket dropped was never stored with it.
    start.update(
        {k: np.where(keep, start[k], own[k]) for k, keep in mask.items()}
    )
    return Mask.ones(mask.shapes), start


def counts_of(
    model: keras.Model, tickets: Callable[[int, int], Ticket | None]
) -> Callable[[int, int], dict[str, int]]:
    """Returns what says how many weights of each kernel a ticket keeps.

    Args:
        model: masked; it is not changed.
        tickets: `(replicate, level)` -> a ticket found elsewhere, None for a
            level 0 that there is not.

    Returns:
        `(replicate, level) -> {path: count}`, by the model's paths. It raises
        ValueError for a ticket that does not fit the model, and remembers
        what it has read.
    """
    own = get_state(model)

    @functools.cache
    def counts(replicate: int, level: int) -> dict[str, int]:
        find = functools.partial(tickets, replicate)
        return starting_point(model, find, level, own, 0)[0].kept_by_path

    return counts


def replaced_paths(model: keras.Model, ticket: Ticket) -> list[str]:
    """Returns what of a model is new, because a ticket's has another shape.

    Args:
        model: masked.
        ticket: found elsewhere.

    Returns:
        Paths of the output layer's variables, or none.
    """
    wanted = {k: tuple(v.shape) for k, v in named_variables(model).items()}
    given = {k: np.shape(v) for k, v in ticket.rewind.items()}
    return sorted(_new_output(model, wanted, given))


def _fitted(
    model: keras.Model, ticket: Ticket, own: State, seed: int
) -> tuple[Mask, dict[str, np.ndarray]]:
    """The ticket under the model's paths, with an output layer that fits."""
    wanted = {k: tuple(v.shape) for k, v in named_variables(model).items()}
    given = {k: np.shape(v) for k, v in ticket.rewind.items()}
    new = _new_output(model, wanted, given)
    # Matched as if the output layer were the model's.
    shapes = dict(zip(given, (
        wanted[path] if path in new else shape
        for path, shape in zip(_by_place(wanted, given), given.values())
    )))
    names = match_paths(wanted, shapes, "ticket")
    kept = {k: ticket.mask[v] for k, v in names.items() if v in ticket.mask}
    for path in new & kept.keys():
        kept[path] = _random(
            wanted[path], kept[path], seeds.derive(seed, "output", path)
        )
    mask = Mask(kept)
    mask.check_shapes(get_mask(model).shapes, "ticket")
    start = {k: np.array(ticket.rewind[v]) for k, v in names.items()}
    start.update({path: np.array(own[path]) for path in new})
    return mask, start


def _by_place(wanted: Mapping[str, Any], given: Mapping[str, Any]) -> list[str]:
    """The model's path for each of a ticket's, by name or else by place."""
    if wanted.keys() == given.keys():
        return list(given)
    return list(wanted) if len(wanted) == len(given) else list(given)


def _new_output(
    model: keras.Model,
    wanted: Mapping[str, tuple[int, ...]],
    given: Mapping[str, tuple[int, ...]],
) -> set[str]:
    """Paths of the output layer where only the number of outputs differs."""
    paths = {id(v): path for path, v in named_variables(model).items()}
    shapes = dict(zip(_by_place(wanted, given), given.values()))
    new: set[str] = set()
    for layer in output_layers(model) or ():
        inside = [
            paths[id(v)] for v in layer.weights if id(v) in paths
        ]
        before = [shapes.get(path, ()) for path in inside]
        after = [wanted[path] for path in inside]
        if before != after and all(
            len(a) == len(b) and a[:-1] == b[:-1]
            for a, b in zip(before, after)
        ):
            new.update(inside)
    return new


def _random(
    shape: tuple[int, ...], like: np.ndarray, seed: int
) -> np.ndarray:
    """A mask of this shape and another's density, nested for one seed."""
    size = int(np.prod(shape))
    sparsity = 1 - np.count_nonzero(like) / like.size
    count = max(1, size - round(sparsity * size))
    keep = np.zeros(size, bool)
    keep[seeds.permutation(size, seed, "transfer")[:count]] = True
    return keep.reshape(shape)

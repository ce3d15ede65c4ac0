"""What the tickets of a run show: one pass over them, small numbers left."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from tf_lottery.analysis.initial_values import InitialValues
from tf_lottery.analysis.initial_values import describe_values
from tf_lottery.analysis.initial_values import value_edges
from tf_lottery.analysis.movement import Movement
from tf_lottery.analysis.movement import displacement
from tf_lottery.analysis.movement import compare_movement
from tf_lottery.analysis.signs import Signs
from tf_lottery.analysis.signs import count_signs
from tf_lottery.analysis.units import Degrees
from tf_lottery.analysis.units import unit_degrees
from tf_lottery.methods import METHODS
from tf_lottery.methods import levels_before
from tf_lottery.tickets import Key
from tf_lottery.tickets import Ticket


@dataclasses.dataclass(frozen=True)
class KernelMeasures:
    """What a ticket shows of one kernel.

    Args:
        kept: weights kept.
        size: weights, kept or not.
        initial: `rewind` values of its kept weights, which its training
            started from if they were rewound.
        signs: of its kept weights, before (`rewind`) and after training.
        incoming: degrees of its outputs; None of a kernel of one axis.
        outgoing: degrees of its inputs; likewise.
        movement: of the weights of the network that this ticket was found by,
            from `rewind` to trained: of those that it keeps, and of those that
            it prunes. None at level 0, where that training is not there, and
            where none was.
    """

    kept: int
    size: int
    initial: InitialValues
    signs: Signs
    incoming: Degrees | None
    outgoing: Degrees | None
    movement: Movement | None


@dataclasses.dataclass(frozen=True)
class LevelMeasures:
    """What the ticket of one replicate and level shows.

    Args:
        key: which.
        density: fraction of the prunable weights kept, in [0, 1].
        kernels: `{path: KernelMeasures}`.
    """

    key: Key
    density: float
    kernels: Mapping[str, KernelMeasures]


@dataclasses.dataclass(frozen=True)
class Measures:
    """What the tickets of a run show.

    Args:
        levels: by replicate, then by level.
        unread: one line per ticket that could not be read.
    """

    levels: tuple[LevelMeasures, ...]
    unread: tuple[str, ...]


# What is kept of a training until the masks made from it have been seen: the
# mask, and how far its kept weights moved, by path.
_Trail = Mapping[str, tuple[np.ndarray, np.ndarray]]


def measure_tickets(
    keys: Sequence[Key],
    load: Callable[[Key], Ticket],
    *,
    method: str | None = "imp",
) -> Measures:
    """Reads each ticket once and keeps what is to be said of it.

    In memory are one ticket and, of the one that it was found by, a mask and
    one number per kept weight.

    Args:
        keys: of main, in any order; levels may be missing.
        load: returns the ticket of a key; what it cannot read, by ValueError
            or OSError, is named in `Measures.unread`.
        method: a name in `METHODS`; says by which training a level was found.
            None if that is not known: then no level has a `movement`.

    Example:
        >>> def no_ticket(key):
        ...     raise ValueError("truncated. And more.")
        >>> measure_tickets([Key(0, "main", 0)], no_ticket).unread
        ('replicate 0 main level 0: truncated. And more.',)
    """
    unread: list[str] = []
    levels: list[LevelMeasures] = []
    for replicate in sorted({key.replicate for key in keys}):
        chosen = sorted(
            (key for key in keys if key.replicate == replicate),
            key=lambda key: key.level,
        )
        levels.extend(_measure(chosen, load, method, unread))
    return Measures(tuple(levels), tuple(unread))


def _measure(
    keys: Sequence[Key],
    load: Callable[[Key], Ticket],
    method: str | None,
    unread: list[str],
) -> Iterator[LevelMeasures]:
    trails: dict[int, _Trail] = {}
    edges: dict[str, np.ndarray] = {}
    rounds = method is not None and METHODS[method].rounds
    for i, key in enumerate(keys):
        try:
            ticket = load(key)
        except (OSError, ValueError) as error:
            unread.append(f"{key}: {error}")
            continue
        before = levels_before(method, key.level) if method else []
        parent = before[-1:]
        trail = trails.get(parent[0], {}) if parent else {}
        kernels = {
            path: _kernel(ticket, path, trail, edges) for path in ticket.mask
        }
        yield LevelMeasures(key, ticket.mask.density, kernels)
        if rounds:
            trails.clear()
        if i + 1 < len(keys) and (rounds or key.level == 0):
            trails[key.level] = _trail(ticket)
        # Or they would stay while the next is read.
        del ticket, trail


def _kernel(
    ticket: Ticket,
    path: str,
    trail: _Trail,
    edges: dict[str, np.ndarray],
) -> KernelMeasures:
    keep = ticket.mask[path]
    start = np.asarray(ticket.rewind[path])[keep].astype("float32")
    end = np.asarray(ticket.trained[path])[keep].astype("float32")
    if path not in edges:
        # Bins of level 0, or of the first level there is.
        edges[path] = value_edges(start)
    moved = None
    if path in trail and trail[path][0].shape == keep.shape:
        before, distances = trail[path]
        moved = compare_movement(distances, keep[before])
    incoming, outgoing = unit_degrees(keep) or (None, None)
    return KernelMeasures(
        start.size,
        keep.size,
        describe_values(start, edges[path]),
        count_signs(start, end),
        incoming,
        outgoing,
        moved,
    )


def _trail(ticket: Ticket) -> _Trail:
    return {
        path: (
            keep,
            displacement(ticket.rewind[path][keep], ticket.trained[path][keep]),
        )
        for path, keep in ticket.mask.items()
    }

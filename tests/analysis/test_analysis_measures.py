"""One pass over the tickets of a run."""

import weakref

import numpy as np
import pytest

from tf_lottery import Mask
from tf_lottery import Ticket
from tf_lottery.analysis import displacement
from tf_lottery.analysis import measure_tickets
from tf_lottery.analysis import measures
from tf_lottery.tickets import Key

THETA = {
    "a/kernel": np.array([[1.0, -2.0], [3.0, -4.0]], "float32"),
    "b/kernel": np.array([[1.0], [-1.0]], "float32"),
    "b/bias": np.zeros(1, "float32"),
}
MOVES = {
    "a/kernel": np.array([[0.5, -2.0], [0.25, 1.0]], "float32"),
    "b/kernel": np.array([[-2.0], [0.0]], "float32"),
    "b/bias": np.ones(1, "float32"),
}
MASKS = (
    {"a/kernel": [[1, 1], [1, 1]], "b/kernel": [[1], [1]]},
    {"a/kernel": [[0, 1], [0, 1]], "b/kernel": [[1], [1]]},
    {"a/kernel": [[0, 1], [0, 0]], "b/kernel": [[0], [0]]},
)


def ticket_of(level, factor=1.0):
    mask = Mask(MASKS[level])

    def masked(weights):
        return {
            k: np.where(mask[k], v, np.float32(0)) if k in mask else v
            for k, v in weights.items()
        }

    end = {k: v + factor * MOVES[k] for k, v in THETA.items()}
    return Ticket(mask, rewind=masked(THETA), trained=masked(end), level=level)


def keys(*levels, replicate=0):
    return [Key(replicate, "main", level) for level in levels]


def load(key):
    return ticket_of(key.level)


def test_by_hand():
    found = measure_tickets(keys(2, 0, 1), load)
    assert [one.key.level for one in found.levels] == [0, 1, 2]
    assert [one.density for one in found.levels] == [1.0, 4 / 6, 1 / 6]
    dense, one, two = (level.kernels["a/kernel"] for level in found.levels)
    assert dense.movement is None
    assert (dense.kept, dense.size, one.kept, two.kept) == (4, 4, 2, 1)
    # In the dense training -2 and 1 stay, away from 0 and not; 0.5 and 0.25
    # go, both away.
    moved = one.movement
    assert (moved.stay_distance, moved.go_distance) == (1.5, 0.375)
    assert (moved.stay_away, moved.go_away) == (0.5, 1.0)
    # In that of level 1 the weight that moved by -2 stays.
    assert (two.movement.stay_distance, two.movement.go_distance) == (2, 1)
    assert (two.movement.stay, two.movement.go) == (1, 1)
    assert two.initial.count == 1 and two.initial.positive == 0.0
    assert np.array_equal(two.initial.edges, dense.initial.edges)
    assert dense.initial.edges[[0, -1]].tolist() == [-4.0, 3.0]
    assert (one.incoming.dead, one.outgoing.dead) == (1, 0)
    b = [level.kernels["b/kernel"] for level in found.levels]
    # 1 - 2 turns, -1 + 0 does not; then nothing survives.
    assert [kernel.signs.flipped for kernel in b[:2]] == [0.5, 0.5]
    assert b[2].kept == 0 and b[2].movement.go == 2
    assert b[2].incoming.dead == 1 and b[2].outgoing.dead == 2


def test_movement_is_of_the_training_that_found_the_mask():
    """Of one shot that of level 0, of a mask at initialisation none."""
    one_shot = measure_tickets(keys(0, 1, 2), load, method="one_shot").levels
    moved = [level.kernels["a/kernel"].movement for level in one_shot]
    assert [(m.stay, m.go) for m in moved[1:]] == [(2, 2), (1, 3)]
    for method in ("at_init", "gradual", "set", "edge_popup"):
        found = measure_tickets(keys(0, 1, 2), load, method=method).levels
        assert all(
            kernel.movement is None
            for level in found for kernel in level.kernels.values()
        )


def test_levels_that_are_missing_have_no_movement():
    found = measure_tickets(keys(0, 2) + keys(1, 2, replicate=3), load).levels
    assert [(one.key.replicate, one.key.level) for one in found] == [
        (0, 0), (0, 2), (3, 1), (3, 2),
    ]
    moved = [one.kernels["a/kernel"].movement for one in found]
    assert moved[:3] == [None, None, None] and moved[3].stay == 1


@pytest.mark.parametrize("error", [ValueError("altered."), OSError("gone.")])
def test_tickets_that_cannot_be_read_are_named(error):
    def broken(key):
        if key.level == 1:
            raise error
        return load(key)

    found = measure_tickets(keys(0, 1, 2), broken)
    assert [one.key.level for one in found.levels] == [0, 2]
    assert found.levels[1].kernels["a/kernel"].movement is None
    assert found.unread == (f"replicate 0 main level 1: {error}",)


@pytest.mark.parametrize("method", ["imp", "one_shot"])
def test_one_ticket_at_a_time_each_once(method):
    """Neither the one before, nor its arrays, when the next is read."""
    before, read = [], []

    def counted(key):
        assert not [one for one in before if one() is not None]
        ticket = load(key)
        before[:] = [
            weakref.ref(one) for one in (ticket, *ticket.trained.values())
        ]
        read.append(key)
        return ticket

    chosen = keys(0, 1, 2) + keys(0, 1, replicate=1)
    measure_tickets(chosen, counted, method=method)
    assert read == chosen


def test_one_training_is_remembered(monkeypatch):
    made = []

    def tracked(*weights):
        distances = displacement(*weights)
        made.append(weakref.ref(distances))
        return distances

    def counted(key):
        assert sum(one() is not None for one in made) <= 2
        return load(key)

    monkeypatch.setattr(measures, "displacement", tracked)
    measure_tickets(keys(0, 1, 2) + keys(0, 1, replicate=1), counted)
    # Of two kernels, and of no level that nothing was found by.
    assert len(made) == 6


def test_weights_that_are_no_numbers():
    found = measure_tickets(
        keys(0, 1), lambda key: ticket_of(key.level, np.nan)
    ).levels
    moved = found[1].kernels["a/kernel"].movement
    assert moved.not_finite == 4 and np.isnan(moved.ratio)

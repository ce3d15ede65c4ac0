"""Tickets that were found elsewhere, on a model of their own."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.masks import Mask
from tf_lottery.models import clean_names
from tf_lottery.search import counts_of
from tf_lottery.search import level_seed
from tf_lottery.search import replaced_paths
from tf_lottery.search import transfer_tickets
from tf_lottery.tickets import Ticket


def network(classes=2, inputs=3, seed=0):
    keras.utils.set_random_seed(seed)
    with clean_names():
        x = keras.Input((inputs,))
        h = keras.layers.Dense(4, name="hidden")(x)
        y = keras.layers.Dense(classes, name="out")(h)
        return mask_model(keras.Model(x, y))


def ticket_of(model, level, keep):
    """A ticket that keeps the first entries of each kernel."""
    mask = Mask({
        path: (np.arange(m.size) < keep[path]).reshape(m.shape)
        for path, m in get_mask(model).items()
    })
    state = {
        k: np.where(mask[k], v, 0).astype(v.dtype) if k in mask and level
        else v + 1 if k not in mask else v
        for k, v in get_state(model).items()
    }
    return Ticket(mask, state, {
        k: np.where(mask[k], v, 0) if k in mask else v
        for k, v in state.items()
    }, level)


FOUND = network(seed=5)
TICKETS = {
    0: ticket_of(FOUND, 0, {"hidden/kernel": 12, "out/kernel": 8}),
    1: ticket_of(FOUND, 1, {"hidden/kernel": 6, "out/kernel": 5}),
    2: ticket_of(FOUND, 2, {"hidden/kernel": 3, "out/kernel": 1}),
}


class Training:
    """Notes what it is called with, and changes the kept weights."""

    def __init__(self):
        self.calls = []

    def __call__(self, model, **how):
        self.calls.append({**how, "start": get_state(model)})
        return {"train_steps": 1}


def run(model, tickets=TICKETS, levels=(0, 1, 2), **how):
    train = Training()
    found = list(
        transfer_tickets(
            model, train, tickets.get, levels=levels, seed=3, **how
        )
    )
    return found, train.calls


def test_a_ticket_is_trained_as_it_is():
    found, calls = run(network(seed=9), origin=lambda n: {"level": 10 * n})
    for level, ticket in enumerate(found):
        assert ticket.level == level
        assert ticket.mask == TICKETS[level].mask
        assert ticket.config == {"transferred_from": {"level": 10 * level}}
        for path, value in TICKETS[level].rewind.items():
            np.testing.assert_array_equal(ticket.rewind[path], value)
            np.testing.assert_array_equal(calls[level]["start"][path], value)
    assert [call["seed"] for call in calls] == [
        level_seed(3, level) for level in range(3)
    ]
    assert {call["start_step"] for call in calls} == {0}


def test_other_classes_have_a_new_output_layer():
    model = network(classes=5, seed=9)
    own = get_state(model)
    assert replaced_paths(model, TICKETS[1]) == ["out/bias", "out/kernel"]
    assert not replaced_paths(network(seed=1), TICKETS[1])
    found, calls = run(model)
    # 20 weights at densities 8/8, 5/8 and 1/8 by n - round(s n).
    kept = [ticket.mask.kept_by_path["out/kernel"] for ticket in found]
    assert kept == [20, 20 - round(20 * 3 / 8), 20 - round(20 * 7 / 8)]
    assert kept == [20, 12, 2]
    outs = [ticket.mask["out/kernel"] for ticket in found]
    assert not (outs[2] & ~outs[1]).any()
    assert not np.array_equal(outs[1].ravel(), np.arange(20) < 12)
    for level, ticket in enumerate(found):
        np.testing.assert_array_equal(
            ticket.mask["hidden/kernel"], TICKETS[level].mask["hidden/kernel"]
        )
        np.testing.assert_array_equal(
            ticket.rewind["out/kernel"],
            np.where(outs[level], own["out/kernel"], 0),
        )
        np.testing.assert_array_equal(ticket.rewind["out/bias"], np.zeros(5))
    # Of another replicate the positions are others.
    again = next(
        transfer_tickets(
            model, Training(), TICKETS.get, levels=[1], seed=4, dense=found[0]
        )
    )
    assert not np.array_equal(again.mask["out/kernel"], outs[1])
    # One level alone, as after an interruption: the same again.
    alone, _ = run(network(classes=5, seed=2), levels=[2], dense=found[0])
    assert alone[0].digest() == found[2].digest()


def test_a_dense_ticket_under_names_that_keras_numbered_anew(tmp_path):
    def unnamed(classes=5):
        layers = [keras.layers.Dense(4), keras.layers.Dense(classes)]
        return mask_model(keras.Sequential([keras.Input((3,)), *layers]))

    source = unnamed(classes=2)
    tickets = {
        level: ticket_of(source, level, dict(zip(get_mask(source), counts)))
        for level, counts in ((0, (12, 8)), (2, (3, 1)))
    }
    (dense,), _ = run(unnamed(), tickets, levels=[0])
    (alone,), _ = run(unnamed(), tickets, levels=np.array([2]), dense=dense)
    assert not alone.rewind.keys() & dense.rewind.keys()
    new, old = (list(t.rewind.values())[2] for t in (alone, dense))
    keep = alone.mask[list(alone.rewind)[2]]
    assert np.array_equal(new, np.where(keep, old, 0))
    alone.save(tmp_path)


def test_one_ticket_has_a_dense_network_around_it():
    one = {1: TICKETS[2]}
    model = network(seed=9)
    own = get_state(model)
    found, _ = run(model, one, levels=(0, 1))
    assert found[0].mask.density == 1
    for path, keep in TICKETS[2].mask.items():
        np.testing.assert_array_equal(
            found[0].rewind[path],
            np.where(keep, TICKETS[2].rewind[path], own[path]),
        )
    np.testing.assert_array_equal(
        found[0].rewind["hidden/bias"], TICKETS[2].rewind["hidden/bias"]
    )
    assert found[1].mask == TICKETS[2].mask and found[1].level == 1
    for levels in ((0,), (1,), (2,)):
        with pytest.raises(ValueError, match="Received: no level"):
            run(network(), {0: TICKETS[0], 1: TICKETS[1]} if 2 in levels
                else {}, levels=levels)


def test_counts_are_those_of_the_masks_and_are_read_once():
    asked = []

    def tickets(replicate, level):
        asked.append((replicate, level))
        return TICKETS[level]

    counts = counts_of(network(classes=5), tickets)
    assert counts(1, 0) == {"hidden/kernel": 12, "out/kernel": 20}
    assert counts(1, 2) == counts(1, 2) == {
        "hidden/kernel": 3, "out/kernel": 2
    }
    assert asked == [(1, 0), (1, 2)]


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (network(inputs=6), r"hidden/kernel \(3, 4\) instead of \(6, 4\)"),
        (network(inputs=6, classes=3), r"other shape: hidden/kernel \(3, 4\)"),
    ],
)
def test_a_ticket_of_another_network_is_refused(model, text):
    with pytest.raises(ValueError, match=text) as error:
        run(model)
    assert "out/kernel" not in str(error.value)


def test_an_output_layer_of_other_inputs_is_no_new_one():
    def single(inputs):
        with clean_names():
            x = keras.Input((inputs,))
            y = keras.layers.Dense(2, name="out")(x)
            return mask_model(keras.Model(x, y))

    ticket = ticket_of(single(3), 1, {"out/kernel": 4})
    with pytest.raises(ValueError, match=r"out/kernel \(3, 2\) instead"):
        run(single(6), {1: ticket}, levels=(1,))

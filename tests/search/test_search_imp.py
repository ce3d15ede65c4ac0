"""The algorithm, step by step, with a `train` that trains nothing."""

import re

import keras
import numpy as np
import pytest

from tf_lottery import Pruner
from tf_lottery import Ticket
from tf_lottery import find_tickets
from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import seeds
from tf_lottery import set_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import set_state

RATES = {"hidden/kernel": 0.2, "out/kernel": 0.1}
# 48 and 24 weights: n - round(rate * n), worked out by hand.
KEPT = {"hidden/kernel": [48, 38, 30, 24], "out/kernel": [24, 22, 20, 18]}


def same(one, other):
    one, other = (
        {re.sub(r"seed_generator_\d+", "seed_generator", k): v for k, v in s}
        for s in (one.items(), other.items())
    )
    return one.keys() == other.keys() and all(
        np.array_equal(one[k], other[k]) for k in one
    )


def masked(state, mask):
    return {
        k: np.where(mask[k], v, 0).astype(v.dtype) if k in mask else v
        for k, v in state.items()
    }


def prune_by_hand(mask, trained):
    """Drops the smallest magnitudes among the survivors of each kernel."""
    after = {}
    for path, keep in mask.items():
        alive = np.flatnonzero(keep)
        order = alive[np.argsort(np.abs(trained[path].ravel()[alive]))]
        drop = order[: round(RATES[path] * alive.size)]
        flat = keep.ravel().copy()
        flat[drop] = False
        after[path] = flat.reshape(keep.shape)
    return after


@pytest.mark.parametrize("rewind_step", [0, 7])
@pytest.mark.parametrize(
    "retrain", ["rewind", "lr_rewind", "fine_tune", "continue"]
)
def test_the_algorithm(retrain, rewind_step, make_model, fake_train):
    model, train = make_model(), fake_train()
    theta = initial = get_state(model)
    tickets = list(
        find_tickets(
            model,
            train,
            levels=3,
            retrain=retrain,
            rewind_step=rewind_step,
            seed=5,
            config={"note": 1},
        )
    )
    if rewind_step:
        theta = train.states[7]
        assert not same(theta, initial)
    assert [call["level"] for call in train.calls] == [0, 1, 2, 3]
    mask = {path: np.ones_like(initial[path], bool) for path in RATES}
    start = initial
    for level, (call, ticket) in enumerate(zip(train.calls, tickets)):
        assert call["seed"] == seeds.derive(5, "data", level)
        later = level > 0 and retrain != "continue"
        assert call["start_step"] == (rewind_step if later else 0)
        if level:
            before = train.trained[level - 1]
            mask = prune_by_hand(mask, before)
            start = masked(theta if retrain == "rewind" else before, mask)
        assert same(call["mask"], mask)
        assert same(call["state"], start)
        assert same(ticket.mask, mask)
        assert same(ticket.rewind, masked(theta, mask) if level else theta)
        assert same(ticket.trained, train.trained[level])
        assert ticket.level == level
        assert ticket.metrics == {"level_seen": level}
        assert ticket.config == {"note": 1}
        assert {k: m.sum() for k, m in ticket.mask.items()} == {
            k: counts[level] for k, counts in KEPT.items()
        }
    for ticket, after in zip(tickets, tickets[1:]):
        assert after.mask.is_subset_of(ticket.mask)


def test_rewinding_restores_more_than_kernels(
    make_model, fake_train, plain_state
):
    """Biases, normalisation statistics and seed generators go back too."""
    train = fake_train()
    model = make_model()
    initial = plain_state(model)
    list(find_tickets(model, train, levels=1))
    others = [k for k in initial if not k.endswith("kernel")]
    assert {k.rpartition("/")[2] for k in others} == {
        "bias",
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
        "seed_generator_state",
    }
    for path in others:
        assert not np.array_equal(train.trained[0][path], initial[path])
        assert np.array_equal(train.calls[1]["state"][path], initial[path])


def test_nothing_is_trained_before_it_is_asked_for(make_model, fake_train):
    train = fake_train()
    tickets = find_tickets(make_model(), train, levels=3)
    assert train.calls == []
    assert next(tickets).level == 0
    assert next(tickets).level == 1
    assert len(train.calls) == 2


def test_a_plain_model_is_left_alone(make_model, fake_train):
    model, train = make_model(), fake_train()
    before = get_state(model)
    list(find_tickets(model, train, levels=1))
    assert same(get_state(model), before)
    assert all(call["model"] is not model for call in train.calls)


def test_a_masked_model_is_trained_in_place(make_model, fake_train):
    train, model = fake_train(), mask_model(make_model())
    keep = {k: np.ones(m.shape, bool) for k, m in get_mask(model).items()}
    keep["hidden/kernel"][0] = False
    set_mask(model, keep)
    tickets = list(find_tickets(model, train, levels=1))
    assert all(call["model"] is model for call in train.calls)
    # Its own mask is where the search starts: 40 weights, then 32.
    assert [t.mask.kept_by_path["hidden/kernel"] for t in tickets] == [40, 32]
    assert not tickets[1].mask["hidden/kernel"][0].any()
    assert same(get_state(model), tickets[1].trained)


@pytest.mark.parametrize(
    "retrain, criterion",
    [
        ("rewind", "magnitude"),
        ("lr_rewind", "magnitude"),
        ("continue", "magnitude"),
        ("rewind", "random"),
    ],
)
def test_a_resumed_search_goes_on_as_if_uninterrupted(
    retrain, criterion, make_model, fake_train, tmp_path
):
    how = dict(
        levels=3,
        prune_rate=0.6,
        retrain=retrain,
        criterion=criterion,
        rewind_step=7,
        seed=2,
    )
    whole = list(find_tickets(make_model(), fake_train(), **how))
    for last in (0, 2):
        whole[last].save(tmp_path / str(last))
        train = fake_train()
        # Another process's model: other weights, and a mask of its own that
        # could not be pruned once more.
        model = mask_model(make_model(seed=9))
        few = {}
        for path, keep in get_mask(model).items():
            few[path] = np.zeros(keep.shape, bool)
            few[path][0, 0] = True
        set_mask(model, few)
        rest = list(
            find_tickets(
                model, train, resume=Ticket.load(tmp_path / str(last)), **how
            )
        )
        assert [t.level for t in rest] == list(range(last + 1, 4))
        assert [call["level"] for call in train.calls] == [
            t.level for t in rest
        ]
        for ticket, expected in zip(rest, whole[last + 1 :]):
            assert ticket.mask == expected.mask
            assert same(ticket.rewind, expected.rewind)
            assert same(ticket.trained, expected.trained)


def test_the_consumer_may_use_the_model_between_levels(make_model, fake_train):
    expected = list(find_tickets(make_model(), fake_train(), levels=3))
    model = mask_model(make_model())
    found = []
    for ticket in find_tickets(model, fake_train(), levels=3):
        found.append(ticket)
        set_mask(model, {k: m & False for k, m in ticket.mask.items()})
        set_state(model, {k: v * 0 + 1 for k, v in ticket.trained.items()})
    for one, other in zip(found, expected, strict=True):
        assert one.mask == other.mask
        assert same(one.rewind, other.rewind)
        assert same(one.trained, other.trained)


def test_random_criterion(make_model, fake_train):
    def search(seed):
        how = dict(levels=3, criterion="random", seed=seed)
        return [t.mask for t in find_tickets(make_model(), fake_train(), **how)]

    first, again, other = search(1), search(1), search(2)
    assert first == again
    assert first[1] != other[1]
    for level, mask in enumerate(first):
        assert mask.kept_by_path == {k: n[level] for k, n in KEPT.items()}
        assert level == 0 or mask.is_subset_of(first[level - 1])
    by_size = list(find_tickets(make_model(), fake_train(), levels=1))
    assert by_size[1].mask != first[1]


def test_a_pruner_of_ones_own_sees_the_trained_weights(make_model, fake_train):
    class Smallest(Pruner):
        """Keeps what magnitude pruning drops."""

        def scores(self, context):
            seen.append({k: w.copy() for k, w in context.kernels.items()})
            used.append(context.seed)
            return {k: -np.abs(w) for k, w in context.kernels.items()}

    seen, used, train = [], [], fake_train()
    tickets = list(
        find_tickets(
            make_model(), train, levels=2, criterion=Smallest(), seed=4
        )
    )
    assert used == [seeds.derive(4, "prune", level) for level in (1, 2)]
    for level, kernels in enumerate(seen):
        assert all(
            np.array_equal(w, train.trained[level][k])
            for k, w in kernels.items()
        )
    dropped = tickets[0].mask["hidden/kernel"] & ~tickets[1].mask[
        "hidden/kernel"
    ]
    size = np.abs(train.trained[0]["hidden/kernel"])
    assert size[dropped].min() > size[~dropped].max()


def test_train_may_return_nothing(make_model):
    def train(model, *, level, seed, start_step):
        return None

    tickets = list(find_tickets(make_model(), train, levels=2))
    assert [t.metrics for t in tickets] == [{}, {}, {}]


def test_level_0_alone(make_model, fake_train):
    tickets = list(find_tickets(make_model(), fake_train(), levels=0))
    assert [t.mask.density for t in tickets] == [1.0]


def test_a_rebuilt_model_of_other_names_is_pruned_at_the_same_rates(
    fake_train,
):
    """Keras numbers automatic names per process; rates go by path."""

    def make():
        inputs = keras.Input((6,))
        x = keras.layers.Dense(8)(inputs)
        return keras.Model(inputs, keras.layers.Dense(3)(x))

    how = dict(levels=2, prune_rate=0.5, output_prune_rate=0.125)
    whole = list(find_tickets(make(), fake_train(), **how))
    model = mask_model(make())
    assert get_mask(model).keys() != whole[0].mask.keys()
    rest = list(find_tickets(model, fake_train(), resume=whole[0], **how))
    for ticket, expected in zip(rest, whole[1:], strict=True):
        for name in ("mask", "rewind", "trained"):
            assert all(
                np.array_equal(a, b)
                for a, b in zip(
                    getattr(ticket, name).values(),
                    getattr(expected, name).values(),
                    strict=True,
                )
            )

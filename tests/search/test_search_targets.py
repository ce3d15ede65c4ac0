"""Tickets of target sparsities, with a `train` that trains nothing."""

import keras
import numpy as np
import pytest

from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import seeds
from tf_lottery.layers import get_state
from tf_lottery.layers import set_state
from tf_lottery.search import find_at_sparsities

X = np.ones((4, 6), np.float32)
Y = np.array([0, 1, 2, 0])
SPARSITIES = 0.5, 0.75


def loss(y, outputs):
    return keras.losses.sparse_categorical_crossentropy(
        y, outputs, from_logits=True
    )


def best(state, count):
    """The mask of the largest magnitudes over both kernels."""
    paths = "hidden/kernel", "out/kernel"
    flat = np.concatenate([np.abs(state[path]).ravel() for path in paths])
    keep = np.zeros(flat.size, bool)
    keep[np.argsort(-flat)[:count]] = True
    return keep


def bits(mask):
    return np.concatenate([keep.ravel() for keep in mask.values()])


def masked(state, mask):
    return {
        path: np.where(mask[path], value, 0) if path in mask else value
        for path, value in state.items()
    }


def same(one, other):
    return all(
        np.array_equal(value, other[path])
        for path, value in one.items()
        if "seed" not in path
    )


@pytest.mark.parametrize("rewind_step", [0, 7])
@pytest.mark.parametrize("retrain", ["rewind", "fine_tune", "continue"])
def test_one_shot_prunes_the_trained_network(
    make_model, fake_train, retrain, rewind_step
):
    model, train = make_model(), fake_train()
    theta = get_state(model)
    tickets = list(
        find_at_sparsities(
            model, train, sparsities=SPARSITIES, retrain=retrain,
            rewind_step=rewind_step, seed=5, config={"note": 1},
        )
    )
    if rewind_step:
        theta = train.states[7]
    assert [ticket.level for ticket in tickets] == [0, 1, 2]
    assert [ticket.mask.kept for ticket in tickets] == [72, 36, 18]
    for call, ticket, sparsity in zip(
        train.calls[1:], tickets[1:], SPARSITIES
    ):
        # Each from the dense network, not from the level before.
        count = 72 - round(72 * sparsity)
        wanted = best(train.trained[0], count)
        assert np.array_equal(bits(ticket.mask), wanted)
        start = theta if retrain == "rewind" else train.trained[0]
        assert same(call["state"], masked(start, ticket.mask))
        assert call["start_step"] == (
            0 if retrain == "continue" else rewind_step
        )
        assert call["seed"] == seeds.derive(5, "data", ticket.level)
        assert "change" not in call
        assert same(
            {k: ticket.rewind[k] for k in ("hidden/kernel", "out/kernel")},
            masked(theta, ticket.mask),
        )
        assert ticket.config == {"note": 1}


def test_at_init_prunes_what_training_starts_from(make_model, fake_train):
    model, train = make_model(), fake_train()
    theta = get_state(model)
    tickets = list(
        find_at_sparsities(
            model, train, sparsities=SPARSITIES, method="at_init"
        )
    )
    for ticket, call in zip(tickets[1:], train.calls[1:]):
        wanted = best(theta, ticket.mask.kept)
        assert np.array_equal(bits(ticket.mask), wanted)
        assert same(call["state"], masked(theta, ticket.mask))


def test_criteria_get_data_and_the_initial_weights(make_model, fake_train):
    masks = {}
    for criterion in ("snip", "movement", "magnitude"):
        tickets = find_at_sparsities(
            make_model(), fake_train(), sparsities=[0.5], criterion=criterion,
            x=X, y=Y, loss=loss,
        )
        masks[criterion] = bits(list(tickets)[1].mask)
    assert len({mask.tobytes() for mask in masks.values()}) == 3


def test_levels_that_are_asked_for_alone(make_model, fake_train):
    model = make_model()
    whole = list(
        find_at_sparsities(model, fake_train(), sparsities=SPARSITIES)
    )
    train = fake_train()
    (alone,) = find_at_sparsities(
        mask_model(make_model()), train, sparsities=SPARSITIES, dense=whole[0],
        levels=[2],
    )
    assert [call["level"] for call in train.calls] == [2]
    assert list(find_at_sparsities(
        make_model(), train, sparsities=SPARSITIES, dense=whole[0], levels=[],
    )) == []
    assert alone.mask == whole[2].mask
    assert same(alone.rewind, whole[2].rewind)


@pytest.mark.parametrize("scope", ["global", "uniform"])
def test_a_dense_ticket_under_names_that_keras_numbered_anew(
    fake_train, tmp_path, scope
):
    def unnamed(units=3):
        # Its layers are `dense`, then `dense_2`, and so on.
        layers = [keras.layers.Dense(8), keras.layers.Dense(units)]
        return keras.Sequential([keras.Input((6,)), *layers])

    dense = next(
        find_at_sparsities(unnamed(), fake_train(), sparsities=[0.5])
    )
    train = fake_train()
    tickets = find_at_sparsities(
        unnamed(), train, sparsities=SPARSITIES, dense=dense, scope=scope,
        levels=np.arange(1, 3),
    )
    for level, ticket in enumerate(tickets, 1):
        assert not ticket.rewind.keys() & dense.rewind.keys()
        assert np.array_equal(
            list(ticket.rewind.values())[1], list(dense.rewind.values())[1]
        )
        ticket.save(tmp_path / str(level))
    assert [call["level"] for call in train.calls] == [1, 2]
    with pytest.raises(ValueError, match="^`rewind` must "):
        find_at_sparsities(
            unnamed(units=4), train, sparsities=SPARSITIES, dense=dense
        )


@pytest.mark.parametrize("method", ["gradual", "set", "rigl"])
def test_a_change_inside_the_training(make_model, fake_train, method):
    train = fake_train()
    counts = []

    def trained(model, *, change=None, **how):
        if change:
            step = change.next(0)
            while step is not None:
                change(model, None, step)
                counts.append((step, get_mask(model).kept))
                step = change.next(step + 1)
        return train(model, **how)

    dense, ticket = find_at_sparsities(
        make_model(), trained, sparsities=[0.75], method=method, x=X, y=Y,
        loss=loss, begin_step=0, end_step=30, every=10, scope="uniform",
    )
    steps, kept = zip(*counts)
    if method == "gradual":
        # 1 - 0.75 * (1 - (1 - t / 30) ** 3) of 48 and of 24.
        assert steps == (0, 10, 20, 30)
        assert kept == (72, 34, 20, 18)
        assert train.calls[1]["mask"].kept == 18
    else:
        assert steps == (10, 20) and set(kept) == {18}
    assert ticket.mask.kept_by_path == {"hidden/kernel": 12, "out/kernel": 6}
    assert not get_state(dense.build_model())["hidden/kernel"][
        ~dense.mask["hidden/kernel"]
    ].any()


def test_what_is_refused(make_model, fake_train):
    model, train = make_model(), fake_train()
    for arguments, text in (
        (dict(method="imp"), "`method` must be one of one_shot, at_init"),
        (dict(criterion="x"), "`criterion` must be one of"),
        (dict(retrain="x"), "`retrain` must be one of"),
        (dict(criterion="snip"), "must be one that can do without loss, x, y"),
    ):
        with pytest.raises(ValueError, match=text):
            list(
                find_at_sparsities(
                    model, train, sparsities=[0.5], **arguments
                )
            )
    with pytest.raises(ValueError, match="must be left out for a masked"):
        find_at_sparsities(
            mask_model(model), train, sparsities=[0.5], exclude="out/*"
        )


def test_state_set_between_levels_does_no_harm(make_model, fake_train):
    model = mask_model(make_model())
    search = find_at_sparsities(model, fake_train(), sparsities=SPARSITIES)
    expected = [
        ticket.mask
        for ticket in find_at_sparsities(
            make_model(), fake_train(), sparsities=SPARSITIES
        )
    ]
    for mask in expected:
        assert next(search).mask == mask
        state = get_state(model)
        set_state(model, {path: value * 0 for path, value in state.items()})


@pytest.mark.parametrize(
    ("method", "calls", "missed"),
    [
        ("early_bird", 0, 30), ("early_bird", 2, 30), ("gradual", 0, 0),
        ("gradual", 3, 30), ("set", 0, 10), ("rigl", 1, 20),
    ],
)
def test_a_train_that_does_not_make_all_changes_is_found(
    make_model, method, calls, missed
):
    def train(model, *, change=None, **how):
        for step in (0, 10, 20, 30) if change else ():
            if change.next(step) == step and step in made:
                change(model, None, step)

    due = (0, 10, 20, 30) if method == "gradual" else (10, 20, 30)
    made = due[:calls]
    search = find_at_sparsities(
        make_model(), train, sparsities=SPARSITIES, method=method, every=10,
        end_step=30, x=X, y=Y, loss=loss,
    )
    assert next(search).level == 0
    with pytest.raises(
        RuntimeError,
        match=f"^`train` must call `change` .* no call at step {missed}. ",
    ):
        next(search)


@pytest.mark.parametrize("method", ["gradual", "set"])
def test_a_change_goes_on_from_its_state(make_model, method):
    """A training that was cut off after the last change makes none again."""
    states = []

    def train(model, *, change=None, **how):
        if change and states:
            change.restore(states[0], model)
        elif change:
            for step in (0, 2, 4):
                if change.next(step) == step:
                    change(model, None, step)
            states.append(change.state())

    for _ in range(2):
        tickets = list(find_at_sparsities(
            make_model(), train, sparsities=[0.5], method=method, every=2,
            end_step=4 if method == "gradual" else 6,
        ))
        assert [ticket.level for ticket in tickets] == [0, 1]


def test_what_is_not_for_a_method(make_model, fake_train):
    for how, name in (
        (dict(method="set", structure="1x2"), "structure"),
        (
            dict(method="gradual", structure="2:4", sparsities=[0.5],
                 exclude="out/*", every=2, end_step=6),
            "structure",
        ),
        (dict(method="gradual", every=0, end_step=5), "every"),
        (dict(method="rigl", every=6, end_step=6, x=X, y=Y), "every"),
        (dict(method="gradual", every=4, end_step=6), "every"),
        (dict(method="gradual", every=2, begin_step=6, end_step=6), "every"),
        (dict(sparsities=0.5), "sparsities"),
        (dict(sparsities=[1.5]), "sparsity"),
        (dict(sparsities=[0.5, 0.99], scope="uniform"), "collapse"),
        (dict(scope="gobal"), "scope"),
        (dict(structure="2-4"), "structure"),
        (dict(levels=[0]), "levels"),
        (dict(levels=[1, 3]), "levels"),
        (dict(method="one_shot", structure="channel"), "exclude"),
        (dict(method="one_shot", criterion="bn_scale"), "criterion"),
    ):
        how = {"sparsities": SPARSITIES, **how}
        with pytest.raises(ValueError, match=f"^`{name}` must "):
            find_at_sparsities(make_model(), fake_train(), **how)

"""Scopes, excluded layers, collapse and errors of `find_tickets`."""

import functools

import keras
import numpy as np
import pytest

from tf_lottery import PruningRates
from tf_lottery import find_tickets
from tf_lottery import mask_model
from tf_lottery.layers import is_masked
from tf_lottery.search import find_at_sparsities


def kept(make_model, train, **how):
    how.setdefault("levels", 3)
    tickets = list(find_tickets(make_model(), train, **how))
    for ticket, after in zip(tickets, tickets[1:]):
        assert after.mask.is_subset_of(ticket.mask)
    return [t.mask for t in tickets]


def test_uniform_scope_prunes_every_kernel_alike(make_model, fake_train):
    masks = kept(make_model, fake_train(), scope="uniform", prune_rate=0.25)
    assert [list(m.kept_by_path.values()) for m in masks] == [
        [48, 24],
        [36, 18],
        [27, 14],  # 18 - round(4.5), half to even
        [20, 10],  # 27 - round(6.75), 14 - round(3.5)
    ]


def test_global_scope_compares_across_kernels(make_model, fake_train):
    train = fake_train()
    masks = kept(make_model, train, scope="global", prune_rate=0.25)
    assert [m.kept for m in masks] == [72, 54, 40, 30]
    for level, (before, mask) in enumerate(zip(masks, masks[1:])):
        size = {k: np.abs(v) for k, v in train.trained[level].items()}
        stays = np.concatenate([size[k][m] for k, m in mask.items()])
        goes = np.concatenate(
            [size[k][before[k] & ~m] for k, m in mask.items()]
        )
        assert stays.min() > goes.max()


def test_erk_scope_has_its_total_and_its_shares(make_model, fake_train):
    masks = kept(make_model, fake_train(), scope="erk", prune_rate=0.5)
    assert [m.kept for m in masks] == [72, 36, 18, 9]
    # Shares of (6 + 8) to (8 + 3) while both fit.
    for mask, total in zip(masks[1:], (36, 18, 9)):
        hidden = mask.kept_by_path["hidden/kernel"]
        assert abs(hidden - total * 14 / 25) < 1


def test_rates_by_argument(make_model, fake_train):
    masks = kept(
        make_model,
        fake_train(),
        levels=1,
        prune_rate=0.5,
        output_prune_rate=0.125,
    )
    assert masks[1].kept_by_path == {"hidden/kernel": 24, "out/kernel": 21}


@pytest.mark.parametrize("exclude", ["out/*", ["out/kernel"]])
def test_excluded_layers_stay_dense(exclude, make_model, fake_train):
    train = fake_train()
    tickets = list(
        find_tickets(make_model(), train, levels=2, exclude=exclude)
    )
    assert [t.mask.kept_by_path for t in tickets] == [
        {"hidden/kernel": n} for n in (48, 38, 30)
    ]
    start = train.calls[0]["state"]["out/kernel"]
    for call in train.calls:
        assert np.array_equal(call["state"]["out/kernel"], start)
    assert np.all(tickets[2].trained["out/kernel"])
    # The ticket knows which layers are dense, and builds such a network.
    model = tickets[2].build_model(weights="trained")
    assert np.array_equal(
        model.get_layer("out").kernel, tickets[2].trained["out/kernel"]
    )


def test_exclude_comes_too_late_for_a_masked_model(make_model, fake_train):
    with pytest.raises(ValueError) as error:
        find_tickets(
            mask_model(make_model()), fake_train(), levels=1, exclude="out/*"
        )
    assert str(error.value) == (
        "`exclude` must be left out for a masked model. Received: "
        "exclude='out/*'. Pass it to mask_model."
    )


def test_collapse_stops_before_anything_is_trained(make_model, fake_train):
    train = fake_train()
    how = dict(prune_rate=0.9, output_prune_rate=0.9)
    # 24, 2, 0: level 2 would empty the output kernel.
    with pytest.raises(ValueError, match="out/kernel .* at level 2"):
        find_tickets(make_model(), train, levels=3, **how)
    assert train.calls == []
    assert len(kept(make_model, train, levels=1, **how)) == 2


def test_collapse_ahead_of_a_resumed_search(make_model, fake_train):
    train = fake_train()
    how = dict(prune_rate=0.9, output_prune_rate=0.9)
    last = list(find_tickets(make_model(), train, levels=1, **how))[-1]
    with pytest.raises(ValueError, match="out/kernel would keep no weight"):
        find_tickets(make_model(), train, levels=2, resume=last, **how)
    assert len(train.calls) == 2
    # None are left to be trained.
    rest = find_tickets(make_model(), train, levels=1, resume=last, **how)
    assert list(rest) == []


def test_collapse_floor_keeps_a_weight(make_model, fake_train):
    masks = kept(
        make_model,
        fake_train(),
        prune_rate=0.9,
        output_prune_rate=0.9,
        collapse="floor",
    )
    assert [list(m.kept_by_path.values()) for m in masks[2:]] == [[1, 1]] * 2


def test_collapse_allow_empties(make_model, fake_train):
    masks = kept(
        make_model,
        fake_train(),
        prune_rate=0.9,
        output_prune_rate=0.9,
        collapse="allow",
    )
    assert [m.kept for m in masks] == [72, 7, 1, 0]


@pytest.mark.parametrize("calls", [0, 2])
def test_the_rewind_callback_is_called_once(calls, make_model, fake_train):
    search = find_tickets(
        make_model(), fake_train(calls), levels=1, rewind_step=7
    )
    with pytest.raises(RuntimeError) as error:
        next(search)
    assert str(error.value) == (
        "`train` must call the callback of `at_rewind_step` once, after step "
        f"7. Received: {calls} calls. Train for more steps than it, and "
        "call it there."
    )


def test_no_callback_without_a_rewind_step(make_model):
    def train(model, *, level, seed, start_step):
        assert start_step == 0

    assert len(list(find_tickets(make_model(), train, levels=1))) == 2


@pytest.mark.parametrize(
    "how, start",
    [
        ({"levels": -1}, "`levels` must be a non-negative integer. Received"),
        ({"levels": 1.5}, "`levels` must be a non-negative integer."),
        ({"criterion": "magnitud"}, "`criterion` must be one of "),
        ({"criterion": "snip"}, "`criterion` must be one that can do without"),
        ({"scope": "local"}, "`scope` must be one of "),
        ({"prune_rate": 0}, "`prune_rate` must be in (0, 1). Received: "),
        ({"prune_rate": 20}, "`prune_rate` must be in (0, 1). Received: "),
        ({"conv_prune_rate": 1}, "`conv_prune_rate` must be in (0, 1). "),
        ({"output_prune_rate": 0.0}, "`output_prune_rate` must be in (0, 1)"),
        ({"collapse": "never"}, "`collapse` must be one of stop, floor, allow"),
        ({"rewind_step": -1}, "`rewind_step` must be a non-negative number"),
        ({"retrain": "reset"}, "`retrain` must be one of rewind, lr_rewind, "),
        ({"exclude": "absent/*"}, "`exclude` must match kernels of the model"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_errors_come_before_training(how, start, make_model, fake_train):
    train = fake_train()
    with pytest.raises(ValueError) as error:
        find_tickets(make_model(), train, **{"levels": 1, **how})
    assert str(error.value).startswith(start)
    assert "Received: " in str(error.value)
    assert "\n" not in str(error.value)
    assert train.calls == []


def test_a_config_is_json_before_anything_is_trained(make_model, fake_train):
    train = fake_train()
    for search in (
        functools.partial(find_tickets, levels=0),
        functools.partial(find_at_sparsities, sparsities=[0.5]),
    ):
        with pytest.raises(TypeError, match="^`config` must hold .* object"):
            search(make_model(), train, config={"a": [object()]})
        assert train.calls == []
        found = next(search(make_model(), train, config={"a": np.float32(2)}))
        assert type(found.config["a"]) is float
        train.calls.clear()


@pytest.mark.parametrize("returned", [0.9, [0.3, 0.9]])
def test_metrics_are_a_dict(make_model, returned):
    search = find_tickets(make_model(), lambda *_, **how: returned, levels=1)
    with pytest.raises(TypeError, match="`metrics` must be a dict or None. R"):
        next(search)


def test_a_numpy_integer_is_a_number_of_levels(make_model, fake_train):
    masks = kept(make_model, fake_train(), levels=np.int64(1))
    assert len(masks) == 2


def test_a_ticket_of_another_network_is_refused(make_model, fake_train):
    ticket = next(find_tickets(make_model(), fake_train(), levels=1))
    other = mask_model(make_model(), exclude="out/*")
    train = fake_train()
    with pytest.raises(ValueError, match="`mask` must have one entry per"):
        find_tickets(other, train, levels=1, resume=ticket)
    assert train.calls == []


def test_the_counts_are_those_of_the_plan(make_model, fake_train):
    for scope in ("layerwise", "uniform", "erk"):
        masks = kept(make_model, fake_train(), scope=scope, prune_rate=0.3)
        by_path = {"out/kernel": 0.15} if scope == "layerwise" else {}
        plan = PruningRates(scope, 0.3, by_path).plan(masks[0], 3)
        assert [m.kept_by_path for m in masks] == plan


def test_state_that_no_ticket_can_store_is_refused():
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(2, dtype="bfloat16")(x))
    with pytest.raises(ValueError, match=r"^`model` must .*of bfloat16"):
        find_tickets(model, None, levels=1)


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.out = keras.layers.Dense(2)

    def call(self, x):
        return self.out(x)


def test_a_subclassed_model_stays_as_it_was_where_no_search_can_begin():
    model = Subclassed()
    model(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="`output_prune_rate` must equal"):
        find_tickets(model, None, levels=1)
    assert not is_masked(model)
    tickets = find_tickets(
        model, lambda model, **_: None, levels=1, scope="global"
    )
    assert [ticket.mask.kept for ticket in tickets] == [6, 5]

"""Training agents: masks, seeds, epochs, and what goes wrong."""

import pickle

import gymnasium
import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.layers import masked_kernels
from tf_lottery.rl import A2C
from tf_lottery.rl import AgentSettings
from tf_lottery.rl import actor_critic

HOW = dict(
    epochs=2, games=6, last=6, envs=4, hidden=(8,), block_steps=2
)


def network(seed=0, size=4, actions=2):
    keras.utils.set_random_seed(seed)
    return actor_critic(size, actions, HOW["hidden"])


def values(model):
    return [w.numpy() for w in model.trainable_variables]


def same(one, other):
    return all(map(np.array_equal, one, other))


def half_masked(seed=0):
    model = tfl.mask_model(network(seed))
    tfl.prune(model, sparsity=0.5, scope="global", criterion="magnitude")
    return model


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam"])
def test_pruned_weights_stay_0_and_their_slots_neutral(optimizer):
    model = half_masked()
    before = values(model)
    train = A2C(optimizer=optimizer, **HOW)
    # What the caller left there is taken away first.
    for raw, mask in masked_kernels(model).values():
        raw.assign(raw.numpy() + (1 - mask.numpy()))
    train(model, level=1, seed=0)
    pruned = 0
    for raw, mask in masked_kernels(model).values():
        off = ~mask.numpy().astype(bool)
        pruned += off.sum()
        assert not raw.numpy()[off].any()
        slots = [
            v.numpy() for v in train._learner._optimizer.variables
            if v.shape == raw.shape
        ]
        assert slots and all(not slot[off].any() for slot in slots)
        assert any(slot[~off].any() for slot in slots)
    assert pruned > 9 and not same(before, values(model))


def zeros(model):
    kernels = [w for w in model.trainable_variables if "kernel" in w.path]
    return sum((kernel.numpy() == 0).sum() for kernel in kernels)


def test_masks_put_on_and_taken_off_between_trainings_are_heeded():
    model, train = network(), A2C(**HOW)
    train(model, level=0, seed=0)
    mask = tfl.prune(model, sparsity=0.5)
    train(model, level=1, seed=0)
    assert zeros(model) == mask.size - mask.kept
    learner = train._learner
    train(model, level=2, seed=0)
    assert train._learner is learner
    tfl.strip_masks(model, in_place=True)
    train(model, level=3, seed=0)
    assert zeros(model) == 0


def test_a_seed_gives_the_same_bits():
    model = half_masked()
    first = [w.numpy() for w in model.weights]
    train = A2C(**HOW)
    found = []
    for seed, using in ((1, train), (1, train), (1, A2C(**HOW)), (2, train)):
        for weight, value in zip(model.weights, first):
            weight.assign(value)
        found.append((using(model, level=0, seed=seed), values(model)))
    one, *others = found
    for other in others[:2]:
        assert one[0] == other[0] and same(one[1], other[1])
    assert not same(one[1], others[2][1])


def test_metrics_of_scripted_games(script):
    # A copy's games give 23, 66, 63, 126 and take 2 or 3 steps, and one more.
    train = A2C(
        environment=script, epochs=3, games=2, last=3, envs=2, block_steps=2,
    )
    found = train(network(size=2), level=0, seed=0)
    assert found == {
        "test_reward": pytest.approx((66 + 63 + 63) / 3),
        "train_steps": 3,
        # 9 steps of each copy until game 3 ends, 10 in blocks of 2; three of
        # them only start a game.
        "environment_steps": 2 * 7,
        "train_examples": 2 * 7,
        "episodes": 6,
        "evaluations": [
            {"step": n, "split": "validation", "reward": reward}
            for n, reward in ((1, 23.0), (2, 66.0), (3, 63.0))
        ],
    }
    found = train(network(size=2), level=1, seed=0, start_step=1)
    assert [e["step"] for e in found["evaluations"]] == [2, 3]
    assert found["train_steps"] == 2
    # Of the last three of four games.
    assert found["test_reward"] == pytest.approx((23 + 66 + 66) / 3)


@pytest.mark.parametrize(
    "level, how",
    [(1, {"start_step": 2}), (0, {"at_rewind_step": (2, lambda: None)})],
)
def test_every_level_plays_as_many_last_games(level, how):
    train = A2C(environment="Nothing-v0", epochs=3, games=2, last=3)
    with pytest.raises(ValueError, match="`last` must be at most 2, the game"):
        train(network(), level=level, seed=0, **how)


def test_the_state_of_the_rewind_step_is_that_of_a_shorter_training():
    model, states = network(), []
    A2C(**HOW)(
        model, level=0, seed=3,
        at_rewind_step=(1, lambda: states.append(values(model))),
    )
    shorter = network()
    A2C(**{**HOW, "epochs": 1})(shorter, level=0, seed=3)
    assert len(states) == 1 and same(states[0], values(shorter))
    assert not same(states[0], values(model))


def test_find_tickets_of_agents():
    tickets = list(
        tfl.find_tickets(
            network(), A2C(**HOW), levels=2, scope="global", rewind_step=1,
            prune_rate=0.5,
        )
    )
    densities = [t.mask.density for t in tickets]
    assert densities == pytest.approx([1, 0.5, 0.25], abs=0.01)
    assert {"dense_1/kernel", "policy/kernel", "value/kernel"} == set(
        tickets[0].mask
    )
    assert [t.metrics["train_steps"] for t in tickets] == [2, 1, 1]
    for ticket in tickets:
        for path, mask in ticket.mask.items():
            assert not ticket.trained[path][~mask].any()


@pytest.mark.parametrize("step", [-1, 2, 3])
def test_start_step_is_before_the_end(step):
    with pytest.raises(ValueError, match="`start_step` must be from 0 to 1"):
        A2C(**HOW)(network(), level=0, seed=0, start_step=step)


@pytest.mark.parametrize(
    "make",
    [
        lambda: actor_critic(6, 2, (4,)),
        lambda: actor_critic(4, 3, (4,)),
        lambda: keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]),
        keras.Model,
    ],
)
def test_a_network_for_another_environment_is_refused(make):
    with pytest.raises(ValueError, match=r"Use actor_critic\(4, 2\)"):
        A2C(**HOW)(make(), level=0, seed=0)


def test_an_environments_own_error_comes_through(script):
    spec = gymnasium.registry[script]
    spec.kwargs["fails_at"] = 2
    with pytest.raises(OverflowError, match="the script is over"):
        A2C(environment=script, **HOW)(network(size=2), level=0, seed=0)


def test_a_loss_that_is_not_finite_ends_the_training(script):
    gymnasium.registry[script].kwargs["reward"] = float("nan")
    with pytest.raises(RuntimeError, match="finite.*epoch 1 of level 4"):
        A2C(environment=script, **HOW)(network(size=2), level=4, seed=0)


def test_logits_that_are_not_finite_end_the_training():
    train = A2C(learning_rate=1e30, **HOW)
    with pytest.raises(RuntimeError, match="The loss must be finite"):
        train(network(), level=0, seed=0)


def test_a_trained_one_can_be_sent_to_a_worker():
    train = A2C(**HOW)
    train(network(), level=0, seed=0)
    sent = pickle.loads(pickle.dumps(train))
    assert sent.settings == train.settings
    one, other = network(), network()
    assert sent(one, level=0, seed=5) == train(other, level=0, seed=5)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"envs": 0}, "`envs` must be between 1"),
        ({"epochs": 0}, "`epochs` must be between 1"),
        ({"games": "many"}, "`games` must be an integer"),
        ({"last": 0}, "`last` must be between 1"),
        ({"epochs": 2, "games": 3, "last": 7}, "`last` must be at most .* 6"),
        ({"block_steps": 0}, "`block_steps` must be between 1"),
        ({"hidden": ""}, "`hidden` must be widths"),
        ({"hidden": (8, 0)}, "`hidden` must be widths.*8,0"),
        ({"optimizer": "sgd"}, "`optimizer` must be one of adam, rmsprop"),
        ({"learning_rate": 0}, "`learning_rate` must be above 0"),
        ({"learning_rate": "nan"}, "`learning_rate` must be above 0"),
        ({"reward_scale": -1}, "`reward_scale` must be above 0"),
        ({"discount": 1.5}, r"`discount` must be in \[0, 1\]"),
        ({"discount": "nan"}, r"`discount` must be in \[0, 1\]"),
        ({"value_cost": -1}, "`value_cost` must be at least 0"),
        ({"entropy_cost": "nan"}, "`entropy_cost` must be at least 0"),
        ({"clip_norm": "inf"}, "`clip_norm` must be at least 0"),
    ],
)
def test_settings_are_checked(values, message):
    with pytest.raises(ValueError, match=message):
        AgentSettings(**values)


@pytest.mark.slow
def test_cart_pole_is_learned():
    settings = AgentSettings(epochs=8)
    keras.utils.set_random_seed(0)
    model = actor_critic(4, 2, settings.hidden)
    found = A2C(settings)(model, level=0, seed=0)
    assert found["evaluations"][0]["reward"] < 60
    assert found["test_reward"] > 150

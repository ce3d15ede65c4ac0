"""Environments that are opened, and what a step of all copies gives."""

import sys

import gymnasium
import numpy as np
import pytest

from tf_lottery.rl import open_environments
from tf_lottery.rl.environments import Games


def test_cart_pole_has_its_own_vector_version():
    made = open_environments("CartPole-v1", 3)
    assert not isinstance(made.unwrapped, gymnasium.vector.SyncVectorEnv)
    assert made.observation_space.shape == (3, 4)
    made = open_environments("Acrobot-v1", 2)
    assert isinstance(made.unwrapped, gymnasium.vector.SyncVectorEnv)


def test_the_step_after_an_end_starts_a_game_and_is_not_played(script):
    games = Games(open_environments(script, 2), seed=0)
    assert games.observation.tolist() == [[1, 0], [1, 0]]
    assert games.observation.dtype == np.float32
    steps = [games.step(np.array([0, 1])) for _ in range(9)]
    columns = [np.stack(column)[:, 0].tolist() for column in zip(*steps)]
    seen, rewards, terminated, truncated, played = columns
    # The observation of the step that ends is the game's own last one.
    assert seen == [
        [1, 1], [1, 2], [2, 0], [2, 1], [2, 2], [2, 3], [3, 0], [3, 1], [3, 2],
    ]
    assert rewards == [11, 12, 0, 21, 22, 23, 0, 31, 32]
    assert [t for t, x in enumerate(terminated) if x] == [1, 8]
    assert [t for t, x in enumerate(truncated) if x] == [5]
    assert [t for t, x in enumerate(played) if not x] == [2, 6]
    assert games.rewards == [23, 23, 66, 66, 63, 63]
    assert games.steps == 2 * 7
    assert steps[0][0].dtype == steps[0][1].dtype == np.float32


@pytest.mark.parametrize("name", ["CartPole-v1", "Acrobot-v1"])
def test_gymnasiums_own_do_the_same(name):
    made = open_environments(name, 2)
    games = Games(made, seed=3)
    rng, ended, before = np.random.default_rng(0), np.zeros(2, bool), None
    unplayed = 0
    for _ in range(520):
        seen, rewards, terminated, truncated, played = games.step(
            rng.integers(0, 2, 2)
        )
        assert (played == ~ended).all()
        assert not rewards[~played].any()
        assert not (terminated | truncated)[~played].any()
        if not played.all():
            unplayed += 1
            # The first observation is near 0 (cart, pole) or hanging.
            first = seen[~played] - (
                [1, 0, 1, 0, 0, 0] if name == "Acrobot-v1" else 0
            )
            assert (np.abs(first) < 0.11).all()
            assert (np.abs(first - before[~played]) > 1e-6).any()
        ended, before = terminated | truncated, seen
    assert unplayed and len(games.rewards) >= unplayed


def test_without_gymnasium_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(ImportError, match=r"pip install 'tf_lottery\[rl\]'"):
        open_environments("CartPole-v1", 1)


@pytest.mark.parametrize(
    "name, message",
    [
        ("CartPole", "with its version.*'CartPole'.*Write CartPole-v1"),
        ("Nothing-v3", "that gymnasium knows.*Nothing"),
        ("CartPole-v77", "that gymnasium knows.*CartPole"),
        ("no_such_module:Nothing-v3", "that gymnasium knows.*no_such_module"),
        ("a b", "that gymnasium knows"),
        ("Pendulum-v1", "discrete actions.*Pendulum-v1.*Box"),
        ("FrozenLake-v1", "a flat Box observation.*FrozenLake-v1"),
    ],
)
def test_other_environments_are_refused(name, message):
    with pytest.raises(ValueError, match=message) as caught:
        open_environments(name, 1)
    assert "\n" not in str(caught.value)


def test_what_an_environment_lacks_is_told(monkeypatch):
    def lacking(**_):
        raise gymnasium.error.DependencyNotInstalled("pip install box2d")

    gymnasium.register("Lacking-v0", lacking)
    try:
        with pytest.raises(ImportError, match="Lacking-v0.*install box2d"):
            open_environments("Lacking-v0", 1)
    finally:
        del gymnasium.registry["Lacking-v0"]


def test_a_reset_in_the_last_step_is_refused(script):
    from gymnasium.vector import AutoresetMode
    from gymnasium.vector import SyncVectorEnv

    def vector(num_envs, **_):
        return SyncVectorEnv(
            [lambda: gymnasium.make(script)] * num_envs,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )

    gymnasium.register("Same-v0", vector_entry_point=vector)
    try:
        with pytest.raises(ValueError, match="in the step after.*SAME_STEP"):
            open_environments("Same-v0", 1)
    finally:
        del gymnasium.registry["Same-v0"]

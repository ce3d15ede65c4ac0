"""Agents as a task of `tfl.run`."""

import pickle

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery import rl

HOW = dict(
    epochs=2, games=4, last=4, envs=2, hidden=(4, 4), block_steps=2
)


def test_a_task_says_what_is_played_and_how():
    task = rl.task("Acrobot-v1", **HOW)
    assert (task.name, task.train_steps) == ("Acrobot-v1", 2)
    assert task.metric.test == "test_reward"
    # Gymnasium calls it solved at -100.
    assert task.metric.margin == pytest.approx(5.0)
    assert task.settings["environment"] == "Acrobot-v1"
    assert task.settings["hidden"] == [4, 4]
    assert task.settings["discount"] == 0.99
    given = rl.AgentSettings(environment="Acrobot-v1", **HOW)
    assert rl.task(settings=given).settings == task.settings


def test_settings_are_whole_or_in_parts():
    given = rl.AgentSettings(**HOW)
    with pytest.raises(TypeError, match="without environment, epochs. Rec"):
        rl.task("Acrobot-v1", settings=given, epochs=3)
    with pytest.raises(TypeError, match="`settings` must be given without"):
        rl.A2C(given, epochs=3)
    assert rl.A2C(given).settings is given


def test_an_environment_that_names_no_goal_has_no_margin(script):
    assert rl.task(script, **HOW).metric.margin == 0


def test_networks_are_functions_of_the_seed():
    build = pickle.loads(pickle.dumps(rl.task(**HOW).build))
    one, other, third = build(1), build(1), build(2)
    assert [w.path for w in one.weights] == [w.path for w in other.weights]
    pairs = list(zip(one.weights, other.weights, third.weights))
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b, _ in pairs)
    assert not all(np.array_equal(a.numpy(), c.numpy()) for a, _, c in pairs)
    assert {tuple(w.shape) for w in one.weights} >= {(4, 4), (4, 2), (4, 1)}


def test_an_error_in_what_is_asked_comes_at_once():
    with pytest.raises(ValueError, match="must have discrete actions"):
        rl.task("Pendulum-v1")
    with pytest.raises(ValueError, match="`games` must be between"):
        rl.task(games=0)


def test_tickets_of_agents_are_run_and_reused(tmp_path):
    how = dict(
        levels=1, scope="global", rewind="1it", output_dir=str(tmp_path),
        quiet=True, report=False, prune_rate=0.5,
    )
    found = tfl.run(task=rl.task(**HOW), **how)
    dense, ticket = found.rows
    assert (dense["train_steps"], ticket["train_steps"]) == (2, 1)
    assert ticket["density"] == pytest.approx(0.5, abs=0.02)
    # CartPole gives at least 8 for any game, 1 a step.
    assert dense["train_examples"] >= 8 * 8 and dense["train_flops"] > 0
    assert all(row["test_reward"] >= 8 for row in found.rows)
    again = tfl.run(task=rl.task(**HOW), **how)
    assert again.run_dir == found.run_dir and again.rows == found.rows
    other = tfl.run(task=rl.task(**{**HOW, "discount": 0.5}), **how)
    assert other.run_dir != found.run_dir

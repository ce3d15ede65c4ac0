"""Returns, the loss, and which steps and weights an update leaves alone."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.rl import AgentSettings
from tf_lottery.rl import actor_critic
from tf_lottery.rl import n_step_returns
from tf_lottery.rl.learner import Learner

F, T = False, True


def test_returns_of_a_block():
    # By hand, with a discount of 1/2 and values 100, 101, ...: bootstrapped
    # at the block's end; terminated in step 1; cut off in step 1; both.
    rewards = tf.constant([[1.0] * 4, [2.0] * 4, [4.0] * 4])
    terminated = tf.constant([[F] * 4, [F, T, F, T], [F] * 4])
    truncated = tf.constant([[F] * 4, [F, F, T, T], [F] * 4])
    values = 100.0 + tf.repeat(tf.range(4.0)[:, None], 4, 1)
    found = n_step_returns(rewards, terminated, truncated, values, 0.5)
    last = 4 + 103 / 2
    assert found.numpy().T.tolist() == [
        [1 + (2 + last / 2) / 2, 2 + last / 2, last],
        [1 + 2 / 2, 2, last],
        [1 + (2 + 102 / 2) / 2, 2 + 102 / 2, last],
        [1 + 2 / 2, 2, last],
    ]


def linear(policy=0.0, value=0.0):
    """Logits `policy` times, and a value `value` times the two inputs."""
    inputs = keras.Input((2,))
    heads = [
        keras.layers.Dense(
            units, kernel_initializer=keras.initializers.Constant(start)
        )(inputs)
        for units, start in ((2, policy), (1, value))
    ]
    return keras.Model(inputs, heads)


def block(**changes):
    """Two copies, three steps; copy 0's game ends in step 0."""
    arrays = {
        "observations": np.ones((4, 2, 2), np.float32),
        "actions": np.zeros((3, 2), np.int64),
        "rewards": np.array([[1, 2], [0, 3], [4, 5]], np.float32),
        "terminated": np.array([[T, F], [F, F], [F, F]]),
        "truncated": np.zeros((3, 2), bool),
        "played": np.array([[T, T], [F, T], [T, T]]),
    }
    return [tf.constant(x) for x in {**arrays, **changes}.values()]


def test_the_loss_by_hand():
    settings = AgentSettings(
        discount=0.5, reward_scale=0.1, value_cost=0.25, entropy_cost=0.125
    )
    learner = Learner(linear(), settings)
    learner.start(0, Start)
    loss = learner.learn(*block())
    # Both actions are as likely, and all values are 0.
    returns = np.array([0.1, 0.4, 0.2 + (0.3 + 0.5 / 2) / 2, 0.3 + 0.25, 0.5])
    expected = (
        math.log(2) * returns.mean()
        + 0.25 * (returns**2).mean()
        - 0.125 * math.log(2)
    )
    assert float(loss) == pytest.approx(expected, rel=1e-6)


def test_the_value_of_a_last_observation_counts_where_it_was_cut_off():
    settings = AgentSettings(
        discount=0.5, reward_scale=1, value_cost=1, entropy_cost=0
    )
    one = np.array([[T, T], [F, F], [F, F]])  # step 0 alone
    seen = np.zeros((4, 2, 2), np.float32)
    seen[1, 0] = 3.0  # V = 2 * 3 * 1
    losses = []
    for ends in ("terminated", "truncated"):
        ended = {
            "terminated": np.zeros((3, 2), bool),
            "truncated": np.zeros((3, 2), bool),
            ends: np.array([[T, T], [F, F], [F, F]]),
        }
        learner = Learner(linear(value=1.0), settings)
        learner.start(0, Start)
        losses.append(
            float(
                learner.learn(*block(observations=seen, played=one, **ended))
            )
        )
    assert losses == pytest.approx(
        [
            np.mean(math.log(2) * returns + returns**2)
            for returns in (np.array([1, 2]), np.array([1 + 6 / 2, 2]))
        ]
    )


class Start:
    """Games at their start."""

    observation = np.zeros((2, 2), np.float32)


def weights_after(settings, **changes):
    keras.utils.set_random_seed(0)
    model = actor_critic(2, 2, (4,))
    learner = Learner(model, settings)
    learner.start(0, Start)
    learner.learn(*block(**changes))
    return [w.numpy() for w in model.trainable_variables]


def test_a_step_that_starts_a_game_teaches_nothing():
    settings = AgentSettings()
    before = weights_after(settings)
    rewards, actions = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.int64)
    rewards += [[1, 2], [0, 3], [4, 5]]
    rewards[1, 0], actions[1, 0] = 99.0, 1
    seen = np.ones((4, 2, 2), np.float32)
    seen[1, 0] = 7.0  # what the game that ended has last shown
    after = weights_after(
        settings, rewards=rewards, actions=actions, observations=seen
    )
    assert all(map(np.array_equal, before, after))
    rewards[1, 0], rewards[1, 1] = 0.0, 99.0
    other = weights_after(settings, rewards=rewards)
    assert not all(map(np.array_equal, before, other))


def test_actions_are_drawn_by_the_policy_and_anew_at_every_step():
    model = linear()
    model.trainable_variables[1].assign([0.0, math.log(3)])
    learner = Learner(model, AgentSettings())
    learner.start(0, Start)
    seen = np.zeros((4000, 2), np.float32)
    one, other = (learner.act(seen).numpy() for _ in range(2))
    # Five standard deviations of the mean of 4000 draws.
    assert one.mean() == pytest.approx(0.75, abs=0.035)
    assert other.mean() == pytest.approx(0.75, abs=0.035)
    assert (one != other).mean() == pytest.approx(2 * 0.75 * 0.25, abs=0.04)


@pytest.mark.parametrize("clip", [0.0, 1e-3])
def test_the_gradient_is_clipped(clip):
    keras.utils.set_random_seed(0)
    model = actor_critic(2, 2, (4,))
    learner = Learner(model, AgentSettings(clip_norm=clip, reward_scale=1))
    learner.start(0, Start)
    learner.learn(*block())
    # After one step the mean square of RMSprop is (1 - 0.99) g^2.
    squares = sum(
        float(tf.reduce_sum(v)) for v in learner._optimizer._velocities
    )
    norm = math.sqrt(squares / 0.01)
    assert norm == pytest.approx(1e-3, rel=1e-3) if clip else norm > 0.1

"""Returns of a block of steps."""

from __future__ import annotations

import tensorflow as tf


def n_step_returns(
    rewards: tf.Tensor,
    terminated: tf.Tensor,
    truncated: tf.Tensor,
    values: tf.Tensor,
    discount: float,
) -> tf.Tensor:
    """Returns what each step of a block was worth.

    `R_t = r_t + discount * N_t`, where N_t is 0 if step t terminated the
    game; `V(s_{t+1})` if it was cut off there (a limit of time: more reward
    was to come), or if t is the block's last step; and `R_{t+1}` otherwise.

    Args:
        rewards: `(steps, envs)` float32, r_t.
        terminated: `(steps, envs)` bool.
        truncated: `(steps, envs)` bool.
        values: `(steps + 1, envs)` float32, V(s_t); row t + 1 is of the
            observation that step t returned, a game's own last one where it
            ended.
        discount: in [0, 1].

    Returns:
        `(steps, envs)` float32.

    Example:
        >>> no = tf.constant([[False], [False]])
        >>> n_step_returns(
        ...     tf.constant([[1.0], [1.0]]), no, no,
        ...     tf.constant([[0.0], [0.0], [4.0]]), 0.5).numpy().tolist()
        [[2.5], [3.0]]

    Reference:
        Mnih et al., Asynchronous methods for deep reinforcement learning,
        2016, arXiv:1602.01783, algorithm S3; of the end by a limit of time,
        Pardo et al., Time limits in reinforcement learning, 2018,
        arXiv:1712.00378, section 3.
    """
    steps = rewards.shape[0]
    following = values[steps]
    found = []
    for t in reversed(range(steps)):
        following = tf.where(truncated[t], values[t + 1], following)
        following = tf.where(terminated[t], 0.0, following)
        following = rewards[t] + discount * following
        found.append(following)
    return tf.stack(found[::-1])

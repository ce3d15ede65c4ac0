"""The compiled block of an agent: some steps, and an update from them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from tf_lottery.layers import masked_kernels
from tf_lottery.layers import raw_kernels
from tf_lottery.rl.returns import n_step_returns
from tf_lottery.rl.settings import AgentSettings
from tf_lottery.train.optimizers import OptimizerSnapshot


class Learner:
    """Acts by a network's policy, and improves it.

    Pruned weights are exactly 0 when a training starts, and gradients are
    masked, so they stay 0 and the optimizer's slots of them neutral: the
    forward pass needs no product with the masks.

    Args:
        model: as of `actor_critic`, masked or not.
        settings: of the agent.
    """

    def __init__(self, model: keras.Model, settings: AgentSettings):
        self.model = model
        self._settings = settings
        self._weights = model.trainable_variables
        self._masks = _masks_of(model)
        clip = settings.clip_norm or None
        rate = settings.learning_rate
        if settings.optimizer == "adam":
            self._optimizer = keras.optimizers.Adam(rate, global_clipnorm=clip)
        else:
            # Rewards over 100 make small gradients, which Keras' epsilon,
            # added inside of the square root, would hide.
            self._optimizer = keras.optimizers.RMSprop(
                rate, rho=0.99, epsilon=1e-10, global_clipnorm=clip
            )
        self._optimizer.build(self._weights)
        self._fresh = OptimizerSnapshot(self._optimizer)
        self._key = tf.Variable(0, dtype=tf.int32, trainable=False)
        self._draw = tf.Variable(0, dtype=tf.int32, trainable=False)
        self._block = tf.function(self._play_and_learn)

    def is_of(self, model: keras.Model) -> bool:
        """Whether it was made of this model with the masks that it has now.

        Args:
            model: masked or not.
        """
        # The block was traced with the masks of that time.
        return model is self.model and (
            [*map(id, self._masks)] == [*map(id, _masks_of(model))]
        )

    def start(self, seed: int, games: Any) -> None:
        """Starts a training: a new optimizer, and draws by the seed.

        Args:
            seed: in `[0, 2**31)`.
            games: under way, with the `observation` that they are at, and
                `step(actions)`, as of `Games`.
        """
        self._fresh.restore()
        self._key.assign(seed)
        self._draw.assign(0)
        self._games = games
        self._observation = tf.constant(games.observation)

    def block(self) -> float:
        """Plays one block and learns from it; returns the loss."""
        self._problem: BaseException | None = None
        try:
            self._observation, loss = self._block(self._observation)
        except tf.errors.OpError:
            # TensorFlow's own would be a traceback as a text.
            if self._problem is not None:
                raise self._problem from None
            raise
        return float(loss)

    def _step(self, actions):
        try:
            return self._games.step(actions)
        except BaseException as problem:
            self._problem = problem
            raise

    # One call for a block: its overhead is as long as the rest of acting.
    def _play_and_learn(self, observation):
        seen, rows = [observation], []
        for _ in range(self._settings.block_steps):
            actions = self.act(seen[-1])
            after, *row = tf.numpy_function(
                self._step,
                [actions],
                [tf.float32, tf.float32, tf.bool, tf.bool, tf.bool],
            )
            seen.append(tf.ensure_shape(after, observation.shape))
            row = [tf.ensure_shape(x, actions.shape) for x in row]
            rows.append([actions, *row])
        block = [tf.stack(column) for column in zip(*rows)]
        return seen[-1], self.learn(tf.stack(seen), *block)

    def act(self, observation: tf.Tensor) -> tf.Tensor:
        """Returns actions, drawn by the policy, anew at every call.

        Args:
            observation: `(envs, size)` float32.

        Returns:
            `(envs,)` int64, from 0.
        """
        with raw_kernels():
            logits, _ = self.model(observation, training=False)
        seed = tf.stack([self._key, self._draw])
        self._draw.assign_add(1)
        drawn = tf.random.stateless_categorical(logits, 1, seed)[:, 0]
        # Of logits that are NaN an action is drawn that there is not; the
        # loss tells of them.
        return tf.minimum(drawn, logits.shape[-1] - 1)

    def learn(
        self,
        observations: tf.Tensor,
        actions: tf.Tensor,
        rewards: tf.Tensor,
        terminated: tf.Tensor,
        truncated: tf.Tensor,
        played: tf.Tensor,
    ) -> tf.Tensor:
        """Takes one optimizer step, from a block of steps.

        Args:
            observations: `(steps + 1, envs, size)` float32, before each step
                and after the last.
            actions: `(steps, envs)` int64, from 0.
            rewards: `(steps, envs)` float32, not scaled.
            terminated: `(steps, envs)` bool.
            truncated: `(steps, envs)` bool.
            played: `(steps, envs)` bool, False where a step only started a
                new game.

        Returns:
            The loss before the step.
        """
        settings = self._settings
        steps, envs = rewards.shape
        weight = tf.cast(played, tf.float32)
        weight /= tf.maximum(tf.reduce_sum(weight), 1.0)
        flat = tf.reshape(observations, [(steps + 1) * envs, -1])
        with tf.GradientTape() as tape:
            with raw_kernels():
                logits, values = self.model(flat, training=True)
            values = tf.reshape(values, [steps + 1, envs])
            logits = tf.reshape(logits, [steps + 1, envs, -1])[:-1]
            returns = n_step_returns(
                rewards * settings.reward_scale, terminated, truncated,
                tf.stop_gradient(values), settings.discount,
            )
            error = tf.stop_gradient(returns) - values[:-1]
            log_policy = tf.nn.log_softmax(logits)
            log_taken = tf.gather(log_policy, actions, batch_dims=2)
            entropy = -tf.reduce_sum(tf.exp(log_policy) * log_policy, -1)
            loss = tf.reduce_sum(
                weight * (
                    -log_taken * tf.stop_gradient(error)
                    + settings.value_cost * tf.square(error)
                    - settings.entropy_cost * entropy
                )
            )
        gradients = tape.gradient(loss, self._weights)
        # Before they are clipped: a pruned weight has no part in the norm.
        gradients = [
            g if mask is None else g * tf.cast(mask.value, g.dtype)
            for g, mask in zip(gradients, self._masks)
        ]
        self._optimizer.apply(gradients, self._weights)
        return loss


def _masks_of(model: keras.Model) -> list[Any]:
    """The mask of each trainable variable, or None."""
    by_weight = {
        id(raw): mask for raw, mask in masked_kernels(model).values()
    }
    return [by_weight.get(id(w)) for w in model.trainable_variables]

"""Advantage actor-critic on gymnasium: tf_lottery's, and as people write it."""

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.rl import AgentSettings, actor_critic, open_environments


def network(environments, settings):
    """The network of both."""
    keras.utils.set_random_seed(0)
    return actor_critic(
        environments.single_observation_space.shape[0],
        int(environments.single_action_space.n),
        settings.hidden,
    )


def ours(density, **values):
    """The blocks of `A2C`, masked; dense where `density` is None."""
    import tf_lottery as tfl
    from tf_lottery.rl.environments import Games
    from tf_lottery.rl.learner import Learner

    settings = AgentSettings(**values)
    environments = open_environments(settings.environment, settings.envs)
    model = network(environments, settings)
    if density is not None:
        model = tfl.mask_model(model)
        tfl.prune(model, 1 - density, "random")
    learner = Learner(model, settings)
    learner.start(0, Games(environments, 0))

    def run(blocks):
        for _ in range(blocks):
            learner.block()

    return run


def by_hand(compiled, **values):
    """An eager loop with a compiled update; `compiled`: acting too."""
    settings = AgentSettings(**values)
    environments = open_environments(settings.environment, settings.envs)
    model = network(environments, settings)
    optimizer = keras.optimizers.RMSprop(
        settings.learning_rate, rho=0.99, global_clipnorm=settings.clip_norm
    )
    steps, envs = settings.block_steps, settings.envs

    def act(observation):
        logits, _ = model(observation)
        return tf.random.categorical(logits, 1)[:, 0]

    if compiled:
        act = tf.function(act)

    @tf.function
    def update(observations, actions, returns, weights):
        with tf.GradientTape() as tape:
            logits, values = model(observations, training=True)
            advantage = returns - values[:, 0]
            log_policy = tf.nn.log_softmax(logits)
            taken = tf.gather(log_policy, actions, batch_dims=1)
            entropy = -tf.reduce_sum(tf.exp(log_policy) * log_policy, 1)
            loss = tf.reduce_sum(
                weights * (
                    -taken * tf.stop_gradient(advantage)
                    + settings.value_cost * advantage**2
                    - settings.entropy_cost * entropy
                )
            ) / tf.reduce_sum(weights)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))

    seen, _ = environments.reset(seed=0)
    ended = np.zeros(envs, bool)

    def block():
        nonlocal seen, ended
        rows = []
        for _ in range(steps):
            before, was_ended = seen, ended
            actions = act(tf.constant(before, tf.float32)).numpy()
            seen, rewards, terminated, truncated, _ = environments.step(
                actions
            )
            ended = terminated | truncated
            rows.append((before, actions, rewards, terminated, ~was_ended))
        found, later = [], model(tf.constant(seen, tf.float32))[1].numpy()[:, 0]
        for _, _, rewards, terminated, _ in reversed(rows):
            later = settings.reward_scale * rewards + settings.discount * (
                later * ~terminated
            )
            found.append(later)
        observations, actions, _, _, played = map(np.concatenate, zip(*rows))
        update(
            tf.constant(observations, tf.float32),
            tf.constant(actions),
            tf.constant(np.concatenate(found[::-1]), tf.float32),
            tf.constant(played, tf.float32),
        )

    def run(blocks):
        for _ in range(blocks):
            block()

    return run

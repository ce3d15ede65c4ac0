"""An agent and its environment as a task of `tfl.run`."""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import keras

from tf_lottery.metric import REWARD
from tf_lottery.models.scope import clean_names
from tf_lottery.models.scope import seeded
from tf_lottery.rl.a2c import A2C
from tf_lottery.rl.environments import open_environments
from tf_lottery.rl.network import actor_critic
from tf_lottery.rl.settings import AgentSettings
from tf_lottery.rl.settings import settings_of
from tf_lottery.task import Task

# Of the reward at which gymnasium calls an environment solved.
_MARGIN = 0.05


def task(
    environment: str = "CartPole-v1",
    *,
    settings: AgentSettings | None = None,
    **values: Any,
) -> Task:
    """Returns what `tfl.run` needs to find tickets of agents.

    The metric is the reward, whose margin is 5 % of the reward at which
    gymnasium calls the environment solved, or 0 where it names none. A step
    of the run's configuration is an epoch: `rewind="1it"` is epoch 1.

    Args:
        environment: as in `AgentSettings`.
        settings: all of them; the others are left out then.
        **values: other fields of `AgentSettings`.

    Returns:
        A `tf_lottery.Task`, by the name of the environment.

    Raises:
        ImportError: as `open_environments`.
        ValueError: as `AgentSettings` and `open_environments`.
        TypeError: settings and other values are given.

    Example:
        >>> task("CartPole-v1", epochs=10, games=100).train_steps
        10
    """
    if environment != AgentSettings.environment:
        values["environment"] = environment
    settings = settings_of(settings, values)
    with contextlib.closing(
        open_environments(settings.environment, 1)
    ) as opened:
        network = _Network(
            opened.single_observation_space.shape[0],
            int(opened.single_action_space.n),
            settings.hidden,
        )
        solved = opened.spec.reward_threshold if opened.spec else None
    return Task(
        name=settings.environment.rpartition(":")[2],
        build=network,
        train=A2C(settings),
        metric=dataclasses.replace(REWARD, margin=_MARGIN * abs(solved or 0)),
        train_steps=settings.epochs,
        settings=settings.to_json(),
        unit="epoch",
    )


@dataclasses.dataclass(frozen=True)
class _Network:
    """Builds the dense network; a class, so that it can be sent to workers."""

    observation_size: int
    actions: int
    hidden: tuple[int, ...]

    def __call__(self, seed: int) -> keras.Model:
        with clean_names(), seeded(seed):
            return actor_critic(
                self.observation_size, self.actions, self.hidden
            )

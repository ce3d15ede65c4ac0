"""Trains an agent by advantage actor-critic."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tf_lottery import seeds
from tf_lottery.layers import apply_masks
from tf_lottery.layers import is_masked
from tf_lottery.rl.environments import Games
from tf_lottery.rl.environments import open_environments
from tf_lottery.rl.learner import Learner
from tf_lottery.rl.settings import AgentSettings
from tf_lottery.rl.settings import settings_of


class A2C:
    """Trains agents: a `train` of `find_tickets`.

    Copies of the environment are played at once by actions drawn from the
    policy pi. After each block of steps one update follows the gradient of

        mean(-log pi(a|s) A + value_cost A^2 - entropy_cost H(pi(.|s)))

    over the block's steps, where `A = R - V(s)`, a constant in the first
    term, and R is of `n_step_returns`. Steps that only start a new game are
    left out.

    A step of training is an epoch, at whose end `games` more games have
    ended; it is noticed at the end of a block. The agent's reward is the mean
    over the last games of the training.

    Args:
        settings: `AgentSettings`, or the arguments of one.

    Raises:
        TypeError: both are given.

    Example:
        >>> from tf_lottery.rl import actor_critic
        >>> train = A2C(epochs=1, games=2, last=2, envs=2, hidden=(4,))
        >>> metrics = train(actor_critic(4, 2, (4,)), level=0, seed=0)
        >>> metrics["train_steps"], metrics["episodes"] >= 2
        (1, True)

    Reference:
        Mnih et al., 2016, arXiv:1602.01783, section 4 (its synchronous form);
        Yu et al., 2020, arXiv:1906.02768, section 3.2 (epochs, last games).
    """

    def __init__(self, settings: AgentSettings | None = None, **values: Any):
        self.settings = settings_of(settings, values)
        self._learner: Learner | None = None

    def __getstate__(self):
        # A worker compiles for itself.
        return {**vars(self), "_learner": None}

    def __call__(
        self,
        model: keras.Model,
        *,
        level: int,
        seed: int,
        start_step: int = 0,
        at_rewind_step: tuple[int, Callable[[], None]] | None = None,
    ) -> dict[str, Any]:
        """Trains the model, in place, from `start_step` to the last epoch.

        Args:
            model: as of `actor_critic`, masked or not, of the environment's
                number of inputs and actions.
            level: pruning level, for messages.
            seed: of the environments and of the actions.
            start_step: epochs that are taken as trained already.
            at_rewind_step: `(k, callback)`; the callback is called when k
                epochs have been trained.

        Returns:
            `test_reward`, the mean reward of the last games; `train_steps`,
            the epochs trained; `episodes` and `environment_steps`, what was
            played, the latter as `train_examples` too; and `evaluations`,
            the mean reward of each epoch's games.

        Raises:
            RuntimeError: the loss is not finite.
            ValueError: `start_step` out of range, fewer games after it than
                the last ones are, a model that does not fit, and as
                `open_environments`.
        """
        settings = self.settings
        if not 0 <= start_step < settings.epochs:
            raise ValueError(
                f"`start_step` must be from 0 to {settings.epochs - 1}, before"
                f" the last epoch. Received: start_step={start_step}. Train "
                "for more epochs."
            )
        # At level 0 the others' first step is known already.
        first = at_rewind_step[0] if at_rewind_step else start_step
        most = (settings.epochs - first) * settings.games
        if settings.last > most:
            raise ValueError(
                f"`last` must be at most {most:,}, the games that are played "
                f"from epoch {first} on. Received: last={settings.last}. "
                "Rewards are to be of as many games at every level."
            )
        with contextlib.closing(
            open_environments(settings.environment, settings.envs)
        ) as environments:
            _check_model(model, environments)
            if self._learner is None or not self._learner.is_of(model):
                self._learner = Learner(model, settings)
            if is_masked(model):
                # The updates rely on it, and the weights may be the caller's.
                apply_masks(model)
            games = Games(environments, seeds.derive(seed, "environments"))
            self._learner.start(seeds.derive(seed, "actions"), games)
            evaluations = []
            for epoch in range(start_step, settings.epochs + 1):
                if epoch > start_step:
                    end = (epoch - start_step) * settings.games
                    while len(games.rewards) < end:
                        loss = self._learner.block()
                        if not math.isfinite(loss):
                            raise RuntimeError(
                                "The loss must be finite. Received: "
                                f"{loss} in epoch {epoch} of level {level}. "
                                "Lower learning_rate."
                            )
                    mean = np.mean(games.rewards[end - settings.games : end])
                    evaluations.append(
                        {
                            "step": epoch,
                            "split": "validation",
                            "reward": float(mean),
                        }
                    )
                if at_rewind_step and epoch == at_rewind_step[0]:
                    at_rewind_step[1]()
        rewards = games.rewards[: len(evaluations) * settings.games]
        return {
            "test_reward": float(np.mean(rewards[-settings.last :])),
            "train_steps": len(evaluations),
            "environment_steps": games.steps,
            # The costs count their three forward passes; the one of acting
            # is not among them.
            "train_examples": games.steps,
            "episodes": len(games.rewards),
            "evaluations": evaluations,
        }


def _check_model(model: keras.Model, environments: Any) -> None:
    size = environments.single_observation_space.shape[0]
    actions = int(environments.single_action_space.n)
    wanted = [(None, size), (None, actions), (None, 1)]
    # A subclassed model has none.
    ends = (*getattr(model, "inputs", ()), *getattr(model, "outputs", ()))
    shapes = [tuple(end.shape) for end in ends]
    if shapes != wanted:
        raise ValueError(
            f"`model` must take {size} observations, and give the logits of "
            f"{actions} actions and a value. Received: inputs and outputs of "
            f"shapes {shapes}. Use actor_critic({size}, {actions})."
        )

"""Copies of a gymnasium environment, stepped together."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np


def open_environments(name: str, envs: int) -> Any:
    """Returns copies of an environment that are stepped together.

    The vector version of the environment where it has one, and else
    gymnasium's `SyncVectorEnv`. After the step that ends a game the next
    step only resets that copy: its action is ignored, its reward is 0, and
    its observation is the first of the next game. The observation of the
    step that ended is so the game's own last one.

    Args:
        name: a registered environment, or `module:Name-v0`.
        envs: number of copies.

    Returns:
        A `gymnasium.vector.VectorEnv`; to be closed by the caller.

    Raises:
        ImportError: gymnasium, or what the environment needs, is missing.
        ValueError: no such environment, one whose actions are not discrete
            or whose observation is not a flat Box, or one that resets in the
            step that ends a game.

    Example:
        >>> open_environments("CartPole-v1", 2).observation_space.shape
        (2, 4)
    """
    try:
        import gymnasium
    except ImportError:
        raise ImportError(
            "`gymnasium` must be installed to train agents. Received: no such "
            "package. Run pip install 'tf_lottery[rl]'."
        ) from None
    try:
        with warnings.catch_warnings():
            # It is an error below: which is the latest may change.
            warnings.filterwarnings("ignore", ".*Using the latest version")
            made = gymnasium.make_vec(name, num_envs=envs)
    except (gymnasium.error.Error, ModuleNotFoundError) as error:
        if isinstance(error, gymnasium.error.DependencyNotInstalled):
            raise ImportError(
                f"`environment` must have what it needs. Received: environment"
                f"={name!r}. {' '.join(str(error).split())}"
            ) from None
        raise ValueError(
            "`environment` must be one that gymnasium knows. Received: "
            f"environment={name!r} ({' '.join(str(error).split())}). See "
            "gymnasium.pprint_registry()."
        ) from None
    try:
        _check(made, name)
    except ValueError:
        made.close()
        raise
    return made


def _check(made: Any, name: str) -> None:
    from gymnasium import spaces
    from gymnasium.vector import AutoresetMode

    known = made.spec.id
    if known != name.rpartition(":")[2]:
        raise ValueError(
            "`environment` must be named with its version. Received: "
            f"environment={name!r}. Write {known}."
        )
    actions, seen = made.single_action_space, made.single_observation_space
    if not isinstance(actions, spaces.Discrete):
        raise ValueError(
            "`environment` must have discrete actions. Received: environment="
            f"{name!r} with {actions}. Choose another, such as CartPole-v1."
        )
    if not isinstance(seen, spaces.Box) or len(seen.shape) != 1:
        raise ValueError(
            "`environment` must have a flat Box observation. Received: "
            f"environment={name!r} with {seen}. Choose another, such as "
            "CartPole-v1."
        )
    if made.metadata.get("autoreset_mode") != AutoresetMode.NEXT_STEP:
        raise ValueError(
            "`environment` must reset in the step after the end of a game. "
            f"Received: environment={name!r} with autoreset_mode="
            f"{made.metadata.get('autoreset_mode')}. Register it with "
            "AutoresetMode.NEXT_STEP."
        )


class Games:
    """The games under way in the copies of an environment, counted.

    Args:
        environments: of `open_environments`.
        seed: of their first states.

    Attributes:
        observation: `(envs, size)` float32, of the start.
        rewards: of the games that ended, the sum of each.
        steps: that were played; not those that only start a new game.
    """

    def __init__(self, environments: Any, seed: int):
        self._environments = environments
        observation, _ = environments.reset(seed=seed)
        self.observation = observation.astype(np.float32)
        self.rewards: list[float] = []
        self.steps = 0
        # Discrete(n, start=1) counts from 1.
        self._first = environments.single_action_space.start
        self._ended = np.zeros(len(observation), bool)
        self._totals = np.zeros(len(observation))

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, ...]:
        """Takes one step in every copy.

        Args:
            actions: `(envs,)` int64, from 0.

        Returns:
            The new observation, `(envs, size)` float32, and `(envs,)` each:
            reward, float32; whether the game was terminated; whether it was
            cut off; and whether the step was played, rather than the start
            of a new game.
        """
        seen, rewards, terminated, truncated, _ = self._environments.step(
            actions + self._first
        )
        played = ~self._ended
        self.steps += int(np.count_nonzero(played))
        self._totals += rewards
        self._ended = terminated | truncated
        if self._ended.any():
            self.rewards += self._totals[self._ended].tolist()
            self._totals[self._ended] = 0.0
        return (
            seen.astype(np.float32), rewards.astype(np.float32), terminated,
            truncated, played,
        )

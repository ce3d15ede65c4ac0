"""A scripted environment, whose games are known beforehand."""

import gymnasium
import numpy as np
import pytest


class Script(gymnasium.Env):
    """Games of 2 steps, that terminate, and of 3, that are cut off, in turn.

    It shows (game, step), and gives 10 * game + step for a step.
    """

    observation_space = gymnasium.spaces.Box(-9, 99, (2,), np.float64)
    action_space = gymnasium.spaces.Discrete(2, start=1)

    def __init__(self, fails_at=None, reward=1.0):
        self._game, self._fails_at, self._reward = 0, fails_at, reward
        self.actions = []

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._game, self._step = self._game + 1, 0
        return self._seen(), {}

    def step(self, action):
        assert action in (1, 2)
        self._step += 1
        if self._fails_at == self._game:
            raise OverflowError("the script is over")
        odd = self._game % 2 == 1
        reward = self._reward * (10 * self._game + self._step)
        return (
            self._seen(), reward, odd and self._step == 2,
            not odd and self._step == 3, {},
        )

    def _seen(self):
        return np.array([self._game, self._step], np.float64)


@pytest.fixture
def script():
    """The name under which `Script` is registered."""
    # gymnasium's checker would want what a script need not have.
    gymnasium.register("Script-v0", Script, disable_env_checker=True)
    yield "Script-v0"
    del gymnasium.registry["Script-v0"]

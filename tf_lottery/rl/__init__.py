"""Reinforcement learning: tickets of agents that play.

Advantage actor-critic on the environments of gymnasium, which is an extra
(`pip install 'tf_lottery[rl]'`) and is imported where one is opened.
"""

import importlib

# Public name -> the module that defines it. The settings, which are flags,
# are read before TensorFlow is loaded.
_PUBLIC = {
    "A2C": "tf_lottery.rl.a2c",
    "AgentSettings": "tf_lottery.rl.settings",
    "actor_critic": "tf_lottery.rl.network",
    "n_step_returns": "tf_lottery.rl.returns",
    "open_environments": "tf_lottery.rl.environments",
    "task": "tf_lottery.rl.tasks",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str):
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'tf_lottery.rl' has no attribute {name!r}")

"""How an agent is trained; every field is a flag."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from tf_lottery.fields import flag
from tf_lottery.fields import plain_values
from tf_lottery.fields import read_fields

# Smallest and largest value of what is counted.
_COUNTS = {
    "envs": (1, 100_000),
    "epochs": (1, 10**6),
    "games": (1, 10**9),
    "last": (1, 10**9),
    "block_steps": (1, 256),
}


@dataclasses.dataclass(frozen=True)
class AgentSettings:
    """How an agent is trained; the same at every level and branch.

    Raises:
        ValueError: a value that cannot be read or is out of range.

    Example:
        >>> AgentSettings(hidden="64,64").hidden
        (64, 64)

    Reference:
        Yu, Edunov, Tian and Morcos, Playing the lottery with rewards and
        multiple languages, 2020, arXiv:1906.02768, section 3.2 and appendix:
        epochs of a number of games, three hidden layers of 128, blocks of 4
        steps, rewards over 100, RMSprop. Their CartPole ends at 200 steps.
    """

    environment: str = flag(
        "CartPole-v1",
        "A gymnasium environment with a flat Box observation and discrete "
        "actions, such as CartPole-v1 or Acrobot-v1; module:Name-v0 imports "
        "the module that registers it.",
    )
    envs: int = flag(32, "Copies of the environment, played at once.")
    epochs: int = flag(20, "Length of a training; the unit of --rewind.")
    games: int = flag(100, "Games (episodes) that end in an epoch.")
    last: int = flag(
        100, "Games whose mean reward is the agent's: the last ones."
    )
    hidden: tuple[int, ...] = flag(
        (128, 128, 128), "Widths of the hidden layers, shared by both heads."
    )
    optimizer: str = flag(
        "rmsprop", "rmsprop (decay 0.99) or adam.",
        choices=("adam", "rmsprop"),
    )
    learning_rate: float = flag(1e-3, "Learning rate, constant.")
    block_steps: int = flag(
        5, "Steps of every copy from one update to the next."
    )
    discount: float = flag(0.99, "Weight of the next step's return.")
    reward_scale: float = flag(0.01, "What rewards are multiplied by.")
    value_cost: float = flag(0.5, "Weight of the value's squared error.")
    entropy_cost: float = flag(0.01, "Weight of the policy's entropy.")
    clip_norm: float = flag(
        0.5, "Largest norm of the gradient of all weights; 0 for any."
    )

    def __post_init__(self) -> None:
        read_fields(self)
        for name, (least, most) in _COUNTS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(
                    f"`{name}` must be between {least} and {most:,}. "
                    f"Received: {name}={value}. Give another number."
                )
        if self.last > self.epochs * self.games:
            raise ValueError(
                "`last` must be at most epochs * games = "
                f"{self.epochs * self.games:,}. Received: last={self.last}. "
                "Play more games."
            )
        if not self.hidden or not all(0 < n <= 10**6 for n in self.hidden):
            raise ValueError(
                "`hidden` must be widths of at least 1. Received: hidden="
                f"{','.join(map(str, self.hidden))}. Write for example "
                "128,128."
            )
        # Written so that NaN fails too.
        for name in ("learning_rate", "reward_scale"):
            value = getattr(self, name)
            if not 0 < value < math.inf:
                raise ValueError(
                    f"`{name}` must be above 0. Received: {name}={value}. "
                    "See --help for the default."
                )
        for name in ("value_cost", "entropy_cost", "clip_norm"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"`{name}` must be at least 0. Received: {name}={value}. "
                    "See --help for the default."
                )
        if not 0 <= self.discount <= 1:
            raise ValueError(
                "`discount` must be in [0, 1]. Received: discount="
                f"{self.discount}. 0.99 is usual."
            )

    def to_json(self) -> dict[str, Any]:
        """Returns the settings as plain JSON values."""
        return plain_values(self)


def settings_of(
    settings: AgentSettings | None, values: Mapping[str, Any]
) -> AgentSettings:
    """Returns settings that are given whole, or by their values.

    Args:
        settings: the whole, or None.
        values: fields of `AgentSettings`, in place of it.

    Raises:
        TypeError: both are given.
        ValueError: as `AgentSettings`.

    Example:
        >>> settings_of(None, {"epochs": 3}).epochs
        3
    """
    if settings is None:
        return AgentSettings(**values)
    if values:
        raise TypeError(
            f"`settings` must be given without {', '.join(sorted(values))}. "
            "Received: both. Use dataclasses.replace on the settings."
        )
    return settings

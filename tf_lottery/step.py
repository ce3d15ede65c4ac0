"""Training time, counted in optimizer steps or in epochs."""

from __future__ import annotations

import dataclasses
import numbers
import re

_PATTERN = re.compile(r"\s*(\d+)\s*(it|ep)?\s*")


@dataclasses.dataclass(frozen=True)
class Step:
    """A point in training: `count` optimizer steps or epochs.

    Args:
        count: non-negative integer.
        unit: `"it"` for optimizer steps, `"ep"` for epochs. An epoch is one
            pass over the training set with the remainder dropped.

    Raises:
        ValueError: `count` is no such integer or `unit` is not one of the two.

    Example:
        >>> Step.parse("2ep").steps(steps_per_epoch=916)
        1832
        >>> str(Step.parse("500it"))
        '500it'
    """

    count: int
    unit: str = "it"

    def __post_init__(self) -> None:
        if self.unit not in ("it", "ep"):
            raise ValueError(
                f"`unit` must be 'it' or 'ep'. Received: unit={self.unit!r}. "
                "Write '500it' for steps or '2ep' for epochs."
            )
        count = self.count
        integer = isinstance(count, numbers.Integral)
        if not integer or isinstance(count, bool) or count < 0:
            raise ValueError(
                "`count` must be a non-negative integer. Received: "
                f"count={count!r}. Give a point at or after step 0."
            )

    @classmethod
    def parse(cls, value: Step | str | int, name: str = "step") -> Step:
        """Reads `"500it"`, `"2ep"`, or a bare number of steps.

        Args:
            value: text, an integer number of steps, or a `Step`.
            name: the argument's name, for the error.

        Returns:
            A `Step`.

        Raises:
            ValueError: `value` is none of these.
        """
        if isinstance(value, Step):
            return value
        match = _PATTERN.fullmatch(str(value))
        if match is None:
            raise ValueError(
                f"`{name}` must be a number of steps or epochs. Received: "
                f"{name}={value!r}. Write '500it' for steps or '2ep' for "
                "epochs."
            )
        return cls(int(match[1]), match[2] or "it")

    def steps(self, steps_per_epoch: int) -> int:
        """Returns this point in optimizer steps."""
        return self.count * (steps_per_epoch if self.unit == "ep" else 1)

    def __str__(self) -> str:
        return f"{self.count}{self.unit}"

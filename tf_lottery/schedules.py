"""Learning-rate schedules as pure functions of the step.

The training loop receives the learning rate of each step as data, so rewinding
to step k offsets the schedule by k without touching the optimizer's own count.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from tf_lottery.step import Step

_EXPECTED = "constant, cosine, or step:POINT,POINT:FACTOR"


@dataclasses.dataclass(frozen=True)
class LearningRate:
    """The learning rate at every step of training.

    With base rate `eta` and `T = total` steps, after a linear warm-up over the
    first `w = warmup` steps (`eta * (t + 1) / w`):

    - constant: `eta`
    - step: `eta * factor ** (number of boundaries <= t)`
    - cosine: `eta / 2 * (1 + cos(pi * (t - w) / (T - w)))`

    Args:
        base: `eta`, positive.
        schedule: `"constant"`, `"cosine"` or `"step:80ep,120ep:0.1"`.
        warmup: `Step`; where the warm-up ends.

    Raises:
        ValueError: `base` is not positive or `schedule` cannot be read.

    Example:
        >>> rate = LearningRate(0.1, "step:4it,6it:0.5")
        >>> [float(v) for v in rate.values(3, 8, total=8, steps_per_epoch=1)]
        [0.1, 0.05, 0.05, 0.025, 0.025]

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 4 (warm-up and
        step decay); Loshchilov and Hutter, 2017, arXiv:1608.03983, eq. 5.
    """

    base: float
    schedule: str = "constant"
    warmup: Step = Step(0)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.base) and self.base > 0):
            raise ValueError(
                "`learning_rate` must be a positive number. Received: "
                f"learning_rate={self.base}. Use for example 1.2e-3."
            )
        self._parse()

    def _parse(self) -> tuple[str, tuple[Step, ...], float]:
        kind, _, rest = self.schedule.partition(":")
        if kind in ("constant", "cosine") and not rest:
            return kind, (), 1.0
        points, _, factor = rest.rpartition(":")
        if kind == "step" and points:
            try:
                steps = tuple(Step.parse(p) for p in points.split(","))
                value = float(factor)
            except ValueError:
                value = math.nan
            if math.isfinite(value) and value > 0:
                return kind, steps, value
        raise ValueError(
            f"`lr_schedule` must be {_EXPECTED}. Received: "
            f"lr_schedule={self.schedule!r}. Write for example "
            "step:80ep,120ep:0.1."
        )

    def values(
        self, start: int, stop: int, *, total: int, steps_per_epoch: int
    ) -> np.ndarray:
        """Returns the learning rates of steps `start` to `stop - 1`.

        Args:
            start: first step.
            stop: one past the last step.
            total: `T`, the whole training's number of steps.
            steps_per_epoch: to convert points given in epochs.

        Returns:
            float64 array of `stop - start` rates.
        """
        step = np.arange(start, stop, dtype=np.float64)
        kind, points, factor = self._parse()
        warmup = self.warmup.steps(steps_per_epoch)
        rate = np.full(step.shape, self.base)
        if kind == "step":
            for point in points:
                rate[step >= point.steps(steps_per_epoch)] *= factor
        elif kind == "cosine":
            part = (step - warmup) / max(1, total - warmup)
            rate *= 0.5 * (1 + np.cos(np.pi * np.clip(part, 0, 1)))
        ramp = step < warmup
        rate[ramp] = self.base * (step[ramp] + 1) / max(1, warmup)
        return rate

"""Learning-rate and sparsity schedules as pure functions of the step.

The training loop receives the learning rate of each step as data, so rewinding
to step k offsets the schedule by k without touching the optimizer's own count.

A sparsity schedule is any callable `step -> (should_prune, sparsity)`: those
here, and every `PruningSchedule` of the TensorFlow Model Optimization toolkit.
"""

from __future__ import annotations

import dataclasses
import math
import numbers

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


@dataclasses.dataclass(frozen=True)
class ConstantSparsity:
    """One sparsity, imposed every `frequency` steps.

    Args:
        target_sparsity: fraction of the prunable weights to be zero, in
            [0, 1).
        begin_step: first step, in optimizer updates, at which to prune.
        end_step: last one; -1 never ends.
        frequency: steps between prunings.

    Raises:
        ValueError: a sparsity or step out of range.

    Example:
        >>> ConstantSparsity(0.5, begin_step=10, frequency=5)(15)
        (True, 0.5)
    """

    target_sparsity: float
    begin_step: int = 0
    end_step: int = -1
    frequency: int = 100

    def __post_init__(self) -> None:
        _check_sparsity("target_sparsity", self.target_sparsity)
        _check_steps(self.begin_step, self.end_step, self.frequency)

    def __call__(self, step: int) -> tuple[bool, float]:
        """Returns whether to prune before this step, and to what sparsity."""
        return _is_turn(self, step), self.target_sparsity


@dataclasses.dataclass(frozen=True)
class PolynomialDecay:
    """A sparsity that rises fast at first and slowly near the end.

    With `s_i = initial_sparsity`, `s_f = final_sparsity`, `t_0 = begin_step`
    and `t_n = end_step`, every `frequency` steps

        s(t) = s_f + (s_i - s_f) * (1 - (t - t_0) / (t_n - t_0)) ** power

    Args:
        initial_sparsity: fraction in [0, 1).
        final_sparsity: fraction in [0, 1).
        begin_step: first step, in optimizer updates, at which to prune.
        end_step: last one.
        power: exponent; 3 in the paper.
        frequency: steps between prunings. It divides `end_step - begin_step`:
            otherwise the final sparsity would never be reached.

    Raises:
        ValueError: a sparsity or step out of range.

    Example:
        >>> schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=1000)
        >>> [round(schedule(t)[1], 3) for t in (0, 500, 1000)]
        [0.0, 0.7, 0.8]
        >>> schedule(150)[0]
        False

    Reference:
        Zhu and Gupta, To prune, or not to prune, 2017, arXiv:1710.01878,
        eq. 1.
    """

    initial_sparsity: float
    final_sparsity: float
    begin_step: int
    end_step: int
    power: float = 3
    frequency: int = 100

    def __post_init__(self) -> None:
        _check_sparsity("initial_sparsity", self.initial_sparsity)
        _check_sparsity("final_sparsity", self.final_sparsity)
        _check_steps(self.begin_step, self.end_step, self.frequency)
        length = self.end_step - self.begin_step
        if length <= 0:
            raise ValueError(
                "`end_step` must be after begin_step. Received: end_step="
                f"{self.end_step}, begin_step={self.begin_step}. "
                "ConstantSparsity prunes at one step."
            )
        if length % self.frequency:
            raise ValueError(
                "`frequency` must divide the steps from begin_step to "
                f"end_step. Received: frequency={self.frequency}, "
                f"begin_step={self.begin_step}, end_step={self.end_step}. "
                "Otherwise the final sparsity is never reached; use for "
                f"example frequency={_divisor(length, self.frequency)}."
            )
        if not self.power > 0:
            raise ValueError(
                "`power` must be positive. Received: "
                f"power={self.power}. The paper uses 3."
            )

    def __call__(self, step: int) -> tuple[bool, float]:
        """Returns whether to prune before this step, and to what sparsity."""
        part = (step - self.begin_step) / (self.end_step - self.begin_step)
        left = (1 - min(1.0, max(0.0, part))) ** self.power
        change = self.initial_sparsity - self.final_sparsity
        return _is_turn(self, step), self.final_sparsity + change * left


def _divisor(length, most):
    """The largest divisor of a length that is at most so long."""
    return max(n for n in range(1, max(2, most + 1)) if length % n == 0)


def _is_turn(schedule, step):
    begun = step >= schedule.begin_step
    over = 0 <= schedule.end_step < step
    turn = (step - schedule.begin_step) % schedule.frequency == 0
    return bool(begun and not over and turn)


def _check_sparsity(name, value):
    if not (isinstance(value, numbers.Real) and 0 <= value < 1):
        raise ValueError(
            f"`{name}` must be a fraction in [0, 1). Received: "
            f"{name}={value!r}. 0.8 leaves every fifth weight."
        )


def _check_steps(begin, end, frequency):
    whole = all(
        isinstance(n, numbers.Integral) for n in (begin, end, frequency)
    )
    if not whole or begin < 0 or -1 != end < begin or frequency < 1:
        raise ValueError(
            "`begin_step`, `end_step` and `frequency` must be steps in order, "
            f"the last at least 1. Received: begin_step={begin}, "
            f"end_step={end}, frequency={frequency}. An end_step of -1 never "
            "ends."
        )

"""Parts of claims: what is measured on the networks of a run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

from tf_lottery.analysis import Movement
from tf_lottery.analysis import advantages
from tf_lottery.analysis import early_stop_ratios
from tf_lottery.analysis import smallest_step
from tf_lottery.claims.claim import POINTS
from tf_lottery.claims.claim import RATIO
from tf_lottery.claims.claim import SHARE
from tf_lottery.claims.claim import Part
from tf_lottery.claims.claim import Runs
from tf_lottery.claims.claim import Sample
from tf_lottery.plan import MAIN
from tf_lottery.tickets import Key

#: Test accuracy at the step of minimum validation loss.
AT_EARLY_STOP = "early_stop_test_accuracy"
AT_END = "test_accuracy"
# Levels of one search differ by 10 % at least.
_NEAR = 0.05


@dataclasses.dataclass(frozen=True)
class Network:
    """The networks of a density, one per replicate.

    Args:
        run: name of the settings of their run.
        percent: of the prunable weights that are kept; 100 is dense. The
            level nearest to it is meant, if within 5 % of it.
        branch: "main", or the name of a control.

    Example:
        >>> str(Network("lenet", 21.1, "reinit"))
        'lenet reinit 21.1 %'
    """

    run: str
    percent: float = 100.0
    branch: str = MAIN

    def __str__(self) -> str:
        control = "" if self.branch == MAIN else f"{self.branch} "
        return f"{self.run} {control}{self.percent:g} %"

    def rows(self, runs: Runs) -> dict[int, Mapping[str, Any]]:
        """Returns rows of results.csv, `{replicate: row}`.

        Args:
            runs: of a figure.
        """
        found: dict[int, Mapping[str, Any]] = {}
        for row in runs[self.run].rows:
            if row["branch"] == self.branch and self._off(row) < min(
                _NEAR, self._off(found.get(row["replicate"]))
            ):
                found[row["replicate"]] = row
        return found

    def _off(self, row: Mapping[str, Any] | None) -> float:
        """By how much a row's density differs, in proportion."""
        if row is None:
            return math.inf
        return abs(100 * row["density"] / self.percent - 1)


def better(
    one: Network,
    other: Network,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    column: str = AT_EARLY_STOP,
) -> Part:
    """Returns the part about a difference of accuracies, one - other.

    Args:
        one: networks.
        other: networks of the same replicates.
        low: the difference is above it, a fraction.
        high: the difference is below it.
        column: AT_EARLY_STOP or AT_END.

    Example:
        >>> part = better(Network("lenet", 13.5), Network("lenet"), low=0.0)
        >>> part.label, part.low
        ('lenet 13.5 %', 0.0)
    """

    def measure(runs: Runs) -> Sample:
        mine, others = one.rows(runs), other.rows(runs)
        values = advantages(mine, others, column=column)
        left_out = len(set(mine) & set(others)) - len(values)
        return Sample(values, _step(runs, (one, other), column), left_out)

    return Part(_label(one, other), measure, POINTS, low, high)


def sooner(
    one: Network,
    other: Network,
    *,
    low: float = 0.0,
    high: float = math.inf,
) -> Part:
    """Returns the part about a ratio of early-stop steps, one / other.

    Its values are logarithms. Pairs are left out of which one has its minimum
    at the last evaluation or at step 0.

    Args:
        one: networks.
        other: networks of the same replicates.
        low: the ratio is above it.
        high: the ratio is below it.

    Example:
        >>> sooner(Network("lenet", 21.1), Network("lenet"), high=1.0).high
        0.0
    """

    def measure(runs: Runs) -> Sample:
        mine, others = one.rows(runs), other.rows(runs)
        apart = _step(runs, (one, other), "early_stop_step")
        values, floor = early_stop_ratios(mine, others, apart)
        left_out = len(set(mine) & set(others)) - len(values)
        return Sample(values, floor, left_out)

    return Part(_label(one, other), measure, RATIO, *_logs(low, high))


def reaches(one: Network, *, low: float) -> Part:
    """Returns the part about the training accuracy at the end of training.

    Args:
        one: networks.
        low: it is above it, a fraction.
    """

    def measure(runs: Runs) -> Sample:
        values = {k: v["train_accuracy"] for k, v in one.rows(runs).items()}
        return Sample(values, _step(runs, (one,), "train_accuracy"))

    return Part(str(one), measure, SHARE, low)


def moved(run: str, percent: float, kernel: str) -> Part:
    """Returns the part about how far the weights of tickets move.

    Of a kernel in the dense network's training: the mean of |trained -
    initial| over the weights that the ticket keeps, by that over the weights
    it does not. It is 1 where both move alike. A replicate is left out where
    one of them is not above 0, or a ticket cannot be read.

    Args:
        run: name of the settings.
        percent: density of the tickets.
        kernel: its path.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.5.
    """

    def value(found: Movement) -> float:
        return math.log(found.ratio) if found.ratio > 0 else math.nan

    measure = _weights(run, percent, kernel, value)
    return Part(kernel, measure, RATIO, low=0.0, of_weights=True)


def outward(run: str, percent: float, kernel: str) -> Part:
    """Returns the part about where the weights of tickets move to.

    Of a kernel in the dense network's training: of the weights that the
    ticket keeps the share whose magnitude grows. A replicate is left out
    where it keeps none, or a ticket cannot be read.

    Args:
        run: name of the settings.
        percent: density of the tickets.
        kernel: its path.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.5.
    """

    def value(found: Movement) -> float:
        return found.stay_away

    measure = _weights(run, percent, kernel, value)
    return Part(kernel, measure, SHARE, low=0.5, of_weights=True)


def _weights(
    run: str, percent: float, kernel: str, value: Callable[[Movement], float]
) -> Callable[[Runs], Sample]:
    """Measures a number of a kernel; one that is not finite is left out."""

    def measure(runs: Runs) -> Sample:
        values, left_out = {}, 0
        dense = Network(run).rows(runs)
        for replicate, row in Network(run, percent).rows(runs).items():
            if replicate not in dense:
                continue
            key = Key(replicate, MAIN, row["level"])
            try:
                number = value(runs[run].dense_movement(key)[kernel])
            except (OSError, ValueError):
                # A damaged ticket: the other claims can be judged.
                number = math.nan
            if math.isfinite(number):
                values[replicate] = number
            else:
                left_out += 1
        return Sample(values, left_out=left_out)

    return measure


def _label(one: Network, other: Network) -> str:
    dense = other.percent == 100 and other.branch == MAIN
    if dense and one.run == other.run:
        return str(one)
    return f"{one} against {other}"


def _logs(low: float, high: float) -> tuple[float, float]:
    return (
        math.log(low) if low > 0 else -math.inf,
        math.log(high) if high < math.inf else high,
    )


def _step(runs: Runs, networks: tuple[Network, ...], column: str) -> float:
    """The smallest distance of two values in the runs of networks."""
    values = [
        row[column]
        for name in {network.run for network in networks}
        for row in runs[name].rows
        if math.isfinite(row[column])
    ]
    return smallest_step(values or [0.0])

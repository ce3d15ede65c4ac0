"""What networks are judged by: accuracy, perplexity, reward, or another."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Any

# Results have columns such as train_steps, and evaluations step and split.
_TAKEN = frozenset((
    "loss", "steps", "seconds", "examples", "flops", "effective_flops",
    "step", "split",
))
# Two float32 of one number may differ by so much of it.
_ROUNDING = 2e-7


def digits(number: float, *, sign: bool = False) -> str:
    """Returns a number of no known size for people.

    Args:
        number: with two decimals, below 1 three, below a tenth three digits.
        sign: whether a plus is written too.

    Example:
        >>> digits(12.345), digits(0.0012345), digits(0.5, sign=True)
        ('12.35', '0.00123', '+0.500')
    """
    size = abs(number)
    form = ".3g" if 0 < size < 0.1 else ".3f" if 0 < size < 1 else ".2f"
    return f"{number:{'+' if sign else ''}{form}}"


def density_percent(density: float) -> str:
    """Returns a density as people read it: a percentage, without the sign.

    Args:
        density: fraction of prunable weights kept, in [0, 1].

    Returns:
        The percentage with one decimal, with two below 1 %.

    Example:
        >>> density_percent(0.13493), density_percent(0.00456)
        ('13.5', '0.46')
    """
    percent = 100.0 * density
    return f"{percent:.2f}" if percent < 1.0 else f"{percent:.1f}"


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number of a trained network, and which of two is the better one.

    Everything that compares two networks does it by `advantage`, in which
    more is always better, so that no statistic knows of the direction.

    Args:
        name: an identifier, such as "reward"; results.csv has it in the names
            of its columns.
        higher_is_better: whether more of it is better.
        percent: whether it is a fraction that people read as a percentage;
            differences are then told in percentage points.
        ratio: whether two are compared by their quotient instead of their
            difference; it must be positive then.
        margin: how much worse than the dense network a matching ticket may
            be by default, at least 0: a difference; of `ratio` 0.05 is a
            factor of 1.05.

    Raises:
        TypeError, ValueError: an argument that is none of these.

    Example:
        >>> Metric("reward", margin=10.0).signed(-2.5)
        '-2.50'
    """

    name: str
    higher_is_better: bool = True
    percent: bool = False
    ratio: bool = False
    margin: float = 0.0

    def __post_init__(self) -> None:
        name = self.name
        # Files are called after it.
        known = isinstance(name, str) and name.isascii()
        if not (known and name.isidentifier()):
            raise ValueError(
                "`name` must be an ASCII identifier, as 'reward'. Received: "
                f"name={self.name!r}. It is part of the columns' names."
            )
        if self.name in _TAKEN:
            raise ValueError(
                f"`name` must be another one than {self.name!r}, which files "
                f"have beside the metric. Received: name={self.name!r}. Call "
                "it 'cost', for example, or 'steps_to_goal'."
            )
        for flag in ("higher_is_better", "percent", "ratio"):
            if not isinstance(getattr(self, flag), bool):
                raise TypeError(
                    f"`{flag}` must be True or False. Received: {flag}="
                    f"{getattr(self, flag)!r}. See tf_lottery.Metric."
                )
        self.check_margin(self.margin)
        object.__setattr__(self, "margin", float(self.margin))
        if self.percent and self.ratio:
            raise ValueError(
                "`ratio` must be False for a percentage. Received: percent="
                "True, ratio=True. Percentages are compared in points."
            )

    @property
    def test(self) -> str:
        """The column of results.csv of the test set, after training."""
        return self.column("test")

    @property
    def early_stop(self) -> str:
        """The column of results.csv of the test set, at early stopping."""
        return f"early_stop_{self.test}"

    @property
    def axis(self) -> str:
        """What an axis of test values is called."""
        return f"test {self.words}{' (%)' if self.percent else ''}"

    @property
    def words(self) -> str:
        """Its name for people."""
        return self.name.replace("_", " ")

    @property
    def unit(self) -> str:
        """The unit of `points`: "pp", "%" or none."""
        return "pp" if self.percent else "%" if self.ratio else ""

    def column(self, split: str) -> str:
        """Returns the column of results.csv of a split, after training.

        Args:
            split: "train", "val" or "test".

        Example:
            >>> ACCURACY.column("val"), ACCURACY.early_stop
            ('val_accuracy', 'early_stop_test_accuracy')
        """
        return f"{split}_{self.name}"

    def advantage(self, one: float, other: float) -> float:
        """Returns how much better `one` is than `other`; below 0 it is worse.

        `s (one - other)`, or with `ratio` `s log(one / other)`, s being 1 if
        more is better and -1 if less is.

        Args:
            one: a value of the metric.
            other: another.

        Returns:
            NaN where one of them is NaN, or of `ratio` not positive.

        Example:
            >>> round(PERPLEXITY.advantage(5.0, 10.0), 4)
            0.6931
        """
        sign = 1.0 if self.higher_is_better else -1.0
        if not self.ratio:
            return sign * (one - other)
        if not (one > 0.0 and other > 0.0):
            return math.nan
        # Of two infinite values there is no quotient.
        return sign * (math.log(one) - math.log(other))

    def tie(self, value: float) -> float:
        """Returns the most that equal values differ by when they are float32.

        Args:
            value: of the metric, the larger of two.

        Returns:
            An advantage, at least 0.

        Example:
            >>> Metric("cost", False).tie(10.0), PERPLEXITY.tie(10.0)
            (2e-06, 2e-07)
        """
        return _ROUNDING * (1.0 if self.ratio else abs(value))

    def score(self, value: float) -> float:
        """Returns a number that is the larger the better a value is.

        Differences of scores are advantages: of a ratio it is the logarithm,
        of what is better when less the negative.

        Args:
            value: of the metric.

        Example:
            >>> ACCURACY.score(0.5), Metric("cost", False).score(3.0)
            (0.5, -3.0)
        """
        return self.advantage(value, 1.0 if self.ratio else 0.0)

    def check_margin(self, margin: float, argument: str = "margin") -> None:
        """Checks how much worse than dense a matching ticket may be.

        Args:
            margin: as of the class.
            argument: its name, for the error.

        Raises:
            ValueError: it is below 0, infinite, or of a percentage above 1.
        """
        most = 1.0 if self.percent else math.inf
        number = isinstance(margin, numbers.Real)
        known = number and 0.0 <= margin <= most
        if not known or math.isinf(margin):
            upper = "to 1" if self.percent else "on"
            raise ValueError(
                f"`{argument}` must be a number from 0 {upper}. Received: "
                f"{argument}={margin!r}. It says how much worse does not "
                "matter."
            )

    def fraction(self, advantage: float) -> float:
        """Returns an advantage as files have it, in the unit of `comparison`.

        Args:
            advantage: as `advantage` returns it.

        Example:
            >>> ACCURACY.fraction(0.25), PERPLEXITY.fraction(math.log(1.25))
            (0.25, 0.25)
        """
        return math.expm1(advantage) if self.ratio else advantage

    def threshold(self, margin: float) -> float:
        """Returns the advantage of a network that is worse by a margin.

        Args:
            margin: as of the class.

        Example:
            >>> ACCURACY.threshold(0.002), Metric("cost").threshold(3.0)
            (-0.002, -3.0)
        """
        return -math.log1p(margin) if self.ratio else -margin

    def comparison(self, one: str, other: str) -> str:
        """Returns what `points` of an advantage are, as a formula.

        Args:
            one: name of the network that the advantage is of.
            other: name of what it is compared with.

        Example:
            >>> PERPLEXITY.comparison("ticket", "dense")
            'dense / ticket - 1'
        """
        if not self.higher_is_better:
            one, other = other, one
        return f"{one} / {other} - 1" if self.ratio else f"{one} - {other}"

    def points(self, advantage: float) -> float:
        """Returns an advantage in the unit that people are told it in.

        Args:
            advantage: as `advantage` returns it.

        Example:
            >>> ACCURACY.points(0.25), Metric("reward").points(1.5)
            (25.0, 1.5)
        """
        if self.ratio:
            return 100.0 * math.expm1(advantage)
        return 100.0 * advantage if self.percent else advantage

    def signed(self, advantage: float) -> str:
        """Returns an advantage for people, with its sign and its unit.

        Args:
            advantage: as `advantage` returns it.

        Example:
            >>> ACCURACY.signed(0.0021), PERPLEXITY.signed(math.log(1.012))
            ('+0.21 pp', '+1.20 %')
        """
        return f"{self.signed_number(advantage)} {self.unit}".rstrip()

    def signed_number(self, advantage: float) -> str:
        """Returns an advantage as `signed` does, without the unit.

        Args:
            advantage: as `advantage` returns it.

        Example:
            >>> ACCURACY.signed_number(0.0021), REWARD.signed_number(0.0021)
            ('+0.21', '+0.0021')
        """
        points = self.points(advantage)
        return f"{points:+.2f}" if self.unit else digits(points, sign=True)

    def shown(self, value: float) -> float:
        """Returns a value as an axis or a column shows it.

        Args:
            value: of the metric.

        Example:
            >>> ACCURACY.shown(0.5), PERPLEXITY.shown(5.0)
            (50.0, 5.0)
        """
        return 100.0 * value if self.percent else value

    def text(self, value: float) -> str:
        """Returns a value for people.

        Args:
            value: of the metric.

        Example:
            >>> ACCURACY.text(0.97534), PERPLEXITY.text(5.0)
            ('97.53 %', '5.00')
        """
        return f"{self.number(value)}{' %' if self.percent else ''}"

    def number(self, value: float) -> str:
        """Returns a value as `text` does, without the unit.

        Args:
            value: of the metric.

        Example:
            >>> ACCURACY.number(0.97534), REWARD.number(0.00123)
            ('97.53', '0.00123')
        """
        shown = self.shown(value)
        return f"{shown:.2f}" if self.percent else digits(shown)

    def to_json(self) -> dict[str, Any]:
        """Returns it as plain JSON values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> Metric:
        """Returns the metric that `to_json` was of; of None the accuracy.

        Args:
            values: such as the entry "metric" of a config.json, which runs
                that are judged by accuracy do not have; or that of a
                ticket's configuration, which has no margin.

        Raises:
            ValueError: it is none.

        Example:
            >>> Metric.from_json(PERPLEXITY.to_json()) == PERPLEXITY
            True
        """
        if values is None:
            return ACCURACY
        try:
            return cls(**{k: v for k, v in values.items() if v is not None})
        except (AttributeError, TypeError) as error:
            raise ValueError(
                "`metric` must have the entries of a Metric. Received: "
                f"metric={values!r}. Write it by Metric.to_json."
            ) from error


ACCURACY = Metric("accuracy", percent=True, margin=0.002)
PERPLEXITY = Metric(
    "perplexity", higher_is_better=False, ratio=True, margin=0.01
)
REWARD = Metric("reward")

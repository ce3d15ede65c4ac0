"""A claim of a paper, and the rule by which runs agree with it or not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

from tf_lottery.analysis import ALPHA
from tf_lottery.analysis import Paired
from tf_lottery.analysis import paired_differences
from tf_lottery.page import Run

AGREES, DISAGREES = "agrees", "disagrees"
UNDECIDED, NOT_RUN = "undecided", "not run"
#: How a value is told: a ratio of steps or distances (the value is its
#: logarithm), a difference of accuracies, or a share.
RATIO, POINTS, SHARE = "ratio", "points", "share"

#: The runs of a figure by the names of their settings.
Runs = Mapping[str, Run]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One value per replicate.

    Args:
        values: `{replicate: value}`.
        floor: least standard deviation of them that is believed.
        left_out: replicates that were run and have no value, such as a ratio
            of early stops of which one is not known.
    """

    values: Mapping[int, float]
    floor: float = 0.0
    left_out: int = 0

    @property
    def paired(self) -> Paired:
        """Mean and standard deviation over replicates."""
        return paired_differences(list(self.values.values()), self.floor)


@dataclasses.dataclass(frozen=True)
class Part:
    """A value, and where its mean over replicates lies if a claim holds.

    Args:
        label: which networks it is of, such as `"21.1 %"`.
        measure: takes the value from the runs.
        unit: RATIO, POINTS or SHARE.
        low: the claim holds above it, in the unit of the values.
        high: the claim holds below it.
        of_weights: whether it is measured on the tickets, not the rows.
    """

    label: str
    measure: Callable[[Runs], Sample]
    unit: str
    low: float = -math.inf
    high: float = math.inf
    of_weights: bool = False


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence of a paper, as parts that can be measured.

    Args:
        text: what is claimed.
        paper: the paper's figure for it.
        parts: at least one.
        every: whether the claim is that every part holds, or that some does.
        note: what a reader must know of the measurement.
    """

    text: str
    paper: str
    parts: Sequence[Part]
    every: bool = True
    note: str = ""

    @property
    def of_weights(self) -> bool:
        """Whether tickets are needed to judge it, not results.csv alone."""
        return any(part.of_weights for part in self.parts)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What runs say of a claim.

    Args:
        claim: the claim.
        samples: of its parts, in their order.
        agreement: AGREES, DISAGREES, UNDECIDED or NOT_RUN.
    """

    claim: Claim
    samples: Sequence[Sample]
    agreement: str


def judge(claim: Claim, runs: Runs) -> Outcome:
    """Returns whether runs agree with a claim.

    A part *holds* where the mean of its values is between `low` and `high`.
    Both are tested with Student's t over replicates, one-sided, at 5 %; a
    standard deviation is at least the sample's floor. With `every`, the runs

    - *agree* where each part is shown to hold;
    - *disagree* where some part is shown not to, its p-value times the
      number of parts, and of bounds, being at most 5 %;
    - leave it *undecided* otherwise, as with one replicate always, or where
      a part was not run.

    Without `every` it is the other way round: they agree where some part is
    shown to hold (times the number of parts), and disagree where each is
    shown not to. *Not run* is what no part has a value for.

    Args:
        claim: to be judged.
        runs: what its parts are measured on.

    Example:
        >>> part = Part("", lambda runs: Sample({0: 2., 1: 3., 2: 4.}), POINTS)
        >>> low, high = (
        ...     dataclasses.replace(part, low=x) for x in (1.0, 5.0))
        >>> [judge(Claim("", "", [p]), {}).agreement for p in (low, high)]
        ['agrees', 'disagrees']
    """
    samples = [part.measure(runs) for part in claim.parts]
    pairs = list(zip(claim.parts, samples))
    holds = [_p_inside(part, sample.paired) for part, sample in pairs]
    fails = [_p_outside(part, sample.paired) for part, sample in pairs]
    count = len(pairs)
    if claim.every:
        agrees, disagrees = max(holds), count * min(fails)
    else:
        agrees, disagrees = count * min(holds), max(fails)
    agreement = UNDECIDED
    if not any(sample.values for sample in samples):
        agreement = NOT_RUN
    elif agrees <= ALPHA:
        agreement = AGREES
    elif disagrees <= ALPHA:
        agreement = DISAGREES
    return Outcome(claim, samples, agreement)


def _p_inside(part: Part, paired: Paired) -> float:
    """The p-value of "the mean is not between the bounds", or 1."""
    sides = [
        paired.p_above(part.low) if part.low > -math.inf else 0.0,
        paired.p_below(part.high) if part.high < math.inf else 0.0,
    ]
    return max(1.0 if side is None else side for side in sides)


def _p_outside(part: Part, paired: Paired) -> float:
    """The p-value of "the mean is between the bounds", or 1."""
    sides = []
    if part.low > -math.inf:
        sides.append(paired.p_below(part.low))
    if part.high < math.inf:
        sides.append(paired.p_above(part.high))
    known = [side for side in sides if side is not None]
    return len(sides) * min(known, default=1.0)

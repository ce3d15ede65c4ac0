"""The generalisation gap at each density, and where tests are best."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tf_lottery.analysis.spread import Spread
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric

_Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Generalisation:
    """Accuracy, or another metric, on training and test examples at a level.

    Args:
        level: from 0, the dense network.
        density: fraction of the prunable weights kept, mean over replicates.
        train: accuracy on training examples, a fraction, over replicates; or
            another metric.
        test: the same on test examples.
        gap: train - test of the same replicate; the advantage of train over
            test, as of `Metric.advantage`.
    """

    level: int
    density: float
    train: Spread
    test: Spread
    gap: Spread


def measure_generalisation(
    rows: Iterable[_Row], metric: Metric = ACCURACY
) -> list[Generalisation]:
    """Returns train and test accuracy and their difference by level.

    Both are of the end of training. Replicates of which either is not a
    number, or not known, are left out of the gap.

    Args:
        rows: of results.csv; those of main are used.
        metric: what the networks are judged by.

    Returns:
        One entry per level that has a row, by level.

    Example:
        >>> row = {"branch": "main", "level": 0, "density": 1.0,
        ...        "train_accuracy": 1.0, "test_accuracy": 0.75}
        >>> (one,) = measure_generalisation([row])
        >>> one.gap.mean, one.gap.count
        (0.25, 1)

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, sections 2 and 5; Zhang
        et al., "Understanding deep learning requires rethinking
        generalization", 2017, arXiv:1611.03530, for the gap.
    """
    levels: dict[int, list[_Row]] = {}
    for row in rows:
        if row["branch"] == "main":
            levels.setdefault(row["level"], []).append(row)
    result = []
    for level, found in sorted(levels.items()):
        pairs = [
            (math.nan if train is None else train, row[metric.test])
            for row in found
            for train in [row[metric.column("train")]]
        ]
        result.append(
            Generalisation(
                level,
                Spread.of(row["density"] for row in found).mean,
                Spread.of(train for train, _ in pairs),
                Spread.of(test for _, test in pairs),
                Spread.of(metric.advantage(*pair) for pair in pairs),
            )
        )
    return result


def best_level(
    levels: Sequence[Generalisation], metric: Metric = ACCURACY
) -> Generalisation | None:
    """Returns the level of the best mean test accuracy: Occam's hill's top.

    Levels that fewer replicates have finished than the most are left out: of
    a run that is under way their means would be of other networks.

    Args:
        levels: what `measure_generalisation` returned.
        metric: that they are of.

    Returns:
        Of several as good the sparsest; None where there is none.

    Reference:
        Rasmussen and Ghahramani, "Occam's razor", 2001, NIPS 13; Frankle and
        Carbin, 2019, arXiv:1803.03635, section 5.
    """
    most = max((one.test.count for one in levels), default=0)
    whole = [one for one in levels if one.test.count == most > 0]
    # Rounded: float32 accuracies of the same hits differ in their last bits.
    return max(
        whole,
        key=lambda one: (round(metric.score(one.test.mean), 7), -one.density),
        default=None,
    )

"""How soon networks learn, beside their dense networks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from tf_lottery.analysis.comparison import early_stop_ratios
from tf_lottery.analysis.spread import Spread

_Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Speed:
    """Early-stop steps of a level as multiples of dense's.

    Args:
        level: from 0, where every ratio is 1.
        density: fraction of the prunable weights kept, mean over replicates.
        ratio: early-stop step / that of the dense network of the same
            replicate; the mean is geometric. Of pairs that are known.
        left_out: replicates of which that is not known: a censored minimum
            (at the last evaluation) or one at step 0, in either network, or
            no dense network.
    """

    level: int
    density: float
    ratio: Spread
    left_out: int


def measure_speed(rows: Iterable[_Row]) -> list[Speed]:
    """Returns early-stop steps against those of dense, by level.

    Args:
        rows: of results.csv; those of main are used.

    Returns:
        One entry per level that has a row, by level.

    Example:
        >>> row = {"branch": "main", "replicate": 0, "density": 1.0,
        ...        "early_stop_censored": False}
        >>> rows = [{**row, "level": 0, "early_stop_step": 800},
        ...         {**row, "level": 1, "early_stop_step": 200}]
        >>> [one.ratio.mean for one in measure_speed(rows)]
        [1.0, 0.25]

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, figures 1, 3 and 5.
    """
    levels: dict[int, dict[int, _Row]] = {}
    for row in rows:
        if row["branch"] == "main":
            levels.setdefault(row["level"], {})[row["replicate"]] = row
    dense = levels.get(0, {})
    return [
        _speed(level, found, dense) for level, found in sorted(levels.items())
    ]


def _speed(
    level: int, found: Mapping[int, _Row], dense: Mapping[int, _Row]
) -> Speed:
    # No spread is judged by here, so how far evaluations are apart is of no
    # account.
    logs, _ = early_stop_ratios(found, dense, 0.0)
    spread = Spread.of(logs.values())
    return Speed(
        level,
        Spread.of(row["density"] for row in found.values()).mean,
        Spread(
            math.exp(spread.mean), math.exp(spread.low), math.exp(spread.high),
            spread.count,
        ),
        len(found) - len(logs),
    )

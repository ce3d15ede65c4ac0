"""How far weights move in training, and whether away from 0."""

from __future__ import annotations

import dataclasses
import math

import numpy as np


@dataclasses.dataclass(frozen=True)
class Movement:
    """How far the weights moved that a round keeps, and those it prunes.

    Args:
        stay: number of weights that are kept.
        go: number of weights that are pruned.
        stay_distance: mean of |w_T - w_k| of the former; NaN of none.
        go_distance: the same of the latter.
        stay_away: share of the former with |w_T| > |w_k|, moved away from 0;
            NaN of none.
        go_away: the same of the latter.
        not_finite: weights of both that are left out of means and shares, as
            their distance is not a number.
    """

    stay: int
    go: int
    stay_distance: float
    go_distance: float
    stay_away: float
    go_away: float
    not_finite: int = 0

    @property
    def ratio(self) -> float:
        """How many times as far those that stay moved; NaN if unknown."""
        if not self.go_distance > 0:
            return math.nan
        return self.stay_distance / self.go_distance


def displacement(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns how far weights moved, with the sign of the direction.

    `d = |w_T - w_k|` where `|w_T| > |w_k|`, so that the weight moved away
    from 0, and `-|w_T - w_k|` where it did not. A weight that passed 0 moved
    away if it is now farther from it than it was.

    Args:
        start: `w_k`, the weights that training started from; floating.
        end: `w_T`, the trained weights, of this shape.

    Returns:
        float32, of this shape.

    Example:
        >>> start, end = np.array([1.0, 1.0, -1.0]), np.array([3.0, 0.5, 2.0])
        >>> displacement(start, end).tolist()
        [2.0, -0.5, 3.0]
    """
    start = np.asarray(start, "float32")
    end = np.asarray(end, "float32")
    # Weights of a diverged training may be infinite.
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(end - start)
    away = np.abs(end) > np.abs(start)
    return np.where(away, distance, -distance)


def compare_movement(moved: np.ndarray, stays: np.ndarray) -> Movement:
    """Compares the movement of weights that stay with those that go.

    That kept weights have moved away from 0 is in part selection: magnitude
    pruning keeps those that have become large.

    Args:
        moved: what `displacement` returned, of weights that were trained.
        stays: boolean of this shape; whether the next mask keeps them.

    Returns:
        A `Movement`.

    Raises:
        ValueError: the shapes differ.

    Example:
        >>> stays = np.array([True, False, True])
        >>> found = compare_movement(np.array([2.0, -0.5, 3.0]), stays)
        >>> found.stay_distance, found.ratio, found.stay_away, found.go_away
        (2.5, 5.0, 1.0, 0.0)

    Reference:
        Frankle and Carbin, "The Lottery Ticket Hypothesis", 2019,
        arXiv:1803.03635, appendix F.5.
    """
    if np.shape(moved) != np.shape(stays):
        raise ValueError(
            "`stays` must have the shape of `moved`. Received: "
            f"shapes={np.shape(stays)} and {np.shape(moved)}. Take both at "
            "the same weights."
        )
    finite = np.isfinite(moved)
    means = []
    for which in (stays, ~stays):
        values = moved[which & finite]
        means.append(
            (
                float(np.abs(values).mean(dtype="float64")),
                float(np.mean(values > 0)),
            )
            if values.size
            else (math.nan, math.nan)
        )
    stay = int(np.count_nonzero(stays))
    (stay_distance, stay_away), (go_distance, go_away) = means
    return Movement(
        stay, stays.size - stay, stay_distance, go_distance, stay_away,
        go_away, int(finite.size - np.count_nonzero(finite)),
    )

"""How many random candidates cover an interval, over a grid of settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tf_lottery import seeds
from tf_lottery.theory import arguments
from tf_lottery.theory.bounds import counting_bound
from tf_lottery.theory.bounds import theorem_order
from tf_lottery.theory.coverage import smallest_covering

# Each draws its candidates one after the other, so that fewer are the first
# of more.
_DRAWS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "uniform": lambda rng, count: 2.0 * rng.random(count) - 1.0,
    "normal": lambda rng, count: rng.standard_normal(count),
    "product": lambda rng, count: np.prod(
        2.0 * rng.random((count, 2)) - 1.0, axis=1
    ),
}
#: Names of distributions: uniform on [-1, 1], normal of mean 0 and standard
#: deviation 1, and the product of two numbers uniform on [-1, 1].
DISTRIBUTIONS: tuple[str, ...] = tuple(_DRAWS)
# So that the largest array of candidates is small.
_MOST = 100_000


@dataclasses.dataclass(frozen=True)
class Point:
    """How many candidates one setting took.

    Args:
        distribution: of the candidates, one of `DISTRIBUTIONS`.
        eta: the error that was allowed.
        ratio: `epsilon / eta`.
        epsilon: the largest perturbation of a chosen candidate.
        trials: number of draws.
        probability: the share of them that is to cover the interval.
        max_candidates: how many were tried at most, in each draw.
        candidates: the smallest `n` with which that share of the draws
            covers; None if it never does.
        fewest: the smallest `n` of any draw; None if none covered.
        median: the same as `candidates` for one half of the draws.
        never: how many draws did not cover with `max_candidates`.
        order: `theorem_order`, up to a constant.
        bound: `counting_bound`; None if no number is enough.
    """

    distribution: str
    eta: float
    ratio: float
    epsilon: float
    trials: int
    probability: float
    max_candidates: int
    candidates: int | None
    fewest: int | None
    median: int | None
    never: int
    order: float
    bound: int | None


def draw(
    distribution: str, count: int, *, seed: int = 0, trial: int = 0
) -> np.ndarray:
    """Returns random candidates.

    Args:
        distribution: one of `DISTRIBUTIONS`.
        count: how many. Fewer are the first of more.
        seed: of the whole sweep.
        trial: which of its draws, from 0.

    Returns:
        `(count,)` float64.

    Raises:
        ValueError: the distribution is unknown, or `count` not in
            [0, 100000].

    Example:
        >>> five = draw("normal", 5, seed=1)
        >>> bool((draw("normal", 3, seed=1) == five[:3]).all())
        True
    """
    if distribution not in _DRAWS:
        raise ValueError(
            f"`distribution` must be one of {', '.join(DISTRIBUTIONS)}. "
            f"Received: distribution={distribution!r}. Choose one of them."
        )
    count = arguments.whole_number("count", count, 0, _MOST)
    rng = seeds.generator("subset_sum", distribution, seed, trial)
    return _DRAWS[distribution](rng, count)


def sweep(
    etas: Sequence[float],
    ratios: Sequence[float],
    distributions: Sequence[str] = DISTRIBUTIONS,
    *,
    interval: tuple[float, float] = (-0.5, 0.5),
    probability: float = 0.9,
    trials: int = 100,
    max_candidates: int = 200,
    size: int | None = None,
    seed: int = 0,
) -> Iterator[Point]:
    """Measures how many candidates cover an interval, setting by setting.

    For each draw `smallest_covering` is exact; the share of draws that cover
    with `n` candidates is counted. All settings of one distribution see the
    same draws, so differences between them are not by chance, and for each
    draw more perturbation never takes more candidates. Equal seeds give equal
    points.

    Args:
        etas: errors that are allowed, positive.
        ratios: `epsilon / eta`, each 0 or more.
        distributions: of the candidates, some of `DISTRIBUTIONS`.
        interval: `(lowest, highest)` target.
        probability: the share of draws that is to cover, in (0, 1].
        trials: number of draws.
        max_candidates: how many are tried at most, in each draw.
        size: only subsets of so many candidates count; None for any size.
        seed: of the draws.

    Returns:
        An iterator of a `Point` for each distribution, eta and ratio, the
        last fastest. Arguments are checked before it is returned.

    Raises:
        ValueError: an argument is outside its range, or a list is empty.

    Example:
        >>> [p.candidates for p in sweep([0.1], [0, 2], ["uniform"], trials=20)]
        [9, 5]
    """
    for name, values in (
        ("etas", etas), ("ratios", ratios), ("distributions", distributions),
    ):
        if isinstance(values, str) or not len(values):
            raise ValueError(
                f"`{name}` must be a list of at least one. Received: "
                f"{name}={values!r}. Pass a list."
            )
    etas = [arguments.finite_number("eta", eta) for eta in etas]
    ratios = [arguments.finite_number("ratio", r, zero=True) for r in ratios]
    for name in distributions:
        draw(name, 0)
    ends = arguments.finite_vector("interval", interval)
    smallest_covering([], eta=1.0, interval=interval)
    share = arguments.finite_number("probability", probability)
    if share > 1:
        raise ValueError(
            "`probability` must be in (0, 1]. Received: "
            f"probability={probability}. 0.9 is nine draws of ten."
        )
    trials = arguments.whole_number("trials", trials, 1, _MOST)
    most = arguments.whole_number("max_candidates", max_candidates, 1, _MOST)
    if size is not None:
        size = arguments.whole_number("size", size, 0, most)

    def points() -> Iterator[Point]:
        for name in distributions:
            draws = [
                draw(name, most, seed=seed, trial=i) for i in range(trials)
            ]
            for eta in etas:
                for ratio in ratios:
                    found = [
                        smallest_covering(
                            x, eta=eta, epsilon=ratio * eta,
                            interval=interval, size=size,
                        )
                        for x in draws
                    ]
                    yield _point(
                        name, eta, ratio, found, share, most,
                        float(ends[1] - ends[0]), size,
                    )

    return points()


def _point(
    distribution: str,
    eta: float,
    ratio: float,
    found: Sequence[int | None],
    share: float,
    most: int,
    width: float,
    size: int | None,
) -> Point:
    epsilon, trials = ratio * eta, len(found)
    covered = sorted(n for n in found if n is not None)

    def quantile(of: float) -> int | None:
        # 0.07 * 100 is a little over 7.
        needed = math.ceil(of * trials - 1e-9)
        return covered[needed - 1] if needed <= len(covered) else None

    return Point(
        distribution,
        eta,
        ratio,
        epsilon,
        trials,
        share,
        most,
        candidates=quantile(share),
        fewest=covered[0] if covered else None,
        median=quantile(0.5),
        never=trials - len(covered),
        order=theorem_order(eta=eta, epsilon=epsilon),
        bound=counting_bound(
            eta=eta, epsilon=epsilon, width=width, size=size
        ),
    )

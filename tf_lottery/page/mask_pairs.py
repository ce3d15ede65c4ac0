"""Which masks of runs are compared with which, and what they share."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from tf_lottery.masks import Mask
from tf_lottery.masks import MaskComparison
from tf_lottery.masks import Overlap
from tf_lottery.masks import compare_masks
from tf_lottery.page.run import Run
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import read_mask

#: Replicates of a run that are compared, of more the first: 45 pairs.
MOST_REPLICATES = 10
#: Runs that are compared with each other, of more the first: 28 pairs.
MOST_RUNS = 8
#: Largest ratio of two densities that count as the same.
MOST_APART = 1.25
#: What stands for the whole network among the kernels.
ALL = "all"

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Side:
    """One mask of a pair: the label of its run, and which it is."""

    run: str
    replicate: int
    level: int
    density: float


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two masks that were compared.

    Args:
        kind: "replicates" of a run at a level, "levels" of a replicate, or
            "runs".
        one: the first.
        other: the second.
        found: how much they share.
    """

    kind: str
    one: Side
    other: Side
    found: MaskComparison

    @property
    def kernels(self) -> dict[str, Overlap]:
        """By path, the whole network first."""
        return {ALL: self.found.total, **self.found.kernels}


@dataclasses.dataclass(frozen=True)
class Group:
    """Pairs of one kind, of the same runs and levels: over replicates."""

    pairs: Sequence[Pair]

    @property
    def kind(self) -> str:
        """As of its pairs."""
        return self.pairs[0].kind

    @property
    def runs(self) -> tuple[str, str]:
        """Labels of the two runs; twice the same within one."""
        return self.pairs[0].one.run, self.pairs[0].other.run

    @property
    def levels(self) -> tuple[int, int]:
        """Of the first and the second masks."""
        return self.pairs[0].one.level, self.pairs[0].other.level

    @property
    def densities(self) -> tuple[float, float]:
        """Of the first and the second masks, means over the pairs."""
        count = len(self.pairs)
        return (
            math.fsum(pair.one.density for pair in self.pairs) / count,
            math.fsum(pair.other.density for pair in self.pairs) / count,
        )

    @property
    def nested(self) -> bool:
        """Whether one mask of each pair lies within the other."""
        return all(pair.found.nested for pair in self.pairs)

    @property
    def paths(self) -> list[str]:
        """The whole network, then its kernels."""
        return list(self.pairs[0].kernels)

    def overlaps(self, path: str) -> list[Overlap]:
        """Returns what the pairs share of a kernel, or of all.

        Args:
            path: in `paths`.
        """
        place = self.paths.index(path)
        # Of another run the same kernel may have another number.
        return [list(pair.kernels.values())[place] for pair in self.pairs]

    def mean(self, path: str, name: str) -> float:
        """Returns the mean over the pairs of a property of `Overlap`.

        Args:
            path: in `paths`.
            name: of the property.
        """
        values = [getattr(one, name) for one in self.overlaps(path)]
        return math.fsum(values) / len(values)

    def z(self, path: str) -> float | None:
        """Returns the distance from chance of all pairs together.

        Args:
            path: in `paths`.
        """
        return Overlap.pooled(self.overlaps(path)).z


def groups(runs: Sequence[Run], say: Say) -> list[Group]:
    """Compares the masks of runs and returns what they share.

    Only masks are read, no weights. Of one run two levels are in memory at a
    time, of two runs one mask each.

    Args:
        runs: of any kind, finished or not.
        say: told in a sentence what could not be read or compared.
    """
    found: dict[tuple, list[Pair]] = {}
    reader = _Reader(say)
    for pair in (*_within(runs, reader), *_between(runs, reader, say)):
        sides = pair.one, pair.other
        key = pair.kind, *((side.run, side.level) for side in sides)
        found.setdefault(key, []).append(pair)
    return [Group(pairs) for pairs in found.values()]


class _Reader:
    """Reads masks; says once of each what cannot be read."""

    def __init__(self, say: Say):
        self._say = say
        self._failed: set[str] = set()

    def __call__(self, run: Run, replicate: int, level: int) -> Mask | None:
        store = RunDirectory(run.path, notice=self._say)
        path = store.ticket_path(Key(replicate, "main", level))
        if path in self._failed:
            return None
        try:
            return read_mask(path)
        except (OSError, ValueError) as error:
            self._failed.add(path)
            self._say(f"Not compared: {error}")
            return None


def _densities(run: Run) -> dict[int, dict[int, float]]:
    """`{level: {replicate: density}}` of the tickets, in order."""
    found: dict[int, dict[int, float]] = {}
    of = {
        (row["replicate"], row["level"]): row["density"]
        for row in run.rows
        if row["branch"] == "main"
    }
    for key in run.keys():
        if key.replicate in run.replicates[:MOST_REPLICATES]:
            by_replicate = found.setdefault(key.level, {})
            by_replicate[key.replicate] = of[key.replicate, key.level]
    return dict(sorted(found.items()))


def _within(runs: Sequence[Run], read: _Reader) -> Iterator[Pair]:
    for run in runs:
        before: Mapping[int, tuple[Side, Mask]] = {}
        for level, densities in _densities(run).items():
            masks = {
                replicate: (Side(run.label, replicate, level, density), mask)
                for replicate, density in densities.items()
                if (mask := read(run, replicate, level)) is not None
            }
            for replicate, one in masks.items():
                last = before.get(replicate)
                if last is not None and last[0].level == level - 1:
                    yield _pair("levels", last, one)
            # At level 0 all are kept.
            if level:
                for one, other in itertools.combinations(masks.values(), 2):
                    yield _pair("replicates", one, other)
            before = masks


def _between(
    runs: Sequence[Run], read: _Reader, say: Say
) -> Iterator[Pair]:
    for one, other in itertools.combinations(runs[:MOST_RUNS], 2):
        models = [run.config.get("model") for run in (one, other)]
        if models[0] != models[1]:
            say(
                f"{one.label} and {other.label} are of other models "
                f"({models[0]}, {models[1]}): their masks are not compared."
            )
            continue
        try:
            yield from _of_two(one, other, read)
        except ValueError as error:
            say(f"{one.label} and {other.label} are not compared: {error}")


def _of_two(one: Run, other: Run, read: _Reader) -> Iterator[Pair]:
    mine, others = _densities(one), _densities(other)
    for level, near in same_densities(_means(mine), _means(others)):
        for replicate in sorted(mine[level].keys() & others[near].keys()):
            sides = [
                (Side(run.label, replicate, number, density), mask)
                for run, number, density in (
                    (one, level, mine[level][replicate]),
                    (other, near, others[near][replicate]),
                )
                if (mask := read(run, replicate, number)) is not None
            ]
            if len(sides) == 2:
                yield _pair("runs", *sides)


def _pair(
    kind: str, one: tuple[Side, Mask], other: tuple[Side, Mask]
) -> Pair:
    return Pair(kind, one[0], other[0], compare_masks(one[1], other[1]))


def _means(
    densities: Mapping[int, Mapping[int, float]]
) -> dict[int, float]:
    return {
        level: math.fsum(values.values()) / len(values)
        for level, values in densities.items()
        if level
    }


def same_densities(
    one: Mapping[int, float], other: Mapping[int, float]
) -> list[tuple[int, int]]:
    """Pairs levels of two runs whose densities are each the other's nearest.

    Args:
        one: `{level: density}`; densities are fractions.
        other: the same of the other run.

    Returns:
        Levels of both, those of `one` in order; none whose densities have a
        ratio above `MOST_APART`, or are 0.

    Example:
        >>> same_densities({1: 0.8, 2: 0.64, 3: 0.51}, {1: 0.5, 2: 0.1})
        [(3, 1)]
    """
    logs = [
        {level: math.log(d) for level, d in densities.items() if d > 0}
        for densities in (one, other)
    ]

    def nearest(value: float, there: Mapping[int, float]) -> int:
        return min(there, key=lambda level: (abs(there[level] - value), level))

    pairs = []
    for level, value in logs[0].items():
        if not logs[1]:
            break
        near = nearest(value, logs[1])
        apart = abs(logs[1][near] - value)
        if nearest(logs[1][near], logs[0]) == level and (
            apart <= math.log(MOST_APART)
        ):
            pairs.append((level, near))
    return pairs

"""Do tickets keep the same weights? Masks side by side, against chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tf_lottery.metric import density_percent
from tf_lottery.page.mask_pairs import ALL
from tf_lottery.page.mask_pairs import MOST_APART
from tf_lottery.page.mask_pairs import MOST_REPLICATES
from tf_lottery.page.mask_pairs import MOST_RUNS
from tf_lottery.page.mask_pairs import Group
from tf_lottery.page.mask_pairs import groups
from tf_lottery.page.overlap_figures import MOST_PANELS
from tf_lottery.page.overlap_figures import overlap_figure
from tf_lottery.page.overlap_figures import overlap_matrix
from tf_lottery.page.run import Run
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table

# Standard deviations; by chance alone one comparison in 30,000.
_FAR = 4.0
_COLUMNS = (
    "comparison", "run", "other_run", "level", "other_level", "density",
    "other_density", "kernel", "weights", "pairs", "jaccard", "jaccard_min",
    "jaccard_max", "chance_jaccard", "z", "hamming", "chance_hamming",
)
_PAIR_COLUMNS = (
    "comparison", "run", "replicate", "level", "other_run",
    "other_replicate", "other_level", "kernel", "weights", "kept",
    "other_kept", "both", "expected", "jaccard", "chance_jaccard", "z",
    "hamming", "chance_hamming",
)
_KINDS = ("replicates", "runs", "levels")
_START = ("model", "seed", "init", "inputs")
_METHOD = (
    "How much two masks share is their Jaccard index: weights kept by both, "
    "out of those kept by either; 1 for equal masks. By chance is what two "
    "independent random masks with the same number of weights in each kernel "
    "would share (hypergeometric; of the index to first order). z is how far "
    "above that the weights kept by both are, in standard deviations, all "
    f"pairs together; beyond {_FAR:g} is called more or less than chance. "
    "Chance knows nothing but counts: masks that avoid the same inputs{} "
    "share more without having found the same connections."
)


def overlap(runs: Sequence[Run]) -> Section | None:
    """Compares the masks of tickets: replicates, levels and runs.

    Between replicates, whose initial weights differ, at each level; between
    successive levels of a replicate; and between runs of one model,
    replicate by replicate, where their densities are nearest.

    Args:
        runs: of any kind, finished or not.

    Returns:
        The section, or None where no two masks can be compared.
    """
    problems: list[str] = []
    found = groups(runs, problems.append)
    if not found and not problems:
        return None
    pixels = any(run.of_images for run in runs)
    such = ", such as pixels that are never lit," if pixels else ""
    text = [_METHOD.format(such)] if found else []
    for run in runs:
        text += _replicates(run, found)
    text += _levels(found)
    text += _runs(runs, found)
    text += _limits(runs, found)
    tables = []
    if found:
        found.sort(key=lambda group: _KINDS.index(group.kind))
        rows = [row for path in (True, False) for row in _rows(found, path)]
        whole = sum(row[7] == ALL for row in rows)
        tables = [
            Table("mask_overlap", _COLUMNS, rows, shown=min(whole, 40)),
            Table("mask_pairs", _PAIR_COLUMNS, _pair_rows(found), shown=10),
        ]
    return Section(
        "Do tickets keep the same weights?",
        [*text, *problems],
        _figures(runs, found),
        tables,
    )


def _figures(runs: Sequence[Run], found: Sequence[Group]) -> list[Figure]:
    figures = []
    lines = [
        group
        for group in found
        if group.kind == "replicates"
        # Of more they would hide each other: these are in the matrix.
        or group.kind == "runs" and len(runs) == 2
    ]
    if lines:
        figures.append(Figure(
            "mask_overlap",
            overlap_figure(lines),
            "Jaccard index of masks against weights remaining, for the whole "
            "network and for kernels, with what chance gives as a thin line. "
            + " ".join(_at(g) for g in _nearest(runs, lines)),
        ))
    pairs = _nearest(runs, [g for g in found if g.kind == "runs"])
    if len(runs) > 2 and pairs:
        diagonal = [g for g in found if g.kind == "replicates"]
        shown = [*pairs, *_nearest(runs, diagonal)]
        figures.append(Figure(
            "mask_overlap_runs",
            overlap_matrix([run.label for run in runs[:MOST_RUNS]], shown),
            "Matrix of the Jaccard index of masks of two runs. "
            + " ".join(_at(group) for group in shown),
        ))
    return figures


def _replicates(run: Run, found: Sequence[Group]) -> list[str]:
    mine = [
        g for g in found
        if g.kind == "replicates" and g.runs == (run.label, run.label)
    ]
    if not mine:
        return []
    start = "replicates, whose initial weights differ,"
    if _given(run):
        start = "replicates, whose masks were found elsewhere,"
    elif run.config.get("initial_weights") is not None:
        start = (
            "replicates, which start from the same weights and differ in data "
            "order,"
        )
    elif "task" in run.config:
        # How its build draws weights is the task's own.
        start = "replicates"
    more, less = (
        sum((g.z(ALL) or 0.0) * sign > _FAR for g in mine) for sign in (1, -1)
    )
    (one,) = _nearest([run], mine)
    kernels = [
        f"{path} (z {one.z(path):+.0f})"
        for path in one.paths
        if path != ALL and (one.z(path) or 0.0) > _FAR
    ]
    where = (
        f" There the kernels above chance are {_listed(kernels)}."
        if kernels else " There no kernel is above chance."
    )
    return [
        f"{run.label}: {start} keep the same weights more than by chance at "
        f"{more} of {len(mine)} densities"
        + (f", less at {less}" if less else "")
        + f". {_at(one)}{where}"
    ]


def _levels(found: Sequence[Group]) -> list[str]:
    text = []
    for label in dict.fromkeys(g.runs[0] for g in found):
        mine = [
            g for g in found if g.kind == "levels" and g.runs[0] == label
        ]
        apart = [g.levels[1] for g in mine if not g.nested]
        if mine and not apart:
            text.append(
                f"{label}: the mask of each level lies within the one before, "
                "so that their Hamming distance, the fraction of all weights "
                "in which they differ, is what a level has pruned."
            )
        elif apart:
            text.append(
                f"{label}: the masks of levels "
                f"{_listed([str(level) for level in apart])} do not lie "
                "within the one before."
            )
    return text


def _runs(runs: Sequence[Run], found: Sequence[Group]) -> list[str]:
    text = []
    of = {run.label: run for run in runs}
    pairs = [g for g in found if g.kind == "runs"]
    for group in _nearest(runs, pairs):
        one, other = (of[label] for label in group.runs)
        given = [run.label for run in (one, other) if _given(run)]
        count = sum(g.runs == group.runs for g in pairs)
        densities = f"{count} densities" if count > 1 else "1 density"
        text.append(
            f"{one.label} and {other.label}, replicate by replicate, "
            + (
                "are not to be held against chance, as masks were found "
                f"elsewhere ({_listed(given)})"
                if given else _starts(one, other)
            )
            + f"; compared at {densities}. {_at(group)}"
        )
    return text


def _given(run: Run) -> bool:
    """Whether its masks are those of another run, or of one ticket."""
    return run.config.get("ticket") is not None


def _starts(one: Run, other: Run) -> str:
    if "seed" in one.config and all(
        one.config.get(k) == other.config.get(k) for k in _START
    ):
        return (
            "start from the same initial weights (model, initialiser and seed "
            "are the same)"
        )
    return (
        "start from other initial weights, so that chance is what is to be "
        "expected"
    )


def _limits(runs: Sequence[Run], found: Sequence[Group]) -> list[str]:
    text = []
    if any(len(run.replicates) > MOST_REPLICATES for run in runs):
        text.append(
            f"Only the first {MOST_REPLICATES} replicates of a run are "
            "compared."
        )
    if len(runs) > MOST_RUNS:
        text.append(
            f"Only the first {MOST_RUNS} runs are compared with each other."
        )
    if any(g.kind == "runs" for g in found):
        text.append(
            "Levels of two runs are compared where each density is nearest "
            f"to the other and they differ by at most {MOST_APART - 1:.0%}."
        )
    if any(len(g.paths) > MOST_PANELS for g in found):
        text.append(
            "The figure has the whole network, the first kernels and the "
            "last; the table has all."
        )
    if len({len(g.paths) for g in found}) > 1:
        text.append(
            "The figure has the kernels of the first network, and of those "
            "with another number of them the whole alone; the table has all."
        )
    return text


def _nearest(runs: Sequence[Run], found: Sequence[Group]) -> list[Group]:
    """Of each two runs the group nearest to what the verdict is on."""
    targets = {run.label: run.results.verdict_density for run in runs}
    best: dict[tuple[str, str], Group] = {}
    for group in found:
        distance = [
            abs(one.densities[0] - targets[one.runs[0]])
            for one in (group, best.get(group.runs, group))
        ]
        if group.runs not in best or distance[0] < distance[1]:
            best[group.runs] = group
    return list(best.values())


def _at(group: Group) -> str:
    one, other = map(density_percent, group.densities)
    what = (
        group.runs[0] if group.runs[0] == group.runs[1]
        else " and ".join(group.runs)
    )
    z = group.z(ALL)
    count = len(group.pairs)
    return (
        f"{what} at {one if one == other else f'{one} and {other}'} % of the "
        f"weights: Jaccard {group.mean(ALL, 'jaccard'):.3f}, by chance "
        f"{group.mean(ALL, 'chance_jaccard'):.3f} ("
        + ("" if z is None else f"z {z:+.1f}, ")
        + f"{count} pair{'' if count == 1 else 's'})."
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more


def _rows(found: Sequence[Group], whole: bool) -> list[list[Any]]:
    rows = []
    for group in found:
        # Of nested masks index and chance say nothing but their counts.
        bare = group.kind == "levels" and group.nested
        for path in group.paths:
            if (path == ALL) is not whole:
                continue
            overlaps = group.overlaps(path)
            indices = [one.jaccard for one in overlaps]
            rows.append([
                group.kind, *group.runs, *group.levels, *group.densities,
                path, overlaps[0].size, len(overlaps),
                *([None] * 5 if bare else [
                    group.mean(path, "jaccard"), min(indices), max(indices),
                    group.mean(path, "chance_jaccard"), group.z(path),
                ]),
                group.mean(path, "hamming"),
                None if bare else group.mean(path, "chance_hamming"),
            ])
    return rows


def _pair_rows(found: Sequence[Group]) -> list[list[Any]]:
    return [
        [
            pair.kind, pair.one.run, pair.one.replicate, pair.one.level,
            pair.other.run, pair.other.replicate, pair.other.level, path,
            one.size, one.kept, one.other_kept, one.both, one.expected,
            one.jaccard, one.chance_jaccard, one.z, one.hamming,
            one.chance_hamming,
        ]
        for group in found
        for pair in group.pairs
        for path, one in pair.kernels.items()
    ]

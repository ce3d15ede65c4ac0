"""Is there a winning ticket: the verdict of a run, and how sure it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tf_lottery.analysis import wording
from tf_lottery.analysis.comparison import COMPARED
from tf_lottery.analysis.comparison import DENSE
from tf_lottery.analysis.comparison import EARLY_STOP
from tf_lottery.analysis.comparison import Comparison
from tf_lottery.analysis.comparison import columns
from tf_lottery.analysis.comparison import compare_early_stops
from tf_lottery.analysis.comparison import compare_values
from tf_lottery.analysis.comparison import correct
from tf_lottery.analysis.comparison import nearest_level
from tf_lottery.analysis.paired import ALPHA
from tf_lottery.analysis.paired import smallest_step
from tf_lottery.analysis.wording import MATCHING
from tf_lottery.analysis.wording import NO_TICKET
from tf_lottery.analysis.wording import UNDECIDED
from tf_lottery.analysis.wording import WINNING
from tf_lottery.methods import ticket_branch
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric

#: Columns of verdict.csv.
VERDICT_COLUMNS = (
    "level", "density", "primary", "verdict", "verdict_density",
    "verdict_margin", "more_replicates", *columns({}),
)

_Row = Mapping[str, Any]
_Runs = dict[tuple[str, int], dict[int, _Row]]


@dataclasses.dataclass(frozen=True)
class LevelVerdict:
    """What is known of the tickets of one level.

    Args:
        level: from 1.
        density: fraction of the prunable weights kept, mean over replicates.
        primary: whether it is the level declared beforehand.
        verdict: "winning", "matching", "no ticket" or "undecided".
        comparisons: `{"dense", "reinit", "shuffle_mask", "random_mask" or
            "early_stop": Comparison}` of what was run.
        more_replicates: about so many would decide what is open; infinite
            for more than 100, None where nothing is, or nothing is known.
    """

    level: int
    density: float
    primary: bool
    verdict: str
    comparisons: Mapping[str, Comparison]
    more_replicates: float | None

    def shown(self, control: str) -> bool | None:
        """Returns whether the ticket is shown to be above a control.

        `False` means "not shown", never that the control is as good.

        Args:
            control: "reinit" (the initialisation matters), "shuffle_mask" or
                "random_mask" (the structure matters).

        Returns:
            None where the control was not run.
        """
        found = self.comparisons.get(control)
        return None if found is None else found.above


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a run has shown, and what it has not: see `judge`.

    Args:
        levels: by level; empty where no ticket has a dense network.
        density: that was declared beforehand, a fraction.
        margin: that a matching ticket may be worse than dense, as of
            `Metric`.
        tickets: the branch that was judged, "main" or "rewound".
        trained_alone: whether the tickets were trained as a lottery ticket
            is: masked, from the weights of the rewind point, once. If not
            none is called winning, nor compared with controls.
        step: smallest distance of two test accuracies, or of two scores of
            the metric, the least standard deviation that is believed.
        metric: what the networks were judged by.
    """

    levels: tuple[LevelVerdict, ...]
    density: float
    margin: float
    tickets: str
    trained_alone: bool
    step: float
    metric: Metric = ACCURACY

    @property
    def primary(self) -> LevelVerdict | None:
        """The level that was declared beforehand; None if none finished."""
        return next((one for one in self.levels if one.primary), None)

    @property
    def headline(self) -> str:
        """The verdict on that level, in a line."""
        return wording.headline(self)

    def text(self) -> str:
        """Returns the verdict as a few sentences, the headline first."""
        return wording.text(self)

    def rows(self) -> list[dict[str, Any]]:
        """Returns one dict of plain values per level, as in verdict.csv.

        Its keys are `VERDICT_COLUMNS`. Differences and bounds are
        `metric.comparison("ticket", other)`: of accuracy ticket - other as a
        fraction, of perplexity other / ticket - 1; above 0 the ticket is the
        better one. A value is None where the branch was not run or nothing
        can be said. Early stopping has ratios of steps, ticket / dense.
        """
        return [
            {
                "level": one.level,
                "density": one.density,
                "primary": one.primary,
                "verdict": one.verdict,
                "verdict_density": self.density,
                "verdict_margin": self.margin,
                "more_replicates": one.more_replicates,
                **columns(one.comparisons, self.metric),
            }
            for one in self.levels
        ]


def judge(
    rows: Iterable[_Row],
    *,
    density: float = 0.2,
    margin: float | None = None,
    method: str = "imp",
    retrain: str = "rewind",
    metric: Metric = ACCURACY,
) -> Verdict:
    """Returns which levels hold a winning ticket, from results.csv.

    All is paired: d = ticket - other of the same replicate, whose data order
    is the same, with Student's t for the mean of d over replicates, bounds
    one-sided of 95 %. Of another metric than accuracy d is the ticket's
    `metric.advantage` over the other, above 0 where it is better. At each
    level, with d against dense (level 0):

    - *matching*: the lower bound of the mean of d is above `-margin`, or
      `metric.threshold(margin)`;
    - *winning*: matching, and the lower bound of ticket - reinit is above 0;
    - *no ticket*: the upper bound of the mean of d is below that threshold;
    - *undecided*: neither, as with one replicate always.

    The *initialisation matters* where the lower bound of ticket - reinit is
    above 0, the *structure* where that of ticket - shuffle_mask, or
    ticket - random_mask (which has fresh weights too), is; the contrary is
    never claimed. Early stopping is *sooner* where the upper bound of the
    mean of log(step of ticket / step of dense) is below 0; a minimum at the
    last evaluation (censored) or at step 0 leaves the pair out. Where no
    training has told its step it is not compared.

    One level is tested alone: that of density nearest to `density`, among
    those that have a reinit control if any has, else among all. The others
    are secondary: each question is one family over them, by Holm.

    Accuracies are counts of hits. Standard deviations are therefore at least
    one step of accuracy, the smallest distance of two accuracies in `rows`:
    replicates that agree by chance of rounding prove nothing. (Of another
    metric: of two of its scores. Of early stopping: one step between
    evaluations, in proportion.) What the
    replicates share is not part of the error: the test set, of which the
    verdict speaks. The 5 % hold for a number of replicates fixed beforehand;
    who adds some until the verdict pleases is wrong more often.

    Args:
        rows: of results.csv, in any order; some may be missing, and other
            branches are not looked at.
        density: declared beforehand, a fraction in [0, 1].
        margin: how much worse than dense does not matter, as of `Metric`;
            of accuracy in [0, 1], 0.002 is 0.2 percentage points. That of
            the metric if None.
        method: that found the tickets. If it does not train them
            (`Method.strong`), or changes the mask while it does
            (`Method.inside`, unless branch rewound has been run), a level is
            matching at most, and not compared with controls.
        retrain: as in `--retrain`. After "continue" the tickets are branch
            rewound; of others than "rewind" a level is matching at most.
        metric: what the networks are judged by.

    Raises:
        ValueError: an argument is out of range, or a row is there twice.
        KeyError: there is no such method.

    Example:
        >>> rows = [{"replicate": r, "branch": b, "level": n, "density": d,
        ...          "test_accuracy": a + r / 1000, "early_stop_step": 100,
        ...          "early_stop_censored": False}
        ...         for r in range(3) for b, n, d, a in [("main", 0, 1., 0.95),
        ...             ("main", 1, 0.2, 0.96), ("reinit", 1, 0.2, 0.94)]]
        >>> verdict = judge(rows)
        >>> verdict.primary.verdict, verdict.primary.shown("reinit")
        ('winning', True)

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 1, for what a
        winning ticket is; margin and tests are this library's.
    """
    if not 0 <= density <= 1:
        raise ValueError(
            "`density` must be a fraction in [0, 1]. Received: "
            f"density={density}. 0.2 is 20 %."
        )
    margin = metric.margin if margin is None else margin
    metric.check_margin(margin)
    rows = list(rows)
    runs = _runs(rows)
    tickets, alone = ticket_branch(method, retrain, {name for name, _ in runs})
    scores = [metric.score(row[metric.test]) for row in rows]
    step = smallest_step([s for s in scores if math.isfinite(s)] or [0.0])
    stops = [row["early_stop_step"] for row in rows]
    stops = [stop for stop in stops if stop is not None]
    apart = smallest_step(stops or [0])
    dense = runs.get(("main", 0), {})
    found: dict[int, dict[str, Comparison]] = {}
    densities = {}
    for (branch, level), run in sorted(runs.items()):
        if branch != tickets or level == 0 or not set(run) & set(dense):
            continue
        others = {DENSE: (dense, metric.threshold(margin))}
        if alone:
            for name in COMPARED:
                if set(control := runs.get((name, level), {})) & set(run):
                    others[name] = (control, 0.0)
        found[level] = {
            name: compare_values(run, *other, step, metric)
            for name, other in others.items()
        }
        if alone and stops:
            found[level][EARLY_STOP] = compare_early_stops(run, dense, apart)
        densities[level] = math.fsum(
            row["density"] for row in run.values()
        ) / len(run)
    # Without a reinit control no level is winning.
    asked = [n for n in found if "reinit" in found[n]] or found
    primary = nearest_level({n: densities[n] for n in asked}, density)
    size = correct(found, primary)
    levels = tuple(
        LevelVerdict(
            level,
            densities[level],
            level == primary,
            verdict := _verdict(comparisons),
            comparisons,
            _more(
                verdict, comparisons, ALPHA / (1 if level == primary else size)
            ),
        )
        for level, comparisons in found.items()
    )
    return Verdict(levels, density, margin, tickets, alone, step, metric)


def _runs(rows: Sequence[_Row]) -> _Runs:
    runs: _Runs = {}
    for row in rows:
        run = runs.setdefault((row["branch"], row["level"]), {})
        if run.setdefault(row["replicate"], row) is not row:
            raise ValueError(
                "`rows` must have one row per replicate, branch and level. "
                f"Received: replicate {row['replicate']} {row['branch']} "
                f"level {row['level']} twice. Remove one of them."
            )
    return runs


def _verdict(comparisons: Mapping[str, Comparison]) -> str:
    if comparisons[DENSE].below:
        return NO_TICKET
    if not comparisons[DENSE].above:
        return UNDECIDED
    reinit = comparisons.get("reinit")
    return WINNING if reinit and reinit.above else MATCHING


def _more(
    verdict: str, comparisons: Mapping[str, Comparison], alpha: float
) -> float | None:
    """Replicates beyond those there, for what is open at a level."""
    one = comparisons[DENSE]
    if verdict == MATCHING and "reinit" in comparisons:
        one = comparisons["reinit"]
        if one.paired.mean <= 0:
            # More of the same would not show it; nothing contrary is claimed.
            return None
    elif verdict != UNDECIDED:
        return None
    # Bonferroni's level for secondary ones: Holm's may be reached sooner.
    return one.paired.more_replicates(one.threshold, alpha)

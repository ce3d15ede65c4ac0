"""Lines between trained networks: evaluated once, and kept in a report."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from tf_lottery import analysis
from tf_lottery import assembly
from tf_lottery import atomic
from tf_lottery import data
from tf_lottery import loading
from tf_lottery import models
from tf_lottery import report
from tf_lottery.layers import mask_model
from tf_lottery.methods import METHODS
from tf_lottery.plan import MAIN
from tf_lottery.plan import Plan
from tf_lottery.record import Record
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory

# Examples that the training error on a line is taken over, at most.
_TRAIN_EXAMPLES = 10_000
_REORDER = "reorder"
_NEXT = "next_level"


@dataclasses.dataclass(frozen=True)
class Line:
    """Names a line between two networks of one replicate.

    Args:
        replicate: from 0.
        pair: `"instability"`, `"reorder"` or `"next_level"`.
        step: up to which both were one, or that both were rewound to.
        level: of the denser network.
        density: of the denser network.
    """

    replicate: int
    pair: str
    step: int
    level: int
    density: float


class LineBook:
    """The finished lines of a run directory.

    A line is finished while both of its tickets are what they were. Several
    processes may add to one run directory.

    Args:
        run_dir: the run directory.
        notice: called with one line where its files cannot be used.

    Attributes:
        points: rows of report/connectivity.csv.
        barriers: rows of report/barriers.csv, which has a row per line.
    """

    def __init__(self, run_dir: str, notice: Callable[[str], None]):
        self._run_dir = run_dir
        self._folder = os.path.join(run_dir, "report")
        self.points: list[dict[str, Any]] = []
        self.barriers: list[dict[str, Any]] = []
        try:
            with atomic.held(run_dir):
                self._read()
        except ValueError as error:
            notice(str(error))

    def _read(self) -> None:
        # The two files are of one moment only while nobody writes them.
        with contextlib.suppress(FileNotFoundError):
            self.points, self.barriers = report.read_lines(self._folder)

    def barrier(
        self, line: Line, first: str, second: str, split: str = "test"
    ) -> float | None:
        """Returns the barrier of a finished line, or None.

        Args:
            line: which.
            first: digest of the one ticket.
            second: digest of the other.
            split: test, train or validation.
        """
        for row in self.barriers:
            if _is(row, line) and (row["first"], row["second"]) == (
                first, second
            ):
                return row[f"barrier_{split}"]
        return None

    def add(
        self, line: Line, first: str, second: str, found: analysis.Connectivity
    ) -> None:
        """Writes a line, in place of an older one of the same name.

        Args:
            line: which.
            first: digest of the one ticket.
            second: digest of the other.
            found: the error on it.

        Raises:
            OSError: the report cannot be written.
        """
        name = dataclasses.asdict(line)
        points = [{**name, **dataclasses.asdict(p)} for p in found.points]
        row = {
            **name,
            "barrier_test": found.barrier("test"),
            "barrier_train": found.barrier("train"),
            "barrier_validation": found.barrier("validation"),
            "first": first,
            "second": second,
        }
        with atomic.held(self._run_dir):
            # What others have added; damaged files are written anew.
            with contextlib.suppress(ValueError):
                self._read()
            self._write(line, points, row)

    def _write(
        self, line: Line, points: list[dict[str, Any]], row: dict[str, Any]
    ) -> None:
        known = len(self.barriers)
        self.points, self.barriers = (
            [r for r in rows if not _is(r, line)]
            for rows in (self.points, self.barriers)
        )
        if len(self.barriers) < known:
            # First off: a kill must not leave its barrier by other points.
            report.write_lines(self._folder, self.points, self.barriers)
        self.points = sorted([*self.points, *points], key=_order)
        self.barriers = sorted([*self.barriers, row], key=_order)
        report.write_lines(self._folder, self.points, self.barriers)


def make_evaluator(
    model: keras.Model, data_set: data.DataSet
) -> analysis.LineEvaluator:
    """Returns what evaluates lines on test, training and validation data.

    Of the training examples the first 10,000 are looked at.

    Args:
        model: masked.
        data_set: the data.
    """
    some = slice(_TRAIN_EXAMPLES)
    return analysis.LineEvaluator(
        model,
        {
            "test": (data_set.test.x, data_set.test.y),
            "train": (data_set.train.x[some], data_set.train.y[some]),
            "validation": (data_set.validation.x, data_set.validation.y),
        },
        preprocess=loading.preprocess(data_set.info),
    )


def connect_tickets(
    plan: Plan,
    data_set: Callable[[], data.DataSet],
    store: RunDirectory,
    record: Record,
    say: Callable[[str], None],
) -> str:
    """Evaluates the lines between the tickets of a run.

    Between a level and its `reorder` control, and, where levels are rounds,
    between a level and the next.

    Args:
        plan: of the experiment.
        data_set: returns the data, where a line is still to be evaluated.
        store: the run directory.
        record: what is finished of it.
        say: called with one line as each is done.

    Returns:
        A table.

    Raises:
        OSError: the report cannot be written.
        ValueError: a ticket was altered.

    Reference:
        Frankle et al., 2020, arXiv:1912.05671, section 4; Paul et al.,
        "Unmasking the Lottery Ticket Hypothesis", 2023, arXiv:2210.03044.
    """
    book, evaluator = LineBook(store.path, say), None
    for key, other, line in _pairs_of(plan, record):
        first, second = record.digest(key) or "", record.digest(other) or ""
        if book.barrier(line, first, second) is not None:
            continue
        if evaluator is None:
            config, found_data = plan.config, data_set()
            with models.clean_names():
                dense = assembly.build_replicate(
                    config, found_data.info, 0, "init"
                )
                model = mask_model(dense, exclude=config.exclude)
            evaluator = make_evaluator(model, found_data)
        found = evaluator(store.load(key), store.load(other))
        book.add(line, first, second, found)
        say(f"{key} to {other}: test barrier {found.barrier():.2%}")
    if not book.barriers:
        return (
            "No line to evaluate: levels are no rounds, and none has a "
            "reorder control. Add --branches=reorder."
        )
    return report.connectivity_table(book.barriers)


def _pairs_of(
    plan: Plan, record: Record
) -> Iterator[tuple[Key, Key, Line]]:
    rounds = METHODS[plan.config.method].rounds
    density = {
        (row["replicate"], row["level"]): row["density"]
        for row in record.rows()
        if row["branch"] == MAIN
    }
    for key in plan.keys:
        here = Key(key.replicate, MAIN, key.level)
        line = Line(
            key.replicate, _REORDER, plan.start_step(here), key.level,
            density.get((key.replicate, key.level), 0.0),
        )
        if key.branch == _REORDER:
            yield here, key, line
        after = dataclasses.replace(key, level=key.level + 1)
        if key.branch == MAIN and rounds and key.level < plan.config.levels:
            # The step that the sparser of the two went back to.
            line = dataclasses.replace(
                line, pair=_NEXT, step=plan.start_step(after)
            )
            yield key, after, line


def _is(row: Mapping[str, Any], line: Line) -> bool:
    names = ("replicate", "pair", "step", "level")
    return all(row[name] == getattr(line, name) for name in names)


def _order(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["replicate"], row["pair"], row["step"], row["level"]

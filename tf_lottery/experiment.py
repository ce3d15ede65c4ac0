"""One experiment from its configuration: the only place that wires it all."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any

from tf_lottery import analysis
from tf_lottery import export
from tf_lottery import lines
from tf_lottery import models
from tf_lottery import page
from tf_lottery import parallel
from tf_lottery import paths
from tf_lottery import provenance
from tf_lottery import search
from tf_lottery import train
from tf_lottery.config import Config
from tf_lottery.fingerprint import fingerprint
from tf_lottery.fingerprint import run_name
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_state
from tf_lottery.level_trainer import LevelTrainer
from tf_lottery.page.event_files import check_tensorboard
from tf_lottery.plan import MAIN
from tf_lottery.plan import Plan
from tf_lottery.plan import parse_levels
from tf_lottery.pruners import get_pruner
from tf_lottery.record import Record
from tf_lottery.results import Results
from tf_lottery.results import load_results
from tf_lottery.task import Task
from tf_lottery.tickets import Key
from tf_lottery.tickets import SharedDirectory
from tf_lottery.work import DataWork
from tf_lottery.work import TaskWork


class Experiment:
    """An experiment that is checked and ready, with no data read yet.

    Args:
        config: what to run.
        progress: where to report.
        stop_signals: as `train.stop_signals`; how a training is stopped.
        task: of the user's own, in place of the configuration's data, network
            and training.

    Raises:
        ValueError, TypeError: an unknown name, a model that cannot be
            pruned, levels that empty a layer, a run directory that was
            altered.
    """

    def __init__(
        self,
        config: Config,
        progress: Any,
        stop_signals=train.stop_signals,
        *,
        task: Task | None = None,
    ):
        # A worker makes its own of it.
        self._asked, asked = config, config.levels
        config, source = provenance.load_source(config.resolved())
        self._task = task
        self._progress = progress
        # Nothing is saved inside a task's training: a signal ends it at once.
        self._stop_signals = stop_signals if task is None else _unheeded
        parallel.check_parallel(config.parallel)
        check_tensorboard(config.tensorboard)
        analysis.check_controls(config.branches, config.criterion)
        self._exported = parse_levels("export", config.export, config.levels)
        start = provenance.load_start(config)
        paths.check_folder(config.output_dir)
        work: Any = DataWork(config) if task is None else TaskWork(config, task)
        self._work = work
        self.config = config = work.config
        self._workers = work.workers
        if source is not None:
            provenance.check_vocabulary(
                source, config.replicate or 0, work.facts
            )
        if config.verdict_margin is not None:
            work.metric.check_margin(config.verdict_margin, "verdict_margin")
        with work.strategy.scope(), models.clean_names():
            dense = work.build(0, "init")
            model = mask_model(dense, exclude=config.exclude)
            if config.method == "perturbed":
                search.EpsilonBall(model)
        search.check_dtypes(model)
        pruner = get_pruner(config.criterion)
        search.check_choice(model, pruner, config.structure)
        self.identity = provenance.identify(
            work.values, dense, start, source
        )
        self.run_dir = os.path.join(
            config.output_dir, run_name(self.identity)
        )
        self._store = SharedDirectory(
            self.run_dir, progress.line, self._workers
        )
        self._store.check(self.identity, fingerprint)
        self._page = page.Follower(
            self.run_dir,
            progress.line,
            writes=self._store.writes and config.report,
        )
        self.record = Record(
            self._store,
            config.method,
            config.tensorboard,
            metric=work.metric,
            finished=self._page.update,
        )
        self._start = start.rewind if start else None
        set_state(model, self._start or get_state(model))
        if self._exported:
            export.check_exported(model)
        self.plan = Plan(
            config,
            get_mask(model),
            search.pruning_rates(model, **config.rates),
            work.train_size,
            sum(int(v.size) for v in get_state(model).values()),
            search.counts_of(model, source.ticket) if source else None,
        )
        self._trainer = LevelTrainer(
            self.plan,
            model,
            self._start,
            work,
            self._store,
            self.record,
            source=source,
            progress=progress,
            told=functools.partial(
                provenance.provenance, self.identity, work.facts
            ),
        )
        self._notes = list(work.notes)
        if source is not None:
            provenance.check_transferred(self._store, self.finished(), source)
            self._notes += provenance.source_notes(
                source, model, self.plan.replicates, asked
            )
        name = os.path.basename(self.run_dir)
        self._workers.check_same([name, *map(str, self.plan.keys)])

    def finished(self) -> set[Key]:
        """Returns the trainings that an earlier run has finished."""
        return {key for key in self.plan.keys if self.record.digest(key)}

    def tell_plan(self) -> Results:
        """Says what `run` would do; returns what is there, changes nothing."""
        self._progress.result(
            f"{self.plan.text(self.finished(), self._work.unit)}\n"
            f"Run directory: {self.run_dir}"
        )
        return Results.of(self.record.rows(), self.run_dir, self.identity)

    def steps(self) -> tuple[int, int]:
        """Returns optimizer steps of the whole, and how many are done."""
        finished = self.finished()
        return (
            sum(map(self.plan.steps, self.plan.keys)),
            sum(map(self.plan.steps, finished)),
        )

    @property
    def vocabulary(self) -> Any:
        """Of the tokens of a text; None of all else."""
        return self._work.facts.get("vocabulary")

    @property
    def writes(self) -> bool:
        """Whether this process writes files."""
        return self._store.writes

    def run(self, *, among_others: bool = False) -> Results:
        """Trains what is not finished yet, then writes the report.

        Args:
            among_others: another tells the results and counts the steps.
        """
        self._store.open(self.identity, fingerprint)
        say = self._progress.line
        say(
            f"{self._work.headline} {self.identity['model']}: "
            f"{self.plan.mask.size:,} prunable weights."
        )
        for note in self._notes:
            say(note)
        if self._start and len(self.plan.replicates) > 1:
            say("All replicates start alike: they differ in data order only.")
        finished = self.finished()
        self._todo = [k for k in self.plan.keys if k not in finished]
        self._store.tidy(finished)
        if finished:
            say(
                f"{len(finished)} of {len(self.plan.keys)} trainings are "
                "finished and reused."
            )
        if not among_others:
            self._progress.start(*self.steps())
        with self._page:
            self._train()
        self._workers.agree(functools.partial(self._finish, among_others))
        return load_results(self.run_dir)

    def _train(self) -> None:
        """Trains what is to do, at once or one after another."""
        if self._todo and self.config.parallel > 1:
            parallel.train_in_parallel(
                functools.partial(Experiment, self._asked, task=self._task),
                self,
                self._todo,
                self.config,
                self._progress,
            )
        elif self._todo:
            self._trainer.prepare()
            # Until the data are read a signal ends all at once.
            with self._stop_signals() as self._trainer.stopping:
                for key in self.plan.keys:
                    if not self.is_finished(key):
                        self._train_and_record(key)

    def _finish(self, among_others: bool) -> None:
        """Writes the report, and exports what was asked for."""
        self.record.write_results()
        self.record.write_events(self.plan.keys)
        title = f"{self.identity['model']} on {self.config.dataset}"
        told = load_results(self.run_dir).write_report(title)
        if self.config.connectivity:
            found = lines.connect_tickets(
                self.plan,
                lambda: self._work.data_set,
                self._store,
                self.record,
                self._progress.line,
            )
            told = f"\n{found}\n{told}"
        self._progress.status("drawing the report")
        written = self._page.finish()
        if among_others:
            self._progress.line(f"Results: {self.run_dir}/results.csv")
            self._progress.line(written)
        else:
            self._progress.result(f"{told}\n{written}")
        for key in self.plan.keys:
            if key.branch != MAIN or key.level not in self._exported:
                continue
            path = os.path.join(self._store.level_path(key), "saved_model")
            if not paths.is_file(os.path.join(path, "saved_model.pb")):
                export.export_saved_model(self._store.load(key), path)
                self._progress.line(f"SavedModel: {path}")

    def train_key(self, key: Key, parent: str) -> str:
        """Trains one key from the ticket of its parent, of this digest.

        Returns:
            The digest of its own ticket.
        """
        self.record.note_parent(key, parent)
        with self._stop_signals() as self._trainer.stopping:
            return self._trainer.train_key(key)

    def _train_and_record(self, key: Key) -> None:
        self.record.finish(key, self._trainer.train_key(key))
        stopping = self._trainer.stopping()
        if number := max(self._workers.exchange(stopping)):
            raise train.Stopped(number, self._trainer.last_step, saved=False)

    def is_finished(self, key: Key) -> bool:
        """Whether a training is finished, its parent being so."""
        if self.record.digest(key) is None:
            return False
        if key in self._todo:
            # Its parent was trained again, to the same ticket.
            self._todo.remove(key)
            self._progress.advance(self.plan.steps(key))
        return True


def _unheeded() -> contextlib.AbstractContextManager[Callable[[], int]]:
    """As `train.stop_signals`, of signals that are left as they are."""
    return contextlib.nullcontext(lambda: 0)

"""One experiment from its configuration: the only place that wires it all."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

import keras

from tf_lottery import analysis
from tf_lottery import assembly
from tf_lottery import data
from tf_lottery import export
from tf_lottery import models
from tf_lottery import parallel
from tf_lottery import paths
from tf_lottery import provenance
from tf_lottery import search
from tf_lottery import seeds
from tf_lottery import train
from tf_lottery.config import Config
from tf_lottery.config import fingerprint
from tf_lottery.config import run_name
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.plan import MAIN
from tf_lottery.plan import Plan
from tf_lottery.plan import parse_levels
from tf_lottery.pruners import get_pruner
from tf_lottery.record import Record
from tf_lottery.results import Results
from tf_lottery.results import load_results
from tf_lottery.results import make_row
from tf_lottery.results import tell_row
from tf_lottery.tickets import Key
from tf_lottery.tickets import SharedDirectory
from tf_lottery.tickets import Ticket


class Experiment:
    """An experiment that is checked and ready, with no data read yet.

    Args:
        config: what to run.
        progress: where to report.
        stop_signals: as `train.stop_signals`; how a training is stopped.

    Raises:
        ValueError, TypeError: an unknown name, a model that cannot be
            pruned, levels that empty a layer, a run directory that was
            altered.
    """

    def __init__(
        self, config: Config, progress: Any, stop_signals=train.stop_signals
    ):
        self.config = config = config.resolved()
        self._progress = progress
        self._stop_signals = stop_signals
        parallel.check_parallel(config.parallel)
        models.check_model(config.model)
        models.check_init(config.init)
        train.check_optimizer(config.optimizer)
        analysis.check_controls(config.branches, config.criterion)
        self._exported = parse_levels("export", config.export, config.levels)
        start = provenance.load_start(config)
        paths.check_folder(config.output_dir)
        self._strategy = train.make_strategy(config.strategy)
        self._workers = train.Workers(self._strategy)
        self.info = self._workers.chief_first(
            functools.partial(
                data.describe,
                config.dataset,
                data_dir=config.data_dir,
                validation_size=config.validation_size,
            )
        )
        with self._strategy.scope(), models.clean_names():
            dense = self._build(0, "init")
            self._model = mask_model(dense, exclude=config.exclude)
            if config.method == "perturbed":
                search.EpsilonBall(self._model)
        search.check_dtypes(self._model)
        pruner = get_pruner(config.criterion)
        search.check_choice(self._model, pruner, config.structure)
        self.identity = provenance.identify(config, dense, start)
        self.run_dir = os.path.join(
            config.output_dir, run_name(self.identity)
        )
        self._store = SharedDirectory(
            self.run_dir, progress.line, self._workers
        )
        self._store.check(self.identity, fingerprint)
        self.record = Record(self._store, config.method)
        self._start = start and start.rewind
        set_state(self._model, self._start or get_state(self._model))
        self._provenance = functools.partial(
            provenance.provenance, self.identity, self.info
        )
        self.plan = Plan(
            config,
            get_mask(self._model),
            search.pruning_rates(self._model, **config.rates),
            self.info.train_size,
            sum(int(v.size) for v in get_state(self._model).values()),
        )
        name = os.path.basename(self.run_dir)
        self._workers.check_same([name, *map(str, self.plan.keys)])

    def finished(self) -> set[Key]:
        """Returns the trainings that an earlier run has finished."""
        return {key for key in self.plan.keys if self.record.digest(key)}

    def tell_plan(self) -> Results:
        """Says what `run` would do; returns what is there, changes nothing."""
        self._progress.result(
            f"{self.plan.text(self.finished())}\n"
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
    def writes(self) -> bool:
        """Whether this process writes files."""
        return self._store.writes

    def run(self, *, among_others: bool = False) -> Results:
        """Trains what is not finished yet, then writes the report.

        Args:
            among_others: another tells the results and counts the steps.
        """
        self._store.open(self.identity, fingerprint)
        say, info = self._progress.line, self.info
        say(
            f"{info.source}: {info.train_size:,} training, "
            f"{info.validation_size:,} validation, {info.test_size:,} test "
            f"images. {self.config.model}: {self.plan.mask.size:,} prunable "
            "weights."
        )
        for note in info.notes:
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
        if self._todo and self.config.parallel > 1:
            parallel.train_in_parallel(
                functools.partial(Experiment, self.config),
                self,
                self._todo,
                self.config,
                self._progress,
            )
        elif self._todo and self._trainer:
            # It has read the data: until then a signal ends all at once.
            with self._stop_signals() as self._stopping:
                for key in self.plan.keys:
                    if not self.is_finished(key):
                        self._train_and_record(key)
        self._workers.agree(functools.partial(self._finish, among_others))
        return load_results(self.run_dir)

    def _finish(self, among_others: bool) -> None:
        """Writes the report, and exports what was asked for."""
        self.record.write_results()
        title = f"{self.config.model} on {self.config.dataset}"
        told = load_results(self.run_dir).write_report(title)
        if among_others:
            self._progress.line(f"Results: {self.run_dir}/results.csv")
        else:
            self._progress.result(told)
        for key in self.plan.keys:
            if key.branch != MAIN or key.level not in self._exported:
                continue
            path = os.path.join(self._store.level_path(key), "saved_model")
            if not paths.is_file(os.path.join(path, "saved_model.pb")):
                export.export_saved_model(self._store.load(key), path)
                self._progress.line(f"SavedModel: {path}")

    @functools.cached_property
    def _trainer(self) -> train.Trainer:
        return assembly.make_trainer(
            self.config,
            self._model,
            self._images,
            strategy=self._strategy,
            on_step=self._on_step,
        )

    @functools.cached_property
    def _scorer(self) -> train.Trainer:
        return assembly.make_scorer(
            self.plan,
            self._model,
            self._images,
            strategy=self._strategy,
            on_step=self._on_step,
        )

    @functools.cached_property
    def _images(self) -> data.ImageData:
        return assembly.load_images(self.config)

    @functools.cached_property
    def _meter(self) -> analysis.CostMeter:
        return analysis.CostMeter(
            self._model, self.info.input_shape, notice=self._progress.line
        )

    @functools.cached_property
    def _guard(self) -> analysis.PathGuard:
        return analysis.PathGuard(self._model, self._progress.line)

    def train_key(self, key: Key, parent: str) -> str:
        """Trains one key from the ticket of its parent, of this digest.

        Returns:
            The digest of its own ticket.
        """
        self.record.note_parent(key, parent)
        with self._stop_signals() as self._stopping:
            return self._train_and_save(key)

    def _train_and_record(self, key: Key) -> None:
        self.record.finish(key, self._train_and_save(key))
        if number := max(self._workers.exchange(self._stopping())):
            raise train.Stopped(number, self._last_step, saved=False)

    def _train_and_save(self, key: Key) -> str:
        if key.branch == MAIN:
            ticket = next(self._search(key))
            if self.plan.mask_by and key.level:
                # Of a mask that was not there before its training.
                self._guard.check(key, stop=False)
        else:
            ticket = self._control(key)
        costs = dict(
            self._columns(
                ticket.mask,
                steps=ticket.metrics["train_steps"],
                batch_size=self.config.batch_size,
                changes=self._used.changes,
            ),
            effective_density=self._guard.effective_density(ticket.mask),
        )
        row = make_row(key, ticket, self._used.seconds, costs)
        digest = self.record.save(key, ticket, self._used.rows, row)
        self._progress.line(tell_row(row, ticket.metrics))
        return digest

    def _search(self, key: Key) -> Iterator[Ticket]:
        """The tickets of a replicate from a level on."""
        parent = key.parent(self.config.method)
        if parent is None:
            made_from = None
            set_mask(self._model, self.plan.mask)
            set_state(
                self._model,
                self._start or get_state(self._build(key.replicate, "init")),
            )
        else:
            made_from = self._store.load(parent)
            provenance.check_source(made_from, self.info)
        return assembly.make_search(
            self.plan,
            self._model,
            functools.partial(self._train, key.replicate, MAIN),
            key.level,
            made_from,
            lambda: self._scorer,
            seed=self._seed(key.replicate),
            config=self._provenance(key.replicate, MAIN),
            **self._scored_by(key.replicate),
        )

    def _scored_by(self, replicate: int) -> dict[str, Any]:
        """The examples and the loss of criteria that look at some."""
        return assembly.scored_by(
            self.config, self._images, self._trainer.loss, self._seed(replicate)
        )

    def _control(self, key: Key) -> Ticket:
        """Trains a control, on the data order of its ticket."""
        seed = self._seed(key.replicate)
        control = assembly.make_control(
            self.plan,
            self._model,
            key,
            self._store.load(Key(key.replicate, MAIN, key.level)),
            self._store.load(Key(key.replicate, MAIN, 0)),
            functools.partial(self._build, key.replicate),
            functools.partial(self._scored_by, key.replicate),
            seed=seed,
        )
        set_mask(self._model, control.mask)
        set_state(self._model, control.weights)
        start = get_state(self._model)
        metrics = self._train(
            key.replicate,
            key.branch,
            self._model,
            level=key.level,
            seed=search.level_seed(seed, key.level),
            start_step=self.plan.start_step(key),
        )
        return Ticket.of(
            self._model,
            rewind=start,
            level=key.level,
            config=self._provenance(key.replicate, key.branch),
            metrics=metrics,
        )

    def _train(
        self, replicate: int, branch: str, model, *, level: int, **how: Any
    ) -> dict[str, Any]:
        self._key = Key(replicate, branch, level)
        # Before, so that no training is lost to a model it cannot count.
        self._columns = self._meter.columns
        self._last_step = how["start_step"]
        self._used = self._trainer if model is self._model else self._scorer
        if how.pop("frozen", False):
            return self._used.evaluate(level)
        # A control that is cut says something of its ticket: it is trained.
        stop = branch == MAIN and self.config.collapse == "stop"
        self._guard.check(self._key, stop=stop)
        how.update(self._guard.watched(how, self._key, stop))
        fine = self.config.retrain == "fine_tune" and branch == MAIN
        checkpoint = assembly.make_checkpoint(
            self.config,
            self._store,
            self._key,
            notice=self._progress.line,
            parent=self.record.parent_digest(self._key),
            seed=how["seed"],
            replicas=self._strategy.num_replicas_in_sync,
        )
        return self._used(
            model,
            level=level,
            last_rate=fine and level > 0,
            checkpoint=checkpoint,
            stopping=self._stopping,
            **how,
        )

    def _on_step(self, step: int, rows) -> None:
        self._progress.advance(step - self._last_step)
        self._last_step = step
        for row in rows:
            if row.split == "validation":
                self._progress.status(
                    f"r{self._key.replicate} {self._key.branch} "
                    f"L{self._key.level} step {step} val {row.accuracy:.1%}"
                )

    def is_finished(self, key: Key) -> bool:
        """Whether a training is finished, its parent being so."""
        if self.record.digest(key) is None:
            return False
        if key in self._todo:
            # Its parent was trained again, to the same ticket.
            self._todo.remove(key)
            self._progress.advance(self.plan.steps(key))
        return True

    def _build(self, replicate: int, purpose: str) -> keras.Model:
        """A dense network with initial weights of their own seed."""
        return assembly.build_model(
            self.config,
            self.info,
            seed=seeds.derive(self._seed(replicate), purpose),
        )

    def _seed(self, replicate: int) -> int:
        return seeds.derive(self.config.seed, "replicate", replicate)

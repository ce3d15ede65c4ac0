"""Training one level or control of an experiment, from its parent's ticket."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

from tf_lottery import analysis
from tf_lottery import assembly
from tf_lottery import provenance
from tf_lottery import search
from tf_lottery import seeds
from tf_lottery.layers import get_state
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.plan import MAIN
from tf_lottery.plan import Plan
from tf_lottery.record import Record
from tf_lottery.results import make_row
from tf_lottery.results import tell_row
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket
from tf_lottery.tickets import TicketSource
from tf_lottery.work import DataWork
from tf_lottery.work import TaskWork


class LevelTrainer:
    """Trains any key of a plan, and saves its ticket.

    The data are read when the first is trained.

    Args:
        plan: of the experiment.
        model: masked, made under `strategy`.
        start: the state that every replicate starts from; each its own
            initialisation if None.
        work: what is trained on what.
        store: the run directory.
        record: what is finished of it.
        source: of tickets that were found elsewhere.
        progress: where to report.
        told: `told(replicate, branch)` returns what tickets say of how they
            were found.

    Attributes:
        last_step: of the training under way.
        stopping: says which signal asks to stop, 0 for none.
    """

    def __init__(
        self,
        plan: Plan,
        model: keras.Model,
        start: Mapping[str, Any] | None,
        work: DataWork | TaskWork,
        store: RunDirectory,
        record: Record,
        *,
        source: TicketSource | None = None,
        progress: Any,
        told: Callable[[int, str], dict[str, Any]],
    ):
        self.plan, self.config = plan, plan.config
        self.last_step = 0
        self.stopping: Callable[[], int] = lambda: 0
        self._model = model
        self._start = start
        self._work = work
        self._store = store
        self._record = record
        self._source = source
        self._progress = progress
        self._provenance = told
        self._seed = functools.partial(assembly.replicate_seed, self.config)

    @functools.cached_property
    def _trainer(self) -> Any:
        return self._work.trainer(self._model, self._on_step)

    @functools.cached_property
    def _scorer(self) -> Any:
        return self._work.scorer(self.plan, self._model, self._on_step)

    @functools.cached_property
    def _meter(self) -> analysis.CostMeter:
        return analysis.CostMeter(
            self._model, self._work.input_shape, notice=self._progress.line
        )

    @functools.cached_property
    def _guard(self) -> analysis.PathGuard:
        return analysis.PathGuard(self._model, self._progress.line)

    def prepare(self) -> None:
        """Reads the data now, and not only when a key is trained."""
        # Whoever trains holds them.
        self._trainer  # noqa: B018

    def train_key(self, key: Key) -> str:
        """Trains one key, and writes what it gave.

        Args:
            key: whose parent is finished.

        Returns:
            The digest of its ticket.
        """
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
                examples=self._work.examples(ticket.metrics),
                batch_size=self.config.batch_size,
                changes=self._used.changes,
            ),
            effective_density=self._guard.effective_density(ticket.mask),
        )
        metric = self._work.metric
        row = make_row(key, ticket, self._used.seconds, costs, metric)
        digest = self._record.save(key, ticket, self._used.rows, row)
        self._progress.line(tell_row(row, ticket.metrics, metric))
        return digest

    def _search(self, key: Key) -> Iterator[Ticket]:
        """The tickets of a replicate from a level on."""
        parent = key.parent(self.config.method)
        if parent is None:
            made_from = None
            set_mask(self._model, self.plan.mask)
            set_state(
                self._model,
                self._start
                or get_state(self._work.build(key.replicate, "init")),
            )
        else:
            made_from = self._store.load(parent)
            source = self._work.facts["source"]
            provenance.check_source(made_from, source)
        train_it = functools.partial(self._train, key.replicate, MAIN)
        how: dict[str, Any] = dict(
            seed=self._seed(key.replicate),
            config=self._provenance(key.replicate, MAIN),
        )
        if self._source is not None:
            return search.transfer_tickets(
                self._model,
                train_it,
                functools.partial(self._source.ticket, key.replicate),
                levels=[key.level],
                dense=made_from,
                origin=functools.partial(self._source.origin, key.replicate),
                **how,
            )
        return assembly.make_search(
            self.plan,
            self._model,
            train_it,
            key.level,
            made_from,
            lambda: self._scorer,
            **how,
            **self._scored_by(key.replicate),
        )

    def _scored_by(self, replicate: int) -> dict[str, Any]:
        """The examples and the loss of criteria that look at some."""
        return self._work.scored_by(self._trainer, self._seed(replicate))

    def _control(self, key: Key) -> Ticket:
        """Trains a control; but for reorder, in its ticket's data order."""
        seed = self._seed(key.replicate)
        control = assembly.make_control(
            self.plan,
            self._model,
            key,
            self._store.load(Key(key.replicate, MAIN, key.level)),
            self._store.load(Key(key.replicate, MAIN, 0)),
            functools.partial(self._work.build, key.replicate),
            functools.partial(self._scored_by, key.replicate),
            seed=seed,
        )
        set_mask(self._model, control.mask)
        set_state(self._model, control.weights)
        start = get_state(self._model)
        order = search.level_seed(seed, key.level)
        if key.branch == "reorder":
            order = seeds.derive(order, key.branch)
        metrics = self._train(
            key.replicate,
            key.branch,
            self._model,
            level=key.level,
            seed=order,
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
        self.last_step = how["start_step"]
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
            parent=self._record.parent_digest(self._key),
            seed=how["seed"],
            replicas=self._work.strategy.num_replicas_in_sync,
        )
        return self._used(
            model,
            level=level,
            last_rate=fine and level > 0,
            checkpoint=checkpoint,
            stopping=self.stopping,
            **how,
        )

    def _on_step(self, step: int, rows) -> None:
        self._progress.advance(step - self.last_step)
        self.last_step = step
        for row in rows:
            if row.split == "validation":
                metric = self._work.metric
                self._progress.status(
                    f"r{self._key.replicate} {self._key.branch} "
                    f"L{self._key.level} step {step} val "
                    f"{metric.text(row.values[metric.name])}"
                )

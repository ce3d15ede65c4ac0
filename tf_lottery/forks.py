"""Two copies of a network that part at step k of their training."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery import assembly
from tf_lottery import data
from tf_lottery import loading
from tf_lottery import paths
from tf_lottery import provenance
from tf_lottery import report
from tf_lottery import search
from tf_lottery import seeds
from tf_lottery import train
from tf_lottery.config import Config
from tf_lottery.layers import get_state
from tf_lottery.layers import set_state
from tf_lottery.plan import MAIN
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket


def fork_key(replicate: int, k: int) -> Key:
    """Returns what names the copy that leaves the first at step k.

    Args:
        replicate: from 0.
        k: in optimizer steps.
    """
    return Key(replicate, f"fork_{k:06d}", 0)


class ForkTrainer:
    """Trains a network, and copies of it that part from it on the way.

    The first network is that of level 0 of an experiment. At step k it leaves
    a snapshot of weights, statistics and optimizer, which the copy goes on
    from: the first k steps are shared because they are taken once. From there
    on the data order, the augmentation and random layers of the copy are of
    another seed. One first network serves every k. For a k that is asked for
    when the first network is trained its beginning is taken again, up to the
    last such k: it is the same to the bit where hardware is, and a line says
    so where its evaluations are not those of the first time.

    Args:
        config: resolved.
        model: masked, made under `strategy`.
        start: the state that every replicate starts from; each its own
            initialisation if None.
        info: of the data.
        store: the run directory.
        strategy: where to train.
        values: of config.json.
        progress: where to report.
        stop_signals: as `train.stop_signals`.

    Reference:
        Frankle et al., 2020, arXiv:1912.05671, section 2 and figure 1. There
        both copies have orders of their own; here the first keeps that which
        it began with.
    """

    def __init__(
        self,
        config: Config,
        model: keras.Model,
        start: Mapping[str, np.ndarray] | None,
        info: data.DataInfo,
        store: RunDirectory,
        *,
        strategy: tf.distribute.Strategy,
        values: dict[str, Any],
        progress: Any,
        stop_signals: Callable,
    ):
        self.config = config
        self._model = model
        self._start = start
        self._info = info
        self._store = store
        self._strategy = strategy
        self._values = values
        self._progress = progress
        self._stop_signals = stop_signals
        per_epoch = info.train_size // config.batch_size
        self.length = config.train_steps.steps(per_epoch)
        self._name, self._at = "", 0

    def digest(self, key: Key) -> str | None:
        """Returns the digest of a finished training's ticket, or None.

        Args:
            key: of the first network, or of a copy, which is finished while
                it has parted from the first network there is.
        """
        main = self._store.finished(Key(key.replicate, MAIN, 0), "")
        if key.branch == MAIN or main is None:
            return main
        return self._store.finished(key, main)

    def steps_to_do(self, replicate: int, steps: Sequence[int]) -> int:
        """Returns the optimizer steps that `finish` would take.

        Args:
            replicate: from 0.
            steps: every k; in one call of `finish`, or with all of them as
                `keep` in one call after the other.
        """
        total = sum(
            self.length - k for k in self._unfinished(replicate, steps)
        )
        if self.digest(Key(replicate, MAIN, 0)) is None:
            return total + self.length
        return total + max(self._absent(replicate, steps), default=0)

    def finish(
        self, replicate: int, steps: Sequence[int], keep: Sequence[int] = ()
    ) -> None:
        """Trains the first network and its copies, where not finished.

        Args:
            replicate: from 0.
            steps: every k.
            keep: every k that may be asked for later: its snapshot is kept
                on disk with theirs, until it is used or `drop` removes it.

        Raises:
            Stopped: a signal said so; what is done is kept.
            OSError: the run directory cannot be written.
        """
        main = Key(replicate, MAIN, 0)
        both = sorted({*steps, *keep})
        if self.digest(main) is None:
            if not paths.is_file(self._store.checkpoint_path(main)):
                # Snapshots there are of another first network, now gone.
                self.drop(replicate, both)
            self._train_main(replicate, self._absent(replicate, both), True)
        # Steps that came later, or that a resumed training was beyond.
        if self._absent(replicate, steps):
            self._train_main(replicate, self._absent(replicate, both), False)
        for k in self._unfinished(replicate, steps):
            try:
                self._train_fork(replicate, k)
            except train.NoSnapshot:
                # Damaged, or of other versions.
                self._store.tidy([main])
                self._train_main(replicate, [k], False)
                self._train_fork(replicate, k)

    def drop(self, replicate: int, steps: Sequence[int]) -> None:
        """Removes the snapshots that no copy has been trained from.

        Args:
            replicate: from 0.
            steps: every k.
        """
        for k in self._unfinished(replicate, steps):
            key = fork_key(replicate, k)
            self._store.tidy([key])
            with contextlib.suppress(OSError):
                # Empty folders alone.
                os.removedirs(self._store.level_path(key))

    def _unfinished(self, replicate: int, steps: Sequence[int]) -> list[int]:
        return [k for k in steps if self.digest(fork_key(replicate, k)) is None]

    def _absent(self, replicate: int, steps: Sequence[int]) -> list[int]:
        """Steps whose snapshot is still to be taken."""
        return [
            k
            for k in self._unfinished(replicate, steps)
            if not paths.is_file(
                self._store.checkpoint_path(fork_key(replicate, k))
            )
        ]

    def _train_main(
        self, replicate: int, keep: Sequence[int], whole: bool
    ) -> None:
        """Trains the first network, and keeps snapshots for its copies.

        It ends after the last of them, unless it is wanted as a whole.
        """
        key = Key(replicate, MAIN, 0)
        built = assembly.build_replicate(
            self.config, self._info, replicate, "init"
        )
        set_state(self._model, self._start or get_state(built))
        initial = get_state(self._model)
        try:
            metrics = self._train(
                key,
                seed=self._seeds(replicate)[0],
                start_step=0,
                change=_Keeper(
                    keep, functools.partial(self._keep, replicate), whole
                ),
            )
        except _Reached:
            self._on_step(max(keep), ())
            self._compare(key)
            self._store.tidy([key])
        else:
            self._save(key, initial, metrics, "")

    def _compare(self, key: Key) -> None:
        """Says where a beginning taken again is not that of the first time."""
        file = os.path.join(self._store.level_path(key), "metrics.csv")
        before = {
            (row["step"], row["split"]): row
            for row in report.read_evaluations(file)
        }
        for row in (row.columns() for row in self._trainer.rows):
            if row != before.get((row["step"], row["split"]), row):
                self._progress.line(
                    f"{key}: its beginning was trained again, and differs at "
                    f"step {row['step']} from the first time: this hardware "
                    "does not give the same bits. Copies share less than the "
                    "steps before they part, and barriers may be too high; "
                    "delete the run directory, and name all steps at once."
                )
                return

    def _keep(self, replicate: int, k: int, arrays: Any) -> None:
        checkpoint = self._checkpoint(fork_key(replicate, k))
        if not checkpoint.save(train.Snapshot(k, [], arrays)):
            raise OSError(
                f"`output_dir` must have room for {checkpoint.path}, where "
                "a copy of the network starts. Received: a disk that cannot "
                "be written. Make room, and start again."
            )

    def _train_fork(self, replicate: int, k: int) -> None:
        """Goes on from step k of the first network in another order."""
        states: list[dict[str, np.ndarray]] = []
        before, after = self._seeds(replicate)
        key = fork_key(replicate, k)
        metrics = self._train(
            key,
            seed=train.Fork(before, k, after),
            start_step=k,
            at_rewind_step=(k, lambda: states.append(get_state(self._model))),
        )
        parent = self.digest(Key(replicate, MAIN, 0)) or ""
        self._save(key, states[-1], metrics, parent)

    def _seeds(self, replicate: int) -> tuple[int, int]:
        seed = assembly.replicate_seed(self.config, replicate)
        first = search.level_seed(seed, 0)
        return first, seeds.derive(first, "fork")

    def _checkpoint(self, key: Key) -> train.Checkpoint:
        return assembly.make_checkpoint(
            self.config,
            self._store,
            key,
            notice=self._progress.line,
            required=key.branch != MAIN,
            seeds=self._seeds(key.replicate),
            replicas=self._strategy.num_replicas_in_sync,
        )

    def _train(self, key: Key, *, start_step: int, **how: Any):
        self._name, self._at = str(key), start_step
        trainer = self._trainer
        with self._stop_signals() as self._stopping:
            return trainer(
                self._model,
                level=0,
                start_step=start_step,
                checkpoint=self._checkpoint(key),
                stopping=self._stopping,
                **how,
            )

    def _save(
        self,
        key: Key,
        start: Mapping[str, np.ndarray],
        metrics: dict[str, Any],
        parent: str,
    ) -> None:
        told = provenance.provenance(
            self._values,
            provenance.facts_of(self._info),
            key.replicate,
            key.branch,
        )
        ticket = Ticket.of(
            self._model, rewind=start, config=told, metrics=metrics
        )
        row = {
            "replicate": key.replicate, "branch": key.branch, "level": 0,
            **ticket.metrics,
        }
        self._store.save(key, ticket, self._trainer.rows, row, parent)
        metric = self._info.metric
        reached = metric.text(row[metric.test])
        self._progress.line(f"{key}: test {reached}")
        if number := self._stopping():
            raise train.Stopped(number, self._at, saved=False)

    @functools.cached_property
    def data_set(self) -> data.DataSet:
        """The data; read when they are first asked for."""
        return loading.load_data(self.config)

    @functools.cached_property
    def _trainer(self) -> train.Trainer:
        return assembly.make_trainer(
            self.config,
            self._model,
            self.data_set,
            strategy=self._strategy,
            on_step=self._on_step,
        )

    def _on_step(self, step: int, rows: Any) -> None:
        self._progress.advance(step - self._at)
        self._at = step
        for row in rows:
            if row.split == "validation":
                metric = self._info.metric
                self._progress.status(
                    f"{self._name} step {step} val "
                    f"{metric.text(row.values[metric.name])}"
                )


class _Reached(Exception):
    """The last snapshot that was wanted has been taken."""


class _Keeper:
    """Takes snapshots at some steps; to the trainer a change of no mask."""

    def __init__(
        self,
        steps: Sequence[int],
        keep: Callable[[int, Mapping[str, np.ndarray]], None],
        whole: bool,
    ):
        self._steps, self._keep, self._whole = steps, keep, whole

    def next(self, step: int) -> int | None:
        return min((k for k in self._steps if k >= step), default=None)

    def __call__(self, model: keras.Model, optimizer: Any, step: int) -> None:
        state = train.TrainingState(model, optimizer)
        # That of the rewind step is the state itself: the copy begins here.
        self._keep(step, state.arrays(get_state(model)))
        if not self._whole and step == max(self._steps):
            raise _Reached

    def state(self) -> dict[str, np.ndarray]:
        return {}

    def restore(
        self, state: Mapping[str, np.ndarray], model: keras.Model
    ) -> None:
        pass

"""Iterative magnitude pruning with rewinding inside one `model.fit`."""

from __future__ import annotations

import os
import re
from numbers import Real
from typing import Any

import keras
import numpy as np

from tf_lottery.callbacks.beside import batches_per_update
from tf_lottery.callbacks.beside import check_epoch
from tf_lottery.callbacks.beside import check_execution
from tf_lottery.callbacks.beside import check_stepped
from tf_lottery.callbacks.beside import count_batches
from tf_lottery.callbacks.beside import maximises
from tf_lottery.callbacks.beside import refuse_beside
from tf_lottery.callbacks.beside import require_masked
from tf_lottery.callbacks.gradual import GradualPruning
from tf_lottery.callbacks.journal import Journal
from tf_lottery.callbacks.offset import OffsetSchedule
from tf_lottery.callbacks.rewiring import DynamicSparseTraining
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import reset_optimizer
from tf_lottery.layers import set_state
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import get_pruner
from tf_lottery.search import check_dtypes
from tf_lottery.search import check_search
from tf_lottery.search import prune_level
from tf_lottery.search import pruning_rates
from tf_lottery.step import Step
from tf_lottery.tickets import Ticket

_REFUSED = (
    keras.callbacks.EarlyStopping,
    keras.callbacks.LearningRateScheduler,
    keras.callbacks.ReduceLROnPlateau,
)


class LotteryTicket(keras.callbacks.Callback):
    """Finds winning tickets in one `fit`: train, prune, rewind, repeat.

    Level 0 trains the dense network. At the end of every level its ticket is
    kept, the lowest-scored fraction of the surviving weights is pruned, the
    survivors go back to step k, and the optimizer starts anew; so does its
    learning-rate schedule, at step k. Training ends after the last level, or
    with `fit`'s epochs: give it `(levels + 1) * every` of them.

    A ticket's metrics are the logs of the epoch with which its level ended; a
    level that ended inside an epoch has none but its `steps`.

    With an `output_dir`, tickets and history are written as levels end, and
    `keras.callbacks.BackupAndRestore` beside this callback resumes a killed
    `fit` where its backup was taken.

    Args:
        levels: number of pruning rounds; levels 0 to `levels` are trained.
        every: length of a level: `"10ep"`, or `"500it"` in optimizer updates.
        prune_rate: fraction of the surviving weights that a round removes.
        conv_prune_rate: of convolution kernels; `prune_rate` by default.
        output_prune_rate: of the output layer's kernel; half of `prune_rate`
            by default.
        scope: `"layerwise"`, `"global"`, `"uniform"`, `"erk"` or
            `"smart_ratio"`.
        criterion: a name in `PRUNERS`, or a `Pruner`.
        collapse: `"stop"`, `"floor"` or `"allow"`, for pruning that would
            leave a kernel empty.
        rewind: k, as `"0it"` or `"100it"`; 0 rewinds to the initial weights.
        patience: ends a level early after this many epochs in which `monitor`
            has not improved by more than `min_delta`; None never does.
        monitor: a metric in the logs of `fit`.
        min_delta: least change that counts as improvement.
        mode: `"min"`, `"max"`, or `"auto"`: max for accuracies and AUC.
        output_dir: folder for `level_00/` and so on (tickets) and
            `history.json`; without it both stay in memory.
        seed: of random criteria.
        x: inputs, for criteria that need data.
        y: their targets.

    Attributes:
        tickets: the `Ticket` of every level that has ended.
        history: a dict per level: level, density, kept weights, number of
            epochs and steps, and the logs of every epoch with steps so far.

    Raises:
        ValueError: an argument out of range; in `fit`, a model without masks,
            too few epochs, a `steps_per_execution` that does not divide the
            steps of `every` or `rewind`, or callbacks that prune as well or
            whose state would outlive a level.

    Example:
        >>> from tf_lottery import mask_model
        >>> x = keras.Input((4,))
        >>> model = mask_model(keras.Model(x, keras.layers.Dense(5)(x)))
        >>> model.compile("adam", "mse")
        >>> lottery = LotteryTicket(levels=2, every="1ep", prune_rate=0.4)
        >>> _ = model.fit(np.ones((8, 4)), np.ones((8, 5)), epochs=3,
        ...     verbose=0, callbacks=[lottery])
        >>> [ticket.mask.kept for ticket in lottery.tickets]
        [20, 16, 13]

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 2; Frankle et al.,
        2020, arXiv:1912.05671 (k > 0).
    """

    def __init__(
        self,
        levels: int,
        every: Step | str,
        *,
        prune_rate: float = 0.2,
        conv_prune_rate: float | None = None,
        output_prune_rate: float | None = None,
        scope: str = "layerwise",
        criterion: str | Pruner = "magnitude",
        collapse: str = "stop",
        rewind: Step | str | int = "0it",
        patience: int | None = None,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        mode: str = "auto",
        output_dir: str | os.PathLike | None = None,
        seed: int = 0,
        x: Any = None,
        y: Any = None,
    ):
        super().__init__()
        self.levels = levels
        if not isinstance(every, Step) and not re.search(r"[a-z]", str(every)):
            raise ValueError(
                "`every` must have a unit. Received: "
                f"every={every!r}. Write '{every}ep' for epochs or "
                f"'{every}it' for steps."
            )
        self.every = Step.parse(every, "every")
        self.rewind = Step.parse(rewind, "rewind")
        self.patience = patience
        self.monitor = monitor
        self.min_delta = abs(min_delta)
        self.maximise = maximises(mode, monitor)
        self.collapse = collapse
        self.seed = seed
        self._data = {k: v for k, v in (("x", x), ("y", y)) if v is not None}
        given = "loss", "initial", *self._data
        self._pruner = get_pruner(criterion, given)
        self._rates = {
            "prune_rate": prune_rate,
            "conv_prune_rate": conv_prune_rate,
            "output_prune_rate": output_prune_rate,
            "scope": scope,
        }
        check_search(levels, "rewind", collapse, self.rewind.count)
        if self.every.count < 1 or self.rewind.unit != "it":
            raise ValueError(
                "`every` must be a length and `rewind` a number of steps. "
                f"Received: every={self.every}, rewind={self.rewind}. Write "
                "for example every='10ep', rewind='100it'."
            )
        if patience is not None and patience < 1:
            raise ValueError(
                "`patience` must be a number of epochs. Received: "
                f"patience={patience}. None never ends a level early."
            )
        named = criterion if isinstance(criterion, str) else None
        self._journal = Journal(
            output_dir,
            {
                # Plain numbers: NumPy's do not go into a JSON file.
                "levels": int(levels),
                "every": str(self.every),
                "rewind": str(self.rewind),
                "criterion": named or type(self._pruner).__name__,
                "collapse": collapse,
                "seed": int(seed),
                **{
                    name: float(rate) if isinstance(rate, Real) else rate
                    for name, rate in self._rates.items()
                },
            },
        )
        self._begun = False

    @property
    def tickets(self) -> list[Ticket]:
        """The tickets of the levels that have ended, from level 0."""
        return self._journal.tickets()

    @property
    def history(self) -> list[dict[str, Any]]:
        """A dict per level, from level 0."""
        return self._journal.history()

    def on_train_begin(self, logs=None):
        model = self.model
        require_masked(self, is_masked(model))
        check_dtypes(model)
        refuse_beside(
            self,
            _outlives_a_level,
            "It decides the mask too, or its state would outlive a level. "
            "Use patience for levels that stop early, and a learning-rate "
            "schedule in the optimizer, which starts anew at every level.",
        )
        k = self.rewind.count
        steps = (self.params or {}).get("steps") or 0
        if self.every.unit == "it":
            check_execution(model, "every", self.every.count)
        check_execution(model, "rewind", k)
        batches = batches_per_update(model)
        if self.every.unit == "it" or k * batches > steps:
            check_epoch(self)
        unit = batches if self.every.unit == "it" else steps
        level = self.every.count * unit
        # Of epochs of unknown length it is found on the way.
        if 0 < level <= k * batches:
            raise ValueError(
                "`rewind` must be a step of level 0. Received: rewind="
                f"{self.rewind}, every={self.every}. Rewind to an earlier one."
            )
        rates = pruning_rates(model, **self._rates)
        rates.plan(get_mask(model), self.levels, self.collapse)
        self._check_epochs(0)
        self._planned = rates
        self._offsets = []
        # The first batch, not this, finds what a backup has restored.
        self._begun = False
        self._trained = None

    def _check_epochs(self, first):
        epochs = (self.params or {}).get("epochs")
        steps = (self.params or {}).get("steps")
        # What a level needs of them is only known where it begins.
        epochs = epochs and epochs - first
        needed = (self.levels + 1) * self.every.count
        given = epochs
        if self.every.unit == "it":
            given = epochs * steps if epochs and steps else None
        if given is not None and given < needed and self.patience is None:
            unit = {"ep": "epochs", "it": "steps"}[self.every.unit]
            raise ValueError(
                f"`epochs` must give levels 0 to {self.levels} their {unit}, "
                f"{needed} in all. Received: {given} {unit}. Give fit more "
                "epochs, or fewer levels."
            )

    def on_epoch_begin(self, epoch, logs=None):
        self._go_on(epoch)
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self._go_on(self._epoch)

    def _go_on(self, epoch):
        model = self.model
        self._catch_up(model, epoch)
        journal = self._journal
        if journal.level_ended and journal.level < self.levels:
            self._next_level(model, epoch)

    def _catch_up(self, model, epoch):
        """Begins, takes the rewind state, or ends a level that is over."""
        journal = self._journal
        step = int(np.asarray(model.optimizer.iterations))
        if not self._begun:
            self._begun = True
            self._batches = count_batches(model)
            if not journal.resume(model, step, epoch, self.rewind.count):
                self._check_epochs(epoch)
                journal.begin(model, step, epoch)
            if self.rewind.count + journal.start:
                self._offsets = OffsetSchedule.install(model)
            self._set_offsets(model)
            if journal.level_ended and journal.level == self.levels:
                self._stop(model)
        step -= journal.base
        if journal.rewind_state is None and step >= self.rewind.count:
            self._check_missed("rewind", step, self.rewind.count)
            journal.take_rewind(model)
        over = self._is_over(step, epoch)
        # A kill may have come between the end of an epoch and that of the
        # level, so both ways of ending are looked at again.
        if not journal.level_ended and (over or self._has_stalled()):
            if over and self.every.unit == "it":
                self._check_missed("every", step, self.every.count)
            self._end_level(model, step)

    def _is_over(self, step, epoch):
        """Whether the level has had its steps, or epochs before this one."""
        epochs = epoch - self._journal.first_epoch
        return self.every.count <= (
            step if self.every.unit == "it" else epochs
        )

    def _set_offsets(self, model):
        offset = 0
        if self._journal.level:
            # Schedules count batches, where gradients are accumulated too.
            offset = self.rewind.count + self._journal.start
            offset *= batches_per_update(model)
        for schedule in self._offsets:
            schedule.set(offset)

    def _check_missed(self, name, step, due):
        if step > due:
            raise ValueError(
                "`steps_per_execution` must divide every level, and the steps "
                f"of an epoch. Received: {name} due at step {due}, and step "
                f"{step}. Compile with one that divides both."
            )

    def on_epoch_end(self, epoch, logs=None):
        model = self.model
        journal = self._journal
        check_stepped(model, self._batches)
        # From the second epoch on the count is known to move.
        self._batches = -1
        if logs is not None:
            logs["sparsity"] = get_mask(model).sparsity
        if journal.level_ended:
            return
        step = int(np.asarray(model.optimizer.iterations)) - journal.base
        journal.add_epoch(epoch, step, logs)
        if self._is_over(step, epoch + 1) or self._has_stalled():
            self._end_level(model, step)

    def on_train_end(self, logs=None):
        if not self._begun:
            # A backup of the last epoch has left nothing to train.
            self._catch_up(self.model, self.params["epochs"])
        # A level that ends inside an epoch is followed by one more step
        # before `fit` stops.
        if self._trained is not None:
            set_state(self.model, self._trained)

    def _has_stalled(self):
        if self.patience is None:
            return False
        rows = self._journal.epochs
        # `validation_freq` leaves epochs without validation.
        values = [row[self.monitor] for row in rows if self.monitor in row]
        if len(rows) >= self.patience and not values:
            raise ValueError(
                "`monitor` must be a metric of the epochs. Received: "
                f"monitor={self.monitor!r}, and {', '.join(rows[-1])}. Give "
                "fit validation data, at least once in patience epochs, or "
                "name one of these."
            )
        values = [-value if self.maximise else value for value in values]
        best, since = np.inf, 0
        for value in values:
            improved = value < best - self.min_delta
            best, since = (value, 0) if improved else (best, since + 1)
        return since >= self.patience

    def _end_level(self, model, step):
        # As at the end of a `fit`: moving averages become the weights.
        model.optimizer.finalize_variable_values(model.trainable_variables)
        ticket = self._journal.end_level(model, step)
        if (self.params or {}).get("verbose"):
            mask = ticket.mask
            print(
                f"\nLevel {ticket.level} of {self.levels} has ended after "
                f"{step} steps: {mask.kept:,} of {mask.size:,} weights kept "
                f"({100 * mask.density:.1f} %)."
            )
        if ticket.level == self.levels:
            self._stop(model)

    def _stop(self, model):
        model.stop_training = True
        self._trained = get_state(model)

    def _next_level(self, model, epoch):
        prune_level(
            model, self._journal.level + 1, self._planned, self._pruner,
            self.seed, self.collapse, initial=self._journal.rewind_state,
            **self._data,
        )
        set_state(model, self._journal.rewind_state)
        reset_optimizer(model.optimizer, model)
        # The means of an epoch that two levels share are of the later one.
        model.reset_metrics()
        # Its count has moved, and starts anew.
        self._batches = -1
        self._journal.start_level(model, epoch)
        self._set_offsets(model)


def _outlives_a_level(callback):
    if isinstance(callback, keras.callbacks.SwapEMAWeights):
        return callback.swap_on_epoch
    pruners = (DynamicSparseTraining, GradualPruning, LotteryTicket)
    return isinstance(callback, (*_REFUSED, *pruners))

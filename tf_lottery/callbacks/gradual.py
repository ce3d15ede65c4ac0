"""Gradual magnitude pruning inside `model.fit`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tf_lottery.callbacks.beside import check_epoch
from tf_lottery.callbacks.beside import check_execution
from tf_lottery.callbacks.beside import check_stepped
from tf_lottery.callbacks.beside import count_batches
from tf_lottery.callbacks.beside import refuse_beside
from tf_lottery.callbacks.beside import require_masked
from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.masks import check_emptied
from tf_lottery.masks import check_target
from tf_lottery.masks import counts_at_most
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import get_pruner
from tf_lottery.search import prune_to


class GradualPruning(keras.callbacks.Callback):
    """Prunes a masked model while it is trained, along a schedule.

    After t updates the schedule is asked for step t, from the 0 updates of a
    new optimizer on; where it says so, the model is pruned to the sparsity
    that it gives. A pruned weight stays pruned, exactly 0, as does its
    optimizer state. The step is the optimizer's own count of updates, so
    training that is resumed goes on along the schedule. `fit` shows the
    sparsity as a metric of the epoch.

    Args:
        schedule: any callable `step -> (should_prune, sparsity)`:
            `schedules.PolynomialDecay`, `schedules.ConstantSparsity`, or a
            `PruningSchedule` of the TensorFlow Model Optimization toolkit.
        criterion: a name in `PRUNERS`, or a `Pruner`.
        scope: `"uniform"` prunes every kernel alike, as that toolkit does;
            `"global"` ranks all weights together; `"erk"`, `"smart_ratio"`.
        collapse: `"stop"`, `"floor"` or `"allow"`, for pruning that would
            leave a kernel empty.
        seed: of random criteria.
        x: inputs, for criteria that need data.
        y: their targets.

    Raises:
        ValueError: an unknown name; in `fit`, a model without masks, a
            `steps_per_execution` that misses a step of the schedule, or an
            `EarlyStopping` that would bring a denser mask back.

    Example:
        >>> from tf_lottery import mask_model, schedules
        >>> x = keras.Input((4,))
        >>> model = mask_model(keras.Model(x, keras.layers.Dense(5)(x)))
        >>> model.compile("adam", "mse")
        >>> schedule = schedules.PolynomialDecay(
        ...     0.0, 0.8, begin_step=0, end_step=4, frequency=2)
        >>> history = model.fit(
        ...     np.ones((12, 4)), np.ones((12, 5)), batch_size=2, verbose=0,
        ...     callbacks=[GradualPruning(schedule)])
        >>> history.history["sparsity"]
        [0.8]

    Reference:
        Zhu and Gupta, To prune, or not to prune, 2017, arXiv:1710.01878.
    """

    def __init__(
        self,
        schedule: Callable[[int], tuple[Any, Any]],
        criterion: str | Pruner = "magnitude",
        *,
        scope: str = "uniform",
        collapse: str = "stop",
        seed: int = 0,
        x: Any = None,
        y: Any = None,
    ):
        super().__init__()
        if not callable(schedule):
            raise TypeError(
                "`schedule` must be a callable step -> (should_prune, "
                f"sparsity). Received: schedule={schedule!r}. Use one of "
                "tf_lottery.schedules."
            )
        self._data = {k: v for k, v in (("x", x), ("y", y)) if v is not None}
        self._pruner = get_pruner(criterion, ("loss", *self._data))
        check_target(0.0, scope, collapse)
        self.schedule = schedule
        self.criterion = criterion
        self.scope = scope
        self.collapse = collapse
        self.seed = seed
        self._asked: int | None = None
        # Of an epoch without a batch nothing is said.
        self._batches = -1
        self._training = False

    def on_train_begin(self, logs=None):
        model = self.model
        require_masked(self, is_masked(model))
        for name in ("begin_step", "frequency"):
            check_execution(model, name, getattr(self.schedule, name, 0))
        if hasattr(self.schedule, "frequency"):
            check_epoch(self)
        refuse_beside(
            self,
            _changes_masks,
            "It would change the mask too: let EarlyStopping not restore the "
            "best weights, and use one schedule.",
        )
        self._check_last(get_mask(model))
        # A callback that restores a backup may come after this one.
        self._asked = None
        self._training = True

    def _check_last(self, mask):
        """Finds a kernel that will be emptied before it is, where it can."""
        last = getattr(self.schedule, "final_sparsity", None)
        last = getattr(self.schedule, "target_sparsity", last)
        if last is None or self.collapse != "stop":
            return
        counts = counts_at_most(mask, float(last), self.scope)
        if isinstance(counts, Mapping):
            check_emptied(counts, mask.kept_by_path)

    def on_train_batch_begin(self, batch, logs=None):
        self._prune_if_due()

    def on_test_begin(self, logs=None):
        # The validation of an epoch sees what its last step left to prune.
        if self._training:
            self._prune_if_due()

    def on_epoch_end(self, epoch, logs=None):
        check_stepped(self.model, self._batches)
        self._prune_if_due()
        if logs is not None:
            logs["sparsity"] = get_mask(self.model).sparsity

    def on_train_end(self, logs=None):
        self._training = False
        step = int(np.asarray(self.model.optimizer.iterations))
        last = getattr(self.schedule, "end_step", 0)
        if step < last and (self.params or {}).get("verbose"):
            print(
                f"GradualPruning: training stopped at step {step} of the "
                f"schedule's {last}, at sparsity "
                f"{get_mask(self.model).sparsity:.2f}. Train on, or give the "
                "schedule an earlier end_step."
            )

    def _prune_if_due(self):
        # Under JAX reading `self.model` brings its state up to date.
        model = self.model
        step = int(np.asarray(model.optimizer.iterations))
        if self._asked is None:
            self._asked = step - 1
            self._batches = count_batches(model)
        # Accumulated gradients make several batches one step.
        for asked in range(self._asked + 1, step + 1):
            due, sparsity = self._ask(asked)
            if not due:
                continue
            if asked < step:
                raise ValueError(
                    "`steps_per_execution` must divide every step at which "
                    "weights are pruned, and the steps of an epoch. Received:"
                    f" steps_per_execution={model.steps_per_execution}, and "
                    f"step {asked} of the schedule inside an execution. "
                    "Compile with one that divides both."
                )
            self._prune(model, sparsity)
        self._asked = max(step, self._asked)

    def _ask(self, step):
        answer = self.schedule(step)
        try:
            due, sparsity = answer
            return bool(np.asarray(due)), float(np.asarray(sparsity))
        except (TypeError, ValueError) as error:
            raise TypeError(
                "`schedule` must return a pair (should_prune, sparsity). "
                f"Received: {answer!r} at step {step}. Return for example "
                "(step % 100 == 0, 0.5)."
            ) from error

    def _prune(self, model, sparsity):
        check_target(sparsity, self.scope, self.collapse)
        prune_to(
            model, sparsity, self._pruner, self.scope,
            seed=self.seed, collapse=self.collapse, **self._data,
        )


def _changes_masks(callback):
    if isinstance(callback, keras.callbacks.EarlyStopping):
        return callback.restore_best_weights
    return isinstance(callback, GradualPruning)

"""The training engine: many optimizer steps per call, compiled once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery import seeds
from tf_lottery.layers import apply_masks
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.train.checkpoint import Checkpoint
from tf_lottery.train.checkpoint import Snapshot
from tf_lottery.train.evaluate import Evaluation
from tf_lottery.train.evaluate import Evaluator
from tf_lottery.train.evaluate import Measure
from tf_lottery.train.evaluate import check_finite
from tf_lottery.train.evaluate import summarize
from tf_lottery.train.feed import DeviceFeed
from tf_lottery.train.feed import HostFeed
from tf_lottery.train.feed import on_host
from tf_lottery.train.losses import example_loss
from tf_lottery.train.optimizers import DECOUPLED
from tf_lottery.train.optimizers import OptimizerSnapshot
from tf_lottery.train.optimizers import make_optimizer
from tf_lottery.train.order import DataOrder
from tf_lottery.train.order import Seed
from tf_lottery.train.replicas import ReplicaCheck
from tf_lottery.train.replicas import seed_generators
from tf_lottery.train.settings import TrainingSettings
from tf_lottery.train.signals import Stopped
from tf_lottery.train.state import Change
from tf_lottery.train.state import TrainingState
from tf_lottery.train.steps import compile_steps
from tf_lottery.train.strategy import xla_scope
from tf_lottery.train.workers import Workers


# A compiled call is to last about this long: so often the progress is told,
# a checkpoint can be written and a signal is heeded.
_CALL_SECONDS = 2.0
# Longest call, in steps: what its arrays of examples and rates hold.
_CALL_STEPS = 1000


class Trainer:
    """Trains one model again and again.

    The data live on the device, or on the host where they are too large for
    that. Between evaluations the steps run inside one compiled loop, which is
    traced once and serves every level, branch and replicate: weights and
    masks are variables, and the data, their order and the learning rates of
    the steps are passed in.

    Training ends after exactly `train_steps` steps; early stopping is decided
    afterwards, as the step of the minimum validation loss.

    Args:
        model: a built model, created in the scope of `strategy`.
        splits: `{"train": (x, y), "validation": ..., "test": ...}`; `x` as
            stored (for example uint8 images), `y` integer labels, one or,
            of a sequence, many per example.
        settings: `TrainingSettings`.
        preprocess: from a batch of stored examples to the model's inputs, in
            TensorFlow operations.
        strategy: a `tf.distribute.Strategy`; one device by default.
        measure: what an evaluation tells; loss and accuracy by default.
        augment: changes the stored examples of a training batch, as a
            function of seed and step; `data.FlipCrop` for example.
        on_step: called with `(step, rows)` after every compiled call, where
            `rows` are the evaluations made there.

    Raises:
        ValueError: the batch does not divide over the replicas, or is larger
            than the training set; a split is missing, or has other labels
            than classes of the model; `eval_every` is 0.

    Example:
        >>> from tf_lottery import Step
        >>> x = np.random.default_rng(0).normal(size=(64, 4)).astype("f")
        >>> data = (x, (x[:, 0] > 0).astype("int32"))
        >>> net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
        >>> trainer = Trainer(
        ...     net, dict.fromkeys(["train", "validation", "test"], data),
        ...     TrainingSettings(train_steps=Step(50), batch_size=16))
        >>> trainer(net, level=0, seed=0)["train_steps"]
        50
    """

    def __init__(
        self,
        model: keras.Model,
        splits: Mapping[str, tuple[np.ndarray, np.ndarray]],
        settings: TrainingSettings = TrainingSettings(),
        *,
        preprocess: Callable = lambda x: tf.cast(x, tf.float32),
        strategy: tf.distribute.Strategy | None = None,
        measure: Measure = Measure(),
        augment: Any = None,
        on_step: Callable[[int, Sequence[Evaluation]], None] | None = None,
    ):
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "`KERAS_BACKEND` must be tensorflow for training here. "
                f"Received: KERAS_BACKEND={keras.backend.backend()}. Use "
                "find_tickets with a training function of your own."
            )
        self.model = model
        self.settings = settings
        self.on_step = on_step or (lambda step, rows: None)
        self._strategy = strategy or tf.distribute.get_strategy()
        splits = settings.check(splits, model, self._strategy)
        x, y = splits["train"]
        self._order = DataOrder(len(x), settings.batch_size)
        self.steps_per_epoch = self._order.steps_per_epoch
        self.train_steps = settings.train_steps.steps(self.steps_per_epoch)
        self._eval_every = settings.eval_every.steps(self.steps_per_epoch)
        # Never longer than the training: a call's arrays are of this length.
        longest = max(1, min(self._eval_every, self.train_steps, _CALL_STEPS))
        self._workers = Workers(self._strategy)
        # Where one has no room, all stream: they must take the same calls.
        host = any(
            self._workers.exchange(on_host(settings.data_placement, splits))
        )
        feed: Any = HostFeed if host else DeviceFeed
        self._feed = feed(x, y, self._order, self._strategy, longest)
        # How long a step takes shows in the first call, of one step.
        self._call_steps = 1
        self.loss = example_loss(model)
        with self._strategy.scope():
            self._optimizer = make_optimizer(
                settings.optimizer,
                learning_rate=settings.learning_rate.base,
                momentum=settings.momentum,
                weight_decay=settings.weight_decay,
            )
            self._optimizer.build(model.trainable_variables)
        self._fresh = OptimizerSnapshot(self._optimizer)
        self._state = TrainingState(model, self._optimizer)
        self._compiled = False
        jit = self._jit = xla_scope(settings.jit, model, self._strategy)
        decoupled = settings.optimizer in DECOUPLED
        self._run = compile_steps(
            model,
            self._optimizer,
            self.loss,
            batch_size=settings.batch_size,
            preprocess=preprocess,
            strategy=self._strategy,
            augment=augment,
            weight_decay=0.0 if decoupled else settings.weight_decay,
            scale_l1=settings.scale_l1,
            jit=jit,
        )
        self._metric = measure.metric
        self._evaluate = Evaluator(
            model, self.loss, preprocess, measure=measure, jit=jit == "loop"
        )
        self._staged = {
            k: self._evaluate.stage(*v, host=host) for k, v in splits.items()
        }
        self._check_replicas = ReplicaCheck(model, self._strategy)

    def __call__(
        self,
        model: keras.Model,
        *,
        level: int,
        seed: Seed,
        start_step: int = 0,
        at_rewind_step: tuple[int, Callable[[], None]] | None = None,
        last_rate: bool = False,
        change: Change | None = None,
        checkpoint: Checkpoint | None = None,
        stopping: Callable[[], int] = lambda: 0,
    ) -> dict[str, Any]:
        """Trains the model, in place, from `start_step` to the last step.

        The optimizer starts new; the learning rate is that of `start_step`.
        Where `checkpoint` has a snapshot of this training, it goes on from
        there instead, to the very same end.

        Args:
            model: the trainer's own model, holding the weights to start from.
            level: pruning level, for messages.
            seed: of the data order and of the model's seed generators.
            start_step: where in the schedule and the data order to start.
            at_rewind_step: `(k, callback)`; the callback is called when the
                model has taken k steps.
            last_rate: train at the schedule's last learning rate throughout
                (fine-tuning).
            change: changes the mask on the way.
            checkpoint: where to keep snapshots, and to look for one.
            stopping: asked after every compiled call; another answer than 0
                ends the training, with a snapshot.

        Returns:
            `train_steps`, and loss and metric at the end and at early
            stopping, under the column names of results.csv. The evaluations
            themselves are in `rows`, and how long it took, over all its
            parts where it was cut off, in `seconds`; `changes` has a step and
            the counts from then on, for the first one and for every change of
            the mask.

        Raises:
            RuntimeError: a loss is not finite, or the replicas do not hold
                the same masks and weights.
            Stopped: `stopping` said so.
            ValueError: another model, or `start_step` after the last step.
        """
        if model is not self.model:
            raise ValueError(
                "`model` must be the model that this trainer was made for. "
                f"Received: model {model.name!r}. Assign its weights instead."
            )
        if not 0 <= start_step <= self.train_steps:
            raise ValueError(
                f"`start_step` must be between 0 and the {self.train_steps} "
                f"steps of training. Received: start_step={start_step}. Train "
                "for more steps."
            )
        self._check_replicas()
        if is_masked(model):
            # The loop relies on it, and the weights may be the caller's.
            apply_masks(model)
        self._fresh.restore()
        seed_generators(model, seed, self._strategy, restart=True)
        self.rows: list[Evaluation] = []
        self.changes: list[tuple[int, dict[str, int]]] = []
        if is_masked(model):
            self.changes = [(start_step, get_mask(model).kept_by_path)]
        self._rewound: dict[str, np.ndarray] = {}
        step = start_step
        self._compile(step, seed)
        started = time.monotonic()
        snapshot = None
        if checkpoint:
            snapshot = checkpoint.load(
                lambda found: start_step <= found.step <= self.train_steps
                and self._state.fits(
                    found,
                    rewound=bool(
                        at_rewind_step and found.step >= at_rewind_step[0]
                    ),
                    same_masks=change is None,
                )
            )
        seen = self._workers.exchange(snapshot and snapshot.step)
        if checkpoint and len(set(seen)) > 1:
            checkpoint.refuse(f"not of one step on all workers ({seen})")
            snapshot = None
        if snapshot:
            self.rows = list(snapshot.rows)
            self.changes = list(snapshot.changes)
            self._rewound = self._state.put(
                snapshot, at_rewind_step, change
            )
            # All workers have read the same, or none may go on.
            self._check_replicas()
            seed_generators(model, seed, self._strategy, restart=False)
            step = snapshot.step
            started -= snapshot.seconds
            self.on_step(step, self.rows)
        else:
            self._arrive(step, level, at_rewind_step, change)
        while step < self.train_steps:
            stop = self._next_stop(step, at_rewind_step, change)
            began = time.monotonic()
            loss = self.advance(step, stop, seed=seed, last_rate=last_rate)
            rate = (time.monotonic() - began) / (stop - step)
            steps = max(1, int(_CALL_SECONDS / max(rate, 1e-6)))
            when = f"between steps {step} and {stop}"
            check_finite(loss, "training", level, when)
            step = stop
            self._arrive(step, level, at_rewind_step, change)
            number = stopping() if step < self.train_steps else 0
            due = bool(checkpoint and checkpoint.due())
            # Clocks and signals are not the same everywhere.
            wishes = self._workers.exchange([steps, number])
            self._call_steps = min(wish[0] for wish in wishes)
            number = max(wish[1] for wish in wishes)
            saved = False
            if checkpoint and (number or due) and self._workers.chief:
                seconds = time.monotonic() - started
                rows = list(self.rows)
                arrays = self._state.arrays(self._rewound, change)
                saved = checkpoint.save(
                    Snapshot(step, rows, arrays, seconds, list(self.changes))
                )
            if number:
                raise Stopped(number, step, saved)
        self.seconds = time.monotonic() - started
        steps = self.train_steps - start_step
        return {"train_steps": steps, **summarize(self.rows, self._metric)}

    def evaluate(self, level: int) -> dict[str, Any]:
        """Evaluates the model as it is, and trains no weight.

        The moving statistics of BatchNormalization are taken anew.

        Args:
            level: pruning level, for messages.

        Returns:
            As a training of no step; `rows`, `seconds` and `changes` too.

        Raises:
            RuntimeError: a loss is not finite.
        """
        started = time.monotonic()
        self.changes = []
        self.rows = self._evaluate.untrained(self._staged)
        for row in self.rows:
            check_finite(row.loss, row.split, level, "without training")
        self.seconds = time.monotonic() - started
        found = summarize(self.rows, self._metric)
        # Nothing was going to get better.
        return {"train_steps": 0, **found, "early_stop_censored": False}

    def _compile(self, step: int, seed: Seed) -> None:
        """Compiles, so that the first training seems to take no longer."""
        if self._compiled or step >= self.train_steps:
            return
        self._compiled = True
        self._call(0, step, step + 1, seed, False)
        if self._jit == "loop":
            # Dense networks: evaluating takes less than compiling that.
            for staged in self._staged.values():
                self._evaluate(staged)

    def _arrive(self, step: int, level: int, at_rewind_step, change) -> None:
        """Does what is due when the model has taken `step` steps."""
        if change and step < self.train_steps and change.next(step) == step:
            change(self.model, self._optimizer, step)
            self._check_replicas()
            self.changes.append((step, get_mask(self.model).kept_by_path))
        if at_rewind_step and step == at_rewind_step[0]:
            self._rewound = get_state(self.model)
            at_rewind_step[1]()
        splits: tuple[str, ...] = ()
        if step % self._eval_every == 0 or step == self.train_steps:
            splits = ("validation", "test")
        if step == self.train_steps:
            splits = (*splits, "train")
        new = [self._evaluate.row(step, k, self._staged[k]) for k in splits]
        for row in new:
            check_finite(row.loss, row.split, level, f"at step {step}")
        self.rows += new
        self.on_step(step, new)

    def _next_stop(self, step, at_rewind_step, change) -> int:
        stops = [(step // self._eval_every + 1) * self._eval_every]
        stops += [self.train_steps]
        stops += [step + self._call_steps, self._feed.end(step)]
        if at_rewind_step and at_rewind_step[0] > step:
            stops.append(at_rewind_step[0])
        if change and (due := change.next(step + 1)) is not None:
            stops.append(due)
        return min(stops)

    def advance(
        self, start: int, stop: int, *, seed: Seed, last_rate: bool = False
    ) -> float:
        """Takes the steps from `start` to `stop` in one compiled call.

        Args:
            start: first step.
            stop: one past the last step; at most `eval_every` and 1,000
                further, and of data on the host in the block of `start`.
            seed: of the data order.
            last_rate: as in `__call__`.

        Returns:
            The mean training loss of these steps.
        """
        total = self._call(stop - start, start, stop, seed, last_rate)
        return float(total) / (stop - start)

    def _call(self, count: int, start, stop, seed, last_rate) -> tf.Tensor:
        fed = self._feed(start, stop, seed)
        # Padded to one length, so that one compiled loop serves all calls.
        rates = np.zeros(self._feed.length, np.float32)
        last = self.train_steps - 1
        rates[: stop - start] = self.settings.learning_rate.values(
            *((last, last + 1) if last_rate else (start, stop)),
            total=self.train_steps,
            steps_per_epoch=self.steps_per_epoch,
        )
        return self._run(
            *fed,
            tf.constant(rates),
            tf.constant(count), tf.constant(start),
            tf.constant(seeds.derive(seed, "augment")),
        )

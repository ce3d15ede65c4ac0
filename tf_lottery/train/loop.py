"""The training engine: many optimizer steps per call, compiled once."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery import seeds
from tf_lottery.schedules import LearningRate
from tf_lottery.step import Step
from tf_lottery.train.evaluate import Evaluation
from tf_lottery.train.evaluate import Evaluator
from tf_lottery.train.evaluate import summarize
from tf_lottery.train.optimizers import DECOUPLED
from tf_lottery.train.optimizers import OptimizerSnapshot
from tf_lottery.train.optimizers import make_optimizer
from tf_lottery.train.strategy import use_xla


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained; the same at every level and branch.

    Args:
        train_steps: the whole budget, of which training from step k uses the
            steps from k on.
        batch_size: examples per step, over all replicas.
        eval_every: between evaluations on the validation and test sets.
        optimizer: name of the optimizer.
        learning_rate: schedule.
        momentum: of `sgd`.
        weight_decay: coefficient of L2 regularisation (decoupled for adamw).
        jit: `"auto"`, `"on"` or `"off"`.
    """

    train_steps: Step = Step(3000)
    batch_size: int = 60
    eval_every: Step = Step(100)
    optimizer: str = "adam"
    learning_rate: LearningRate = LearningRate(1.2e-3)
    momentum: float = 0.9
    weight_decay: float = 0.0
    jit: str = "auto"


class Trainer:
    """Trains one model again and again on data that lives on the device.

    Between evaluations the steps run inside one compiled loop, which is
    traced once and serves every level, branch and replicate: weights and
    masks are variables, and the data order and the learning rates of the
    steps are passed in as arrays.

    Training ends after exactly `train_steps` steps; early stopping is decided
    afterwards, as the step of the minimum validation loss.

    Args:
        model: a built model, created in the scope of `strategy`.
        splits: `{"train": (x, y), "validation": ..., "test": ...}`; `x` as
            stored (for example uint8 images), `y` integer labels.
        settings: `TrainingSettings`.
        preprocess: from a batch of stored examples to the model's inputs, in
            TensorFlow operations.
        strategy: a `tf.distribute.Strategy`; one device by default.
        on_step: called with `(step, rows)` after every compiled call, where
            `rows` are the evaluations made there.

    Raises:
        ValueError: the batch does not divide over the replicas, or is larger
            than the training set; a split is missing; `eval_every` is 0.

    Example:
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
        self._x, self._y = map(tf.constant, splits["train"])
        self._size = int(self._x.shape[0])
        self._last_order: tuple[Any, np.ndarray] = (None, np.zeros(0))
        self._check_settings(splits)
        self.steps_per_epoch = self._size // settings.batch_size
        self.train_steps = settings.train_steps.steps(self.steps_per_epoch)
        # Never longer than the training: a call's arrays are of this length.
        self._eval_every = min(
            settings.eval_every.steps(self.steps_per_epoch),
            max(self.train_steps, 1),
        )
        self._loss = keras.losses.SparseCategoricalCrossentropy(
            from_logits=not _gives_probabilities(model), reduction=None
        )
        with self._strategy.scope():
            self._optimizer = make_optimizer(
                settings.optimizer,
                learning_rate=settings.learning_rate.base,
                momentum=settings.momentum,
                weight_decay=settings.weight_decay,
            )
            self._optimizer.build(model.trainable_variables)
        self._fresh = OptimizerSnapshot(self._optimizer)
        jit = use_xla(settings.jit, model, self._strategy)
        self._run = self._compile(preprocess, jit)
        self._evaluate = Evaluator(model, self._loss, preprocess, jit=jit)
        self._staged = {k: self._evaluate.stage(*v) for k, v in splits.items()}

    def __call__(
        self,
        model: keras.Model,
        *,
        level: int,
        seed: int,
        start_step: int = 0,
        at_rewind_step: tuple[int, Callable[[], None]] | None = None,
        last_rate: bool = False,
    ) -> dict[str, Any]:
        """Trains the model, in place, from `start_step` to the last step.

        The optimizer starts new; the learning rate is that of `start_step`.

        Args:
            model: the trainer's own model, holding the weights to start from.
            level: pruning level, for messages.
            seed: of the data order and of the model's seed generators.
            start_step: where in the schedule and the data order to start.
            at_rewind_step: `(k, callback)`; the callback is called when the
                model has taken k steps.
            last_rate: train at the schedule's last learning rate throughout
                (fine-tuning).

        Returns:
            `train_steps`, and loss and accuracy at the end and at early
            stopping, under the column names of results.csv. The evaluations
            themselves are in `rows`.

        Raises:
            RuntimeError: a loss is not finite.
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
        self._fresh.restore()
        self._seed_generators(seed)
        self.rows: list[Evaluation] = []
        step = start_step
        while True:
            if at_rewind_step and step == at_rewind_step[0]:
                at_rewind_step[1]()
            new = []
            if step % self._eval_every == 0 or step == self.train_steps:
                for split in ("validation", "test"):
                    new.append(self._evaluation(step, split))
            if step == self.train_steps:
                new.append(self._evaluation(step, "train"))
            for row in new:
                _check_finite(row.loss, row.split, level, f"at step {step}")
            self.rows += new
            self.on_step(step, new)
            if step == self.train_steps:
                break
            stop = self._next_stop(step, at_rewind_step)
            loss = self.advance(step, stop, seed=seed, last_rate=last_rate)
            when = f"between steps {step} and {stop}"
            _check_finite(loss, "training", level, when)
            step = stop
        steps = self.train_steps - start_step
        return {"train_steps": steps, **summarize(self.rows)}

    def _check_settings(self, splits: Mapping[str, Any]) -> None:
        missing = {"validation", "test"} - set(splits)
        if missing:
            raise ValueError(
                "`splits` must hold train, validation and test. Received: "
                f"splits={sorted(splits)}. Add {', '.join(sorted(missing))}."
            )
        if self.settings.eval_every.count == 0:
            raise ValueError(
                "`eval_every` must be at least one step. Received: "
                f"eval_every={self.settings.eval_every}. Use for example "
                "'100it'."
            )
        batch = self.settings.batch_size
        replicas = self._strategy.num_replicas_in_sync
        if not 0 < batch <= self._size:
            raise ValueError(
                "`batch_size` must be between 1 and the number of training "
                f"examples. Received: batch_size={batch} for {self._size} "
                "examples. Choose a smaller batch."
            )
        if batch % replicas:
            raise ValueError(
                f"`batch_size` must be a multiple of the {replicas} replicas."
                f" Received: batch_size={batch}. It is the global batch."
            )

    def _next_stop(self, step, at_rewind_step) -> int:
        stops = [(step // self._eval_every + 1) * self._eval_every]
        stops += [self.train_steps]
        if at_rewind_step and at_rewind_step[0] > step:
            stops.append(at_rewind_step[0])
        return min(stops)

    def _evaluation(self, step: int, split: str) -> Evaluation:
        return Evaluation(step, split, *self._evaluate(self._staged[split]))

    def _seed_generators(self, seed: int) -> None:
        """Dropout's randomness is a function of the seed, like the data's."""
        weights = {id(v) for v in self.model.weights}
        states = [v for v in self.model.variables if id(v) not in weights]
        for i, state in enumerate(states):
            value = np.zeros(state.shape, state.dtype)
            value[0] = seeds.derive(seed, "generator", i)
            state.assign(value)

    def advance(
        self, start: int, stop: int, *, seed: int, last_rate: bool = False
    ) -> float:
        """Takes the steps from `start` to `stop` in one compiled call.

        Args:
            start: first step.
            stop: one past the last step; at most `eval_every` further.
            seed: of the data order.
            last_rate: as in `__call__`.

        Returns:
            The mean training loss of these steps.
        """
        # Padded to one length, so that one compiled loop serves all calls.
        length = self._eval_every
        order = np.zeros((length, self.settings.batch_size), np.int32)
        order[: stop - start] = self._batches(start, stop, seed)
        rates = np.zeros(length, np.float32)
        last = self.train_steps - 1
        rates[: stop - start] = self.settings.learning_rate.values(
            *((last, last + 1) if last_rate else (start, stop)),
            total=self.train_steps,
            steps_per_epoch=self.steps_per_epoch,
        )
        total = self._run(
            tf.constant(order), tf.constant(rates), tf.constant(stop - start)
        )
        return float(total) / (stop - start)

    def _order(self, seed: int, epoch: int) -> np.ndarray:
        # Kept: an epoch is longer than a call, and sorting takes time.
        if self._last_order[0] != (seed, epoch):
            order = seeds.permutation(self._size, seed, "order", epoch)
            self._last_order = ((seed, epoch), order)
        return self._last_order[1]

    def _batches(self, start: int, stop: int, seed: int) -> np.ndarray:
        per_epoch = self.steps_per_epoch
        batch = self.settings.batch_size
        parts = []
        for epoch in range(start // per_epoch, (stop - 1) // per_epoch + 1):
            order = self._order(seed, epoch)[: per_epoch * batch]
            order = order.reshape(per_epoch, batch)
            low = max(start - epoch * per_epoch, 0)
            parts.append(order[low : stop - epoch * per_epoch])
        return np.concatenate(parts)

    def _compile(self, preprocess: Callable, jit: bool) -> Callable:
        model, optimizer, strategy = self.model, self._optimizer, self._strategy
        replicas = strategy.num_replicas_in_sync
        batch = self.settings.batch_size
        local = batch // replicas
        decay = self.settings.weight_decay
        if self.settings.optimizer in DECOUPLED:
            decay = 0.0

        def one_step(index):
            replica = tf.distribute.get_replica_context()
            first = replica.replica_id_in_sync_group * local
            index = index[first : first + local] if replicas > 1 else index
            x = preprocess(tf.gather(self._x, index))
            y = tf.gather(self._y, index)
            weights = model.trainable_variables
            with tf.GradientTape() as tape:
                outputs = tf.cast(model(x, training=True), tf.float32)
                # The optimizer sums gradients over replicas, so each gives
                # its share of the mean over the global batch.
                loss = tf.reduce_sum(self._loss(y, outputs)) / batch
                for extra in model.losses:
                    loss += tf.cast(extra, tf.float32) / replicas
            gradients = tape.gradient(loss, weights)
            if decay:
                gradients = [
                    g
                    if g is None
                    else g + decay / replicas * tf.cast(w.value, g.dtype)
                    for g, w in zip(gradients, weights)
                ]
            optimizer.apply(gradients, weights)
            return loss

        # A function of its own: a name first bound inside a loop becomes a loop
        # variable of AutoGraph's, which XLA refuses ("loop condition should
        # be (pred[])").
        def loop_body(index, rate):
            optimizer.learning_rate = rate
            losses = strategy.run(one_step, args=(index,))
            return strategy.reduce("SUM", losses, axis=None)

        @tf.function(jit_compile=jit)
        def run(order, rates, count):
            total = tf.zeros(())
            for i in tf.range(count):
                total += loop_body(order[i], rates[i])
            return total

        return run


def _check_finite(loss: float, name: str, level: int, when: str) -> None:
    if not math.isfinite(loss):
        raise RuntimeError(
            f"The {name} loss must stay finite. Received: loss={loss} at level "
            f"{level} {when}. Lower --learning_rate, or add --warmup; finished "
            "levels are kept."
        )


def _gives_probabilities(model: keras.Model) -> bool:
    last = model.layers[-1]
    if isinstance(last, keras.Model):
        return _gives_probabilities(last)
    activation = getattr(last, "activation", None)
    return isinstance(last, keras.layers.Softmax) or (
        activation is keras.activations.softmax
    )

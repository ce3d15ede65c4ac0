"""How a network is trained."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.schedules import LearningRate
from tf_lottery.step import Step
from tf_lottery.train.evaluate import check_examples


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
        scale_l1: coefficient of L1 regularisation of the scales of
            BatchNormalization (You et al., 2020, arXiv:1909.11957: 1e-4).
        jit: `"auto"`, `"on"` or `"off"`.
        data_placement: where the examples lie: `"device"`, `"host"`, or
            `"auto"` by their size. Training gives the same bits.
    """

    train_steps: Step = Step(3000)
    batch_size: int = 60
    eval_every: Step = Step(100)
    optimizer: str = "adam"
    learning_rate: LearningRate = LearningRate(1.2e-3)
    momentum: float = 0.9
    weight_decay: float = 0.0
    scale_l1: float = 0.0
    jit: str = "auto"
    data_placement: str = "auto"

    def check(
        self,
        splits: Mapping[str, Any],
        model: keras.Model,
        strategy: tf.distribute.Strategy,
    ) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Returns the data as arrays, if these settings fit them.

        Args:
            splits: by name.
            model: that is trained.
            strategy: whose replicas share a batch.

        Raises:
            ValueError: a setting or the data do not fit.
        """
        missing = {"train", "validation", "test"} - set(splits)
        if missing:
            raise ValueError(
                "`splits` must hold train, validation and test. Received: "
                f"splits={sorted(splits)}. Add {', '.join(sorted(missing))}."
            )
        if self.eval_every.count == 0:
            raise ValueError(
                "`eval_every` must be at least one step. Received: "
                f"eval_every={self.eval_every}. Use for example "
                "'100it'."
            )
        found = check_examples("splits", splits, model)
        batch, size = self.batch_size, len(found["train"][0])
        if not 0 < batch <= size:
            raise ValueError(
                "`batch_size` must be between 1 and the number of training "
                f"examples. Received: batch_size={batch} for {size} "
                "examples. Choose a smaller batch."
            )
        replicas = strategy.num_replicas_in_sync
        if batch % replicas:
            raise ValueError(
                f"`batch_size` must be a multiple of the {replicas} replicas."
                f" Received: batch_size={batch}. It is the global batch."
            )
        return found

"""The parts of an experiment, each from the configuration."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_lottery import data
from tf_lottery import models
from tf_lottery import train
from tf_lottery.config import Config
from tf_lottery.schedules import LearningRate
from tf_lottery.tickets import Ticket


def with_inputs(config: Config) -> tuple[dict[str, Any], Ticket | None]:
    """Returns what identifies an experiment, and the ticket it starts from.

    Args:
        config: resolved.

    Returns:
        The values of config.json with content hashes of the input files, and
        the ticket of `initial_weights` or None.

    Raises:
        ValueError: `initial_weights` is no whole ticket.
    """
    values = config.to_json()
    if config.initial_weights is None:
        return values, None
    ticket = Ticket.load(config.initial_weights)
    values["inputs"] = {"initial_weights": ticket.digest()}
    return values, ticket


def build_model(
    config: Config, info: data.DataInfo, *, seed: int
) -> keras.Model:
    """Returns the dense network with initial weights of this seed.

    Args:
        config: names the model, its initialisation and its precision.
        info: of the data that it must fit.
        seed: of the initial weights.
    """
    with _precision(config.mixed_precision):
        return models.build_model(
            config.model,
            info.input_shape,
            info.num_classes,
            seed=seed,
            init=config.init,
        )


def make_trainer(
    config: Config,
    model: keras.Model,
    scale: float,
    *,
    strategy: tf.distribute.Strategy,
    on_step: Callable[[int, Any], None],
) -> train.Trainer:
    """Reads the data and returns what trains the model on it.

    Args:
        config: resolved.
        model: masked, made under `strategy`.
        scale: what pixels are multiplied by.
        strategy: where to train.
        on_step: as in `Trainer`.
    """
    images = data.load(
        config.dataset,
        data_dir=config.data_dir,
        validation_size=config.validation_size,
        split_seed=config.split_seed,
    )
    return train.Trainer(
        model,
        {
            name: (split.x, split.y)
            for name, split in (
                ("train", images.train),
                ("validation", images.validation),
                ("test", images.test),
            )
        },
        train.TrainingSettings(
            train_steps=config.train_steps,
            batch_size=config.batch_size,
            eval_every=config.eval_every,
            optimizer=config.optimizer,
            learning_rate=LearningRate(
                config.learning_rate, config.lr_schedule, config.warmup
            ),
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            jit=config.jit,
        ),
        preprocess=lambda x: tf.cast(x, tf.float32) * scale,
        strategy=strategy,
        on_step=on_step,
    )


@contextlib.contextmanager
def _precision(policy: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

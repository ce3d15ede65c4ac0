"""What an experiment trains: networks on data, or a task of the user's."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery import assembly
from tf_lottery import data
from tf_lottery import loading
from tf_lottery import models
from tf_lottery import provenance
from tf_lottery import seeds
from tf_lottery import train
from tf_lottery.config import Config
from tf_lottery.layers import get_state
from tf_lottery.layers import named_variables
from tf_lottery.methods import check_task_method
from tf_lottery.plan import Plan
from tf_lottery.pruners import get_pruner
from tf_lottery.step import Step
from tf_lottery.task import Task
from tf_lottery.task import TaskTrainer
from tf_lottery.task import check_rewind

# Fields of a configuration that are not a task's to decide.
_BESIDE_TASK = frozenset((
    "method", "criterion", "target_sparsity", "scope", "structure", "levels",
    "prune_rate", "conv_prune_rate", "output_prune_rate", "exclude",
    "collapse", "rewind", "retrain", "initial_weights", "replicates",
    "replicate", "seed", "branches", "branch_levels", "parallel",
    "ray_address", "output_dir", "verdict_density", "verdict_margin",
    "export", "tensorboard", "report", "plan", "quiet", "log_file", "debug",
))
_KEPT = {*_BESIDE_TASK, "format", "dataset", "train_steps"}
# Controls that are trained from weights of `build` by another seed.
_FRESH = ("reinit", "random_mask", "random_uniform", "random_erk")


class DataWork:
    """A network of the registry, trained on data by the built-in loop.

    Args:
        config: resolved.

    Attributes:
        config: the same.
        metric: what networks are judged by.
        strategy: where they are trained.
        workers: of the strategy.
        notes: what the user must be told, in lines.
        unit: what a step is called.
        train_size: number of training examples.
        values: of config.json, but for what `provenance.identify` adds.
        facts: what tickets say of the data.
        input_shape: of one example.

    Raises:
        ValueError, TypeError: an unknown name, data that are not there, or a
            user's model whose weights are no function of the seed.
    """

    unit = "step"

    def __init__(self, config: Config):
        models.check_model(config.model)
        models.check_init(config.init)
        train.check_optimizer(config.optimizer)
        self.config = config
        self.strategy = train.make_strategy(config.strategy)
        self.workers = train.Workers(self.strategy)
        self.info = info = self.workers.chief_first(
            functools.partial(loading.describe_data, config)
        )
        self.metric = info.metric
        self.notes = list(info.notes)
        self.train_size = info.train_size
        self.values = provenance.values_of(config, info)
        self.facts = provenance.facts_of(info)
        self.input_shape = info.input_shape
        if ":" in config.model:
            self.notes += _check_build(self, "model")

    @property
    def headline(self) -> str:
        """What is trained on, in a sentence."""
        return (
            f"{self.info.source}: {self.info.train_size:,} training, "
            f"{self.info.validation_size:,} validation, "
            f"{self.info.test_size:,} test {self.info.noun}."
        )

    def build(self, replicate: int, purpose: str) -> keras.Model:
        """Returns the dense network; see `assembly.build_replicate`."""
        return assembly.build_replicate(
            self.config, self.info, replicate, purpose
        )

    @functools.cached_property
    def data_set(self) -> data.DataSet:
        """The data; read when they are first asked for."""
        return loading.load_data(self.config)

    def trainer(self, model: keras.Model, on_step: Callable) -> train.Trainer:
        """Returns what trains a masked model; it reads the data."""
        return assembly.make_trainer(
            self.config,
            model,
            self.data_set,
            strategy=self.strategy,
            on_step=on_step,
        )

    def scorer(
        self, plan: Plan, model: keras.Model, on_step: Callable
    ) -> train.Trainer:
        """Returns what trains the scores of a model's weights."""
        return assembly.make_scorer(
            plan, model, self.data_set, strategy=self.strategy, on_step=on_step
        )

    def scored_by(self, trainer: train.Trainer, seed: int) -> dict[str, Any]:
        """Returns examples and loss for criteria; see `loading.scored_by`."""
        return loading.scored_by(
            self.config, self.data_set, trainer.loss, seed
        )

    def examples(self, metrics: Mapping[str, Any]) -> int:
        """Returns the training examples that a training took."""
        return metrics["train_steps"] * self.config.batch_size


class TaskWork:
    """A task of the user's own; the same attributes as `DataWork`.

    Args:
        config: resolved.
        task: the user's.

    Raises:
        ValueError: a field of the configuration that the task decides, or a
            method that needs to see its data or its loop.
    """

    def __init__(self, config: Config, task: Task):
        if not isinstance(task, Task):
            raise TypeError(
                "`task` must be a tf_lottery.Task. Received: task="
                f"{task!r:.200}. Make one of a network and a training function."
            )
        _check_fields(config)
        check_task_method(config.method)
        # No data are known by which a criterion could choose.
        get_pruner(config.criterion, ["initial"])
        if config.rewind is None:
            raise ValueError(
                "`rewind` must be a step for a task. Received: rewind=auto. "
                "What is stable is looked for in the built-in training alone."
            )
        check_rewind(task, config.rewind.count)
        if config.retrain == "fine_tune":
            raise ValueError(
                "`retrain` must be another than fine_tune for a task, whose "
                "learning rate is not known here. Received: retrain=fine_tune."
                " Use lr_rewind, which starts the task at its rewind step."
            )
        self.task = task
        # One example is one step is one epoch.
        self.config = dataclasses.replace(
            config,
            dataset=task.name,
            train_steps=Step(task.train_steps),
            batch_size=1,
        )
        self.metric = task.metric
        self.unit = task.unit
        # The loop is the user's, and so is what it is distributed over.
        self.strategy = tf.distribute.get_strategy()
        self.workers = train.Workers(self.strategy)
        self.notes: list[str] = []
        self.train_size = 1
        known = self.config.to_json()
        self.values = {
            name: known[name] for name in known if name in _KEPT
        }
        self.values |= {"task": task.to_json(), "metric": task.metric.to_json()}
        self.facts = {"source": task.name}
        self.input_shape = None
        self.notes += _check_build(self, "build")

    @property
    def headline(self) -> str:
        """What is trained, in a sentence."""
        steps, unit = self.task.train_steps, self.task.unit
        return f"{self.task.name}: {steps:,} {unit}s a training."

    def build(self, replicate: int, purpose: str) -> keras.Model:
        """Returns the dense network with weights of a purpose's own."""
        seed = seeds.derive(
            assembly.replicate_seed(self.config, replicate), purpose
        )
        with models.clean_names(), models.seeded(seed):
            model = self.task.build(seed)
        if not isinstance(model, keras.Model) or not model.built:
            raise TypeError(
                "`build` must return a built keras.Model. Received: "
                f"{model!r:.200}. Give it an Input, or call build() on it."
            )
        return model

    def trainer(self, model: keras.Model, on_step: Callable) -> TaskTrainer:
        """Returns what trains a masked model."""
        return TaskTrainer(self.task, on_step)

    def scorer(self, plan: Plan, model: keras.Model, on_step: Callable) -> Any:
        """Raises RuntimeError: no method of a task trains scores."""
        raise RuntimeError("scores are not trained for a task")

    def scored_by(self, trainer: TaskTrainer, seed: int) -> dict[str, Any]:
        """Returns what criteria are given of the data: nothing."""
        return {}

    def examples(self, metrics: Mapping[str, Any]) -> int | None:
        """Returns the training examples of a training, if it told them."""
        return metrics.get("train_examples")


def _check_build(work: DataWork | TaskWork, name: str) -> list[str]:
    """Checks that initial weights are a function of the seed, and which.

    Args:
        work: builds networks.
        name: of the argument that the user's function came by.

    Returns:
        What the user must be told, in lines.

    Raises:
        ValueError: others for the same seed, or the same for every seed where
            a control needs fresh ones.
    """
    model, config = work.build(0, "init"), work.config
    first = get_state(model)
    if not _same(first, get_state(work.build(0, "init"))):
        raise ValueError(
            f"`{name}` must give the same weights for the same seed. "
            "Received: others when it was called again, without which no "
            "run can go on. Give initializers the seed, or none."
        )
    wrong = [branch for branch in config.branches if branch in _FRESH]
    if not wrong and config.replicates == 1:
        return []
    kept, drawn = _by_seed(model, get_state(work.build(0, "reinit")))
    if drawn and kept:
        more = f" and {len(kept) - 4} more" if len(kept) > 4 else ""
        return [
            f"`{name}` gives the same {', '.join(kept[:4])}{more} for every "
            "seed: replicates and controls start alike there."
        ]
    if drawn:
        return []
    if wrong:
        raise ValueError(
            f"`branches` must be without {', '.join(wrong)}, which need "
            f"fresh weights, where `{name}` gives the same for every seed. "
            f"Received: branches={','.join(config.branches)}. Use "
            "shuffle_mask, or draw weights by the seed."
        )
    return [
        f"All replicates start alike, as `{name}` gives the same weights"
        " for every seed: they differ in the training's seed only."
    ]


def _by_seed(
    model: keras.Model, other: dict[str, np.ndarray]
) -> tuple[list[str], bool]:
    """Returns weights drawn the same for another seed; whether some differ."""
    variables = named_variables(model)
    # Generators of a dropout differ where all weights are the same.
    weights = {id(v) for v in model.weights}
    trained = {id(v) for v in model.trainable_variables}
    kept, drawn = [], False
    # By order, not by path: a path may have a seed's number.
    for (path, variable), value in zip(variables.items(), other.values()):
        if id(variable) not in weights:
            continue
        if not np.array_equal(np.asarray(variable), value):
            drawn = True
        elif id(variable) in trained and np.any(value != value.ravel()[:1]):
            # What is constant, as zeros of a bias, was not drawn at all.
            kept.append(path)
    return kept, drawn


def _same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    """Whether two states are equal; paths may have a seed's number."""
    return len(one) == len(other) and all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(one.values(), other.values())
    )


def _check_fields(config: Config) -> None:
    """Raises ValueError for a field that is the task's to decide."""
    plain = Config()
    # Derived rates are filled in by now.
    for field in dataclasses.fields(config):
        value, default = (getattr(c, field.name) for c in (config, plain))
        if field.name not in _BESIDE_TASK and value != default:
            raise ValueError(
                f"`{field.name}` must be left out for a task, which decides "
                f"it. Received: {field.name}={value}. Say it in the task's "
                "functions and its `settings`."
            )

"""The parts of an experiment, each from the configuration."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_lottery import analysis
from tf_lottery import data
from tf_lottery import loading
from tf_lottery import models
from tf_lottery import search
from tf_lottery import seeds
from tf_lottery import train
from tf_lottery.config import Config
from tf_lottery.layers import get_state
from tf_lottery.layers import set_mask
from tf_lottery.methods import METHODS
from tf_lottery.plan import Plan
from tf_lottery.pruners import get_pruner
from tf_lottery.schedules import LearningRate
from tf_lottery.step import Step
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket
from tf_lottery.tickets.metadata import versions


# Of both papers, whatever the network's own optimizer has.
_SCORE_MOMENTUM = 0.9


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


def replicate_seed(config: Config, replicate: int) -> int:
    """Returns the seed of one repetition, which its others derive from.

    Args:
        config: has the seed of all.
        replicate: from 0.
    """
    return seeds.derive(config.seed, "replicate", replicate)


def build_replicate(
    config: Config, info: data.DataInfo, replicate: int, purpose: str
) -> keras.Model:
    """Returns the dense network with initial weights of one repetition.

    Args:
        config: names the model.
        info: of the data that it must fit.
        replicate: from 0.
        purpose: of the weights, such as `"init"`; each has its own.
    """
    seed = seeds.derive(replicate_seed(config, replicate), purpose)
    return build_model(config, info, seed=seed)


def make_search(
    plan: Plan,
    model: keras.Model,
    train_it: Callable,
    level: int,
    made_from: Ticket | None,
    scorer: Callable[[], train.Trainer],
    **how: Any,
) -> Iterator[Ticket]:
    """Returns the search whose next ticket is that of a level.

    Args:
        plan: with the configuration.
        model: masked.
        train_it: what trains it.
        level: of the next ticket.
        made_from: the ticket that it is made from; of level 0 none.
        scorer: gives what trains the scores of the model, where that is done.
        **how: seed, data and provenance, as in `find_tickets`.
    """
    config = plan.config
    how.update(
        criterion=config.criterion,
        scope=config.scope,
        collapse=config.collapse,
        rewind_step=plan.rewind_step,
        retrain=config.retrain,
    )
    (epsilon,) = config.epsilon or (0.0,)
    if METHODS[config.method].rounds or made_from is None:
        if config.method == "perturbed":
            train_it = search.within_epsilon(
                train_it, epsilon, config.epsilon_unit
            )
        how.update(config.rates, levels=config.levels, resume=made_from)
        return search.find_tickets(model, train_it, **how)
    begin, end, every = plan.change_steps
    scored = None
    if plan.score_steps:
        scored = scorer().model
    return search.find_at_sparsities(
        model,
        train_it,
        method=config.method,
        structure=config.structure,
        sparsities=config.target_sparsity or (),
        begin_step=begin,
        end_step=end,
        every=every,
        mask_by=config.mask_by,
        rescale=config.rescale,
        epsilon=epsilon,
        epsilon_unit=config.epsilon_unit,
        scored=scored,
        dense=made_from,
        levels=[level],
        **how,
    )


def make_control(
    plan: Plan,
    model: keras.Model,
    key: Key,
    ticket: Ticket,
    dense: Ticket,
    build: Callable[[str], keras.Model],
    scored_by: Callable[[], dict[str, Any]],
    *,
    seed: int,
) -> analysis.Control:
    """Returns what a control is trained from.

    Args:
        plan: with the configuration.
        model: masked; what it holds afterwards is of no use.
        key: the control's.
        ticket: whose control it is.
        dense: the ticket of level 0.
        build: makes a network with weights of a purpose's own.
        scored_by: gives data and loss, as in `scoring_context`.
        seed: of the replicate.
    """
    config = plan.config
    # One noise for all its scales: their networks differ in its size alone.
    stream = "noise" if key.branch in analysis.NOISY else key.branch
    name = f"{stream} {key.level}"
    own = seeds.derive(seed, name)
    # Only level 0 holds the weights outside the masks.
    theta = dense.rewind
    if key.branch in analysis.CONTROLS:
        fresh = get_state(build(name))
        control = analysis.CONTROLS[key.branch](ticket, theta, fresh, own)
        if plan.mask_by is None:
            return control
        # It is to differ from the ticket in what its name says alone.
        return analysis.Control(
            control.mask,
            search.rescaled(control.weights, control.mask, config.rescale),
        )
    context = search.scoring_context(
        model,
        dense,
        (config.target_sparsity or ())[key.level - 1],
        method=config.method,
        level=key.level,
        scope=config.scope,
        structure=config.structure,
        collapse=config.collapse,
        seed=seed,
        **scored_by(),
    )
    choose = analysis.SCORED[key.branch]
    pruner = get_pruner(config.criterion)
    return analysis.Control(choose(ticket, pruner, context, own), theta)


def make_trainer(
    config: Config,
    model: keras.Model,
    data_set: data.DataSet,
    *,
    strategy: tf.distribute.Strategy,
    on_step: Callable[[int, Any], None],
) -> train.Trainer:
    """Returns what trains the model on the data.

    Args:
        config: resolved.
        model: masked, made under `strategy`.
        data_set: the data.
        strategy: where to train.
        on_step: as in `Trainer`.
    """
    info = data_set.info
    return train.Trainer(
        model,
        {
            name: (split.x, split.y)
            for name, split in (
                ("train", data_set.train),
                ("validation", data_set.validation),
                ("test", data_set.test),
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
            scale_l1=config.scale_l1 or 0.0,
            jit=config.jit,
            data_placement=config.data_placement,
        ),
        preprocess=loading.preprocess(info),
        strategy=strategy,
        measure=train.Measure(info.metric, info.tokens_per_character),
        augment=data.FlipCrop() if config.augment == "flip_crop" else None,
        on_step=on_step,
    )


def make_scorer(
    plan: Plan, model: keras.Model, data_set: data.DataSet, **how: Any
) -> train.Trainer:
    """Returns what trains the scores of a model's weights.

    Args:
        plan: with the configuration.
        model: masked, made under the strategy.
        data_set: the data.
        **how: as in `make_trainer`.
    """
    # The model holds that of a control, where one was trained before.
    set_mask(model, plan.mask)
    with how["strategy"].scope():
        scored = search.ScoredModel(
            model,
            by=plan.mask_by or "",
            keep=plan.kept()[1],
            rescale=plan.config.rescale,
        )
    rate = plan.config.score_learning_rate
    settings = dataclasses.replace(
        plan.config,
        train_steps=Step(plan.score_steps),
        optimizer="sgd",
        momentum=_SCORE_MOMENTUM,
        learning_rate=scored.gate.learning_rate if rate is None else rate,
        lr_schedule="cosine",
        warmup=Step(0),
        weight_decay=scored.gate.weight_decay,
        scale_l1=None,
    )
    return make_trainer(settings, scored, data_set, **how)


def make_checkpoint(
    config: Config,
    store: RunDirectory,
    key: Key,
    *,
    notice: Callable[[str], None],
    required: bool = False,
    **made_from: Any,
) -> train.Checkpoint:
    """Returns where a training keeps its state while it is under way.

    Args:
        config: says how often to save it.
        store: the run directory.
        key: the training.
        notice: called with one line about a file that cannot be used.
        required: whether the training cannot begin without one.
        **made_from: JSON values of what the training starts from.
    """
    training = {
        "run": os.path.basename(store.path),
        "training": str(key),
        # Another version may compute, or order an optimizer's state,
        # otherwise: half a training of each would be neither.
        "versions": versions(),
        **made_from,
    }
    return train.Checkpoint(
        store.begin(key),
        training,
        every=config.checkpoint_every,
        required=required,
        notice=notice,
    )


@contextlib.contextmanager
def _precision(policy: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)

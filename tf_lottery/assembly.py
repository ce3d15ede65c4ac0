"""The parts of an experiment, each from the configuration."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_lottery import analysis
from tf_lottery import data
from tf_lottery import models
from tf_lottery import search
from tf_lottery import seeds
from tf_lottery import train
from tf_lottery.config import Config
from tf_lottery.config import identity
from tf_lottery.layers import get_state
from tf_lottery.methods import METHODS
from tf_lottery.paths import check_address
from tf_lottery.paths import is_file
from tf_lottery.paths import is_remote
from tf_lottery.plan import Plan
from tf_lottery.pruners import get_pruner
from tf_lottery.schedules import LearningRate
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket
from tf_lottery.tickets.metadata import versions


def check_folder(output_dir: str) -> None:
    """Checks that run directories can be made.

    Args:
        output_dir: where run directories are to be; a path, or an address.

    Raises:
        ValueError: no such folder can be made.
        OSError: the object store cannot be reached.
    """
    if is_remote(output_dir):
        check_address("output_dir", output_dir)
        # Without access this raises, before any data is read.
        is_file(os.path.join(output_dir, "config.json"))
        return
    folder = os.path.abspath(output_dir)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(
            "`output_dir` must be a folder that can be written. Received: "
            f"output_dir={output_dir!r}. Choose another."
        )


def identify(
    config: Config, dense: keras.Model, start: Ticket | None
) -> dict[str, Any]:
    """Returns what identifies an experiment: the values of config.json.

    A ticket to start from counts by its content, and a model of the user's own
    by its layers with their options: one with other layers is another
    experiment. The code inside a layer's class is not looked at.

    Args:
        config: resolved.
        dense: the network.
        start: the ticket of `initial_weights`.
    """
    inputs = {}
    if start is not None:
        inputs["initial_weights"] = start.digest()
    if ":" in config.model:
        text = dense.to_json()
        inputs["model"] = hashlib.sha256(text.encode()).hexdigest()
    values = config.to_json()
    return {**values, "inputs": inputs} if inputs else values


def provenance(
    values: dict[str, Any],
    info: data.DataInfo,
    replicate: int,
    branch: str,
) -> dict[str, Any]:
    """Returns what a ticket says of how it was found.

    Args:
        values: of config.json.
        info: of the data.
        replicate: of the training.
        branch: of the training.
    """
    return {
        **identity(values),
        "replicate": replicate,
        "branch": branch,
        "input_shape": list(info.input_shape),
        "input_scale": info.scale,
        "num_classes": info.num_classes,
        "source": info.source,
    }


def check_source(ticket: Ticket, info: data.DataInfo) -> None:
    """Checks that a ticket is of the data that are here now.

    Args:
        ticket: of a level that is to be gone on from.
        info: of the data.

    Raises:
        ValueError: another version of the data set is installed.
    """
    source = ticket.config.get("source")
    if source != info.source:
        raise ValueError(
            "`dataset` must be the one that the run began with. Received: "
            f"{info.source}, but the levels there are of {source}. Prepare "
            "that version, or choose another output_dir."
        )


def load_start(config: Config) -> Ticket | None:
    """Returns the ticket of `initial_weights`, or None.

    Args:
        config: names it.

    Raises:
        ValueError: it is no whole ticket, or not one of level 0.
    """
    if config.initial_weights is None:
        return None
    ticket = Ticket.load(config.initial_weights)
    if ticket.level:
        raise ValueError(
            "`initial_weights` must be a ticket of level 0, which holds every "
            f"weight. Received: initial_weights={config.initial_weights!r} of "
            f"level {ticket.level}. Take level_00/ticket of that run."
        )
    return ticket


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


def load_images(config: Config) -> data.ImageData:
    """Reads the data.

    Args:
        config: names them.
    """
    return data.load(
        config.dataset,
        data_dir=config.data_dir,
        validation_size=config.validation_size,
        split_seed=config.split_seed,
    )


def make_search(
    plan: Plan,
    model: keras.Model,
    train_it: Callable,
    level: int,
    made_from: Ticket | None,
    **how: Any,
) -> Iterator[Ticket]:
    """Returns the search whose next ticket is that of a level.

    Args:
        plan: with the configuration.
        model: masked.
        train_it: what trains it.
        level: of the next ticket.
        made_from: the ticket that it is made from; of level 0 none.
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
    if METHODS[config.method].rounds or made_from is None:
        how.update(config.rates, levels=config.levels, resume=made_from)
        return search.find_tickets(model, train_it, **how)
    begin, end, every = plan.change_steps
    return search.find_at_sparsities(
        model,
        train_it,
        method=config.method,
        structure=config.structure,
        sparsities=config.target_sparsity or (),
        begin_step=begin,
        end_step=end,
        every=every,
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
    config, name = plan.config, f"{key.branch} {key.level}"
    own = seeds.derive(seed, name)
    # Only level 0 holds the weights outside the masks.
    theta = dense.rewind
    if key.branch in analysis.CONTROLS:
        fresh = get_state(build(name))
        return analysis.CONTROLS[key.branch](ticket, theta, fresh, own)
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


def scored_by(
    config: Config, images: data.ImageData, loss: Callable, seed: int
) -> dict[str, Any]:
    """Returns the examples and the loss of criteria that look at some.

    Args:
        config: says how many.
        images: the data.
        loss: that of the training.
        seed: of the replicate.
    """
    x, y = data.per_class(
        images.train, config.score_per_class, seeds.derive(seed, "score")
    )
    return dict(x=x.astype("float32") * images.info.scale, y=y, loss=loss)


def make_trainer(
    config: Config,
    model: keras.Model,
    images: data.ImageData,
    *,
    strategy: tf.distribute.Strategy,
    on_step: Callable[[int, Any], None],
) -> train.Trainer:
    """Returns what trains the model on the data.

    Args:
        config: resolved.
        model: masked, made under `strategy`.
        images: the data.
        strategy: where to train.
        on_step: as in `Trainer`.
    """
    scale = images.info.scale
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
            scale_l1=config.scale_l1 or 0.0,
            jit=config.jit,
            data_placement=config.data_placement,
        ),
        preprocess=lambda x: tf.cast(x, tf.float32) * scale,
        strategy=strategy,
        augment=data.FlipCrop() if config.augment == "flip_crop" else None,
        on_step=on_step,
    )


def make_checkpoint(
    config: Config,
    store: RunDirectory,
    key: Key,
    *,
    notice: Callable[[str], None],
    **made_from: Any,
) -> train.Checkpoint:
    """Returns where a training keeps its state while it is under way.

    Args:
        config: says how often to save it.
        store: the run directory.
        key: the training.
        notice: called with one line about a file that cannot be used.
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

"""What an experiment starts from, and what its tickets say of that."""

from __future__ import annotations

import hashlib
from typing import Any

import keras

from tf_lottery import data
from tf_lottery.config import Config
from tf_lottery.fingerprint import identity
from tf_lottery.tickets import Ticket


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

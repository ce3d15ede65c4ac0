"""What an experiment starts from, and what its tickets say of that."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

import keras
from keras.src.models.functional import Functional

from tf_lottery import data
from tf_lottery import search
from tf_lottery.config import Config
from tf_lottery.fingerprint import identity
from tf_lottery.metric import ACCURACY
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket
from tf_lottery.tickets import TicketSource
from tf_lottery.tickets import read_description
from tf_lottery.tickets import read_source


def identify(
    values: Mapping[str, Any],
    dense: keras.Model,
    start: Ticket | None,
    source: TicketSource | None = None,
) -> dict[str, Any]:
    """Returns what identifies an experiment: the values of config.json.

    A ticket to start from counts by its content, as a text file does, and a
    network of the user's own by its layers with their options: one with other
    layers is another experiment. The code inside a layer's class is not looked
    at.

    Args:
        values: of the work; without "model" it is the network's own name.
        dense: the network.
        start: the ticket of `initial_weights`.
        source: the tickets of `ticket`.
    """
    inputs = dict(values.get("inputs", {}))
    if start is not None:
        inputs["initial_weights"] = start.digest()
    if source is not None:
        inputs["ticket"] = source.digest
    if ":" in values.get("model", ":"):
        inputs["model"] = hashlib.sha256(_layers(dense).encode()).hexdigest()
    values = {"model": dense.name, **values}
    return {**values, "inputs": inputs} if inputs else values


def _layers(model: keras.Model) -> str:
    """What a network is made of; of a subclassed one its weights' shapes."""
    # The config of a subclassed one need not tell of its layers.
    if isinstance(model, (keras.Sequential, Functional)):
        try:
            return model.to_json()
        except NotImplementedError:
            pass
    return str([(w.path, tuple(w.shape)) for w in model.weights])


def values_of(config: Config, info: data.DataInfo) -> dict[str, Any]:
    """Returns the values of config.json of networks on data.

    Args:
        config: resolved.
        info: of the data. Their metric is told where it is not accuracy.
    """
    values = config.to_json()
    if info.metric != ACCURACY:
        values["metric"] = info.metric.to_json()
    if info.digest is not None:
        values["inputs"] = {"text_file": info.digest}
    return values


def facts_of(info: data.DataInfo) -> dict[str, Any]:
    """Returns what tickets say of the data.

    Args:
        info: of the data. Of text a ticket has the vocabulary, so that it can
            be used; see `data.read_tokens`.
    """
    text = {"tokens": info.tokens, "vocabulary": info.vocabulary}
    return {
        **(text if info.is_text else {}),
        "input_shape": list(info.input_shape),
        "input_scale": info.scale,
        "num_classes": info.num_classes,
        "source": info.source,
    }


def provenance(
    values: dict[str, Any],
    facts: Mapping[str, Any],
    replicate: int,
    branch: str,
) -> dict[str, Any]:
    """Returns what a ticket says of how it was found.

    Args:
        values: of config.json.
        facts: of the data; `facts_of`.
        replicate: of the training.
        branch: of the training.
    """
    return {
        **identity(values), "replicate": replicate, "branch": branch, **facts
    }


def check_source(ticket: Ticket, source: str) -> None:
    """Checks that a ticket is of the data that are here now.

    Args:
        ticket: of a level that is to be gone on from.
        source: of the data, with their version.

    Raises:
        ValueError: another version of the data set is installed.
    """
    before = ticket.config.get("source")
    if before != source:
        raise ValueError(
            "`dataset` must be the one that the run began with. Received: "
            f"{source}, but the levels there are of {before}. Prepare "
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


def load_source(config: Config) -> tuple[Config, TicketSource | None]:
    """Returns where transferred tickets come from, and how many levels.

    Args:
        config: resolved; names it, or none.

    Returns:
        The configuration with no more levels than there are, and the source.

    Raises:
        ValueError: it is none, or has fewer levels than were asked for.
    """
    if config.ticket is None:
        return config, None
    source = read_source(config.ticket)
    if source.levels < config.levels != Config.levels:
        raise ValueError(
            f"`levels` must be at most {source.levels}, the levels of the "
            f"ticket. Received: levels={config.levels}, ticket="
            f"{config.ticket!r}. Leave it out for all, or ask for fewer."
        )
    levels = min(config.levels, source.levels)
    return dataclasses.replace(config, levels=levels), source


def check_vocabulary(
    source: TicketSource, replicate: int, facts: Mapping[str, Any]
) -> None:
    """Checks that transferred tickets know the tokens of the text.

    Args:
        source: where they come from.
        replicate: one of those that are transferred.
        facts: of the data; `facts_of`. Of images nothing is checked.

    Raises:
        ValueError: they were trained on other tokens, whose embeddings would
            be taken for those of the text's; or as `TicketSource.ticket`.
    """
    if "vocabulary" not in facts:
        return
    ticket = source.ticket(replicate, min(1, source.levels))
    before = ticket.config.get("vocabulary") if ticket else None
    if before not in (None, facts["vocabulary"]):
        raise ValueError(
            "`ticket` must be of a text with the same vocabulary. Received: "
            f"ticket={source.path!r}, whose tokens are others than those of "
            f"{facts['source']}. An embedding belongs to its tokens: choose a "
            "text of the same characters."
        )


def check_transferred(
    store: RunDirectory, keys: Iterable[Key], source: TicketSource
) -> None:
    """Checks that the source still has the tickets that a run began with.

    Args:
        store: the target's run directory.
        keys: its finished trainings.
        source: of its tickets.

    Raises:
        ValueError: one of them is another by now.
    """
    for key in keys:
        if key.branch != "main":
            continue
        # Its arrays are read, and checked, where they are needed.
        said = read_description(store.ticket_path(key))
        before = said["config"].get("transferred_from")
        if before != source.origin(key.replicate, key.level):
            raise ValueError(
                "`ticket` must hold the tickets that the run began with. "
                f"Received: ticket={source.path!r}, whose replicate "
                f"{key.replicate} level {key.level} is another by now. Choose "
                "another output_dir, or restore it."
            )


def source_notes(
    source: TicketSource,
    model: keras.Model,
    replicates: list[int],
    levels: int,
) -> list[str]:
    """Returns what a user must be told of transferred tickets, in lines.

    Args:
        source: where they come from.
        model: masked, that they are put on.
        replicates: of the target.
        levels: how many the configuration has, by default or as asked for.
    """
    told = ", ".join(f"{k} {v}" for k, v in source.told.items())
    notes = [f"Tickets: {source.path} ({told})."]
    if source.levels < levels:
        notes.append(
            f"levels={levels} is cut to {source.levels}, the levels that these "
            "tickets have."
        )
    if source.run is None:
        notes.append(
            "Level 0 has the ticket's weights, and fresh ones where it keeps "
            "none."
        )
        if len(replicates) > 1:
            notes.append("All replicates start from this one ticket.")
    ticket = source.ticket(replicates[0], 1 if source.run is None else 0)
    new = search.replaced_paths(model, ticket) if ticket else []
    if new:
        notes.append(
            f"New for these classes: {', '.join(new)}, with fresh weights and "
            "a random mask of the ticket's density."
        )
    return notes

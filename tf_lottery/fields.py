"""Configuration fields that are flags: help, choices, and their text form."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable
from typing import Any

from tf_lottery.step import Step


# What None is written as, where it is not "none": every one of them, or one
# that is to be found.
_NONE = {
    "replicate": ("none", "", "all"),
    "branch_levels": ("none", "", "all"),
    "rewind": ("auto",),
}


def flag(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    identity: bool = True,
    later: bool = False,
    kept: bool = True,
) -> Any:
    """A field that is a flag.

    Args:
        default: its value, of its type.
        help: for people.
        choices: what it may be, if not anything.
        identity: whether another value is another experiment.
        later: whether it came after the first runs, which are to be found
            still: at its default it is left out of `plain_values`.
        kept: whether it is among `plain_values` at all. What changes nothing
            that is found need not be; others recompute a fingerprint from
            them.
    """
    metadata = dict(
        help=help, choices=choices, identity=identity, later=later, kept=kept
    )
    return dataclasses.field(default=default, metadata=metadata)


def read_fields(config: Any) -> None:
    """Reads every field of a new frozen dataclass from its flag's text.

    Args:
        config: whose fields were made by `flag`.

    Raises:
        ValueError: as `parse`.
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = parse(field, hints[field.name], getattr(config, field.name))
        object.__setattr__(config, field.name, value)


def plain_values(config: Any) -> dict[str, Any]:
    """Returns a dataclass' fields as plain JSON values.

    Args:
        config: whose fields were made by `flag`.
    """
    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        default = field.metadata["later"] and value == field.default
        if default or not field.metadata["kept"]:
            continue
        if isinstance(value, Step):
            value = str(value)
        values[field.name] = list(value) if isinstance(value, tuple) else value
    return values


def parse(field: dataclasses.Field, kind: Any, value: Any) -> Any:
    """Reads a field's value from the text of its flag.

    Args:
        field: made by `flag`.
        kind: its type.
        value: text, or a value of the field's type.

    Raises:
        ValueError: naming the field, what it takes and what it got.
    """
    optional = isinstance(kind, types.UnionType)
    if optional:
        kind = typing.get_args(kind)[0]
    if optional and value in (None, *_NONE.get(field.name, ("none", ""))):
        return None
    if typing.get_origin(kind) is tuple:
        if isinstance(value, str):
            none = value in ("none", "")
            value = () if none else [v.strip() for v in value.split(",")]
        if not isinstance(value, Iterable):
            value = (value,)
        kind = typing.get_args(kind)[0]
        return tuple(_parse_one(field, kind, v) for v in value)
    return _parse_one(field, kind, value)


def _parse_one(field: dataclasses.Field, kind: type, value: Any) -> Any:
    name = field.name
    if kind is Step:
        return Step.parse(value, name)
    try:
        if kind is bool:
            if not isinstance(value, bool):
                value = {"true": True, "false": False}[str(value).lower()]
        elif kind is int:
            if isinstance(value, (float, bool)):
                raise ValueError
            value = int(value)
        elif kind is float:
            value = float(value)
        else:
            value = str(value)
    except (ValueError, KeyError, TypeError):
        word = {bool: "true or false", int: "an integer", float: "a number"}
        raise ValueError(
            f"`{name}` must be {word[kind]}. Received: {name}={value!r}. "
            f"{field.metadata['help'].split('. ')[0].rstrip('.')}."
        ) from None
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. Received: "
            f"{name}={value!r}. Choose one of these."
        )
    return value

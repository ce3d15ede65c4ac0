"""Flags from the fields of the configuration."""

from __future__ import annotations

import dataclasses
import difflib
import re
import textwrap
from collections.abc import Sequence

from absl import flags

from tf_lottery.config import Config
from tf_lottery.step import Step


def config_from_flags(argv: Sequence[str]) -> Config | None:
    """Reads a command line.

    Args:
        argv: the program's name and its arguments; `--flagfile` is followed.

    Returns:
        A `Config`, or None where help was asked for.

    Raises:
        ValueError: an unknown flag or a value that cannot be read.
    """
    values = flags.FlagValues()
    fields = {field.name: field for field in dataclasses.fields(Config)}
    for field in fields.values():
        define = flags.DEFINE_string
        if isinstance(field.default, bool):
            define = flags.DEFINE_bool
        define(
            field.name,
            None,
            field.metadata["help"],
            flag_values=values,
        )
    flags.DEFINE_bool("help", False, "Show this help.", flag_values=values)
    argv = ["--help" if a in ("-h", "-help") else a for a in argv]
    try:
        rest = values(argv)[1:]
    except flags.Error as error:
        raise ValueError(_reworded(error, list(fields))) from None
    except UnicodeDecodeError:
        raise ValueError(
            "`flagfile` must be a text file. Received: one that is not. Write "
            "one flag per line."
        ) from None
    if values["help"].value:
        return None
    if rest:
        raise ValueError(
            "The command must have flags only. Received: "
            f"{' '.join(rest)}. Write --name=value; see --help."
        )
    return Config(
        **{
            name: values[name].value
            for name in fields
            if values[name].present and values[name].value is not None
        }
    )


def help_text(program: str, summary: str) -> str:
    """Returns the text of `--help`: every flag, its default and help.

    Args:
        program: how the command is called.
        summary: what it does, in a few lines.
    """
    lines = [summary, "", f"  {program} --flagfile=FILE [--flag=value ...]", ""]
    lines.append("  --flagfile")
    lines += _wrapped(
        "Read flags from a file, one per line. Of two equal flags the last "
        "wins: put your own after it."
    )
    for field in dataclasses.fields(Config):
        default = _default_text(field.default)
        lines.append(f"  --{field.name} ({default})")
        lines += _wrapped(field.metadata["help"])
    return "\n".join(lines)


def _default_text(value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value == ():
        return "none"
    return str(value) if isinstance(value, (str, Step)) else f"{value:g}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(
        text, 79, initial_indent=" " * 6, subsequent_indent=" " * 6
    )


def _reworded(error: flags.Error, names: list[str]) -> str:
    """absl's errors, of one or two lines each, in this library's words."""
    text = " ".join(str(error).split())
    if isinstance(error, flags.UnrecognizedFlagError):
        name = error.flagname
        close = difflib.get_close_matches(name, names, 1)
        advice = f"Did you mean --{close[0]}?" if close else "See --help."
        return f"The flag must exist. Received: --{name}. {advice}"
    if isinstance(error, flags.CantOpenFlagFileError):
        file = re.search(r"(?:'|\")([^'\"]+)(?:'|\")\s*$", text)
        name = file[1] if file else text
        return (
            "`flagfile` must be a readable file. Received: "
            f"flagfile={name!r}. Check the path."
        )
    wrong = re.match(r"flag --(\w+)=(.*?): ", text)
    if wrong:
        return (
            f"`{wrong[1]}` must be true or false. Received: "
            f"{wrong[1]}={wrong[2]!r}. Write --{wrong[1]} or --no{wrong[1]}."
        )
    return f"The flags must be readable. Received: {text}. See --help."

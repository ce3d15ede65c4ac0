"""Flags from the fields of the configuration."""

from __future__ import annotations

import dataclasses
import difflib
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

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
    given = parse(
        argv,
        {
            field.name: "bool" if isinstance(field.default, bool) else "string"
            for field in dataclasses.fields(Config)
        },
    )
    return None if given is None else Config(**given)


def parse(
    argv: Sequence[str],
    kinds: Mapping[str, str],
    others: list[str] | None = None,
) -> dict[str, Any] | None:
    """Reads a command line that may have these flags only.

    Args:
        argv: the program's name and its arguments; `--flagfile` is followed.
        kinds: `{name: "string", "bool", "integer", "float" or "list"}`.
        others: is given the arguments that are no flags, which stand anywhere
            between them; if None there must be none.

    Returns:
        The flags that were given, `{name: value}`; None where help was asked
        for.

    Raises:
        ValueError: an unknown flag or a value that cannot be read.
    """
    values = flags.FlagValues()
    for name, kind in kinds.items():
        define = getattr(flags, f"DEFINE_{kind}")
        define(name, None, "", flag_values=values)
    flags.DEFINE_bool("help", False, "Show this help.", flag_values=values)
    values.set_gnu_getopt(others is not None)
    argv = ["--help" if a in ("-h", "-help") else a for a in argv]
    try:
        rest = values(argv)[1:]
    except flags.Error as error:
        raise ValueError(_reworded(error, list(kinds))) from None
    except UnicodeDecodeError:
        raise ValueError(
            "`flagfile` must be a text file. Received: one that is not. Write "
            "one flag per line."
        ) from None
    if values["help"].value:
        return None
    if others is not None:
        others += rest
    elif rest:
        raise ValueError(
            "The command must have flags only. Received: "
            f"{' '.join(rest)}. Write --name=value; see --help."
        )
    return {
        name: values[name].value
        for name in kinds
        if values[name].present and values[name].value is not None
    }


def numbers(name: str, values: Sequence[str]) -> list[float]:
    """Reads a list flag whose values are numbers.

    Args:
        name: the flag's, for the error.
        values: what was given, such as `["0.1", "0.03"]`.

    Returns:
        The numbers.

    Raises:
        ValueError: the list is empty, or one of them is no number.

    Example:
        >>> numbers("eta", ["0.1", "1e-3"])
        [0.1, 0.001]
    """
    try:
        read = [float(value) for value in values]
    except ValueError:
        read = []
    if not read:
        raise ValueError(
            f"`{name}` must be numbers, with commas between them. Received: "
            f"{name}={','.join(values)!r}. Write for example "
            f"--{name}=0.1,0.01."
        )
    return read


def help_text(program: str, summary: str) -> str:
    """Returns the text of `--help`: every flag, its default and help.

    Args:
        program: how the command is called.
        summary: what it does, in a few lines.
    """
    entries = {
        f.name: (f.default, f.metadata["help"])
        for f in dataclasses.fields(Config)
    }
    return describe(f"{program} --flagfile=FILE", summary, entries)


def describe(
    usage: str, summary: str, entries: Mapping[str, tuple[Any, str]]
) -> str:
    """Returns the text of `--help`.

    Args:
        usage: how the command is called, but for its flags.
        summary: what it does, in a few lines.
        entries: `{flag: (default, what it means)}`.
    """
    lines = [summary, "", f"  {usage} [--flag=value ...]", ""]
    lines.append("  --flagfile")
    lines += _wrapped(
        "Read flags from a file, one per line. Of two equal flags the last "
        "wins: put your own after it."
    )
    for name, (default, meaning) in entries.items():
        lines.append(f"  --{name} ({_default_text(default)})")
        lines += _wrapped(meaning)
    return "\n".join(lines)


def _default_text(value) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value == ():
        return "none"
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
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
    if wrong and "invalid literal for int" in text:
        return (
            f"`{wrong[1]}` must be a whole number. Received: "
            f"{wrong[1]}={wrong[2]!r}. See --help."
        )
    if wrong and "could not convert string to float" in text:
        return (
            f"`{wrong[1]}` must be a number. Received: "
            f"{wrong[1]}={wrong[2]!r}. See --help."
        )
    if wrong:
        return (
            f"`{wrong[1]}` must be true or false. Received: "
            f"{wrong[1]}={wrong[2]!r}. Write --{wrong[1]} or --no{wrong[1]}."
        )
    return f"The flags must be readable. Received: {text}. See --help."

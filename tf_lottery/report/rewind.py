"""The record of how `rewind=auto` chose its step."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from tf_lottery import atomic
from tf_lottery import paths

_FILE = "rewind.json"
_KINDS: dict[str, Any] = {
    "chosen": int, "barrier": (int, float), "stable": bool,
    "stable_below": (int, float), "replicate": int, "split": str,
    "analysis": str,
}


def write_choice(folder: str, choice: Mapping[str, Any]) -> None:
    """Writes rewind.json in one step.

    Args:
        folder: of a report.
        choice: `chosen`, the step; `barrier` of it, a fraction of the
            examples of `split`; `stable`, whether it is below `stable_below`;
            `candidates`, a dict of `step` and `barrier` for each step that
            was tried; the `replicate`; and the name of the run directory of
            the `analysis`.

    Raises:
        OSError: the folder cannot be written.
    """
    text = json.dumps(dict(choice), indent=1) + "\n"
    atomic.replace_file(os.path.join(folder, _FILE), text.encode())


def read_choice(folder: str) -> dict[str, Any] | None:
    """Returns what `write_choice` wrote; None where it wrote nothing.

    Args:
        folder: of a report.

    Raises:
        ValueError: the file is truncated or altered.
    """
    path = os.path.join(folder, _FILE)
    try:
        with paths.open_read(path) as file:
            choice = json.loads(file.read())
        for name, kind in _KINDS.items():
            if not isinstance(choice[name], kind):
                raise ValueError
        for one in choice["candidates"]:
            int(one["step"]), float(one["barrier"])
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError) as error:
        raise ValueError(
            "`folder` must hold rewind.json as write_choice wrote it. "
            f"Received: {path}, which is truncated or altered. Delete it; "
            "rewind=auto writes it again."
        ) from error
    return choice


def choice_text(choice: Mapping[str, Any]) -> str:
    """Returns how the step was chosen, in words.

    Args:
        choice: as in `write_choice`.

    Example:
        >>> print(choice_text(dict(
        ...     chosen=2, barrier=0.01, stable=True, stable_below=0.02,
        ...     replicate=0, split="validation", analysis="run",
        ...     candidates=[dict(step=0, barrier=0.1),
        ...                 dict(step=2, barrier=0.01)])))
        rewind=auto: step 2 is the first that is stable, with a barrier of \
validation error below 2% between two data orders from it on, in replicate \
0. Tried: 0 (10.00%), 2 (1.00%).
    """
    limit = f"{choice['stable_below']:.0%}"
    barrier = f"barrier of {choice['split']} error"
    tried = ", ".join(
        f"{c['step']} ({c['barrier']:.2%})" for c in choice["candidates"]
    )
    if choice["stable"]:
        found = (
            f"step {choice['chosen']} is the first that is stable, with a "
            f"{barrier} below {limit}"
        )
        advice = ""
    else:
        found = (
            "no step is stable, and the last one tried is taken, step "
            f"{choice['chosen']}, with a {barrier} not below {limit}"
        )
        advice = (
            " Tickets may not match the dense network; name a later --rewind."
        )
    return (
        f"rewind=auto: {found} between two data orders from it on, in "
        f"replicate {choice['replicate']}. Tried: {tried}.{advice}"
    )

"""Which array belongs to which variable, by path."""

from __future__ import annotations

import re
from collections.abc import Mapping


def match_paths(
    wanted: Mapping[str, tuple[int, ...]],
    given: Mapping[str, tuple[int, ...]],
    name: str,
) -> dict[str, str]:
    """Finds which of the given arrays belongs to which variable.

    By path; and where the same model was rebuilt and Keras numbered or
    prefixed its names anew (`dense_3/kernel`, `sequential/dense/kernel`), in
    order, provided that every name and shape agrees but for that.

    Args:
        wanted: `{path: shape}` of the model.
        given: `{path: shape}` of what is to be put there.
        name: the argument's name, for the error.

    Returns:
        `{path of the model: path given}`.

    Raises:
        ValueError: naming what is missing, unknown, or of another shape.
    """
    wanted = {k: tuple(v) for k, v in wanted.items()}
    given = {k: tuple(v) for k, v in given.items()}
    if wanted == given:
        return {k: k for k in wanted}
    if list(wanted.values()) == list(given.values()) and all(
        _same_but_renamed(a, b) for a, b in zip(wanted, given)
    ):
        return dict(zip(wanted, given))
    found = {
        "missing": [k for k in wanted if k not in given],
        "unknown": [k for k in given if k not in wanted],
        "other shape": [
            f"{k} {given[k]} instead of {wanted[k]}"
            for k in wanted
            if k in given and given[k] != wanted[k]
        ],
    }
    text = "; ".join(
        f"{word}: {', '.join(paths[:4])}"
        + (f" and {len(paths) - 4} more" if len(paths) > 4 else "")
        for word, paths in found.items()
        if paths
    )
    raise ValueError(
        f"`{name}` must have one array per variable, of its shape. Received: "
        f"{text or 'the same paths in another order'}. Use one that belongs "
        "to this very architecture."
    )


def _same_but_renamed(one: str, other: str) -> bool:
    a, b = (
        re.sub(r"(_\d+)?(#\d+)?(?=/|$)", "", path).split("/")
        for path in (one, other)
    )
    short = min(len(a), len(b))
    return short > 1 and a[-short:] == b[-short:]

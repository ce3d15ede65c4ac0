"""Which array belongs to which variable, by path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_NUMBERED = re.compile(r"(.*?)(?:_(\d+))?(?:#(\d+))?\Z", re.DOTALL)


def match_paths(
    wanted: Mapping[str, tuple[int, ...]],
    given: Mapping[str, tuple[int, ...]],
    name: str,
) -> dict[str, str]:
    """Finds which of the given arrays belongs to which variable.

    By path; and where the same model was rebuilt and Keras numbered or
    prefixed its names anew (`dense_3/kernel`, `sequential/dense/kernel`), in
    order, provided that every name and shape agrees but for that, and that
    the numbers of one name are in the same order: sorted as texts, dense_10
    would come before dense_2.

    Args:
        wanted: `{path: shape}` of the model.
        given: `{path: shape}` of what is to be put there.
        name: the argument's name, for the error.

    Returns:
        `{path of the model: path given}`.

    Raises:
        ValueError: naming what is missing, unknown, of another shape, or in
            another order.
    """
    wanted = {k: tuple(v) for k, v in wanted.items()}
    given = {k: tuple(v) for k, v in given.items()}
    if wanted == given:
        return {k: k for k in wanted}
    misplaced: list[str] = []
    if list(wanted.values()) == list(given.values()) and all(
        _same_but_renamed(a, b) for a, b in zip(wanted, given)
    ):
        misplaced = _misplaced(wanted, given)
        if not misplaced:
            return dict(zip(wanted, given))
    found = {"in another order": misplaced} if misplaced else {
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
        "to this very architecture, in the order of its layers."
    )


def _same_but_renamed(one: str, other: str) -> bool:
    (a, _), (b, _) = _names_and_numbers(one), _names_and_numbers(other)
    short = min(len(a), len(b))
    return short > 1 and a[-short:] == b[-short:]


def _misplaced(wanted: Iterable[str], given: Iterable[str]) -> list[str]:
    """Those given whose number has another rank than that of the wanted."""
    found = []
    alike: dict[tuple, list] = {}
    for one, other in zip(wanted, given):
        (a, numbers), (b, others) = map(_names_and_numbers, (one, other))
        alike.setdefault((a, b), []).append((numbers, others, other))
    for rows in alike.values():
        by_wanted = sorted(rows, key=lambda row: row[0])
        by_given = sorted(rows, key=lambda row: row[1])
        found += [a[2] for a, b in zip(by_wanted, by_given) if a != b]
    return found


def _names_and_numbers(path: str) -> tuple[tuple[str, ...], list]:
    """The names in a path without numbers, and `(n, m)` of `name_n#m`."""
    names, numbers = [], []
    for part in path.split("/"):
        name, *digits = _NUMBERED.findall(part)[0]
        names.append(name)
        numbers.append([int(text or 0) for text in digits])
    return tuple(names), numbers

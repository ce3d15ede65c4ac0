"""Which of a ticket's files are missing, truncated or altered."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery.tickets.reading import MALFORMED
from tf_lottery.tickets.reading import one_line
from tf_lottery.tickets.reading import open_file
from tf_lottery.tickets.reading import read_json

FORMAT = 1
JSON = "ticket.json"
ARRAYS = ("mask.npz", "rewind.npz", "trained.npz")
_DTYPES = re.compile("float(16|32|64)|u?int(8|16|32|64)")
_MOST_DIMENSIONS = 32
_MOST_COUNT = 2**62


def verify_files(
    folder: str, arrays: Sequence[str] = ARRAYS
) -> list[str]:
    """Returns one line per missing, truncated or altered file of a ticket.

    Args:
        folder: of the ticket.
        arrays: its archives that are looked at, beside its JSON file.
    """
    try:
        meta = read_json(os.path.join(folder, JSON))
        digests = dict(meta["sha256"])
        del meta["sha256"][JSON]
        whole = digests[JSON] == json_digest(meta)
        version = meta.get("format")
    except FileNotFoundError:
        return [f"{JSON} missing"]
    except OSError as error:
        return [f"{JSON} unreadable ({error.strerror})"]
    except MALFORMED:
        return [f"{JSON} truncated or altered"]
    problems = []
    if not whole:
        problems.append(f"{JSON} altered")
    if type(version) is not int or version != FORMAT:
        problems.append(
            f"{JSON} of format {one_line(repr(version), 40)}, where this "
            f"version of tf_lottery reads format {FORMAT}"
        )
    for name in arrays:
        try:
            found = file_digest(os.path.join(folder, name))
        except FileNotFoundError:
            problems.append(f"{name} missing")
            continue
        except OSError as error:
            problems.append(f"{name} unreadable ({error.strerror})")
            continue
        if found != digests.get(name):
            problems.append(f"{name} truncated or altered")
    return problems


def check_types(meta: Mapping[str, Any]) -> None:
    """Raises ValueError or LookupError where ticket.json is of other form.

    Args:
        meta: its content.
    """
    kinds: dict[str, Any] = {
        "level": int,
        "kernels": list,
        "state": list,
        "config": dict,
        "metrics": dict,
        "architecture": (str, type(None)),
    }
    wrong = [k for k, kind in kinds.items() if not isinstance(meta[k], kind)]
    if wrong:
        raise ValueError(f"{JSON} holds {', '.join(wrong)} of other types")
    counts = [meta["level"]]
    for kernel in meta["kernels"]:
        if (
            not isinstance(kernel["shape"], list)
            or len(kernel["shape"]) > _MOST_DIMENSIONS
            or not _DTYPES.fullmatch(kernel["dtype"])
        ):
            raise ValueError(f"{JSON} holds a kernel of no such kind")
        counts += [kernel["kept"], *kernel["shape"]]
    if not all(type(n) is int and 0 <= n <= _MOST_COUNT for n in counts):
        raise ValueError(f"{JSON} holds counts that are none")
    if any(k["kept"] > math.prod(k["shape"]) for k in meta["kernels"]):
        raise ValueError(f"{JSON} keeps more weights than there are")
    state, kernels = meta["state"], [k["path"] for k in meta["kernels"]]
    if not all(isinstance(path, str) for path in state + kernels):
        raise ValueError(f"{JSON} holds paths that are no texts")
    # JSON can hold half a character, which no file or terminal takes.
    "".join(state + kernels).encode()
    if len(set(kernels)) < len(kernels) or len(set(state)) < len(state):
        raise ValueError(f"{JSON} holds a path twice")
    if not set(kernels) <= set(state):
        raise ValueError(f"{JSON} holds kernels outside the state")


def read_description(folder: str) -> dict[str, Any]:
    """Returns what a ticket says of itself, without its arrays.

    Args:
        folder: of the ticket.

    Returns:
        The content of its ticket.json; `kernels` has `path`, `shape` and
        `kept` of each.

    Raises:
        ValueError: it is missing, truncated or altered.
    """
    path = os.path.join(folder, JSON)
    try:
        meta = read_json(path)
        check_types(meta)
        digest = meta["sha256"].pop(JSON)
        if digest != json_digest(meta):
            raise ValueError("its checksum is another")
    except (*MALFORMED, OSError) as error:
        raise ValueError(
            "`path` must be a whole ticket.json. Received: "
            f"{path} ({one_line(error)}). Copy it anew, or delete the "
            "folder of its level, and it is trained again."
        ) from error
    return meta


def file_digest(path: str) -> str:
    """Returns the SHA-256 of a file, which may be larger than the memory.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open_file(path) as file:
        while chunk := file.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()


def json_digest(meta: Mapping[str, Any]) -> str:
    """Returns the checksum that ticket.json holds of its other content."""
    # As it will be read: keys are texts there, and sorted as such.
    meta = json.loads(json.dumps(meta))
    return hashlib.sha256(
        json.dumps(meta, sort_keys=True).encode()
    ).hexdigest()

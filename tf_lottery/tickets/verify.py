"""Which of a ticket's files are missing, truncated or altered."""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

FORMAT = 1
JSON = "ticket.json"
ARRAYS = ("mask.npz", "rewind.npz", "trained.npz")
# What reading JSON and archives of any content can raise.
MALFORMED = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    EOFError,
    zipfile.BadZipFile,
    zlib.error,
)


def verify_files(folder: str) -> list[str]:
    """Returns one line per missing, truncated or altered file of a ticket."""
    try:
        with open(os.path.join(folder, JSON), encoding="utf-8") as file:
            meta = json.load(file)
        digests = meta["sha256"]
        expected = digests.pop(JSON)
    except FileNotFoundError:
        return [f"{JSON} missing"]
    except OSError as error:
        return [f"{JSON} unreadable ({error.strerror})"]
    except MALFORMED:
        return [f"{JSON} truncated or altered"]
    problems = []
    if expected != json_digest(meta):
        problems.append(f"{JSON} altered")
    if meta.get("format") != FORMAT:
        problems.append(f"{JSON} of format {meta.get('format')!r}")
    for name in ARRAYS:
        try:
            with open(os.path.join(folder, name), "rb") as file:
                found = hashlib.sha256(file.read()).hexdigest()
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
    counts = [meta["level"]]
    for kernel in meta["kernels"]:
        counts += [kernel["kept"], *kernel["shape"]]
    if wrong or not all(type(n) is int and n >= 0 for n in counts):
        raise ValueError(f"{JSON} holds values of other types")


def json_digest(meta: Mapping[str, Any]) -> str:
    """Returns the checksum that ticket.json holds of its other content."""
    return hashlib.sha256(
        json.dumps(meta, sort_keys=True).encode()
    ).hexdigest()

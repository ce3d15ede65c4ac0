"""Whether a page shows its run as it is: then it need not be drawn again."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator

from tf_lottery import paths
from tf_lottery.tickets.metadata import versions

# What a run keeps beside its page, in the same folder.
_BESIDE = ("barriers.csv", "connectivity.csv", "rewind.json")
_LINK = re.compile(r'href="(\w+\.(?:png|svg|pdf|csv))"')


def mark(run_dir: str) -> str:
    """Returns the line of a page that says what it was drawn from.

    It is a comment with a digest of what the page shows: the settings, the
    results, the level.json files, which hold the digests of all else, the
    lines between tickets, and the versions of the packages.

    Args:
        run_dir: the run directory, as it is written on the page.

    Raises:
        OSError: a file cannot be read.

    Example:
        >>> mark("no/such/run")[:16]
        '<!-- drawn from '
    """
    import matplotlib

    about = {**versions(), "matplotlib": matplotlib.__version__}
    digest = hashlib.sha256(
        json.dumps([run_dir, about], sort_keys=True).encode()
    )
    for path in _inputs(run_dir):
        with paths.open_read(path) as file:
            data = file.read()
        digest.update(f"{path} {len(data)}\n".encode() + data)
    return f"<!-- drawn from {digest.hexdigest()} -->\n"


def is_current(run_dir: str) -> bool:
    """Whether the page of a run and its files are there, and show it as it is.

    Args:
        run_dir: the run directory.

    Example:
        >>> is_current("no/such/run")
        False
    """
    folder = os.path.join(run_dir, "report")
    try:
        with paths.open_read(os.path.join(folder, "index.html")) as file:
            text = file.read().decode("utf-8")
        there = set(paths.names_in(folder))
        return (
            set(_LINK.findall(text)) <= there and text.endswith(mark(run_dir))
        )
    except (OSError, ValueError):
        return False


def _inputs(run_dir: str) -> Iterator[str]:
    names = set(paths.names_in(run_dir))
    for name in ("config.json", "results.csv"):
        if name in names:
            yield os.path.join(run_dir, name)
    folder = os.path.join(run_dir, "report")
    for name in sorted(set(paths.names_in(folder)) & set(_BESIDE)):
        yield os.path.join(folder, name)
    levels = [run_dir]
    for start in ("replicate_", "", "level_"):
        levels = [
            os.path.join(above, name)
            for above in levels if paths.is_folder(above)
            for name in sorted(paths.names_in(above))
            if name.startswith(start)
        ]
    for level in levels:
        path = os.path.join(level, "level.json")
        if paths.is_file(path):
            yield path

"""The processor cores that this process may use."""

from __future__ import annotations

import os

#: Whether processes can be pinned to cores here.
PINS = hasattr(os, "sched_setaffinity")


def cores() -> list[int]:
    """Returns their numbers, in order; at least one.

    Example:
        >>> len(cores()) > 0
        True
    """
    if PINS:
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))

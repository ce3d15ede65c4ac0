"""What a ticket says beside its arrays."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np


def plain_values(value: Any, name: str = "metrics") -> Any:
    """Returns metrics as JSON values: NumPy's and Keras' numbers as Python's.

    Args:
        value: numbers, texts, lists and dicts.
        name: of the argument, for the error.

    Raises:
        TypeError: a value that is no number, text, list or dict.
    """
    if isinstance(value, Mapping):
        return {str(k): plain_values(v, name) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(v, name) for v in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"`{name}` must hold numbers, texts, lists and dicts. Received: "
            f"a value of type {type(value).__name__}. Take its numbers, or "
            "leave it out."
        )
    return array.tolist()


def versions() -> dict[str, str]:
    """Returns the versions of what a ticket was made with."""
    import importlib.metadata

    import tf_lottery

    return {
        "tensorflow": importlib.metadata.version("tensorflow"),
        "tf_lottery": tf_lottery.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }

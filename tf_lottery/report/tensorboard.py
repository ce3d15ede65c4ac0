"""What there is for TensorBoard: whether it is installed, and scalars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def require_tensorboard(name: str, value: Any, off: str) -> None:
    """Raises ModuleNotFoundError where TensorBoard is not installed.

    Args:
        name: of the argument that asks for it.
        value: of that argument.
        off: its value that does not ask.
    """
    try:
        import tensorboard  # noqa: F401
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"`{name}` must be {off} without the package tensorboard. "
            f"Received: {name}={value!r}. Install it with pip install "
            "tensorboard."
        ) from error


def log_kernels(
    kernels: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    histograms: bool = True,
) -> None:
    """Logs sparsity and surviving weights to the default summary writer.

    Scalars `sparsity/all` and `sparsity/<path>`, histograms `weights/<path>`.

    Args:
        kernels: `{path: (weights, mask)}`; weights are floating, masks
            boolean, True = keep.
        histograms: whether to write them.
    """
    from tensorflow import summary

    kept = sum(int(np.count_nonzero(m)) for _, m in kernels.values())
    size = sum(mask.size for _, mask in kernels.values())
    summary.scalar("sparsity/all", (size - kept) / size)
    for path, (weights, mask) in kernels.items():
        zeros = 1 - np.count_nonzero(mask) / mask.size
        summary.scalar(f"sparsity/{path}", zeros)
        if histograms:
            survivors = weights[mask].astype("float32")
            summary.histogram(f"weights/{path}", survivors)

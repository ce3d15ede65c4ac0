"""What every search checks, and the seeds that it hands out."""

from __future__ import annotations

import numbers

import keras
import numpy as np

from tf_lottery import seeds
from tf_lottery.layers import named_variables
from tf_lottery.masks import check_collapse

RETRAIN = ("rewind", "lr_rewind", "fine_tune", "continue")


def level_seed(seed: int, level: int) -> int:
    """Returns the seed of a level's data order; its controls use it too."""
    return seeds.derive(seed, "data", level)


def check_search(
    levels: int, retrain: str, collapse: str, rewind_step: int
) -> None:
    """Raises ValueError unless a search can be made with these."""
    if not isinstance(levels, numbers.Integral) or levels < 0:
        raise ValueError(
            "`levels` must be a non-negative integer. Received: "
            f"levels={levels}. It is the number of pruning rounds."
        )
    if retrain not in RETRAIN:
        raise ValueError(
            f"`retrain` must be one of {', '.join(RETRAIN)}. Received: "
            f"retrain={retrain!r}. Choose one of these."
        )
    if not isinstance(rewind_step, numbers.Integral) or rewind_step < 0:
        raise ValueError(
            "`rewind_step` must be a non-negative number of steps. Received: "
            f"rewind_step={rewind_step}. 0 rewinds to the initial weights."
        )
    check_collapse(collapse)


def check_dtypes(model: keras.Model) -> None:
    """Raises ValueError where a ticket could not store the model's state."""
    for path, variable in named_variables(model).items():
        if np.asarray(variable).dtype.kind not in "biuf":
            raise ValueError(
                "`model` must have variables of NumPy's own types. Received: "
                f"{path} of {variable.dtype}. Use the policy mixed_bfloat16, "
                "which keeps float32 variables."
            )

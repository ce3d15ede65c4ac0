"""The state of a training under way, as a snapshot holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import keras
import numpy as np

from tf_lottery.layers import get_state
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_state
from tf_lottery.train.checkpoint import Snapshot


class Change(Protocol):
    """Changes a model's mask at some steps of a training."""

    def next(self, step: int) -> int | None:
        """Returns the first step from this one on at which it is due."""

    def __call__(self, model: keras.Model, optimizer: Any, step: int) -> None:
        """Changes a model that has taken so many steps."""

    def state(self) -> dict[str, np.ndarray]:
        """Returns what it remembers of the steps before, for a snapshot."""

    def restore(
        self, state: Mapping[str, np.ndarray], model: keras.Model
    ) -> None:
        """Goes on from what `state` returned, the model being as it was."""


class TrainingState:
    """Reads and writes everything that training goes on from.

    Args:
        model: whose weights, statistics and masks.
        optimizer: whose slots.
    """

    def __init__(self, model: keras.Model, optimizer: Any):
        self._model = model
        self._optimizer = optimizer

    def arrays(
        self,
        rewound: Mapping[str, np.ndarray],
        change: Change | None = None,
    ) -> dict[str, np.ndarray]:
        """Returns the state now, under the names of a snapshot.

        Args:
            rewound: the model's state at the rewind step, once reached.
            change: what changes the mask.
        """
        masks = masked_kernels(self._model)
        slots = self._optimizer.variables
        groups: dict[str, Mapping[str, Any]] = {
            "model": get_state(self._model),
            "rewind": rewound,
            "mask": {path: mask for path, (_, mask) in masks.items()},
            "optimizer": {str(i): v for i, v in enumerate(slots)},
            "change": change.state() if change else {},
        }
        return {
            f"{group}:{name}": np.asarray(value)
            for group, values in groups.items()
            for name, value in values.items()
        }

    def fits(
        self, found: Snapshot, *, rewound: bool, same_masks: bool
    ) -> bool:
        """Whether a snapshot is of this model and optimizer.

        Args:
            found: the snapshot.
            rewound: whether it must hold the state of the rewind step.
            same_masks: whether its masks must be the model's.
        """
        here = self.arrays(get_state(self._model) if rewound else {})
        kinds, there = (
            {
                name: (a.shape, a.dtype)
                for name, a in arrays.items()
                if not name.startswith("change:")
            }
            for arrays in (here, found.arrays)
        )
        return kinds == there and (
            not same_masks
            or all(
                np.array_equal(value, found.arrays[name])
                for name, value in here.items()
                if name.startswith("mask:")
            )
        )

    def put(
        self,
        snapshot: Snapshot,
        at_rewind_step: Any,
        change: Change | None = None,
    ) -> dict[str, np.ndarray]:
        """Puts a snapshot's state in place.

        Args:
            snapshot: of this model.
            at_rewind_step: as in `Trainer`; called at the state of then.
            change: what changes the mask.

        Returns:
            The model's state at the rewind step; nothing before.
        """
        groups: dict[str, dict[str, np.ndarray]] = {}
        for name, value in snapshot.arrays.items():
            group, _, name = name.partition(":")
            groups.setdefault(group, {})[name] = value
        rewound = groups.get("rewind", {})
        if at_rewind_step and rewound:
            set_state(self._model, rewound)
            at_rewind_step[1]()
        for path, (_, mask) in masked_kernels(self._model).items():
            mask.assign(groups["mask"][path])
        set_state(self._model, groups["model"])
        for i, variable in enumerate(self._optimizer.variables):
            variable.assign(groups["optimizer"][str(i)])
        if change:
            change.restore(groups.get("change", {}), self._model)
        return rewound

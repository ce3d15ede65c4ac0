"""The pruner interface: a criterion scores, a pruner masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import keras
import numpy as np

from tf_lottery.layers import get_mask
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import read
from tf_lottery.masks import Mask
from tf_lottery.masks import select


@dataclasses.dataclass(frozen=True)
class PruningContext:
    """Everything that a pruner may look at.

    Args:
        model: a masked model; the same after the pruner has run.
        keep: `{path: count}`, or one total, of the weights to keep.
        seed: makes the result a pure function of the context.
        x: inputs for criteria that need data, with the batch first.
        y: their targets.
        loss: `(y, outputs) -> losses`, for criteria that need gradients.
        collapse: as in `tf_lottery.masks.select`.
        structure: as in `tf_lottery.masks.select`.
    """

    model: keras.Model
    keep: Mapping[str, int] | int = 0
    seed: int = 0
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    loss: Callable | None = None
    collapse: str = "stop"
    structure: str | None = None

    @property
    def mask(self) -> Mask:
        """The model's mask before pruning."""
        return get_mask(self.model)

    @property
    def kernels(self) -> dict[str, np.ndarray]:
        """`{path: raw kernel}`, exactly 0 at pruned positions; read-only."""
        return {
            path: read(raw)
            for path, (raw, _) in masked_kernels(self.model).items()
        }


class Pruner:
    """Base of all pruners: override `scores`.

    A pruner is deterministic in the context's seed, leaves the model as it
    was, and returns a subset of the model's mask with the exact count.
    """

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `{path: float array}`, larger = keep, for every kernel."""
        raise NotImplementedError(
            f"`scores` must be defined by {type(self).__name__}. Return one "
            "array of scores per kernel."
        )

    def find_mask(self, context: PruningContext) -> Mask:
        """Returns the mask of the `context.keep` best-scored weights."""
        return select(
            self.scores(context),
            context.mask,
            context.keep,
            collapse=context.collapse,
            structure=context.structure,
        )


PRUNERS: dict[str, Pruner] = {}


def register(name: str) -> Callable[[type[Pruner]], type[Pruner]]:
    """Class decorator: makes a pruner available as `PRUNERS[name]`.

    Args:
        name: what users write in `--criterion` and `tfl.prune`.

    Raises:
        ValueError: the name is taken.
    """

    def add(cls: type[Pruner]) -> type[Pruner]:
        if name in PRUNERS:
            raise ValueError(
                "`name` must be a new criterion. Received: "
                f"name={name!r}, which is registered. Choose another."
            )
        PRUNERS[name] = cls()
        return cls

    return add


def get_pruner(criterion: str | Pruner) -> Pruner:
    """Returns the pruner of a name, or the pruner given.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(criterion, Pruner):
        return criterion
    if criterion not in PRUNERS:
        raise ValueError(
            f"`criterion` must be one of {', '.join(sorted(PRUNERS))}. "
            f"Received: criterion={criterion!r}. Choose one, or register "
            "your own pruner."
        )
    return PRUNERS[criterion]

"""The pruner interface: a criterion scores, a pruner masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping
from typing import Any

import keras
import numpy as np

from tf_lottery.layers import get_mask
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import read
from tf_lottery.masks import Mask
from tf_lottery.masks import group_shape
from tf_lottery.masks import select
from tf_lottery.pruners.given import require
from tf_lottery.pruners.gradients import average
from tf_lottery.pruners.gradients import kernel_gradients
from tf_lottery.pruners.trial import round_counts
from tf_lottery.pruners.trial import trial_masks


@dataclasses.dataclass(frozen=True)
class PruningContext:
    """Everything that a pruner may look at.

    Args:
        model: a masked model; the same after the pruner has run.
        keep: `{path: count}`, or one total, of the weights to keep.
        seed: makes the result a pure function of the context.
        x: inputs for criteria that need data, with the examples first: an
            array, or a structure of arrays as the model takes it.
        y: their targets, as the loss takes them.
        loss: `(y, outputs) -> losses` or a Keras loss, for criteria that need
            gradients; by default that of a compiled model.
        collapse: as in `tf_lottery.masks.select`.
        batch_size: examples that are looked at together. It bounds the memory
            used; BatchNormalization takes its statistics over so many.
        initial: `{path: array}`, the weights that training began with, for
            criteria that compare the present ones with them.
        cache: what is kept between the rounds of one pruning; made by it.
        structure: as in `tf_lottery.masks.select`.
    """

    model: keras.Model
    keep: Mapping[str, int] | int = 0
    seed: int = 0
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    loss: Callable | None = None
    collapse: str = "stop"
    batch_size: int = 256
    initial: Mapping[str, np.ndarray] | None = None
    cache: dict[Any, Any] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )
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

    def gradients(self, *, training: bool = True) -> dict[str, np.ndarray]:
        """Returns `{path: gradient}` of the mean loss by the raw kernels.

        It is 0 at pruned positions. The model is called on `x` batch by
        batch and is the same afterwards; its random layers draw by `seed`.

        Args:
            training: how the model is called; True takes
                BatchNormalization's statistics from the batch.

        Raises:
            ValueError: `x`, `y` or a loss is missing.
        """
        return average(self, kernel_gradients, training=training)


class Pruner:
    """Base of all pruners: override `scores`.

    A pruner is deterministic in the context's seed, leaves the model as it
    was, and returns a subset of the model's mask with the exact count.

    Attributes:
        rounds: how often the survivors are scored anew on the way to the
            count; round k of n keeps `m * (keep / m)^(k / n)` of m weights.
        revives: whether weights pruned in a round may come back in a later
            one. Between rounds the raw kernels then keep their values behind
            the mask; otherwise they are 0 there.
        needs: the parts of the context without which there are no scores, of
            `"x"`, `"y"`, `"loss"` and `"initial"`.

    Example:
        >>> class Saliency(Pruner):
        ...     needs = ("x", "y", "loss")
        ...     rounds = 20
        ...     def scores(self, context):
        ...         g = context.gradients()
        ...         w = context.kernels
        ...         return {path: abs(w[path] * g[path]) for path in w}
        >>> from tf_lottery.pruners import prune
        >>> model = keras.Sequential([keras.Input((4,))]
        ...     + [keras.layers.Dense(units) for units in (5, 2)])
        >>> x, y = np.ones((8, 4)), np.zeros((8, 2))
        >>> prune(model, 0.8, Saliency(), x=x, y=y, loss="mse").kept
        6
    """

    rounds: int = 1
    revives: bool = False
    needs: tuple[str, ...] = ()

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `{path: float array}`, larger = keep, for every kernel."""
        raise NotImplementedError(
            f"`scores` must be defined by {type(self).__name__}. Return one "
            "array of scores per kernel."
        )

    def check_model(self, model: keras.Model) -> None:
        """Raises ValueError for a masked model that it cannot score.

        Args:
            model: masked, before anything is trained.
        """

    def find_mask(self, context: PruningContext) -> Mask:
        """Returns the mask of the `context.keep` best-scored weights."""
        require(context, *self.needs)
        allowed = context.mask
        *trials, _ = round_counts(allowed, context.keep, self.rounds)
        if context.structure and group_shape(context.structure):
            # A first round would leave groups with fewer than are to be kept.
            trials = []
        rounds = len(trials) + 1
        context = dataclasses.replace(context, cache={"rounds": rounds})
        if not trials:
            return self._best(context, allowed, context.collapse)
        collapse = context.collapse
        if self.revives and collapse == "stop":
            # What is empty now need not be so in the end.
            collapse = "allow"
        with trial_masks(context.model, keep_pruned=self.revives) as put:
            for keep in trials:
                now = dataclasses.replace(context, keep=keep)
                found = self._best(now, allowed, collapse)
                put(found)
                allowed = allowed if self.revives else found
            return self._best(context, allowed, context.collapse)

    def _best(self, context, allowed, collapse):
        keep = context.keep
        if context.structure and self.rounds > 1:
            # Whole blocks: a round before may have kept a few weights less.
            kept = allowed.kept_by_path
            keep = (
                {path: min(n, kept[path]) for path, n in keep.items()}
                if isinstance(keep, Mapping)
                else min(keep, allowed.kept)
            )
        return select(
            self.scores(context),
            allowed,
            keep,
            collapse=collapse,
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


def get_pruner(
    criterion: str | Pruner, given: Collection[str] | None = None
) -> Pruner:
    """Returns the pruner of a name, or the pruner given.

    Args:
        criterion: a name in `PRUNERS`, or a `Pruner`.
        given: the parts of a context, as in `Pruner.needs`, that the caller
            is going to give; None leaves it to the pruning to check them.

    Raises:
        ValueError: an unknown name, or a criterion that needs more.
    """
    if isinstance(criterion, Pruner):
        pruner = criterion
    elif criterion in PRUNERS:
        pruner = PRUNERS[criterion]
    else:
        raise ValueError(
            f"`criterion` must be one of {', '.join(sorted(PRUNERS))}. "
            f"Received: criterion={criterion!r}. Choose one, or register "
            "your own pruner."
        )
    missing = [] if given is None else set(pruner.needs) - set(given)
    if missing:
        raise ValueError(
            "`criterion` must be one that can do without "
            f"{', '.join(sorted(missing))} here. Received: "
            f"criterion={criterion!r}. Choose another, or use tfl.prune, which "
            "takes them."
        )
    return pruner

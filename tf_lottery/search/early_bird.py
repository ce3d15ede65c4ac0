"""Early-Bird tickets: pruned once, as soon as the mask has settled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tf_lottery import seeds
from tf_lottery.layers import get_mask
from tf_lottery.layers import set_mask
from tf_lottery.masks import Mask
from tf_lottery.masks import check_emptied
from tf_lottery.masks import check_target
from tf_lottery.masks import compare_masks
from tf_lottery.masks import structured_sparsity
from tf_lottery.masks import target_counts
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext
from tf_lottery.search.channels import find_mask

# Masks that must agree, as in the paper.
WINDOW = 5


class EarlyBird:
    """Prunes a network that trains, once the mask to prune it by is stable.

    Every `every` steps the mask of the target sparsity is found, but not put
    in place. Where it differs from each of the `window - 1` before by at most
    `tolerance`, the ticket has emerged: that mask is put in place, and stays.
    At `end_step` it is put in place in any case.

    The paper's target is a fraction of the channels, by a sort of all
    |gamma|, and it compares masks of channels without what reads them. Here
    it is one of the weights, as everywhere, and masks are compared as they
    would be put in place.

    A mask also settles because little is learned: `learning_rate` says at
    what rate it did.

    Args:
        pruner: chooses the weights; the paper's is `"bn_scale"`.
        sparsity: fraction of the prunable weights to be zero, in [0, 1); None
            where the structure fixes it.
        scope: as in `target_counts`.
        structure: as in `select`; the paper's is `"channel"`.
        every: steps between two masks; the paper's is an epoch.
        end_step: the last step at which it prunes.
        window: masks that must agree.
        tolerance: largest distance of two that do.
        collapse: as in `tf_lottery.masks.select`.
        seed: of random criteria.
        given: parts of the `PruningContext` for the criterion.

    Raises:
        ValueError: `window` is below 2, `tolerance` not in [0, 1), or a
            sparsity, structure, scope or collapse that there is not.

    Attributes:
        emerged: step at which it pruned; None before.
        distance: the largest between the masks of then; None while there are
            too few.
        learning_rate: that the optimizer had then.

    Reference:
        You et al., "Drawing Early-Bird Tickets: Towards More Efficient
        Training of Deep Networks", 2020, arXiv:1909.11957, section 3 and
        algorithm 1: 5 masks, 0.1.
    """

    def __init__(
        self,
        pruner: Pruner,
        sparsity: float | None,
        *,
        scope: str = "global",
        structure: str | None = None,
        every: int,
        end_step: int,
        window: int = WINDOW,
        tolerance: float = 0.1,
        collapse: str = "stop",
        seed: int = 0,
        given: Mapping[str, Any] | None = None,
    ):
        if not (isinstance(window, int) and window >= 2):
            raise ValueError(
                "`window` must be at least 2 masks. Received: "
                f"window={window!r}. The paper compares 5."
            )
        if not 0 <= tolerance < 1:
            raise ValueError(
                "`tolerance` must be in [0, 1). Received: "
                f"tolerance={tolerance!r}. The paper takes 0.1."
            )
        sparsity = structured_sparsity(sparsity, structure)
        check_target(sparsity, scope, collapse)
        self._pruner = pruner
        self._sparsity = sparsity
        self._scope = scope
        self._structure = structure
        self._every = every
        self._end_step = end_step
        self._window = window
        self._tolerance = tolerance
        self._collapse = collapse
        self._seed = seed
        self._given = dict(given or {})
        self._masks: list[Mask] = []
        self.emerged: int | None = None
        self.distance: float | None = None
        self.learning_rate = 0.0

    def next(self, step: int) -> int | None:
        """Returns the first step from this one on at which it is due."""
        if self.emerged is not None or step > self._end_step:
            return None
        due = max(1, -(-step // self._every)) * self._every
        return min(due, self._end_step)

    def missed(self) -> int | None:
        """Returns the last step at which it is due, unless it has pruned."""
        return self._end_step if self.emerged is None else None

    def __call__(
        self, model: keras.Model, optimizer: Any, step: int
    ) -> None:
        """Looks at a model that has taken `step` steps, and prunes it or not.

        Args:
            model: masked.
            optimizer: what trains it; its slots are cleared where it prunes.
            step: at which it is due.
        """
        before = get_mask(model)
        keep: Any = before.kept_by_path
        # A training that is taken up again may have been pruned before.
        if before.sparsity < self._sparsity:
            keep = target_counts(
                before, self._sparsity, self._scope, self._structure
            )
        stop = self._collapse == "stop"
        context = PruningContext(
            model,
            keep=keep,
            seed=seeds.derive(self._seed, "early_bird", step),
            # Of a mask that is only looked at nothing need be said.
            collapse="allow" if stop else self._collapse,
            structure=self._structure,
            **self._given,
        )
        mask = find_mask(self._pruner, context, self._sparsity, self._scope)
        if len(self._masks) == self._window - 1:
            self.distance = max(
                mask_distance(mask, old, self._structure)
                for old in self._masks
            )
        self._masks = [*self._masks, mask][1 - self._window :]
        apart = self.distance is None or self.distance > self._tolerance
        # Networks without weights are all alike.
        if (apart or not mask.kept) and step < self._end_step:
            return
        if stop:
            check_emptied(mask.kept_by_path, before.kept_by_path)
        self._masks = []
        self.emerged = step
        self.learning_rate = float(np.asarray(optimizer.learning_rate))
        set_mask(model, mask, optimizer)

    @property
    def metrics(self) -> dict[str, Any]:
        """How the ticket emerged, for the ticket's metrics."""
        return {
            "emergence_step": self.emerged,
            "emergence_distance": self.distance,
            "emergence_learning_rate": self.learning_rate,
        }

    def state(self) -> dict[str, np.ndarray]:
        """Returns what `restore` goes on from, as arrays by name."""
        kept = {
            f"{i}:{path}": np.packbits(keep)
            for i, mask in enumerate(self._masks)
            for path, keep in mask.items()
        }
        emerged = -1 if self.emerged is None else self.emerged
        distance = np.nan if self.distance is None else self.distance
        numbers = [emerged, distance, self.learning_rate]
        return {"numbers": np.array(numbers, "float64"), **kept}

    def restore(
        self, state: Mapping[str, np.ndarray], model: keras.Model
    ) -> None:
        """Goes on from what `state` returned.

        Args:
            state: arrays by name.
            model: the model then.
        """
        emerged, distance, self.learning_rate = map(float, state["numbers"])
        self.distance = None if np.isnan(distance) else distance
        self.emerged = None if emerged < 0 else int(emerged)
        shapes = get_mask(model).shapes
        number = (len(state) - 1) // len(shapes)
        self._masks = [
            Mask({
                path: np.unpackbits(
                    state[f"{i}:{path}"], count=int(np.prod(shape))
                ).astype(bool).reshape(shape)
                for path, shape in shapes.items()
            })
            for i in range(number)
        ]


def mask_distance(
    one: Mask, other: Mask, structure: str | None = None
) -> float:
    """Returns how far apart two masks of one network are, in [0, 1].

    Of whole channels it is the paper's: the fraction of all channels that one
    keeps and the other prunes. Of single weights it is the fraction of the
    kept ones that are not kept by both; at density 1/2 that is the same, and
    of sparse masks the paper's would be small whatever they keep.

    Args:
        one: a mask.
        other: another, of the same kernels.
        structure: `"channel"`, or any other.

    Example:
        >>> one = Mask({"kernel": [[1, 1, 0, 0], [1, 1, 0, 0]]})
        >>> other = Mask({"kernel": [[1, 0, 1, 0], [1, 0, 1, 0]]})
        >>> mask_distance(one, other, "channel"), mask_distance(one, other)
        (0.5, 0.5)

    Reference:
        You et al., 2020, arXiv:1909.11957, section 3.2.
    """
    if structure == "channel":
        one, other = _channels(one), _channels(other)
    total = compare_masks(one, other).total
    if structure == "channel":
        return total.hamming
    return total.differing / max(1, total.kept + total.other_kept)


def _channels(mask: Mask) -> Mask:
    """Which channels keep a weight."""
    return Mask({
        path: np.asarray(keep.any(axis=tuple(range(keep.ndim - 1))))
        for path, keep in mask.items()
    })

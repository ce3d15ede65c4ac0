"""Criteria that compare a weight's final with its initial value."""

from __future__ import annotations

import numpy as np

from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import register
from tf_lottery.pruners.given import initial_kernels
from tf_lottery.pruners.magnitude import Magnitude


@register("large_final")
class LargeFinal(Magnitude):
    """Keeps the largest final weights: `score = |wf|`, as magnitude does."""


class MaskCriterion(Pruner):
    """Base of criteria of a final weight wf and the initial weight wi.

    wf are the model's weights, wi those of `context.initial`. The paper
    prunes kernel by kernel.

    Example:
        >>> from tf_lottery.pruners import scores
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[3.0], [-1.0]]), np.zeros(1)])
        >>> initial = {"out/kernel": np.array([[2.5], [0.1]])}
        >>> found = scores(model, "magnitude_increase", initial=initial)
        >>> found["out/kernel"].ravel().round(6).tolist()
        [0.5, 0.9]

    Reference:
        Zhou et al., "Deconstructing Lottery Tickets: Zeros, Signs, and the
        Supermask", 2019, arXiv:1905.01067, section 2 and figure 2; section 5
        for the criteria of equal and different sign.
    """

    needs: tuple[str, ...] = ("initial",)

    def score(
        self, final: np.ndarray, initial: np.ndarray, alive: np.ndarray
    ) -> np.ndarray:
        """Returns the scores of a kernel.

        Args:
            final: wf, floating, of the kernel's shape.
            initial: wi, of the same shape.
            alive: where the kernel is not pruned.
        """
        raise NotImplementedError(
            f"`score` must be defined by {type(self).__name__}. Return an "
            "array of the kernel's shape."
        )

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns the criterion's scores, kernel by kernel."""
        initial = initial_kernels(context)
        mask = context.mask
        return {
            path: self.score(final, initial[path], mask[path])
            for path, final in context.kernels.items()
        }


@register("small_final")
class SmallFinal(Pruner):
    """Keeps the smallest final weights: `score = -|wf|`."""

    def scores(self, context: PruningContext) -> dict[str, np.ndarray]:
        """Returns `-|wf|`."""
        return {path: -np.abs(w) for path, w in context.kernels.items()}


@register("large_init")
class LargeInit(MaskCriterion):
    """Keeps the largest initial weights: `score = |wi|`."""

    def score(self, final, initial, alive):
        """Returns `|wi|`."""
        return np.abs(initial)


@register("small_init")
class SmallInit(MaskCriterion):
    """Keeps the smallest initial weights: `score = -|wi|`."""

    def score(self, final, initial, alive):
        """Returns `-|wi|`."""
        return -np.abs(initial)


@register("large_init_large_final")
class LargeInitLargeFinal(MaskCriterion):
    """Keeps weights large at both ends: `min(rank |wi|, rank |wf|)`.

    The paper writes `min(|wi|, a |wf|)` with a such that both terms lie at
    the same percentile at the threshold, whatever that is. That is the order
    of the smaller of the two ranks, which needs no a: the fractions, in
    (0, 1], of the kernel's survivors that are no larger.
    """

    def score(self, final, initial, alive):
        """Returns the smaller of the two ranks."""
        return np.minimum(
            _rank(np.abs(final), alive), _rank(np.abs(initial), alive)
        )


@register("small_init_small_final")
class SmallInitSmallFinal(MaskCriterion):
    """Keeps weights small at both ends: `min(rank -|wi|, rank -|wf|)`.

    The paper writes `-max(|wi|, a |wf|)`; ranks as in
    `LargeInitLargeFinal`.
    """

    def score(self, final, initial, alive):
        """Returns the smaller of the two ranks."""
        return np.minimum(
            _rank(-np.abs(final), alive), _rank(-np.abs(initial), alive)
        )


@register("magnitude_increase")
class MagnitudeIncrease(MaskCriterion):
    """Keeps weights that have grown most: `score = |wf| - |wi|`."""

    def score(self, final, initial, alive):
        """Returns `|wf| - |wi|`."""
        return np.abs(final) - np.abs(initial)


@register("movement")
class Movement(MaskCriterion):
    """Keeps weights that have moved farthest: `score = |wf - wi|`."""

    def score(self, final, initial, alive):
        """Returns `|wf - wi|`."""
        return np.abs(final - initial)


@register("large_final_same_sign")
class LargeFinalSameSign(MaskCriterion):
    """Keeps large weights of unchanged sign: `max(0, wf * sign(wi))`.

    The criterion of the paper's supermasks, at initial weights.
    """

    def score(self, final, initial, alive):
        """Returns `max(0, wf * sign(wi))`."""
        return np.maximum(0, final * np.sign(initial))


@register("large_final_diff_sign")
class LargeFinalDiffSign(MaskCriterion):
    """Keeps large weights of changed sign: `max(0, -wf * sign(wi))`.

    The control of `large_final_same_sign`.
    """

    def score(self, final, initial, alive):
        """Returns `max(0, -wf * sign(wi))`."""
        return np.maximum(0, -final * np.sign(initial))


def _rank(values, alive):
    """The fraction of the entries alive that are at most as large."""
    known = np.sort(values[alive])
    places = np.searchsorted(known, values.ravel(), side="right")
    return (places / max(1, known.size)).reshape(values.shape)

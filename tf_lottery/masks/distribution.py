"""How many weights each kernel keeps.

The count rule is one everywhere: of n weights at rate p, `n - round(p * n)`
are kept, round half to even.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from numbers import Real

from tf_lottery.masks.mask import Mask
from tf_lottery.masks.select import check_collapse
from tf_lottery.masks.select import check_emptied
from tf_lottery.masks.select import check_floor
from tf_lottery.masks.select import floored
from tf_lottery.masks.shares import erk_counts
from tf_lottery.masks.shares import smart_ratio_counts
from tf_lottery.masks.structure import structured_counts
from tf_lottery.masks.structure import structured_sparsity

SCOPES = ("layerwise", "global", "uniform", "erk", "smart_ratio")

# How these scopes share out a total.
_SHARED = {"erk": erk_counts, "smart_ratio": smart_ratio_counts}


def keep_count(size: int, rate: float) -> int:
    """Returns how many of `size` weights survive pruning at `rate`.

    `size - round(rate * size)`, round half to even.

    Args:
        size: number of weights before.
        rate: fraction pruned, in [0, 1].

    Returns:
        The number of weights kept.

    Example:
        >>> keep_count(1000, 0.1), keep_count(5, 0.5)
        (900, 3)
    """
    return size - int(round(rate * size))


@dataclasses.dataclass(frozen=True)
class PruningRates:
    """What one pruning round removes.

    Args:
        scope: `"layerwise"`: each kernel loses its own rate of its surviving
            weights. `"uniform"`: each loses `rate`. `"global"`: the network
            loses `rate` of its surviving weights, wherever they score lowest.
            `"erk"`: the network loses `rate`, shared out by the
            Erdos-Renyi-Kernel rule. `"smart_ratio"`: likewise, by the rule of
            random tickets: the earlier a kernel, the denser.
        rate: fraction of the surviving weights, in (0, 1).
        by_path: `{path: rate}` for `"layerwise"`; overrides `rate`.

    Raises:
        ValueError: an unknown scope, or a rate outside (0, 1).

    Example:
        >>> rates = PruningRates("global", 0.2)
        >>> rates.keep(Mask.ones({"dense/kernel": (2, 5)}))
        8
    """

    scope: str = "layerwise"
    rate: float = 0.2
    by_path: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_scope(self.scope)
        for rate in (self.rate, *self.by_path.values()):
            check_rate("prune_rate", rate)

    def keep(self, mask: Mask) -> dict[str, int] | int:
        """Returns the counts after one more round on `mask`.

        Args:
            mask: the current mask.

        Returns:
            `{path: count}`, or one total under the global scope.
        """
        return self._next(mask.kept_by_path, mask.shapes)

    def plan(
        self,
        mask: Mask,
        levels: int,
        collapse: str = "stop",
        *,
        start: int = 0,
    ) -> Sequence[dict[str, int] | int]:
        """Returns the counts of every level, before anything is trained.

        Args:
            mask: the mask of level `start`.
            levels: the last level.
            start: the first level.
            collapse: as in `select`.

        Returns:
            An entry per level from `start` on: `{path: count}`, or one
            total under the global scope.

        Raises:
            ValueError: under `"stop"`, a level that empties a kernel (under
                the global scope: the network); under `"floor"` and the global
                scope, one that keeps less than a weight per kernel.
        """
        check_collapse(collapse)
        counts = mask.kept_by_path
        if self.scope == "global":
            counts = {"the network": mask.kept}
        shapes = mask.shapes
        alive = sum(n > 0 for n in mask.kept_by_path.values())
        result = [counts]
        for level in range(start + 1, levels + 1):
            after = self._next(counts, shapes)
            if not isinstance(after, dict):
                after = {"the network": after}
            if collapse == "floor" and self.scope == "global":
                check_floor(after["the network"], alive, level)
            elif collapse == "floor":
                after = floored(after, counts)
            elif collapse == "stop":
                check_emptied(after, counts, level)
            result.append(after)
            counts = after
        if self.scope == "global":
            return [sum(counts.values()) for counts in result]
        return result

    def _next(self, counts, shapes):
        total = sum(counts.values())
        if self.scope == "global":
            return keep_count(total, self.rate)
        if self.scope in _SHARED:
            total = keep_count(total, self.rate)
            return _SHARED[self.scope](shapes, total, counts)
        rates = self.by_path if self.scope == "layerwise" else {}
        return {
            k: keep_count(n, rates.get(k, self.rate))
            for k, n in counts.items()
        }


def target_counts(
    mask: Mask, sparsity: float, scope: str, structure: str | None = None
) -> dict[str, int] | int:
    """Returns how many weights to keep to reach `sparsity`.

    Args:
        mask: the current mask; its weights pruned already count.
        sparsity: fraction of all prunable weights to be zero, in [0, 1).
        scope: as in `PruningRates`; `"layerwise"` is `"uniform"` here.
        structure: as in `select`; N:M fixes the counts, of blocks they are
            the most weights to keep.

    Returns:
        `{path: count}`, or one total under the global scope.

    Raises:
        ValueError: an unknown scope or structure, `sparsity` outside [0, 1),
            below what is pruned already, or not the structure's.

    Example:
        >>> target_counts(Mask.ones({"a": (10,), "b": (4,)}), 0.5, "uniform")
        {'a': 5, 'b': 2}
    """
    check_target(structured_sparsity(sparsity, structure), scope)
    if structure and (fixed := structured_counts(mask, structure)):
        return fixed
    total = keep_count(mask.size, sparsity)
    if total > mask.kept:
        raise ValueError(
            f"`sparsity` must be at least {mask.sparsity:.6f}, which is "
            f"pruned already. Received: sparsity={sparsity}. A mask can only "
            "shrink."
        )
    if scope == "global":
        return total
    if scope in _SHARED:
        return _SHARED[scope](mask.shapes, total, mask.kept_by_path)
    counts = {k: keep_count(m.size, sparsity) for k, m in mask.items()}
    before = mask.kept_by_path
    short = [k for k, n in counts.items() if n > before[k]]
    if short:
        raise ValueError(
            f"`scope` must be global, {' or '.join(_SHARED)} where kernels are"
            f" pruned beyond the target already. Received: scope={scope!r}, "
            f"sparsity={sparsity}, and {', '.join(short)} pruned further. A "
            "mask can only shrink."
        )
    return counts


def counts_at_most(
    mask: Mask, sparsity: float, scope: str
) -> dict[str, int] | int:
    """Returns the counts of a sparsity, of a mask that may be sparser already.

    Kernel by kernel: small ones may be rounded up past the sparsity, and a
    later step must not stop at that for the others.

    Args:
        mask: the current mask.
        sparsity: fraction of all prunable weights to be zero, in [0, 1).
        scope: as in `target_counts`.

    Example:
        >>> mask = Mask({"a": [True, False, False, False]})
        >>> counts_at_most(mask, 0.5, "uniform")
        {'a': 1}
    """
    before = mask.kept_by_path
    if scope in ("uniform", "layerwise"):
        return {
            k: min(before[k], keep_count(m.size, sparsity))
            for k, m in mask.items()
        }
    if keep_count(mask.size, sparsity) >= mask.kept:
        return mask.kept
    return target_counts(mask, sparsity, scope)


def check_scope(scope: str) -> None:
    """Raises ValueError unless `scope` is one of `SCOPES`."""
    if scope not in SCOPES:
        raise ValueError(
            f"`scope` must be one of {', '.join(SCOPES)}. Received: "
            f"scope={scope!r}. Choose one of these."
        )


def check_target(sparsity: float, scope: str, collapse: str = "stop") -> None:
    """Raises ValueError unless these name something that can be pruned to."""
    check_scope(scope)
    check_collapse(collapse)
    if not (isinstance(sparsity, Real) and 0 <= sparsity < 1):
        raise ValueError(
            f"`sparsity` must be in [0, 1). Received: sparsity={sparsity!r}. "
            "Give the fraction of weights to remove, not a percentage."
        )


def check_rate(name: str, rate: float) -> None:
    """Raises ValueError unless `rate` is a fraction in (0, 1)."""
    if not (isinstance(rate, Real) and 0 < rate < 1):
        raise ValueError(
            f"`{name}` must be in (0, 1). Received: {name}={rate!r}. Give the "
            "fraction of surviving weights that a round removes; to keep "
            "layers dense use exclude."
        )

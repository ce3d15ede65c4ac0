"""How much two masks have in common, and how much chance would give."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

import numpy as np

from tf_lottery.masks.mask import Mask
from tf_lottery.masks.match import match_paths


@dataclasses.dataclass(frozen=True)
class Overlap:
    """What two masks of one kernel have in common; or of several, in sums.

    Chance means two independent masks, uniform among those that keep as many
    weights of each kernel. Of a kernel of N weights, where they keep n and m,
    those kept by both are then hypergeometric: n m / N of them are expected,
    with the variance n m (N - n) (N - m) / (N^2 (N - 1)). Both are exact, and
    kernels are independent, so both add up over kernels.

    Args:
        size: N, number of weights.
        kept: n, number that the one mask keeps.
        other_kept: m, number that the other keeps.
        both: number that both keep.
        expected: of `both`, by chance.
        variance: of `both`, by chance.
    """

    size: int
    kept: int
    other_kept: int
    both: int
    expected: float
    variance: float

    @classmethod
    def of(cls, one: np.ndarray, other: np.ndarray) -> Overlap:
        """Returns the overlap of two boolean arrays of one shape.

        Args:
            one: True = keep.
            other: the same of another mask.
        """
        size = one.size
        n, m = int(np.count_nonzero(one)), int(np.count_nonzero(other))
        both = int(np.count_nonzero(one & other))
        expected = n * m / size if size else 0.0
        spread = expected * (size - n) * (size - m)
        variance = spread / (size * (size - 1)) if size > 1 else 0.0
        return cls(size, n, m, both, expected, variance)

    @classmethod
    def pooled(cls, overlaps: Iterable[Overlap]) -> Overlap:
        """Returns the sums over kernels, or over pairs of masks.

        Pairs of independent masks that have a mask in common still have
        uncorrelated overlaps, so that their variances add up too.

        Args:
            overlaps: at least one.
        """
        rows = [dataclasses.astuple(one) for one in overlaps]
        return cls(*map(sum, zip(*rows, strict=True)))

    @property
    def differing(self) -> int:
        """Number of weights that one mask keeps and the other does not."""
        return self.kept + self.other_kept - 2 * self.both

    @property
    def jaccard(self) -> float:
        """Kept by both / kept by either, in [0, 1]; 1 of two empty masks."""
        return _ratio(self.both, self.kept + self.other_kept)

    @property
    def hamming(self) -> float:
        """Fraction of the weights that one keeps and the other does not."""
        return self.differing / self.size if self.size else 0.0

    @property
    def chance_jaccard(self) -> float:
        """What chance gives for `jaccard`, to first order.

        That is the ratio of expectations; the expectation of the ratio
        differs from it by a term of order 1 / N.
        """
        return _ratio(self.expected, self.kept + self.other_kept)

    @property
    def chance_hamming(self) -> float:
        """The expectation of `hamming` by chance; exact."""
        differing = self.kept + self.other_kept - 2 * self.expected
        return differing / self.size if self.size else 0.0

    @property
    def z(self) -> float | None:
        """Standard deviations that `both` is above chance.

        Under chance it is close to standard normal where some tens of common
        weights are expected. None where chance has no spread, as where one
        mask keeps all.
        """
        if not self.variance > 0:
            return None
        return (self.both - self.expected) / math.sqrt(self.variance)


@dataclasses.dataclass(frozen=True)
class MaskComparison:
    """Two masks of one architecture side by side; `str` gives a table.

    Args:
        kernels: `{path in the first mask: Overlap}`, in its order.
    """

    kernels: Mapping[str, Overlap]

    @property
    def total(self) -> Overlap:
        """Over all kernels; chance keeps the counts of each kernel."""
        return Overlap.pooled(self.kernels.values())

    @property
    def nested(self) -> bool:
        """Whether one of the masks keeps nothing that the other prunes."""
        total = self.total
        return total.both == min(total.kept, total.other_kept)

    def __str__(self) -> str:
        table = [[
            "kernel", "weights", "kept", "other", "both", "expected",
            "Jaccard", "chance", "Hamming", "chance", "z",
        ]]
        rows = {**self.kernels, "all": self.total}
        for path, one in rows.items():
            counts = (one.size, one.kept, one.other_kept, one.both)
            shares = (
                one.jaccard, one.chance_jaccard, one.hamming,
                one.chance_hamming,
            )
            table.append([
                path,
                *(f"{count:,}" for count in counts),
                f"{one.expected:,.1f}",
                *(f"{share:.4f}" for share in shares),
                "-" if one.z is None else f"{one.z:+.1f}",
            ])
        first, *widths = (max(map(len, column)) for column in zip(*table))
        return "\n".join(
            "  ".join([
                cells[0].ljust(first),
                *(cell.rjust(w) for cell, w in zip(cells[1:], widths)),
            ])
            for cells in table
        )


def compare_masks(a: Mask, b: Mask) -> MaskComparison:
    """Returns how much two masks have in common, kernel by kernel.

    With n and m weights kept, of N, and c by both:

    - the Jaccard index is c / (n + m - c),
    - the normalised Hamming distance (n + m - 2 c) / N,
    - and z = (c - n m / N) / sd says how far c is from chance, see `Overlap`.

    Chance knows the number of weights of each kernel and nothing else: masks
    that both avoid the same inputs, such as pixels that are never lit, are
    above it.

    Args:
        a: a mask.
        b: another, of the same kernels; also with the paths of the same
            architecture built anew (`dense_3/kernel`).

    Raises:
        TypeError: one of them is not a `Mask`.
        ValueError: kernels are missing, unknown, or of another shape.

    Example:
        >>> a = Mask({"out/kernel": [[1, 1, 1, 0], [0, 0, 0, 0]]})
        >>> b = Mask({"out/kernel": [[0, 1, 1, 1], [1, 0, 0, 0]]})
        >>> found = compare_masks(a, b)
        >>> found.total.jaccard, found.total.hamming, found.total.expected
        (0.4, 0.375, 1.5)
        >>> f"{found.total.z:+.3f}", found.nested
        ('+0.683', False)
    """
    for name, mask in (("a", a), ("b", b)):
        if not isinstance(mask, Mask):
            raise TypeError(
                f"`{name}` must be a Mask. Received: "
                f"{name}={type(mask).__name__}. Use get_mask(model), or "
                "Mask({path: array})."
            )
    paths = match_paths(a.shapes, b.shapes, "b")
    return MaskComparison(
        {path: Overlap.of(keep, b[paths[path]]) for path, keep in a.items()}
    )


def _ratio(both: float, sum_of_kept: int) -> float:
    either = sum_of_kept - both
    return both / either if either else 1.0

"""Trying masks on a model: what scoring in rounds is made of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np

from tf_lottery.layers import masked_kernels
from tf_lottery.layers import read
from tf_lottery.masks import Mask


def round_counts(
    mask: Mask, keep: Mapping[str, int] | int, rounds: int
) -> Sequence[dict[str, int] | int]:
    """Returns how many weights each round keeps, down to `keep`.

    Round k of n keeps `round(m * (keep / m)^(k / n))` of the m weights that
    the mask keeps now: equal fractions of the survivors go in every round.
    Rounds that would remove nothing are left out.

    Args:
        mask: the mask before the first round.
        keep: `{path: count}`, or one total: what the last round keeps.
        rounds: n, at least 1.

    Returns:
        The counts in order; the last entry is `keep` itself.

    Raises:
        ValueError: `rounds` is not a positive integer.

    Example:
        >>> round_counts(Mask.ones({"dense/kernel": (10, 10)}), 1, 4)
        [32, 10, 3, 1]

    Reference:
        Tanaka et al., 2020, arXiv:2006.05467, algorithm 1; de Jorge et al.,
        2020, arXiv:2006.09081, section 4.
    """
    if isinstance(rounds, bool) or not (
        isinstance(rounds, (int, np.integer)) and rounds >= 1
    ):
        raise ValueError(
            "`rounds` must be a positive whole number. Received: "
            f"rounds={rounds!r}. Give 1 to score once."
        )
    counts: list = []
    last = mask.kept_by_path if isinstance(keep, Mapping) else mask.kept
    for k in range(1, int(rounds)):
        if isinstance(keep, Mapping):
            before = mask.kept_by_path
            now = {
                path: _part(before.get(path), n, k / rounds)
                for path, n in keep.items()
            }
        else:
            now = _part(mask.kept, keep, k / rounds)
        if now not in (last, keep):
            counts.append(now)
            last = now
    return [*counts, keep]


def _part(before, after, share):
    # What cannot be kept is left for the selection to refuse.
    if not (
        isinstance(after, (int, np.integer)) and before and 0 < after < before
    ):
        return after
    return round(before * (after / before) ** share)


@contextlib.contextmanager
def trial_masks(
    model: keras.Model, *, keep_pruned: bool = False
) -> Iterator[Callable[[Mask], None]]:
    """Lets masks be tried on a model, which gets its own back at the end.

    Args:
        model: a masked model; no optimizer is touched.
        keep_pruned: leaves raw weights as they are behind the masks; by
            default they are 0 where a mask is.

    Returns:
        A context manager, also for when an error ends it; it gives a function
        that puts a `Mask` on the model.

    Example:
        >>> from tf_lottery.layers import get_mask, mask_model
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model = mask_model(model)
        >>> with trial_masks(model) as put:
        ...     put(Mask({"out/kernel": [[True], [False]]}))
        ...     get_mask(model).kept
        1
        >>> get_mask(model).kept
        2
    """
    kernels = masked_kernels(model)
    before = {
        path: (np.array(read(raw)), np.array(read(mask)))
        for path, (raw, mask) in kernels.items()
    }

    def put(mask: Mask) -> None:
        for path, (raw, variable) in kernels.items():
            variable.assign(mask[path].astype(variable.dtype))
            if not keep_pruned:
                value = before[path][0]
                raw.assign(np.where(mask[path], value, np.zeros_like(value)))

    try:
        yield put
    finally:
        for path, (raw, variable) in kernels.items():
            raw.assign(before[path][0])
            variable.assign(before[path][1])

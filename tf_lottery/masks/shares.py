"""How a total of weights is shared out among kernels."""

from __future__ import annotations

from collections.abc import Mapping

# Su et al. keep this fraction of the layer that gives the outputs.
_LAST_RATIO = 0.3


def proportional_counts(
    weight: Mapping[str, float], total: int, capacity: Mapping[str, int]
) -> dict[str, int]:
    """Shares out `total` in proportion to `weight`, up to each capacity.

    Where a share would exceed the capacity the kernel is kept whole, and the
    rest is shared among the others. Remainders of rounding go to the largest
    fractions first, so the counts add up to `total` exactly.

    Args:
        weight: `{path: positive number}`.
        total: to share out, at most the sum of the capacities.
        capacity: `{path: most that it can get}`.

    Returns:
        `{path: count}` that sums to `total`.

    Example:
        >>> proportional_counts({"a": 3, "b": 1}, 10, {"a": 6, "b": 9})
        {'a': 6, 'b': 4}
    """
    full: set[str] = set()
    while True:
        free = [k for k in weight if k not in full]
        left = total - sum(capacity[k] for k in full)
        scale = left / max(float(sum(weight[k] for k in free)), 1.0)
        over = {k for k in free if scale * weight[k] > capacity[k]}
        if not over:
            break
        full |= over
    share = {k: scale * weight[k] for k in free}
    counts = {k: capacity[k] if k in full else int(share[k]) for k in weight}
    for k in sorted(free, key=lambda k: int(share[k]) - share[k]):
        if sum(counts.values()) < total and counts[k] < capacity[k]:
            counts[k] += 1
    return counts


def uniform_counts(
    shapes: Mapping[str, tuple[int, ...]], total: int
) -> dict[str, int]:
    """Shares out `total` weights so that all densities are alike.

    Unlike the uniform scope, whose counts are rounded kernel by kernel, this
    keeps the total exactly.

    Args:
        shapes: `{path: shape}`.
        total: number of weights to keep in all.

    Returns:
        `{path: count}` that sums to `total`.

    Example:
        >>> uniform_counts({"a": (10, 10), "b": (4, 5)}, 13)
        {'a': 11, 'b': 2}
    """
    sizes = {k: _size(shape) for k, shape in shapes.items()}
    return proportional_counts(sizes, total, sizes)


def erk_counts(
    shapes: Mapping[str, tuple[int, ...]],
    total: int,
    capacity: Mapping[str, int],
) -> dict[str, int]:
    """Shares out `total` weights by the Erdos-Renyi-Kernel rule.

    A kernel's density is proportional to `sum(shape) / prod(shape)`; kernels
    whose density would exceed what they have are kept whole, and the rest is
    shared among the others.

    Args:
        shapes: `{path: shape}`.
        total: number of weights to keep in all.
        capacity: `{path: most weights it can keep}`.

    Returns:
        `{path: count}` that sums to `total`.

    Example:
        >>> erk_counts({"a": (10, 10), "b": (4, 4)}, 28, {"a": 100, "b": 16})
        {'a': 20, 'b': 8}

    Reference:
        Evci et al., "Rigging the Lottery", 2020, arXiv:1911.11134, sec. 3.
    """
    weight = {k: float(sum(shape)) for k, shape in shapes.items()}
    return proportional_counts(weight, total, capacity)


def smart_ratio_counts(
    shapes: Mapping[str, tuple[int, ...]],
    total: int,
    capacity: Mapping[str, int],
) -> dict[str, int]:
    """Shares out `total` weights by the smart ratio of random tickets.

    Of L kernels, in order, the l-th is kept at a density proportional to
    `(L - l + 1)^2 + (L - l + 1)`, but for the last, which is kept at 0.3;
    kernels whose density would exceed what they have are kept whole.

    Where 0.3 of the last kernel is more than half of `total`, which the paper
    does not treat, it gets that half. It gets more than 0.3 only of what no
    other kernel has room for.

    Args:
        shapes: `{path: shape}`, in the order of the network; the last gives
            the outputs.
        total: number of weights to keep in all.
        capacity: `{path: most weights it can keep}`.

    Returns:
        `{path: count}` that sums to `total`.

    Example:
        >>> shapes = {"a": (10, 10), "b": (10, 10), "c": (10, 2)}
        >>> full = {"a": 100, "b": 100, "c": 20}
        >>> smart_ratio_counts(shapes, 60, full)  # a : b is 12 : 6
        {'a': 36, 'b': 18, 'c': 6}

    Reference:
        Su et al., "Sanity-Checking Pruning Methods", 2020, arXiv:2009.11094,
        section 5.
    """
    *others, last = shapes
    room = sum(capacity[k] for k in others)
    fixed = min(
        int(round(_LAST_RATIO * _size(shapes[last]))),
        total // 2,
        capacity[last],
    )
    fixed = max(fixed, total - room)
    weight = {
        k: float(place * (place + 1) * _size(shapes[k]))
        # L - l + 1, from L down to 2.
        for place, k in zip(range(len(shapes), 1, -1), others)
    }
    counts = proportional_counts(weight, total - fixed, capacity)
    return {**counts, last: fixed}


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size

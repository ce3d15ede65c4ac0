"""How a training set is divided: seeded, and the same on every machine."""

from __future__ import annotations

import numbers

import numpy as np

DEFAULT_VALIDATION_SIZE = 5000
SMALL_SET = 50_000
# Share of train that serves as test where the source has no test split.
TEST_SHARE = 5


def permutation(size: int, seed: int) -> np.ndarray:
    """Returns a permutation of `range(size)` that depends on nothing else.

    The order is the stable argsort of raw 64-bit draws of
    `np.random.Philox(seed)`. NumPy guarantees the raw stream of a bit
    generator, but not `Generator.permutation`, across its versions.

    Args:
        size: number of entries.
        seed: an integer of at least 0.

    Returns:
        `(size,)` int64.

    Example:
        >>> sorted(permutation(4, seed=0).tolist())
        [0, 1, 2, 3]

    Reference:
        Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011,
        doi:10.1145/2063384.2063405 (Philox).
    """
    draws = np.random.Philox(seed).random_raw(size)
    return np.argsort(draws, kind="stable")


def carve(
    train_size: int,
    *,
    test_size: int,
    validation_size: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Divides training indices into train, validation and test.

    Test entries come first in the permutation, so they do not move when
    `validation_size` changes, and validation sets of one seed are nested.

    Args:
        train_size: examples in the source's training split.
        test_size: examples to carve for testing; 0 where a test split exists.
        validation_size: examples to carve for validation.
        seed: of the split.

    Returns:
        Three ascending int64 index arrays `(train, validation, test)`,
        disjoint and exhaustive.

    Example:
        >>> [i.size for i in carve(
        ...     10, test_size=2, validation_size=3, seed=0)]
        [5, 3, 2]
    """
    order = permutation(train_size, seed)
    end = test_size + validation_size
    return (
        np.sort(order[end:]),
        np.sort(order[test_size:end]),
        np.sort(order[:test_size]),
    )


def check_sizes(validation_size: int, split_seed: int = 0) -> None:
    """Checks what can be checked before the data set is known.

    Args:
        validation_size: number of validation examples asked for.
        split_seed: seed of the split.

    Raises:
        TypeError: either argument is not an integer.
        ValueError: `validation_size` is below 1, or `split_seed` below 0.

    Example:
        >>> check_sizes(5000, split_seed=0)
    """
    for name, value in (
        ("validation_size", validation_size),
        ("split_seed", split_seed),
    ):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            raise TypeError(
                f"`{name}` must be an integer. Received: {name}={value!r}. "
                "Pass a whole number."
            )
    if validation_size < 1:
        raise ValueError(
            "`validation_size` must be at least 1. Received: "
            f"validation_size={validation_size}. Early stopping is decided "
            "on the validation set, so it cannot be empty."
        )
    if split_seed < 0:
        raise ValueError(
            "`split_seed` must be at least 0. Received: "
            f"split_seed={split_seed}. Pass another integer."
        )


def resolve_validation_size(train_size: int, validation_size: int) -> int:
    """Returns how many training examples become the validation set.

    The default of 5000 becomes 10 % (rounded down) of sets with fewer than
    50,000 training examples; any other value is taken exactly.

    Args:
        train_size: training examples before the validation set is carved.
        validation_size: number of validation examples asked for.

    Returns:
        The number of validation examples.

    Raises:
        ValueError: less than half of the training set would be left.

    Example:
        >>> resolve_validation_size(1437, 5000)
        143
    """
    if validation_size == DEFAULT_VALIDATION_SIZE and train_size < SMALL_SET:
        validation_size = train_size // 10
    if not 1 <= validation_size <= train_size // 2:
        raise ValueError(
            "`validation_size` must be at least 1 and leave at least half of "
            f"the {train_size} training examples. Received: "
            f"validation_size={validation_size}. Choose a number from 1 to "
            f"{train_size // 2}."
        )
    return validation_size

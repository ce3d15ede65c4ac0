"""Scikit-learn's bundled 8x8 digits: the offline default."""

from __future__ import annotations

import numpy as np

from tf_lottery.data.facts import Facts
from tf_lottery.data.split import permutation

SIZE = 1797
TEST_SIZE = 360
# Fixed for good: another value would change the test set of every run.
TEST_SEED = 20190309


def facts() -> Facts:
    """Returns the digits' metadata without importing scikit-learn.

    Returns:
        A `Facts`: 1,437 training and 360 test images of shape (8, 8, 1).

    Example:
        >>> facts().train_size
        1437

    Reference:
        Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, 1998,
        UCI Machine Learning Repository, the 1,797 images of its test half,
        as distributed by scikit-learn's `load_digits`.
    """
    return Facts(
        source="scikit-learn digits",
        input_shape=(8, 8, 1),
        num_classes=10,
        class_names=tuple(str(digit) for digit in range(10)),
        scale=1.0 / 16.0,
        train_size=SIZE - TEST_SIZE,
        test_size=TEST_SIZE,
    )


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns the digits as arrays, with a test set that never changes.

    The test set is the first 360 entries of one fixed permutation, kept in
    scikit-learn's order. It is not stratified: its class counts are those of
    a uniform draw. Neighbouring images of the source may share a writer,
    which is why the test set is not simply its tail.

    Returns:
        `(x_train, y_train, x_test, y_test)`: images `(n, 8, 8, 1)` uint8 in
        0..16, labels `(n,)` int32.

    Example:
        >>> arrays()[2].shape
        (360, 8, 8, 1)
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = bunch.images.astype(np.uint8)[..., np.newaxis]
    y = bunch.target.astype(np.int32)
    order = permutation(SIZE, TEST_SEED)
    test = np.sort(order[:TEST_SIZE])
    train = np.sort(order[TEST_SIZE:])
    return x[train], y[train], x[test], y[test]


def labels() -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels of the training and of the test images.

    Example:
        >>> [len(y) for y in labels()]
        [1437, 360]
    """
    _, train, _, test = arrays()
    return train, test

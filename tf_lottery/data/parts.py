"""Parts of a data set by a suffix of its name: halves and classes.

`"cifar10:a"` and `"cifar10:b"` are halves of the training examples,
`"mnist:0-4"` is a range of classes. No TFDS version looks like either.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np

from tf_lottery.data.facts import Facts
from tf_lottery.data.split import permutation

# Fixed for good: another value would change what every half is.
_SEED = 20190606

Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Part:
    """What is taken of a data set.

    Args:
        name: of it all, with its part, for errors.
        half: 0 or 1, or None for a part that is a range of classes.
        first: the first class of the range.
        last: its last class.

    Reference:
        Morcos et al., 2019, arXiv:1906.02773, section 3.3: halves of CIFAR-10
        with all classes in each.
    """

    name: str
    half: int | None = None
    first: int = 0
    last: int = 0

    def facts(
        self, whole: Facts, labels: Callable[[], tuple[np.ndarray, ...]]
    ) -> Facts:
        """Returns what there is to know of the part.

        Args:
            whole: of the whole data set.
            labels: returns the labels of its training and of its test split.
                Called for a range of classes alone, whose sizes no source
                states.

        Raises:
            ValueError: the data set has no such classes, or is to be halved
                and has no test split.
        """
        if self.half is not None:
            if whole.test_size is None:
                raise ValueError(
                    "`dataset` must have a test split of its own to be "
                    f"halved. Received: dataset={self.name!r}. Choose another "
                    "data set, or a range of classes such as 0-4."
                )
            return dataclasses.replace(
                whole,
                source=f"{whole.source}, half {'ab'[self.half]}",
                train_size=(whole.train_size + 1 - self.half) // 2,
            )
        if not self.first < self.last < whole.num_classes:
            raise ValueError(
                "`dataset` must name a range of at least two of the classes 0 "
                f"to {whole.num_classes - 1}. Received: dataset="
                f"{self.name!r}. Write for example "
                f"{self.name.rpartition(':')[0]}:0-{whole.num_classes // 2}."
            )
        train, test = (int(self._has(y).sum()) for y in labels())
        names = whole.class_names
        return dataclasses.replace(
            whole,
            source=f"{whole.source}, classes {self.first} to {self.last}",
            num_classes=self.last - self.first + 1,
            class_names=names and names[self.first:self.last + 1],
            train_size=train,
            test_size=None if whole.test_size is None else test,
        )

    def take(self, arrays: Arrays) -> Arrays:
        """Returns the part's examples, in their order.

        Args:
            arrays: `(x_train, y_train, x_test, y_test)` of the whole.

        Returns:
            As many arrays. Of a half the test set is the whole; of a range of
            classes labels are counted from its first.
        """
        x, y, x_test, y_test = arrays
        if self.half is not None:
            chosen = half_of(y, self.half)
            return x[chosen], y[chosen], x_test, y_test
        train, test = self._has(y), self._has(y_test)
        return (
            x[train], y[train] - self.first,
            x_test[test], y_test[test] - self.first,
        )

    def _has(self, labels: np.ndarray) -> np.ndarray:
        return (self.first <= labels) & (labels <= self.last)


def split_name(name: str) -> tuple[str, Part | None]:
    """Returns the name of the whole data set, and the part of it that is meant.

    Args:
        name: such as `"mnist"`, `"mnist:a"`, `"cifar10:3.0.2:0-4"`.

    Returns:
        The name without the part; None for the whole.

    Example:
        >>> split_name("mnist:5-9")
        ('mnist', Part(name='mnist:5-9', half=None, first=5, last=9))
        >>> split_name("cifar10:3.0.2")
        ('cifar10:3.0.2', None)
    """
    whole, _, suffix = name.rpartition(":")
    if whole and suffix in ("a", "b"):
        return whole, Part(name, half="ab".index(suffix))
    if whole and (found := re.fullmatch(r"(\d{1,6})-(\d{1,6})", suffix)):
        return whole, Part(name, None, int(found[1]), int(found[2]))
    return name, None


def half_of(labels: np.ndarray, half: int) -> np.ndarray:
    """Returns which examples are in one half of a training set.

    Class by class, and in each in a fixed random order, examples go to the
    halves in turn: a class has as many in both, or one more.

    Args:
        labels: `(n,)` integers.
        half: 0 or 1.

    Returns:
        Ascending indices: `(n + 1) // 2` of the first, `n // 2` of the other.

    Example:
        >>> labels = np.array([0, 1, 0, 1, 1, 0])
        >>> np.bincount(labels[half_of(labels, 0)]).tolist()
        [2, 1]
    """
    order = permutation(len(labels), _SEED)
    by_class = order[np.argsort(labels[order], kind="stable")]
    return np.sort(by_class[half::2])

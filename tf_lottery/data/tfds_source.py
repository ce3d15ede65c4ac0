"""TensorFlow Datasets as a source: metadata, download and whole splits."""

from __future__ import annotations

import contextlib
import difflib
import functools
import logging
import math
import socket
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tf_lottery.data.facts import MAX_BYTES
from tf_lottery.data.facts import Facts

_LOGGER = logging.getLogger("tf_lottery")


def facts(name: str, data_dir: str | None) -> Facts:
    """Returns the metadata of a TFDS set, downloading it if need be.

    Args:
        name: TFDS name, with an optional configuration and version.
        data_dir: TFDS data directory; None is TFDS's default.

    Returns:
        A `Facts`. Where TFDS has no test split, its validation split serves;
        where it has neither, `test_size` is None.

    Raises:
        ValueError: the name is unknown, the set is no image classification
            with uint8 images of one size, has no train split, or its arrays
            would exceed 8 GiB.
        RuntimeError: the set is not prepared and cannot be downloaded.

    Example:
        >>> facts("mnist", None).train_size  # doctest: +SKIP
        60000
    """
    builder = open_builder(name, data_dir)
    image = builder.info.features["image"]
    label = builder.info.features["label"]
    sizes = {
        key: int(value.num_examples)
        for key, value in builder.info.splits.items()
    }
    check_train(name, sizes)
    test = _test_split(sizes)
    total = sizes["train"] + (sizes[test] if test else 0)
    size = total * math.prod(image.shape)
    if size > MAX_BYTES:
        raise ValueError(
            "`dataset` must fit into 8 GiB as uint8 arrays. Received: "
            f"dataset={name!r}, which takes {size / 2**30:.1f} GiB. Choose a "
            "smaller data set or configuration."
        )
    notes: tuple[str, ...] = ()
    if test == "validation":
        notes = ("no test split: the validation split serves as test",)
    elif "validation" in sizes:
        notes = ("validation is carved from train; TFDS's own is not used",)
    height, width, channels = map(int, image.shape)
    return Facts(
        source=f"TFDS {builder.info.full_name}",
        input_shape=(height, width, channels),
        num_classes=int(label.num_classes),
        class_names=tuple(label.names) if label.names else None,
        scale=1.0 / 255.0,
        train_size=sizes["train"],
        test_size=sizes[test] if test else None,
        notes=notes,
    )


def arrays(
    name: str, data_dir: str | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns whole splits of a TFDS set as arrays, in a fixed order.

    Args:
        name: as in `facts`.
        data_dir: as in `facts`.

    Returns:
        `(x_train, y_train, x_test, y_test)`: images uint8, labels int32; the
        last two are empty where TFDS has no split to test on.

    Raises:
        ValueError: as in `facts`.
        RuntimeError: as in `facts`.

    Example:
        >>> arrays("mnist", None)[0].shape  # doctest: +SKIP
        (60000, 28, 28, 1)
    """
    builder = open_builder(name, data_dir)
    x, y = read(builder, "train")
    test = _test_split(builder.info.splits)
    if test is None:
        return x, y, x[:0], y[:0]
    x_test, y_test = read(builder, test)
    return x, y, x_test, y_test


@functools.lru_cache(maxsize=8)
def labels(
    name: str, data_dir: str | None
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the labels of whole splits, without decoding an image.

    Args:
        name: as in `facts`.
        data_dir: as in `facts`.

    Returns:
        `(y_train, y_test)`, int32, as `arrays` has them.

    Example:
        >>> len(labels("mnist", None)[0])  # doctest: +SKIP
        60000
    """
    builder = open_builder(name, data_dir)
    test = _test_split(builder.info.splits)
    (train,) = read(builder, "train", ("label",))
    return train, read(builder, test, ("label",))[0] if test else train[:0]


def check_train(name: str, splits: Any) -> None:
    """Raises ValueError where a set has no train split.

    Args:
        name: of the set.
        splits: by name.

    Example:
        >>> check_train("mnist", {"train": 60000, "test": 10000})
    """
    if "train" not in splits:
        raise ValueError(
            "`dataset` must have a 'train' split. Received: "
            f"dataset={name!r}, which has {', '.join(sorted(splits))}. "
            "Choose another data set."
        )


def _test_split(splits: Any) -> str | None:
    return next((key for key in ("test", "validation") if key in splits), None)


def read(
    builder: Any, split: str, names: tuple[str, ...] = ("image", "label")
) -> tuple[np.ndarray, ...]:
    """Returns features of a whole split, in the order of its files.

    Args:
        builder: as `open_builder` returned it.
        split: its name.
        names: of the features.

    Returns:
        One array each: images uint8, labels int32, texts as bytes.

    Example:
        >>> builder = open_builder("mnist", None)  # doctest: +SKIP
        >>> read(builder, "test", ("label",))[0].shape  # doctest: +SKIP
        (10000,)
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    # One file after another, unshuffled: the order of examples decides which
    # of them a split seed picks, so it must not depend on the machine.
    config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    with _quiet(), tf.device("CPU"):
        batch = builder.as_dataset(
            split=split,
            batch_size=-1,
            shuffle_files=False,
            read_config=config,
            decoders=tfds.decode.PartialDecoding(dict.fromkeys(names, True)),
        )
        types = {"image": np.uint8, "label": np.int32}
        return tuple(
            batch[name].numpy().astype(types.get(name, object), copy=False)
            for name in names
        )


def open_builder(
    name: str,
    data_dir: str | None,
    check: Callable[[str, Any], None] | None = None,
) -> Any:
    """Returns a builder that is prepared, and downloads it if need be.

    Args:
        name: TFDS name, with an optional configuration and version.
        data_dir: TFDS data directory.
        check: raises ValueError for features that are of no use, given the
            name and these; by default for all but classified images.

    Raises:
        ValueError: as `make_builder`, or of `check`.
        RuntimeError: the set cannot be downloaded.

    Example:
        >>> open_builder("mnist", None).name  # doctest: +SKIP
        'mnist'
    """
    builder = make_builder(name, data_dir)
    (check or _check_features)(name, builder.info.features)
    if not builder.is_prepared():
        _prepare(name, builder)
    return builder


def make_builder(name: str, data_dir: str | None) -> Any:
    """Returns a builder that may not be prepared.

    Args:
        name: as in `open_builder`.
        data_dir: as in `open_builder`.

    Raises:
        ValueError: TFDS has no such set, configuration or version.

    Example:
        >>> make_builder("mnist", None).name  # doctest: +SKIP
        'mnist'
    """
    import tensorflow_datasets as tfds

    try:
        with _quiet():
            builder = tfds.builder(name, data_dir=data_dir)
            builder.info.features  # noqa: B018
    except tfds.core.DatasetNotFoundError as error:
        raise ValueError(_unknown(name)) from error
    # TFDS raises AssertionError, ValueError or KeyError, by the mistake.
    except Exception as error:
        raise ValueError(
            "`dataset` must be a configuration and version that TFDS has. "
            f"Received: dataset={name!r}. TFDS says: {_one_line(error)}"
        ) from error
    return builder


def _unknown(name: str) -> str:
    import tensorflow_datasets as tfds

    with _quiet():
        known = tfds.list_builders(with_community_datasets=False)
    close = difflib.get_close_matches(name, ["digits", "grammar", *known], n=1)
    hint = (
        f"Did you mean {close[0]!r}?"
        if close
        else "Try 'mnist' or 'cifar10', or see tensorflow.org/datasets."
    )
    return (
        "`dataset` must be 'digits', 'grammar' or a name of TFDS. "
        f"Received: dataset={name!r}. {hint}"
    )


def _check_features(name: str, features: Any) -> None:
    import tensorflow_datasets as tfds

    found = dict(features) if hasattr(features, "keys") else {}
    image, label = found.get("image"), found.get("label")
    if (
        isinstance(image, tfds.features.Image)
        and np.dtype(image.np_dtype) == np.uint8
        and None not in image.shape
        and isinstance(label, tfds.features.ClassLabel)
        and label.num_classes
    ):
        return
    names = ", ".join(_feature(key, found[key]) for key in sorted(found))
    raise ValueError(
        "`dataset` must have uint8 images of one size under 'image' and a "
        "class under 'label', or a text and no image. Received: dataset="
        f"{name!r}, which has {names or type(features).__name__}. Choose a "
        "data set such as 'mnist', 'cifar10' or 'tiny_shakespeare'."
    )


def _feature(key: str, feature: Any) -> str:
    name = type(feature).__name__
    if name == "Image":
        shape = tuple(feature.shape)
        name += f"(shape={shape}, {np.dtype(feature.np_dtype).name})"
    return f"{key}: {name}"


def _prepare(name: str, builder: Any) -> None:
    folder = str(builder.data_path)
    _LOGGER.info("Downloading %s to %s: it is not there yet.", name, folder)
    try:
        _check_network(builder)
        # TFDS announces itself on stdout, which belongs to the results.
        with contextlib.redirect_stdout(sys.stderr):
            builder.download_and_prepare()
    # Whatever goes wrong (network, disk, checksum), the run cannot go on.
    except Exception as error:
        raise RuntimeError(
            "`dataset` must be prepared already or be possible to download. "
            f"Received: dataset={name!r}, not found as {folder}. Preparing "
            f"it failed: {_one_line(error)} Connect to the network, or set "
            "`data_dir` to a TFDS folder that holds it."
        ) from error


def _check_network(builder: Any) -> None:
    """Fails at once where TFDS would retry for minutes without a network."""
    urls = getattr(builder, "url_infos", None) or ()
    hosts = {urllib.parse.urlsplit(url).hostname for url in urls} - {None}
    # Behind a proxy it is the proxy that resolves names.
    if not hosts or urllib.request.getproxies():
        return
    for host in sorted(hosts):
        with contextlib.suppress(OSError):
            socket.getaddrinfo(host, 443)
            return
    raise OSError(f"no network: cannot resolve {min(hosts)}.")


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 240 else text[:237] + "..."


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps TFDS's warnings, sent through absl, off the terminal."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

"""Masks without weights: a ticket's, or of an .npz file, whoever wrote it."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping

import keras
import numpy as np

from tf_lottery.layers import masked
from tf_lottery.layers import masked_kernels
from tf_lottery.layers.cloning import check_model
from tf_lottery.masks import Mask
from tf_lottery.masks import match_paths
from tf_lottery.paths import size_of
from tf_lottery.tickets import archive
from tf_lottery.tickets.reading import MALFORMED
from tf_lottery.tickets.reading import Header
from tf_lottery.tickets.reading import one_line
from tf_lottery.tickets.reading import read_json
from tf_lottery.tickets.reading import read_npz
from tf_lottery.tickets.verify import JSON
from tf_lottery.tickets.verify import check_types
from tf_lottery.tickets.verify import verify_files

# Twice the eight bytes of the widest entries, so that it is an array too many
# that is named and not a size; names and headers add to the file.
_MOST_ENTRY_BYTES = 16
_MOST_NAME_BYTES = 8192


def load_mask(path: str | os.PathLike, model: keras.Model) -> Mask:
    """Reads a model's masks from a NumPy .npz file.

    Such a file is `np.savez("masks.npz", **tfl.get_mask(model))`, or any
    other with one array per prunable kernel. Arrays whose names are paths of
    the kernels (`dense/kernel`; also those of the same model built anew) are
    matched by path. Arrays whose names are none (`arr_0`, `arr_1`, ... of
    `np.savez("masks.npz", *arrays)`, or any without a slash) are matched by
    the order of the model's layers, and every shape must agree: two kernels
    of equal shape cannot be told apart that way.

    The file may come from anyone: nothing in it is unpickled, and sizes are
    compared with the model's before anything is decompressed.

    Args:
        path: the file. Arrays have the kernels' shapes and are boolean, or
            integers or floats that are all 0 or 1; 1 keeps a weight.
        model: a built Keras model. With masks, the file is for its masked
            kernels; without, for those that `mask_model` would mask.

    Returns:
        A `Mask` with the paths of the model's kernels, in their order; the
        model is not changed. Use `set_mask(model, mask)` next.

    Raises:
        ValueError: the file is missing, is no such archive, or its arrays do
            not fit the model; in one line, which names them.
        TypeError: `model` is not a Keras model.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(3, name="out")])
        >>> file = os.path.join(folder, "masks.npz")
        >>> np.savez(file, np.eye(4, 3))
        >>> load_mask(file, model)
        Mask(3 of 12 weights kept, density 0.2500, 1 kernels)
    """
    check_model(model)
    with masked(model):
        shapes = {
            path: tuple(raw.shape)
            for path, (raw, _) in masked_kernels(model).items()
        }
    file = os.fspath(path)
    names: dict[str, str] = {}

    def accept(headers: Mapping[str, Header]) -> None:
        odd = [k for k, h in headers.items() if h.dtype.kind not in "biuf"]
        if odd:
            raise ValueError(f"complex numbers in {odd[0]!r}")
        names.update(_match(shapes, {k: h.shape for k, h in headers.items()}))

    size = _MOST_ENTRY_BYTES * sum(map(math.prod, shapes.values()))
    try:
        count = 2 * len(shapes) + 8
        most = size + _MOST_NAME_BYTES * count
        if (found := size_of(file)) > most:
            raise ValueError(f"{found} bytes, for masks of {most} at most")
        arrays = read_npz(file, accept, most_arrays=count, most_bytes=size)
        return Mask({k: _boolean(names[k], arrays[names[k]]) for k in shapes})
    except (ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ValueError(
            "`path` must be an .npz file with one array of zeros and ones per "
            f"prunable kernel. Received: path={file!r}: "
            f"{one_line(reason, 600)}. Write it with np.savez, from the masks "
            "of this very architecture."
        ) from error


def read_mask(path: str | os.PathLike) -> Mask:
    """Reads a ticket's mask, and neither reads nor checks its weights.

    Args:
        path: folder that `Ticket.save` wrote.

    Raises:
        ValueError: ticket.json or mask.npz is missing, truncated or altered.
    """
    folder = os.fspath(path)
    problem = "; ".join(verify_files(folder, ["mask.npz"]))
    if not problem:
        try:
            meta = read_json(os.path.join(folder, JSON))
            check_types(meta)
            return archive.read_mask(folder, meta)
        # Checksums that hold say nothing of who wrote them.
        except (*MALFORMED, OSError) as error:
            problem = one_line(f"{type(error).__name__}: {error}")
    raise ValueError(
        "`path` must be the folder of a ticket. Received: "
        f"path={folder!r}, with {problem}. Find the ticket again, or copy it "
        "anew."
    )


def _match(
    wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]
) -> dict[str, str]:
    """Returns `{path of the kernel: name in the file}`."""
    try:
        return match_paths(wanted, given, "path")
    except ValueError:
        if wanted.keys() & given.keys() or any("/" in name for name in given):
            raise _difference(wanted, given) from None
    names = list(given)
    numbers = [re.fullmatch("arr_(0|[1-9][0-9]{0,5})", name) for name in names]
    if all(numbers):
        # An archive that was packed again is often in alphabetical order.
        names.sort(key=lambda name: int(name[4:]))
    if [given[name] for name in names] == list(wanted.values()) and (
        not all(numbers) or names[-1] == f"arr_{len(names) - 1}"
    ):
        return dict(zip(wanted, names))
    raise _difference(wanted, given, names)


def _difference(
    wanted: Mapping[str, tuple[int, ...]],
    given: Mapping[str, tuple[int, ...]],
    names: list[str] | None = None,
) -> ValueError:
    """Says what is missing, unknown or of another shape."""
    if names is None:
        pairs = [(path, path) for path in wanted]
    else:
        pairs = list(zip(wanted, names))
    here, there = zip(*pairs) if pairs else ((), ())
    found = {
        "missing": [
            f"{k} {s}" for k, s in wanted.items()
            if k not in here or (names is None and k not in given)
        ],
        "unknown": [f"{k} {s}" for k, s in given.items() if k not in there],
        "other shape": [
            f"{name} {given[name]} instead of {wanted[path]}"
            for path, name in pairs
            if name in given and given[name] != wanted[path]
        ],
    }
    text = "; ".join(
        f"{word}: {', '.join(items[:4])}"
        + (f" and {len(items) - 4} more" if len(items) > 4 else "")
        for word, items in found.items()
        if items
    )
    return ValueError(text or "numbers that do not begin at 0 or leave gaps")


def _boolean(name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype != bool and not ((array == 0) | (array == 1)).all():
        raise ValueError(
            f"{name!r} of dtype {array.dtype} holds other than 0 and 1"
        )
    return array != 0

"""The files of a ticket: masks as bits, weights as byte planes, no pickle.

Everything can be read with NumPy and json alone:

    kernels = json.load(open("ticket.json"))["kernels"]  # path, shape, kept
    (name, code), = np.load("mask.npz").items()
    bits = np.unpackbits(code)
    if name == "bits":
        index = np.flatnonzero(bits)  # kept weights, over all kernels
    else:  # "positions": fewer than one weight in eight is kept
        n = sum(np.prod(k["shape"]) for k in kernels)
        m = sum(k["kept"] for k in kernels)
        s = int(n // m).bit_length() - 1
        end = m + (n >> s) + 1
        high = np.flatnonzero(bits[:end]) - np.arange(m)
        low = bits[end : end + m * s].reshape(m, s) @ (1 << np.arange(s))
        index = (high << s) + low
    file = np.load("rewind.npz")
    planes = np.concatenate([file["kernels"], file["high"]])  # (4, kept)
    kept = planes.T.copy().view("<f4")[:, 0]  # in the order of index

The positions are in Elias-Fano code, 2 + log2(1 / density) bits each: within
half a bit of the entropy of a random mask.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tf_lottery.masks import Mask
from tf_lottery.paths import size_of
from tf_lottery.tickets.reading import Header
from tf_lottery.tickets.reading import read_npz
from tf_lottery.tickets.verify import ARRAYS

Accept = Callable[[Mapping[str, Header]], None]


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Returns an .npz file's content; equal arrays give equal bytes.

    Args:
        arrays: `{name: array}`, of plain number types.
    """
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            # A fixed date: the default is now.
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, buffer.getvalue(), compresslevel=9)
    return file.getvalue()


def same_arrays(
    one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]
) -> bool:
    """Whether two states have equal arrays under the same paths.

    Args:
        one: `{path: array}`.
        other: likewise, in any order.
    """
    return one.keys() == other.keys() and all(
        # A training that diverged leaves NaN.
        np.array_equal(a, other[path], equal_nan=a.dtype.kind == "f")
        for path, a in one.items()
    )


def read_arrays(
    folder: str, meta: Mapping[str, Any]
) -> tuple[Mask, dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Reads a ticket's archives.

    Args:
        folder: of the ticket.
        meta: the content of its JSON file, checked by `check_types`.

    Returns:
        The mask, the rewind weights and the trained weights.

    Raises:
        ValueError and others in `MALFORMED`: the files do not fit together,
            or would take more memory than files of their size should.
    """
    kernels = meta["kernels"]
    dtypes = {k["path"]: k["dtype"] for k in kernels}
    size, kept = _sizes(meta)
    width = np.result_type(*dtypes.values()).itemsize
    room = _room(folder, meta) - 2 * width * size
    if room < 0:
        raise ValueError(f"{size:.3g} weights in files as small as these")
    mask = read_mask(folder, meta)
    others = len(meta["state"]) - len(kernels)
    parts = []
    for name in ("rewind.npz", "trained.npz"):
        file = os.path.join(folder, name)
        dense = name == "rewind.npz" and not meta["level"]
        arrays = read_npz(
            file,
            _accept_weights(size if dense else kept, width, others),
            most_arrays=others + 2,
            # Weights hardly compress; zeros and NaN do, hence the gibibyte.
            most_bytes=min(room, 2**30 + 50 * size_of(file)),
        )
        room -= sum(array.nbytes for array in arrays.values())
        parts.append(arrays)
    stored = mask if meta["level"] else Mask.ones(mask.shapes)
    return (
        mask,
        unpack_weights(parts[0], stored, meta["state"], dtypes),
        unpack_weights(parts[1], mask, meta["state"], dtypes),
    )


def read_mask(folder: str, meta: Mapping[str, Any]) -> Mask:
    """Reads a ticket's mask and leaves its weights where they are.

    Args:
        folder: of the ticket.
        meta: the content of its JSON file, checked by `check_types`.

    Raises:
        ValueError and others in `MALFORMED`: the files do not fit together,
            or would take more memory than files of their size should.
    """
    shapes = {k["path"]: tuple(k["shape"]) for k in meta["kernels"]}
    size, kept = _sizes(meta)
    if (room := _room(folder, meta)) < 0:
        raise ValueError(f"{size:.3g} weights in files as small as these")
    arrays = read_npz(
        os.path.join(folder, "mask.npz"),
        _accept_mask(size, kept),
        most_arrays=1,
        most_bytes=room,
    )
    mask = unpack_mask(arrays, shapes, kept)
    if mask.kept_by_path != {k["path"]: k["kept"] for k in meta["kernels"]}:
        raise ValueError("a mask that keeps other numbers of weights")
    return mask


def _sizes(meta: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of prunable weights, and of those that are kept."""
    kernels = meta["kernels"]
    size = sum(math.prod(k["shape"]) for k in kernels)
    return size, sum(k["kept"] for k in kernels)


def _room(folder: str, meta: Mapping[str, Any]) -> int:
    """Bytes that may be used beside the mask; below 0 for none."""
    files = [os.path.join(folder, name) for name in ARRAYS]
    # The mask takes a byte per weight, and while it is read five more.
    return _memory_limit(files) - 6 * _sizes(meta)[0]


def _memory_limit(files: list[str]) -> int:
    """Bytes that a ticket may take: a lie about sizes cannot fill the memory.

    A mask has no ratio of its own (of a million weights one may be kept):
    any ticket may take a gibibyte, one below a thousandth of the weights that
    is larger than that is refused.
    """
    limit = 2**30 + 1000 * sum(size_of(file) for file in files)
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return limit
    return min(limit, memory // 2) if memory > 0 else limit


def _accept_mask(size: int, kept: int) -> Accept:
    def accept(headers):
        (name,) = headers or [None]
        if name not in ("bits", "positions"):
            raise ValueError(f"no mask, but {sorted(headers)[:3]}")
        _check(headers, name, (_code_size(name, size, kept),))

    return accept


def _accept_weights(kept: int, width: int, others: int) -> Accept:
    def accept(headers):
        rest = set(headers) - {"kernels", "high"}
        if rest != {f"state_{i}" for i in range(others)}:
            raise ValueError(f"other arrays than the state: {sorted(rest)[:3]}")
        high = 1 if "high" in headers else 0
        if high:
            _check(headers, "high", (1, kept))
        _check(headers, "kernels", (width - high, kept))

    return accept


def _check(headers: Mapping[str, Header], name: str, shape: tuple) -> None:
    found = headers[name]
    if found.dtype != np.uint8 or found.shape != shape:
        raise ValueError(
            f"{name} of {found.dtype} {found.shape}, not uint8 {shape}"
        )


def pack_mask(mask: Mask) -> dict[str, np.ndarray]:
    """Returns the mask in bits, kernels in path order.

    One bit per prunable weight, or the positions of the kept ones where
    these take fewer bits.
    """
    flat = np.concatenate([m.ravel() for m in mask.values()])
    index = np.flatnonzero(flat)
    low_bits = _low_bits(flat.size, index.size)
    if not low_bits:
        return {"bits": np.packbits(flat)}
    # How often the high part grows, in unary: a 1 for every position, a 0
    # for every step.
    high = np.zeros(_high_size(flat.size, index.size), bool)
    high[(index >> low_bits) + np.arange(index.size)] = True
    low = (index[:, np.newaxis] >> np.arange(low_bits)) & 1 == 1
    return {"positions": np.packbits(np.concatenate([high, low.ravel()]))}


def unpack_mask(
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    kept: int,
) -> Mask:
    """Reads what `pack_mask` wrote.

    Args:
        arrays: the archive.
        shapes: of the kernels, by path.
        kept: number of weights kept.

    Raises:
        ValueError: there are not as many bits as the shapes need.
    """
    sizes = [math.prod(s) for s in shapes.values()]
    size = sum(sizes)
    name = "positions" if "positions" in arrays else "bits"
    code = arrays[name]
    # Before anything of that size is made.
    if code.size != _code_size(name, size, kept):
        raise ValueError(f"{code.size} bytes for a mask of {size} weights")
    flat = np.unpackbits(code)
    if name == "positions":
        low_bits, high_size = _low_bits(size, kept), _high_size(size, kept)
        high = np.flatnonzero(flat[:high_size])
        if high.size != kept:
            raise ValueError(f"{high.size} positions of {kept} weights")
        high -= np.arange(kept)
        low = flat[high_size : high_size + kept * low_bits]
        low = low.reshape(kept, low_bits) @ (1 << np.arange(low_bits))
        flat = np.zeros(size, bool)
        flat[(high << low_bits) + low] = True
    if np.count_nonzero(flat[:size]) != kept:
        raise ValueError(f"a mask that does not keep {kept} weights")
    parts = np.split(flat[:size].astype(bool), np.cumsum(sizes)[:-1])
    return Mask({k: p.reshape(s) for (k, s), p in zip(shapes.items(), parts)})


def pack_weights(
    weights: Mapping[str, np.ndarray], mask: Mask
) -> dict[str, np.ndarray]:
    """Returns the kept kernel entries and all other state, for one archive.

    The kept entries of all kernels follow one another; their bytes are stored
    as planes (all first bytes, all second bytes, ...). The plane of signs and
    exponents compresses and the others hardly do, so it is an entry of its
    own: DEFLATE has one code for all of a short entry.

    Args:
        weights: `{path: array}` of the whole state.
        mask: entries outside it are dropped; they are 0 when read back.
    """
    kept = np.concatenate(
        [np.asarray(weights[k])[m] for k, m in mask.items()]
    )
    rest = {k: v for k, v in weights.items() if k not in mask}
    kept = kept.astype(kept.dtype.newbyteorder("<"))
    planes = kept.view(np.uint8).reshape(kept.size, kept.itemsize).T
    planes = np.ascontiguousarray(planes)
    return {"kernels": planes[:-1], "high": planes[-1:], **_indexed(rest)}


def unpack_weights(
    arrays: Mapping[str, np.ndarray],
    mask: Mask,
    paths: list[str],
    dtypes: Mapping[str, str],
) -> dict[str, np.ndarray]:
    """Reads what `pack_weights` wrote.

    Args:
        arrays: the archive.
        mask: the ticket's mask.
        paths: all paths of the state, in order.
        dtypes: of the kernels, by path.

    Returns:
        `{path: array}` in full shapes, 0 where the mask prunes.
    """
    # Stored in the widest of the kernels' types, from which the way back to a
    # narrower one is exact.
    stored = np.result_type(*dtypes.values()).newbyteorder("<")
    planes = [arrays[name] for name in ("kernels", "high") if name in arrays]
    kept = np.ascontiguousarray(np.concatenate(planes).T).view(stored)
    parts = np.split(
        kept.ravel(), np.cumsum(list(mask.kept_by_path.values()))[:-1]
    )
    kernels = {}
    for (path, keep), part in zip(mask.items(), parts):
        kernels[path] = np.zeros(keep.shape, dtypes[path])
        # A forged weight may be too large for a narrower type.
        with np.errstate(all="ignore"):
            kernels[path][keep] = part
    rest = iter(p for p in paths if p not in mask)
    state = {p: arrays[f"state_{i}"] for i, p in enumerate(rest)}
    return {p: kernels[p] if p in kernels else state[p] for p in paths}


def _low_bits(size: int, kept: int) -> int:
    """Bits of a position that are stored as they are; 0 for a plain mask."""
    if 8 * kept >= size or not kept:
        return 0
    return (size // kept).bit_length() - 1


def _high_size(size: int, kept: int) -> int:
    return kept + (size >> _low_bits(size, kept)) + 1


def _code_size(name: str, size: int, kept: int) -> int:
    """Bytes of a mask's code."""
    bits = size
    if name == "positions":
        bits = _high_size(size, kept) + kept * _low_bits(size, kept)
    return -(-bits // 8)


def _indexed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    # Numbered, since a variable path is no safe file name.
    return {
        f"state_{i}": np.asarray(v) for i, v in enumerate(arrays.values())
    }

"""The files of a ticket: masks as bits, weights as byte planes, no pickle.

Everything can be read with NumPy and json alone:

    layout = json.load(open("ticket.json"))["kernels"]      # path, shape
    bits = np.unpackbits(np.load("mask.npz")["bits"])       # 1 = keep
    planes = np.load("rewind.npz")["kernels"]               # (4, kept)
    kept = planes.T.copy().view("<f4")[:, 0]                # by flat index
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np

from tf_lottery.masks import Mask


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


def read_npz(path: str) -> dict[str, np.ndarray]:
    """Returns `{name: array}` of an archive; never unpickles."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def pack_mask(mask: Mask) -> dict[str, np.ndarray]:
    """Returns the mask as one bit per prunable weight, in path order."""
    flat = np.concatenate([m.ravel() for m in mask.values()])
    return {"bits": np.packbits(flat)}


def unpack_mask(
    arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]
) -> Mask:
    """Reads what `pack_mask` wrote, for kernels of these shapes."""
    sizes = [int(np.prod(s)) for s in shapes.values()]
    bits = np.unpackbits(arrays["bits"], count=sum(sizes)).astype(bool)
    parts = np.split(bits, np.cumsum(sizes)[:-1])
    return Mask({k: p.reshape(s) for (k, s), p in zip(shapes.items(), parts)})


def pack_weights(
    weights: Mapping[str, np.ndarray], mask: Mask
) -> dict[str, np.ndarray]:
    """Returns the kept kernel entries and all other state, for one archive.

    The kept entries of all kernels follow one another; their bytes are stored
    as planes (all first bytes, all second bytes, ...), since sign and
    exponent bytes compress and mantissa bytes do not.

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
    return {"kernels": np.ascontiguousarray(planes), **_indexed(rest)}


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
    kept = np.ascontiguousarray(arrays["kernels"].T).view(stored)
    parts = np.split(
        kept.ravel(), np.cumsum(list(mask.kept_by_path.values()))[:-1]
    )
    kernels = {}
    for (path, keep), part in zip(mask.items(), parts):
        kernels[path] = np.zeros(keep.shape, dtypes[path])
        kernels[path][keep] = part
    rest = iter(p for p in paths if p not in mask)
    state = {p: arrays[f"state_{i}"] for i, p in enumerate(rest)}
    return {p: kernels[p] if p in kernels else state[p] for p in paths}


def _indexed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    # Numbered, since a variable path is no safe file name.
    return {
        f"state_{i}": np.asarray(v) for i, v in enumerate(arrays.values())
    }

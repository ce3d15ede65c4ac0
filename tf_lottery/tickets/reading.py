"""Reading files that anyone may have written.

NumPy's and Python's own readers take a file's word for how much is in it: a
few kilobytes can ask for terabytes. Here every size is checked before
anything of that size is made, and nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import json
import math
import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import IO, Any, Literal, NamedTuple

import numpy as np

from tf_lottery.paths import is_remote
from tf_lottery.paths import open_read

# What reading JSON and archives of any content can raise.
MALFORMED = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,
    OverflowError,
    MemoryError,
    EOFError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
# Parsed JSON takes up to thirty times its bytes.
MOST_JSON_BYTES = 2**25
_HEADER = re.compile(
    rb"\s*\{\s*'descr'\s*:\s*'([<>=|]?(?:b1|[iu][1248]|f[248]|c8|c16))'\s*,"
    rb"\s*'fortran_order'\s*:\s*(True|False)\s*,"
    rb"\s*'shape'\s*:\s*\(([\d,\s]*)\)\s*,?\s*\}\s*"
)
# NumPy writes headers of 128 bytes, more only for many dimensions.
_MOST_HEADER_BYTES = 4096
_MOST_DIMENSIONS = 32
_CHUNK = 2**20


class Header(NamedTuple):
    """What an array's header says of it."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran_order: bool
    # Where the entries begin.
    offset: int

    @property
    def nbytes(self) -> int:
        """Bytes of the entries, as a Python integer of any size."""
        return math.prod(self.shape) * self.dtype.itemsize


def one_line(text: object, most: int = 200) -> str:
    """Returns the text as one line that is safe to print.

    Args:
        text: anything; control characters become question marks.
        most: longer ones are cut to so many characters.

    Example:
        >>> one_line("a\\n\\tb \\x1b[2J")
        'a b ?[2J'
    """
    # Cut first: what is quoted can be of any length.
    line = " ".join(str(text)[: 10 * most].split())
    line = "".join(c if c.isprintable() else "?" for c in line)
    return line if len(line) <= most else f"{line[: most - 4]} ..."


def open_file(
    path: str, most: int = 2**33
) -> contextlib.AbstractContextManager[IO[bytes]]:
    """Opens a regular file, or a link to one, to read its bytes.

    Args:
        path: the file, or an object's address.
        most: a larger object is refused; a file may be read in part.

    Raises:
        OSError: it is missing or unreadable; or a pipe or a device, on which
            reading would not end.
    """
    if is_remote(path):
        return open_read(path, most)
    if not stat.S_ISREG(mode := os.stat(path).st_mode):
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
        raise OSError(errno.EINVAL, "Not a regular file", path)
    return open(path, "rb")


def read_json(path: str) -> Any:
    """Returns what a JSON file holds.

    Raises:
        OSError: the file cannot be read, or is absurdly large.
        ValueError, RecursionError: it is not JSON, or too deep to be read.
    """
    with open_file(path, MOST_JSON_BYTES) as file:
        data = file.read(MOST_JSON_BYTES + 1)
    if len(data) > MOST_JSON_BYTES:
        raise OSError(errno.EFBIG, "File too large", path)
    return json.loads(data.decode("utf-8"))


def read_npz(
    path: str,
    accept: Callable[[Mapping[str, Header]], None],
    *,
    most_arrays: int,
    most_bytes: int,
) -> dict[str, np.ndarray]:
    """Reads an archive of arrays of numbers, as `np.savez` writes it.

    Args:
        path: the file.
        accept: given the headers by name before any entry is decompressed;
            raises ValueError where these are not the arrays that are wanted.
        most_arrays: an archive with more of them is refused unread.
        most_bytes: so is one whose arrays take more memory.

    Returns:
        `{name: array}`, in the order of the file.

    Raises:
        ValueError: in one line, for a file that is anything else.
        OSError: it cannot be opened.
    """
    with open_file(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                return _read(archive, accept, most_arrays, most_bytes)
        # OSError: an offset in the file that lies before its beginning.
        except (*MALFORMED, OSError) as error:
            kind = type(error).__name__
            text = one_line(error, 600)
            raise ValueError(
                text if kind == "ValueError" else f"{kind}: {text}"
            ) from error


def _read(archive, accept, most_arrays, most_bytes):
    entries = archive.infolist()
    if len(entries) > most_arrays:
        raise ValueError(
            f"{len(entries)} arrays in place of {most_arrays} at most"
        )
    headers: dict[str, Header] = {}
    for entry in entries:
        name = entry.filename.removesuffix(".npy")
        if name == entry.filename:
            raise ValueError(f"{name[:80]!r} is no array")
        if name in headers:
            raise ValueError(f"{name[:80]!r} is there twice")
        # The decompressors of the other methods have no limit.
        if entry.compress_type not in (
            zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED,
        ):
            raise ValueError(f"{name[:80]!r} is not in DEFLATE")
        with archive.open(entry) as member:
            headers[name] = header = _read_header(member, name)
        if entry.file_size != header.offset + header.nbytes:
            raise ValueError(
                f"{name[:80]!r} does not have the size that its header says"
            )
    needed = sum(header.nbytes for header in headers.values())
    if needed > most_bytes:
        raise ValueError(
            f"arrays of {needed:.3g} bytes, more than {most_bytes:.3g}"
        )
    accept(headers)
    arrays = {}
    for entry, (name, header) in zip(entries, headers.items()):
        with archive.open(entry) as member:
            arrays[name] = _read_array(member, name, header)
    return arrays


def _read_header(member, name: str) -> Header:
    start = member.read(8)
    version = start[6:]
    if start[:6] != b"\x93NUMPY" or version not in (
        b"\x01\x00", b"\x02\x00", b"\x03\x00",
    ):
        raise ValueError(f"{name[:80]!r} is no array")
    form = "<H" if version == b"\x01\x00" else "<I"
    (length,) = struct.unpack(form, member.read(struct.calcsize(form)))
    if length > _MOST_HEADER_BYTES:
        raise ValueError(f"{name[:80]!r} has a header of {length} bytes")
    text = member.read(length)
    found = _HEADER.fullmatch(text)
    if found is None or len(text) != length:
        shown = one_line(text.decode("latin-1"), 80)
        raise ValueError(
            f"{name[:80]!r} is no plain array of numbers, but has the header "
            f"{shown}"
        )
    shape = tuple(int(n) for n in found[3].split(b",") if n.strip())
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"{name[:80]!r} has {len(shape)} dimensions")
    return Header(
        np.dtype(found[1].decode()),
        shape,
        found[2] == b"True",
        8 + struct.calcsize(form) + length,
    )


def _read_array(member, name: str, header: Header) -> np.ndarray:
    member.read(header.offset)
    data = bytearray()
    # To the end, where zipfile compares the checksum.
    while chunk := member.read(_CHUNK):
        data += chunk
    if len(data) != header.nbytes:
        raise ValueError(f"{name[:80]!r} is truncated")
    if header.dtype == bool and data and np.frombuffer(data, "u1").max() > 1:
        # NumPy computes nonsense with such a boolean.
        raise ValueError(f"{name[:80]!r} has booleans other than 0 and 1")
    order: Literal["F", "C"] = "F" if header.fortran_order else "C"
    return np.ndarray(header.shape, header.dtype, data, order=order)

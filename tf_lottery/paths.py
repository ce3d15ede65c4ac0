"""Paths on this machine, and addresses in object stores (gs://...).

What is local goes through `os`, as ever; what has a scheme goes through
`etils.epath`, which TFDS uses too. It asks TensorFlow's file systems, or those
of fsspec (s3fs for s3://) where the environment says EPATH_USE_TF=0.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
from collections.abc import Iterator
from typing import IO, Any

_SCHEME = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")
_MOST_BYTES = 2**33


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address in an object store.

    Args:
        path: a path on this machine or an address.

    Example:
        >>> is_remote("gs://bucket/runs"), is_remote("runs")
        (True, False)
    """
    return _SCHEME.match(os.fspath(path)) is not None


def check_address(name: str, path: str) -> None:
    """Raises ValueError for an address that `etils.epath` does not know.

    Args:
        name: the argument's name, for the error.
        path: an address.
    """
    from etils import epath

    try:
        epath.Path(path)
    # The scheme, or a malformed address.
    except (KeyError, ValueError, NotImplementedError) as error:
        raise ValueError(
            f"`{name}` must be a path, or an address of a scheme that "
            f"etils.epath knows. Received: {name}={path!r}. Write for example"
            " gs://bucket/folder."
        ) from error


@contextlib.contextmanager
def open_read(path: str, most: int = _MOST_BYTES) -> Iterator[IO[bytes]]:
    """Opens a file or an object to read its bytes.

    Args:
        path: a path or an address.
        most: an object of more bytes is refused; it is read at once.

    Raises:
        OSError: it is missing or cannot be read.
    """
    if not is_remote(path):
        with open(path, "rb") as file:
            yield file
        return
    if size_of(path) > most:
        raise OSError(errno.EFBIG, "Object too large", path)
    with _remote(path) as address:
        data = address.read_bytes()
    # Not inside: what its reader raises is no error of the store.
    yield io.BytesIO(data)


def write_object(path: str, data: bytes) -> None:
    """Writes an object; a store shows the old one or the new one, whole.

    Args:
        path: its address.
        data: its whole content.

    Raises:
        OSError: the store refuses.
    """
    with _remote(path) as address:
        # Stores have no folders, but what stands in for one may.
        address.parent.mkdir(parents=True, exist_ok=True)
        address.write_bytes(data)


def size_of(path: str) -> int:
    """Returns the number of bytes of a file or an object.

    Args:
        path: a path or an address.

    Raises:
        OSError: it is missing or cannot be read.
    """
    if not is_remote(path):
        return os.path.getsize(path)
    with _remote(path) as address:
        return int(address.stat().length)


def is_file(path: str) -> bool:
    """Whether there is a file or an object of that name.

    Args:
        path: a path or an address.

    Raises:
        OSError: the store does not answer.
    """
    if not is_remote(path):
        return os.path.isfile(path)
    with _remote(path) as address:
        return address.exists() and not address.is_dir()


def is_folder(path: str) -> bool:
    """Whether there is a folder, or an object below that address.

    Args:
        path: a path or an address.

    Raises:
        OSError: the store does not answer.
    """
    if not is_remote(path):
        return os.path.isdir(path)
    with _remote(path) as address:
        return address.is_dir()


def names_in(folder: str) -> list[str]:
    """Returns the names in a folder; none where there is no such folder.

    Args:
        folder: a path or an address.

    Raises:
        OSError: it cannot be read.
    """
    try:
        if not is_remote(folder):
            return os.listdir(folder)
        with _remote(folder) as address:
            # A store marks what stands for a folder with a slash.
            names = [entry.name.rstrip("/") for entry in address.iterdir()]
            return [name for name in names if name]
    except FileNotFoundError:
        return []


def remove(path: str) -> None:
    """Removes a file or an object, if it is there.

    Args:
        path: a path or an address.

    Raises:
        OSError: it cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        if not is_remote(path):
            os.remove(path)
            return
        with _remote(path) as address:
            address.unlink()


def remove_tree(path: str) -> None:
    """Removes a folder with what is in it, as far as that can be done.

    Args:
        path: a path or an address.
    """
    if not is_remote(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError), _remote(path) as address:
        address.rmtree()


def check_folder(output_dir: str) -> None:
    """Checks that a command can make its folder.

    Args:
        output_dir: the folder, there or not; a path, or an address.

    Raises:
        ValueError: no such folder can be made.
        OSError: the object store cannot be reached.
    """
    if is_remote(output_dir):
        check_address("output_dir", output_dir)
        # Without access this raises, before any data is read.
        is_file(os.path.join(output_dir, "config.json"))
        return
    folder = os.path.abspath(output_dir)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(
            "`output_dir` must be a folder that can be written. Received: "
            f"output_dir={output_dir!r}. Choose another."
        )


@contextlib.contextmanager
def _remote(path: str) -> Iterator[Any]:
    """The address; whatever a store's client raises comes as an OSError."""
    from etils import epath

    _list_anew(path)
    try:
        yield epath.Path(os.fspath(path))
    except OSError as error:
        if error.errno is not None:
            raise
        raise _as_os_error(error, path) from error
    # TensorFlow's, fsspec's and the stores' own kinds of errors.
    except Exception as error:
        raise _as_os_error(error, path) from error


def _list_anew(path: str) -> None:
    """Has fsspec, where it serves, keep no listings: others write there too."""
    with contextlib.suppress(ImportError):
        import fsspec.config

        scheme = path.partition("://")[0]
        store = fsspec.config.conf.setdefault(scheme, {})
        store.setdefault("use_listings_cache", False)


def _as_os_error(error: Exception, path: str) -> OSError:
    text = " ".join(str(error).split())[:300] or type(error).__name__
    missing = isinstance(error, FileNotFoundError)
    if missing or type(error).__name__ == "NotFoundError":
        return FileNotFoundError(errno.ENOENT, "No such object", path)
    return OSError(errno.EIO, text, path)

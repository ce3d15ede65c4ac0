"""Files that are either the old version or the new one, never half of it."""

import contextlib
import io
import os
import pathlib
import uuid
from collections.abc import Callable, Iterator
from typing import BinaryIO

from tf_lottery.paths import is_remote
from tf_lottery.paths import write_object


def replace_file(
    path: str | os.PathLike[str],
    data: bytes | Callable[[BinaryIO], object],
) -> None:
    """Writes a file so that a reader or a crash never meets half of it.

    The bytes go to a new file in the same folder, which then takes the name
    in one step. If anything fails the old file is untouched and the new one
    is removed. Missing parent folders are created. An object store does all
    that itself, with every object that is written.

    Args:
        path: The file to write or to replace, or the object's address.
        data: Its whole content, or a function that writes it to the file that
            it is given: for what should not be in memory twice.

    Raises:
        OSError: The folder can not be written to.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> replace_file(os.path.join(folder, "a.txt"), b"new")
        >>> os.listdir(folder)
        ['a.txt']
    """
    if is_remote(path):
        if callable(data):
            buffer = io.BytesIO()
            data(buffer)
            data = buffer.getvalue()
        write_object(os.fspath(path), data)
        return
    target = pathlib.Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Same folder: os.replace is atomic only within one file system. Not
    # tempfile, whose files are readable by their owner alone.
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            if callable(data):
                data(file)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            # A failing write does not say where.
            error.filename = error.filename or str(target)
        raise


@contextlib.contextmanager
def held(folder: str) -> Iterator[None]:
    """Keeps other processes that hold the folder waiting, for a short while.

    For files that several processes read, add to and write. A lock goes with
    the process that has it, however that ends. An object store has none, nor
    have some network file systems, nor Windows, nor a folder that is not
    there: then nobody waits.

    Args:
        folder: a path on this machine, or an address.

    Yields:
        None.

    Example:
        >>> import tempfile
        >>> with held(tempfile.mkdtemp()):
        ...     pass
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield

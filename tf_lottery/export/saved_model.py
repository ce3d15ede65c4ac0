"""A trained ticket as a SavedModel."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import strip_masks
from tf_lottery.layers import why_not_copied
from tf_lottery.paths import is_remote
from tf_lottery.paths import remove_tree
from tf_lottery.paths import write_object
from tf_lottery.tickets import Ticket

# Behind the target's name; of a new one, and of the one that it replaces.
_NEW, _OLD = ".{}.tmp", ".{}.old.tmp"
_OURS = re.compile(r"\.(\d+)(?:\.old)?\.tmp")
_FILE_ERRORS = (
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES,
    errno.EPERM, errno.EIO, errno.ENAMETOOLONG, errno.ENOTDIR,
)


def export_saved_model(
    source: Ticket | keras.Model, path: str | os.PathLike
) -> None:
    """Writes a SavedModel that TensorFlow alone can serve.

    It is written under a temporary name and then renamed, so a folder of
    that name is always whole. To an object store saved_model.pb goes last.

    Args:
        source: a ticket, of which the trained network is written, or a Keras
            model, masked or not.
        path: folder, replaced where it exists. Its default signature takes
            the model's inputs (images as floats, scaled as in training) and
            gives its outputs (logits). Masks are not in it, but for those of
            a model that cannot be copied, such as a subclassed one, which
            keeps them.

    Raises:
        OSError: the folder cannot be written.
    """
    if isinstance(source, Ticket):
        model = source.build_model(masked=False, weights="trained")
    elif is_masked(source) and not why_not_copied(source):
        model = strip_masks(source)
    else:
        model = source
    if is_remote(path):
        _upload(model, os.fspath(path))
    else:
        replace_saved_model(model, path)


def check_exported(model: keras.Model) -> None:
    """Checks that tickets of a model can be exported, before it is trained.

    Args:
        model: masked.

    Raises:
        ValueError: they cannot: a ticket describes models of Keras' own
            layers, and of registered classes, alone.
    """
    ticket = Ticket.of(model, rewind=get_state(model))
    try:
        ticket.build_model()
    except ValueError as error:
        raise ValueError(
            "`export` must be left out for a network that tickets do not "
            f"describe. Received: a {type(model).__name__}. {error}"
        ) from error


def replace_saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    check: Callable[[str], Any] = lambda folder: None,
) -> Any:
    """Writes a SavedModel in one step, once it has been checked.

    Args:
        model: a Keras model without masks.
        path: folder on this machine; what has that name is replaced.
        check: called with the folder of another name in which the SavedModel
            is at first. If it raises, what has the name stays.

    Returns:
        What `check` returned.

    Raises:
        OSError: the folder cannot be written.
    """
    target = os.path.abspath(os.fspath(path))
    new = target + _NEW.format(os.getpid())
    old = target + _OLD.format(os.getpid())
    _remove(new)
    if os.path.lexists(target):
        _remove(old)
    try:
        with file_errors(target):
            model.export(new, verbose=False)
        result = check(new)
        with contextlib.suppress(FileNotFoundError):
            os.replace(target, old)
        try:
            os.replace(new, target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.replace(old, target)
            raise
    finally:
        _remove(new)
    _remove(old)
    # Not before: the last whole one may be among them.
    for left in glob.glob(f"{glob.escape(target)}.*.tmp"):
        ours = _OURS.fullmatch(left[len(target):])
        if ours and not _is_running(int(ours[1])):
            _remove(left)
    return result


@contextlib.contextmanager
def file_errors(path: str) -> Iterator[None]:
    """Raises as an OSError what TensorFlow says of a disk in its own classes.

    Args:
        path: what is written, for the error.
    """
    try:
        yield
    except tf.errors.OpError as error:
        # Of a full disk and of full memory the class is the same.
        for number in _FILE_ERRORS:
            reason = os.strerror(number)
            if f"; {reason}" in str(error):
                raise OSError(number, reason, path) from error
        raise


def _is_running(process: int) -> bool:
    """Whether a process of this machine may have that number."""
    if os.name != "posix":
        # Signal 0 is Ctrl-C there.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        # Another user's, or a number that no process has.
        pass
    return True


def _remove(path: str) -> None:
    """Removes what has that name, as far as that can be done."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.remove(path)


def _upload(model: keras.Model, address: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        with file_errors(folder):
            model.export(folder, verbose=False)
        remove_tree(address)
        files = [f for f in pathlib.Path(folder).rglob("*") if f.is_file()]
        for file in sorted(files, key=lambda f: f.name == "saved_model.pb"):
            name = file.relative_to(folder).as_posix()
            write_object(f"{address}/{name}", file.read_bytes())

"""A trained ticket as a SavedModel."""

from __future__ import annotations

import glob
import os
import pathlib
import shutil
import tempfile

import keras

from tf_lottery.layers import is_masked
from tf_lottery.layers import strip_masks
from tf_lottery.paths import is_remote
from tf_lottery.paths import remove_tree
from tf_lottery.paths import write_object
from tf_lottery.tickets import Ticket


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
            gives its outputs (logits).

    Raises:
        OSError: the folder cannot be written.
    """
    if isinstance(source, Ticket):
        model = source.build_model(masked=False, weights="trained")
    else:
        model = strip_masks(source) if is_masked(source) else source
    if is_remote(path):
        _upload(model, os.fspath(path))
        return
    target = os.path.abspath(os.fspath(path))
    temporary = f"{target}.{os.getpid()}.tmp"
    # A killed process has left its own behind.
    for stale in glob.glob(f"{glob.escape(target)}.*.tmp"):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        model.export(temporary, verbose=False)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _upload(model: keras.Model, address: str) -> None:
    remove_tree(address)
    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, verbose=False)
        files = [f for f in pathlib.Path(folder).rglob("*") if f.is_file()]
        for file in sorted(files, key=lambda f: f.name == "saved_model.pb"):
            name = file.relative_to(folder).as_posix()
            write_object(f"{address}/{name}", file.read_bytes())

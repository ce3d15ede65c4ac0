"""Replacing a file: whole or not at all."""

import errno
import fcntl
import os
import stat

import pytest

from tf_lottery import atomic
from tf_lottery.atomic import held
from tf_lottery.atomic import replace_file


def test_writes_replaces_and_makes_folders(tmp_path):
    path = tmp_path / "new" / "folder" / "a.bin"
    replace_file(path, b"one")
    replace_file(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["a.bin"]


def test_file_has_the_usual_permissions(tmp_path):
    before = os.umask(0o022)
    try:
        replace_file(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()]
)
def test_failure_keeps_the_old_file_alone(tmp_path, monkeypatch, step, error):
    path = tmp_path / "a"
    replace_file(path, b"old")

    def fail(*args):
        # A new one: the path is noted in it.
        raise type(error)(*error.args)

    monkeypatch.setattr(atomic.os, step, fail)
    with pytest.raises(type(error)) as caught:
        replace_file(path, b"new")
    if isinstance(error, OSError):
        assert caught.value.filename == str(path)
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_content_is_on_disk_before_it_takes_the_name(tmp_path, monkeypatch):
    order = []
    for name in ("fsync", "replace"):
        real = getattr(os, name)
        monkeypatch.setattr(
            atomic.os,
            name,
            lambda *a, name=name, real=real: (order.append(name), real(*a)),
        )
    replace_file(tmp_path / "a", b"x")
    assert order == ["fsync", "replace"]


def test_the_temporary_file_is_hidden_and_beside_it(tmp_path, monkeypatch):
    seen = []
    real = os.replace
    monkeypatch.setattr(
        atomic.os, "replace", lambda a, b: (seen.append(a), real(a, b))
    )
    replace_file(tmp_path / "a", b"x")
    # A run directory is swept of these names after a crash.
    assert seen[0].parent == tmp_path
    assert seen[0].name.startswith(".a.") and seen[0].suffix == ".tmp"


def test_a_folder_is_held_until_the_end_of_the_block(tmp_path):
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(ZeroDivisionError):
            with held(str(tmp_path)):
                with pytest.raises(BlockingIOError):
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                raise ZeroDivisionError
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(handle)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("folder", ["nowhere", "gs://bucket/run"])
def test_what_cannot_be_held_keeps_nobody(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with held(folder):
        pass
    assert not os.listdir(tmp_path)

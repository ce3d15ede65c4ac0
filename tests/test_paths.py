"""Object stores: a run at an s3:// address, which a test keeps in memory."""

import os

import fsspec
import pytest
from etils.epath import gpath
from fsspec.implementations.memory import MemoryFileSystem

import tf_lottery as tfl
from tf_lottery import paths

RUNS = "s3://bucket/runs"


class Store(MemoryFileSystem):
    """What a store has: whole objects, no names that change."""

    protocol = ("s3",)
    store: dict = {}
    pseudo_dirs = [""]
    root_marker = "/"

    @classmethod
    def _strip_protocol(cls, path):
        path = str(path).removeprefix("s3://")
        return "/" + path.strip("/") if path.strip("/") else ""

    def rename(self, *arguments, **options):
        raise NotImplementedError("a store renames nothing")

    mv = move = cp_file = rename


@pytest.fixture
def store(monkeypatch):
    """The objects of s3://, by name; without TensorFlow's file systems."""
    fsspec.register_implementation("s3", Store, clobber=True)
    monkeypatch.setattr(gpath, "_is_tf_installed", lambda: False)
    Store.store.clear()
    Store.pseudo_dirs[:] = [""]
    yield Store.store
    Store.store.clear()


def test_what_is_an_address():
    assert paths.is_remote("gs://bucket/a") and paths.is_remote("s3://b")
    for path in ("runs", "/tmp/x", "C:\\x", "C://x", "./a://b", "a:b"):
        assert not paths.is_remote(path), path


def test_objects_are_written_read_listed_and_removed(store):
    file = f"{RUNS}/a/b.txt"
    with pytest.raises(FileNotFoundError):
        with paths.open_read(file):
            pass
    assert paths.names_in(RUNS) == [] and not paths.is_file(file)
    paths.write_object(file, b"old")
    paths.write_object(file, b"new!")
    with paths.open_read(file) as opened:
        assert opened.read() == b"new!"
    assert paths.size_of(file) == 4
    with pytest.raises(OSError, match="too large"):
        with paths.open_read(file, most=3):
            pass
    assert paths.names_in(RUNS) == ["a"]
    assert paths.is_folder(f"{RUNS}/a") and not paths.is_folder(file)
    assert paths.is_file(file) and not paths.is_file(f"{RUNS}/a")
    paths.remove(file)
    paths.remove(file)
    assert not paths.is_file(file)


def test_listings_are_asked_for_anew(store):
    paths.names_in(RUNS)
    assert fsspec.config.conf["s3"]["use_listings_cache"] is False


def test_an_error_of_the_reader_is_not_the_stores(store):
    paths.write_object(f"{RUNS}/x", b"")
    with pytest.raises(ValueError, match="of the reader"):
        with paths.open_read(f"{RUNS}/x"):
            raise ValueError("of the reader")


def test_an_error_of_the_store_is_an_os_error(store, monkeypatch):
    def refuse(*arguments, **options):
        raise KeyError("forbidden")

    monkeypatch.setattr(Store, "_open", refuse)
    with pytest.raises(OSError, match="forbidden") as caught:
        paths.write_object(f"{RUNS}/x", b"")
    assert caught.value.filename == f"{RUNS}/x"


def test_a_run_in_a_store_is_that_on_disk(
    command, flags, content, store, tmp_path
):
    flags = [f for f in flags if not f.startswith("--levels")]
    done = command(*flags, "--levels=1", f"--output_dir={RUNS}")
    assert done.status == 0, done.err
    assert command(
        *flags, "--levels=1", f"--output_dir={tmp_path}"
    ).status == 0
    (folder,) = tmp_path.iterdir()
    run = f"{RUNS}/{folder.name}"

    def objects():
        top = f"/bucket/runs/{folder.name}/"
        return {k.removeprefix(top): v.getvalue() for k, v in store.items()}

    for name, data in content(folder).items():
        assert objects()[name] == data, name
    assert objects()["report/accuracy.png"].startswith(b"\x89PNG")
    assert not [name for name in objects() if "tmp" in name]
    results = tfl.load_results(run)
    assert [row["level"] for row in results.rows] == [0, 1]
    ticket = tfl.Ticket.load(f"{run}/replicate_0/main/level_01/ticket")
    assert ticket.verify() == [] and ticket.mask.kept == 40_260

    # One byte of the dense ticket is altered: it is trained again, to the
    # same ticket, so the level after it stands.
    name = f"/bucket/runs/{folder.name}/replicate_0/main/level_00/ticket/"
    damaged = bytearray(store[f"{name}trained.npz"].getvalue())
    damaged[100] ^= 1
    paths.write_object(
        f"{run}/replicate_0/main/level_00/ticket/trained.npz", bytes(damaged)
    )
    again = command(
        *flags, "--levels=2", f"--output_dir={RUNS}", "--export=0"
    )
    assert again.status == 0, again.err
    assert "trained.npz is truncated or altered" in again.err
    assert "main level 0: 50,200" in again.err
    assert "main level 1: " not in again.err
    assert "main level 2: 32,298" in again.err
    for name, data in content(folder).items():
        assert objects()[name] == data, name
    assert "replicate_0/main/level_00/saved_model/saved_model.pb" in objects()


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--output_dir=nowhere://x", "`output_dir` must be a path, or an"),
        ("--log_file=s3://b/log.txt", "`log_file` must be a path on this"),
    ],
)
def test_addresses_that_cannot_be_used(command, flag, text):
    done = command("--levels=0", flag)
    assert done.status == 1 and text in done.err
    assert not os.path.exists("nowhere:")

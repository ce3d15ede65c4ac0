"""Tickets made to run code, to write elsewhere, or to fill the memory."""

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import types
import zipfile

import keras
import numpy as np
import pytest

from tf_lottery import Mask, Ticket, load_mask
from tf_lottery.fingerprint import fingerprint
from tf_lottery.tickets import Key, RunDirectory, archive, verify_files
from tf_lottery.tickets.verify import json_digest

PATH = "one/kernel"


def network():
    return keras.Sequential(
        [keras.Input((4,), name="in"), keras.layers.Dense(3, name="one")],
        name="net",
    )


def forge(folder, change=lambda meta: None, **archives):
    """A whole ticket of `network`, changed, whose checksums hold."""
    keep = np.arange(12).reshape(4, 3) % 2 == 0
    state = {PATH: keep.astype("f"), "one/bias": np.ones(3, "f")}
    text = network().to_json()
    start = {**state, "one/bias": np.zeros(3, "f")}
    Ticket(Mask({PATH: keep}), start, state, 1, {}, {}, text).save(folder)
    path = folder / "ticket.json"
    meta = json.loads(path.read_text("utf-8"))
    for name, data in archives.items():
        (folder / f"{name}.npz").write_bytes(data)
        meta["sha256"][f"{name}.npz"] = hashlib.sha256(data).hexdigest()
    change(meta)
    del meta["sha256"]["ticket.json"]
    meta["sha256"]["ticket.json"] = json_digest(meta)
    path.write_text(json.dumps(meta), "utf-8")
    return folder


def npz(header, size, name, method=zipfile.ZIP_DEFLATED):
    """An archive of one array of zeros, whatever its header says."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as packed:
        with packed.open(f"{name}.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(
                member, {"fortran_order": False, **header}
            )
            for start in range(0, size, 2**22):
                member.write(bytes(min(2**22, size - start)))
    return file.getvalue()


LARGE = 2**28
BOMBS = {
    "honest": npz({"descr": "|u1", "shape": (LARGE,)}, LARGE, "kernels"),
    "small header": npz({"descr": "|u1", "shape": (3, 6)}, LARGE, "kernels"),
    "giant header": npz({"descr": "|u1", "shape": (2**50,)}, 9, "kernels"),
    "no entries": npz({"descr": "<f8", "shape": (0, 2**62)}, 0, "kernels"),
    "bits": npz({"descr": "|u1", "shape": (LARGE,)}, LARGE, "bits"),
    "small bits": npz({"descr": "|u1", "shape": (2,)}, LARGE, "bits"),
    "bzip2": npz({"descr": "|u1", "shape": (2,)}, LARGE, "bits",
                 zipfile.ZIP_BZIP2),
    "lzma": npz({"descr": "|u1", "shape": (2,)}, LARGE, "bits",
                zipfile.ZIP_LZMA),
    "giant text": npz({"descr": "|S1000000000", "shape": ()}, 9, "bits"),
    "objects": npz({"descr": "|O", "shape": (1,)}, 9, "bits"),
}


@pytest.mark.parametrize("name", ["mask", "rewind", "trained"])
@pytest.mark.parametrize("bomb", BOMBS)
def test_an_archive_that_inflates_is_refused_unread(
    refused, tmp_path, name, bomb
):
    forge(tmp_path, **{name: BOMBS[bomb]})
    refused(lambda: Ticket.load(tmp_path))
    # The same file in place of masks.
    refused(lambda: load_mask(tmp_path / f"{name}.npz", network()))


def test_state_that_inflates_is_refused_unread(refused, tmp_path):
    # Its size stands in the ticket alone: what counts is the ratio.
    files = {}
    for size in (2**31 + 128, 2**20 + 128):
        header = {"descr": "|u1", "shape": (size - 128,)}
        data = bytearray(npz(header, 9, "state_0"))
        at = data.index(b"PK\x01\x02") + 24
        data[at : at + 4] = size.to_bytes(4, "little")
        files[size] = forge(tmp_path / str(size), trained=bytes(data))
    # A zip may have anything before it.
    data = (files[2**31 + 128] / "trained.npz").read_bytes()
    padded = bytes(1_500_000) + data
    files["padded"] = forge(tmp_path / "padded", trained=padded)
    large, small, padded = (
        refused(lambda: Ticket.load(f)) for f in files.values()
    )
    assert "bytes, more than 1.15e+09" in padded
    assert "arrays of 2.15e+09 bytes, more than 1.07e+09" in large
    assert "bytes, more than" not in small


@pytest.mark.parametrize("side", [2**15, 2**20, 2**31])
@pytest.mark.parametrize("level", [0, 1])
def test_few_bytes_cannot_stand_for_many_weights(
    refused, tmp_path, side, level
):
    # The code of one position among any number of weights is this short.
    size = archive._code_size("positions", side * side, 1)
    code = archive.npz_bytes({"positions": np.full(size, 128, np.uint8)})

    def change(meta):
        meta["level"] = level
        meta["kernels"][0].update(shape=[side, side], kept=1)

    forge(tmp_path, change, mask=code)
    text = refused(lambda: Ticket.load(tmp_path))
    assert "weights in files as small as these" in text


def test_a_ticket_takes_half_of_the_memory_at_most(
    refused, tmp_path, monkeypatch
):
    forge(tmp_path)
    assert Ticket.load(tmp_path).mask.kept == 6
    monkeypatch.setattr(os, "sysconf", lambda name: 16)
    assert "as small as these" in refused(lambda: Ticket.load(tmp_path))


@pytest.mark.parametrize(
    "change",
    [
        lambda meta: meta["kernels"][0].update(dtype="S1000000000"),
        lambda meta: meta["kernels"][0].update(shape=[1] * 65),
        lambda meta: meta["kernels"][0].update(shape=[10**4000] * 30),
        lambda meta: meta["kernels"][0].update(shape={"4": 4, "3": 3}),
        lambda meta: meta["kernels"][0].update(kept=5),
        lambda meta: meta["kernels"][0].update(kept=13),
        lambda meta: meta["kernels"][0].update(kept=float("inf")),
        lambda meta: meta["kernels"].append(dict(meta["kernels"][0])),
        lambda meta: meta["state"].append("one/bias"),
        lambda meta: meta["state"].__setitem__(1, "\ud800"),
        lambda meta: meta.update(level=float("nan")),
        lambda meta: meta.update(level=10**4000),
    ],
)
def test_values_that_cannot_be_are_refused(refused, tmp_path, change):
    forge(tmp_path, change)
    refused(lambda: Ticket.load(tmp_path))


def test_counts_are_those_of_each_kernel(refused, tmp_path):
    keep = {k: np.arange(12).reshape(4, 3) < 6 for k in "ab"}
    state = {k: m.astype("f") for k, m in keep.items()}
    Ticket(Mask(keep), state, state, 1).save(tmp_path)
    path = tmp_path / "ticket.json"
    for counts, fit in (((6, 6), True), ((5, 7), False)):
        meta = json.loads(path.read_text("utf-8"))
        for kernel, kept in zip(meta["kernels"], counts):
            kernel["kept"] = kept
        del meta["sha256"]["ticket.json"]
        meta["sha256"]["ticket.json"] = json_digest(meta)
        path.write_text(json.dumps(meta), "utf-8")
        if fit:
            assert Ticket.load(tmp_path).mask == Mask(keep)
        else:
            refused(lambda: Ticket.load(tmp_path))


def test_a_deep_or_large_json_is_refused(refused, tmp_path):
    forge(tmp_path)
    path = tmp_path / "ticket.json"
    text = path.read_text("utf-8")
    for depth in (500, 990, 5000, 10**6):
        nested = "[" * depth + "]" * depth
        path.write_text(f'{{"a": {nested}, {text[1:]}', "utf-8")
        refused(lambda: Ticket.load(tmp_path))
    path.write_text(text + " " * 2**25, "utf-8")
    assert "File too large" in refused(lambda: Ticket.load(tmp_path))


@pytest.mark.parametrize("version", [0, 2, 99, "2", True, None, [1] * 10**5])
def test_another_version_is_named(refused, tmp_path, version):
    forge(tmp_path, lambda meta: meta.update(format=version))
    text = refused(lambda: Ticket.load(tmp_path))
    assert "ticket.json of format" in text
    assert "this version of tf_lottery reads format 1" in text


@pytest.mark.parametrize(
    "name", ["ticket.json", "mask.npz", "rewind.npz", "trained.npz"]
)
def test_pipes_and_devices_are_not_waited_for(refused, tmp_path, name):
    forge(tmp_path)
    path = tmp_path / name
    path.unlink()
    os.mkfifo(path)
    assert verify_files(tmp_path) == [f"{name} unreadable (Not a regular file)"]
    path.unlink()
    path.symlink_to("/dev/zero")
    assert "Not a regular file" in refused(lambda: Ticket.load(tmp_path))
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    assert f"{name} missing" in refused(lambda: Ticket.load(tmp_path))


def test_files_of_another_ticket_are_refused(refused, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    forge(one)
    forge(two, lambda meta: meta.update(level=2))
    other = one / "trained.npz"
    (two / "mask.npz").write_bytes(other.read_bytes())
    (one / "rewind.npz").rename(one / "trained.npz")
    assert "mask.npz truncated" in refused(lambda: Ticket.load(two))
    text = refused(lambda: Ticket.load(one))
    assert "rewind.npz missing; trained.npz truncated" in text


def test_a_ticket_of_another_model_is_refused(refused, tmp_path):
    ticket = Ticket.load(forge(tmp_path))
    wide = keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(3, name="one")], name="net"
    )
    assert "net/one/kernel" in refused(lambda: ticket.apply_to(wide))


LEVEL = Key(0, "main", 1)


@pytest.fixture
def store(tmp_path):
    """A run directory with one level, and a ticket that goes there."""
    notices = []
    store = RunDirectory(str(tmp_path / "run"), notices.append)
    ticket = Ticket.load(forge(tmp_path / "source"))

    def save():
        row = {**dataclasses.asdict(LEVEL)}
        store.open({}, str)
        return store.save(LEVEL, ticket, [{"step": 1}], row, "")

    save()
    return types.SimpleNamespace(run=store, save=save, notices=notices)


def test_a_link_out_of_the_run_is_not_written_through(refused, store, tmp_path):
    folder = pathlib.Path(store.run.ticket_path(LEVEL))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ".a.tmp").write_text("mine")
    (folder.parent / "more").symlink_to(outside)
    # Files are replaced, not what they link to.
    (folder / "mask.npz").unlink()
    (folder / "mask.npz").symlink_to(outside / ".a.tmp")
    store.save()
    assert not (folder / "mask.npz").is_symlink()
    folder.rename(tmp_path / "away")
    folder.symlink_to(outside)
    assert "which leads to" in refused(store.save)
    assert (outside / ".a.tmp").read_text() == "mine"
    assert os.listdir(outside) == [".a.tmp"]


def test_level_json_names_its_own_files_alone(store):
    path = pathlib.Path(store.run.level_path(LEVEL)) / "level.json"
    os.mkfifo(path.parent / "pipe")
    assert store.run.finished(LEVEL, "")
    summary = json.loads(path.read_text("utf-8"))
    summary["files"]["pipe"] = "0"
    del summary["sha256"]
    summary["sha256"] = json_digest(summary)
    path.write_text(json.dumps(summary), "utf-8")
    assert store.run.finished(LEVEL, "") is None
    assert "level.json is truncated or altered" in store.notices[0]


@pytest.mark.parametrize("text", ["[" * 10**6, "[]", "7", "{}", " " * 2**25])
def test_config_json_and_level_json_of_any_content(store, text):
    folder = pathlib.Path(store.run.level_path(LEVEL))
    (folder / "level.json").write_text(text, "utf-8")
    assert store.run.finished(LEVEL, "") is None
    assert store.run.rows() == []
    (pathlib.Path(store.run.path) / "config.json").write_text(text, "utf-8")
    with pytest.raises((ValueError, OSError)) as caught:
        store.run.check({"format": 1}, fingerprint)
    assert len(str(caught.value).splitlines()) == 1


def test_a_ticket_of_another_level_is_refused(refused, store):
    assert store.run.load(LEVEL).level == 1
    forge(
        pathlib.Path(store.run.ticket_path(LEVEL)),
        lambda meta: meta.update(level=2),
    )
    assert "of level 2" in refused(lambda: store.run.load(LEVEL))

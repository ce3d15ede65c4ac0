"""The run directory: what counts as finished, and what is done again."""

import dataclasses
import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from tf_lottery import Config, Mask, Ticket
from tf_lottery.fingerprint import fingerprint
from tf_lottery.tickets import Key, RunDirectory

KEY = Key(0, "main", 1)
FILES = (
    "metrics.csv", "ticket/mask.npz", "ticket/rewind.npz",
    "ticket/ticket.json", "ticket/trained.npz",
)
VALUES = Config().to_json()
ROWS = [
    {"step": 0, "split": "test", "loss": 0.1 + 0.2, "accuracy": 0.5},
    {"step": 10, "split": "test", "loss": float("nan"), "accuracy": 1.0},
]


def make_ticket(level=1, seed=0):
    keep = np.arange(12).reshape(4, 3) % 2 == 0
    weights = {"a/kernel": np.where(keep, seed + 1.5, 0).astype("f")}
    metrics = {"test_accuracy": 0.5, "val_loss": float("nan")}
    return Ticket(
        Mask({"a/kernel": keep}), weights, weights, level, {}, metrics
    )


def save(store, key=KEY, parent="p", **changes):
    ticket = make_ticket(key.level)
    row = {**dataclasses.asdict(key), **ticket.metrics, **changes}
    if not os.path.exists(store.path):
        store.open(VALUES, fingerprint)
    return store.save(key, ticket, ROWS, row, parent)


def save_chain(store, replicate, levels):
    """Levels from 0 on, each made from the one before; the last's digest."""
    parent = ""
    for level in range(levels):
        parent = save(store, Key(replicate, "main", level), parent)
    return parent


@pytest.fixture
def notices():
    return []


@pytest.fixture
def store(tmp_path, notices):
    return RunDirectory(str(tmp_path / "run"), notices.append)


def test_a_saved_level_is_finished(store, notices):
    assert store.finished(KEY, "p") is None
    digest = save(store)
    assert store.finished(KEY, "p") == digest
    assert len(digest) == 64 and not notices
    folder = store.level_path(KEY)
    assert folder.endswith(os.path.join("replicate_0", "main", "level_01"))
    assert sorted(os.listdir(folder)) == [
        "level.json", "metrics.csv", "ticket",
    ]
    summary = json.load(open_text(folder, "level.json"))
    assert summary["parent"] == "p"
    assert sorted(summary["files"]) == list(FILES)
    assert Ticket.load(store.ticket_path(KEY)).level == 1
    lines = open_text(folder, "metrics.csv").getvalue().splitlines()
    assert lines == [
        "step,split,loss,accuracy", "0,test,0.30000000000000004,0.5",
        "10,test,nan,1.0",
    ]


def open_text(*parts):
    import io

    with open(os.path.join(*parts), encoding="utf-8") as file:
        return io.StringIO(file.read())


@pytest.mark.parametrize("name", [*FILES, "level.json"])
@pytest.mark.parametrize(
    "how", ["missing", "truncated", "emptied", "altered", "a folder"]
)
def test_damage_is_named_and_done_again(store, notices, name, how):
    digest = save(store)
    path = os.path.join(store.level_path(KEY), name)
    with open(path, "rb") as file:
        data = file.read()
    os.remove(path)
    if how == "truncated":
        write(path, data[: len(data) // 2])
    elif how == "emptied":
        write(path, b"")
    elif how == "altered":
        write(path, data.replace(b"0.5", b"0.6").replace(b"P", b"Q"))
    elif how == "a folder":
        os.mkdir(path)
    assert store.finished(KEY, "p") is None
    if (name, how) == ("level.json", "missing"):
        # The normal state of a level that was not reached.
        assert not notices
    else:
        assert len(notices) == 1
        assert notices[0].startswith(f"{path} is ")
        assert notices[0].endswith("replicate 0 main level 1 is trained again.")
        word = {"missing": "missing", "a folder": "unreadable"}
        if name != "level.json":
            assert word.get(how, "truncated or altered") in notices[0]
    if how == "a folder":
        os.rmdir(path)
    assert save(store) == digest
    assert store.finished(KEY, "p") == digest


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.pop("parent"),
        lambda s: s.pop("row"),
        lambda s: s.update(row=[]),
        lambda s: s["row"].update(level=2),
        lambda s: s["row"].update(replicate=1),
        lambda s: s["row"].update(branch="reinit"),
        lambda s: s["row"].pop("test_accuracy"),
        lambda s: s["row"].update(test_accuracy=0.99),
        lambda s: s["files"].pop("metrics.csv"),
        lambda s: s["files"].pop("ticket/ticket.json"),
        lambda s: s["files"].update({"../../../etc/x": "0"}),
        lambda s: s.update(files=list(s["files"])),
        lambda s: s.update(files=None),
    ],
)
def test_a_level_json_of_other_content_does_not_count(store, notices, change):
    save(store)
    path = os.path.join(store.level_path(KEY), "level.json")
    summary = json.load(open_text(path))
    change(summary)
    write(path, json.dumps(summary).encode())
    assert store.finished(KEY, "p") is None
    assert len(notices) == 1 and "\n" not in notices[0]


@pytest.mark.parametrize("text", [b"[]", b"null", b"3", b"\xff", b"[" * 10**5])
def test_level_json_of_any_content(store, notices, text):
    save(store)
    write(os.path.join(store.level_path(KEY), "level.json"), text)
    assert store.finished(KEY, "p") is None
    assert len(notices) == 1
    assert store.rows() == []


def test_a_level_of_another_parent_is_not_reused(store, notices):
    save(store, parent="p")
    assert store.finished(KEY, "q") is None
    assert "made from another ticket" in notices[0]


def test_leftovers_of_a_kill_and_of_an_export_are_swept(store):
    save(store)
    folder = store.level_path(KEY)
    for name in (
        ".level.json.0123.tmp", ".metrics.csv.0123.tmp",
        "ticket/.mask.npz.0123.tmp",
    ):
        write(os.path.join(folder, name), b"half")
    for name in ("saved_model", "saved_model.77.tmp"):
        os.mkdir(os.path.join(folder, name))
    save(store)
    assert sorted(os.listdir(folder)) == [
        "level.json", "metrics.csv", "ticket",
    ]
    assert len(os.listdir(os.path.join(folder, "ticket"))) == 4


def test_level_json_is_written_last(store, monkeypatch):
    from tf_lottery.tickets import store as module
    from tf_lottery.tickets import ticket

    names = []
    store.open(VALUES, fingerprint)
    for where in (module, ticket):
        real = where.replace_file
        monkeypatch.setattr(
            where,
            "replace_file",
            lambda path, data, real=real: (
                names.append(os.path.basename(path)), real(path, data)
            ),
        )
    save(store)
    assert names[-1] == "level.json" and len(names) == len(FILES) + 1
    assert names.index("ticket.json") == 3


def test_rows_come_from_every_finished_level_in_order(store):
    for replicate in (10, 0, 2):
        last = save_chain(store, replicate, 12 if replicate == 0 else 1)
        save(store, Key(replicate, "reinit", 11 if replicate == 0 else 0), last)
    rows = [(r["replicate"], r["branch"], r["level"]) for r in store.rows()]
    assert rows == [
        *((0, "main", level) for level in range(12)),
        (0, "reinit", 11),
        (2, "main", 0), (2, "reinit", 0), (10, "main", 0), (10, "reinit", 0),
    ]
    assert store.rows()[0]["test_accuracy"] == 0.5


def test_rows_pass_over_what_is_half_written(store, notices):
    last = save_chain(store, 0, 2)
    os.makedirs(os.path.join(store.path, "replicate_0", "main", "level_02"))
    os.makedirs(os.path.join(store.path, "replicate_1"))
    os.makedirs(os.path.join(store.path, "replicate_x", "main", "level_00"))
    write(os.path.join(store.path, "replicate_0", "notes.txt"), b"")
    save(store, Key(0, "main", 3), last)
    os.remove(
        os.path.join(store.level_path(Key(0, "main", 3)), "level.json")
    )
    # A copied level says that it is another one.
    shutil.copytree(
        store.level_path(KEY), store.level_path(Key(0, "main", 4))
    )
    assert [row["level"] for row in store.rows()] == [0, 1]
    assert not notices


def test_rows_of_no_run():
    assert RunDirectory("nowhere").rows() == []


def test_open_writes_the_configuration_and_takes_its_own_back(store):
    store.open(VALUES, fingerprint)
    path = os.path.join(store.path, "config.json")
    assert json.load(open_text(path)) == VALUES
    more = Config(levels=20, output_dir="x").to_json()
    store.check(more, fingerprint)
    store.open(more, fingerprint)
    assert json.load(open_text(path)) == more


def test_check_makes_nothing(store):
    store.check(VALUES, fingerprint)
    assert not os.path.exists(store.path)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({**VALUES, "prune_rate": 0.3}),
        json.dumps({**VALUES, "more": 1}),
        json.dumps({**VALUES, "inputs": 5}),
        json.dumps({**VALUES, "inputs": [[1]]}),
        json.dumps(VALUES)[:-10],
        "", "[]", "3", "null", "[" * 10**5, "\udcff",
    ],
)
def test_an_altered_configuration_is_refused(store, text):
    store.open(VALUES, fingerprint)
    path = os.path.join(store.path, "config.json")
    data = text.encode("utf-8", "surrogateescape")
    write(path, data)
    with pytest.raises(ValueError) as caught:
        store.open(VALUES, fingerprint)
    message = str(caught.value)
    assert message.startswith("`output_dir` must not hold an altered run. ")
    assert f"Received: {path}, " in message and "\n" not in message
    with open(path, "rb") as file:
        assert file.read() == data


def test_every_number_of_level_json_is_checked(store, notices):
    save(store)
    path = os.path.join(store.level_path(KEY), "level.json")
    summary = json.load(open_text(path))
    for name in summary["row"]:
        changed = {**summary, "row": {**summary["row"], name: 12345}}
        write(path, json.dumps(changed).encode())
        assert store.finished(KEY, "p") is None, name
    assert len(notices) == len(summary["row"])


def test_what_this_class_did_not_write_is_no_level(store):
    save_chain(store, 0, 2)
    folder = pathlib.Path(store.level_path(KEY))
    shutil.copytree(folder, folder.with_name("level_²"))
    shutil.copytree(folder, folder.with_name(f"level_{KEY.level}"))
    (folder.parents[2] / "replicate_77").write_text("a file")
    assert len(store.rows()) == 2

"""A byte fuzzer over a ticket's files and mask files, own and seeded.

FUZZ_CASES sets how many cases, 1,000 by default; a case takes 3 ms.
"""

import io
import json
import os
import time
import warnings

import keras
import numpy as np
import pytest

from tf_lottery import Mask, Ticket, load_mask

CASES = int(os.environ.get("FUZZ_CASES", "1000"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))


def network():
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, name="one"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(4, name="two"),
        ]
    )


def make_ticket(level, kept, seed):
    rng = np.random.default_rng(seed)
    model = network()
    shapes = {"one/kernel": (6, 5), "two/kernel": (5, 4)}
    mask = Mask({k: rng.random(s) < kept for k, s in shapes.items()})
    state = {
        v.path.removeprefix(f"{model.name}/"): np.asarray(v)
        + rng.normal(size=v.shape).astype("f")
        for v in model.variables
    }
    trained = {k: v * mask[k] if k in mask else v for k, v in state.items()}
    return Ticket(
        mask, trained if level else state, trained, level,
        {"seed": 3, "exclude": []}, {"loss": float("nan")}, model.to_json(),
    )


def read(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def tickets(tmp_path_factory):
    """`[(ticket, {file name: bytes})]`: dense, half pruned, almost empty."""
    found = []
    for level, kept in ((0, 1.0), (1, 0.5), (5, 0.07)):
        folder = tmp_path_factory.mktemp("ticket")
        make_ticket(level, kept, level).save(folder)
        found.append((Ticket.load(folder), read(folder)))
    return found


def outcome(load):
    """What is loaded, or None where it was refused as it should be."""
    began = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return load()
        except ValueError as error:
            text = str(error)
            assert len(text.splitlines()) == 1 and len(text) < 1500, text
            assert text.isprintable() and "Received: " in text, text
            return None
        finally:
            assert time.monotonic() - began < 5


def same(one, other):
    return one.mask == other.mask and all(
        np.array_equal(getattr(one, name)[k], v, equal_nan=True)
        for name in ("rewind", "trained")
        for k, v in getattr(other, name).items()
    )


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)


def test_fuzzed_tickets_are_loaded_whole_or_refused(fuzz, tickets, tmp_path):
    loaded = {"intact": 0, "forged": 0, "refused": 0}
    for case in range(CASES * 7 // 10):
        rng = np.random.default_rng([SEED, case])
        ticket, files = fuzz.some(rng, tickets)
        name = fuzz.some(rng, list(files))
        kind = rng.integers(8)
        if kind <= 4:
            files = fuzz.forge(rng, files)
        elif kind == 5:
            other = fuzz.some(rng, tickets)[1]
            files = {**files, name: other[fuzz.some(rng, [name, *other])]}
            if rng.random() < 0.3:
                del files[name]
        else:
            files = {**files, name: fuzz.some(rng, fuzz.raw)(rng, files[name])}
        write(tmp_path / "t", files)
        found = outcome(lambda: Ticket.load(tmp_path / "t"))
        if found is None:
            loaded["refused"] += 1
        elif kind > 4:
            assert same(found, ticket), case
            loaded["intact"] += 1
        else:
            assert found.verify() == [] and len(found.digest()) == 64
            for path, keep in found.mask.items():
                assert keep.view("u1").max(initial=0) <= 1, case
                assert not found.trained[path][~keep].any(), case
            loaded["forged"] += 1
    # Neither all refused nor all let through.
    assert min(loaded.values()) > 0, loaded


def test_fuzzed_mask_files_are_loaded_whole_or_refused(fuzz, tmp_path):
    model = network()
    shapes = {"one/kernel": (6, 5), "two/kernel": (5, 4)}
    rng = np.random.default_rng(SEED)
    bases = []
    for dtype in (bool, np.uint8, np.float32, np.int64):
        arrays = {k: (rng.random(s) < 0.5).astype(dtype)
                  for k, s in shapes.items()}
        for save in (np.savez, np.savez_compressed):
            for named in (True, False):
                file = io.BytesIO()
                save(file, *() if named else arrays.values(),
                     **arrays if named else {})
                bases.append((Mask(arrays), file.getvalue()))
    path = tmp_path / "masks.npz"
    loaded = {"intact": 0, "forged": 0, "refused": 0}
    for case in range(CASES - CASES * 7 // 10):
        rng = np.random.default_rng([SEED, 10**6 + case])
        mask, data = fuzz.some(rng, bases)
        forged = rng.random() < 0.7
        change = fuzz.change_npz if forged else fuzz.some(rng, fuzz.raw)
        data = change(rng, data)
        path.write_bytes(data)
        found = outcome(lambda: load_mask(path, model))
        if found is None:
            loaded["refused"] += 1
            continue
        assert [*found.shapes.values()] == [*shapes.values()], case
        assert all(m.view("u1").max() <= 1 for m in found.values()), case
        if not forged:
            assert list(found.values())[0].tolist() == (
                list(mask.values())[0].tolist()
            ), case
        loaded["forged" if forged else "intact"] += 1
    assert loaded["forged"] and loaded["refused"]


def test_fuzzed_architectures_are_built_or_refused(fuzz, tickets):
    ticket = tickets[1][0]
    built = 0
    for case in range(max(30, CASES // 20)):
        rng = np.random.default_rng([SEED, 2 * 10**6 + case])
        text = ticket.architecture
        if rng.random() < 0.8:
            config = json.loads(text)
            fuzz.change_json(rng, config)
            text = json.dumps(config)
        else:
            change = fuzz.some(rng, fuzz.raw)
            text = change(rng, text.encode()).decode("latin-1")
        forged = Ticket(
            ticket.mask, ticket.rewind, ticket.trained, 1, architecture=text
        )
        built += outcome(forged.build_model) is not None
    assert built

"""Masks from plain .npz files: by path, by order, and refused."""

import json

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery import Mask, get_mask, load_mask, mask_model, set_mask
from tf_lottery.tickets import Ticket, read_mask
from tf_lottery.tickets.verify import json_digest

SHAPES = {
    "net/conv/kernel": (3, 3, 1, 2),
    "net/one/kernel": (32, 5),
    "net/two/kernel": (5, 5),
    "net/three/kernel": (5, 5),
}


def network(name="net", prefix=""):
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(2, 3, name=f"{prefix}conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(5, name=f"{prefix}one"),
            keras.layers.Dense(5, name=f"{prefix}two"),
            keras.layers.Dense(5, name=f"{prefix}three"),
        ],
        name=name,
    )


@pytest.fixture
def mask():
    rng = np.random.default_rng(0)
    return Mask({k: rng.random(s) < 0.3 for k, s in SHAPES.items()})


@pytest.fixture
def file(tmp_path):
    return tmp_path / "masks.npz"


@pytest.mark.parametrize("masked", [True, False], ids=["masked", "stock"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_was_written_by_path_is_read(file, mask, save, masked):
    model = mask_model(network()) if masked else network()
    before = [np.array(v) for v in model.variables]
    save(file, **mask)
    found = load_mask(file, model)
    assert found == mask and list(found) == list(SHAPES)
    assert load_mask(str(file), model) == mask
    assert tfl.layers.is_masked(model) == masked
    for old, new in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_documented_way_there_and_back(file, mask):
    model = mask_model(network())
    set_mask(model, mask)
    np.savez(file, **tfl.get_mask(model))
    other = mask_model(network())
    set_mask(other, load_mask(file, other))
    assert get_mask(other) == mask


def test_paths_count_more_than_their_order(file, mask):
    # Two kernels of one shape: the order would mix them up.
    np.savez(file, **{k: mask[k] for k in reversed(list(mask))})
    found = load_mask(file, network())
    assert found == mask and list(found) == list(SHAPES)


def test_a_model_built_anew_under_other_names(file, mask):
    np.savez(file, **mask)
    found = load_mask(file, network("net_7"))
    assert list(found) == [k.replace("net", "net_7") for k in SHAPES]
    assert all(map(np.array_equal, found.values(), mask.values()))


@pytest.mark.parametrize("order", [1, -1])
def test_numbered_arrays_go_by_their_numbers(file, mask, order):
    numbered = {f"arr_{i}": m for i, m in enumerate(mask.values())}
    np.savez(file, **dict(list(numbered.items())[::order]))
    assert load_mask(file, network()) == mask


def test_more_than_ten_numbered_arrays(file):
    model = keras.Sequential(
        [keras.Input((2,)), *(keras.layers.Dense(2) for _ in range(12))]
    )
    masks = [np.arange(4).reshape(2, 2) == i % 4 for i in range(12)]
    # Packed in alphabetical order: arr_10 before arr_2.
    names = sorted(f"arr_{i}" for i in range(12))
    np.savez(file, **{n: masks[int(n[4:])] for n in names})
    found = load_mask(file, model).values()
    assert all(map(np.array_equal, found, masks))


def test_other_names_go_by_their_order(file, mask):
    np.savez(file, **dict(zip("dcba", mask.values())))
    assert load_mask(file, network()) == mask


def test_masked_kernels_alone_are_asked_for(file, mask):
    model = mask_model(network(), exclude="*conv*")
    some = {k: v for k, v in mask.items() if "conv" not in k}
    np.savez(file, **some)
    assert load_mask(file, model) == Mask(some)
    np.savez(file, **mask)
    with pytest.raises(ValueError, match="unknown: net/conv/kernel"):
        load_mask(file, model)


@pytest.mark.parametrize(
    "dtype", ["?", "u1", "i8", "f2", "f4", "f8", ">f8", ">i2"]
)
def test_zeros_and_ones_of_any_type(file, mask, dtype):
    np.savez(file, **{k: np.asfortranarray(m).astype(dtype)
                      for k, m in mask.items()})
    found = load_mask(file, network())
    assert found == mask
    assert {m.dtype for m in found.values()} == {np.dtype(bool)}


def changed(**changes):
    def change(mask):
        arrays = {**mask, **{k.replace("_", "/"): v for k, v in
                             changes.items()}}
        return {k: v for k, v in arrays.items() if v is not None}

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(net_one_kernel=None), r"missing: net/one/kernel \(32, 5\)\."),
        (
            changed(net_four_kernel=np.ones(3)),
            r"unknown: net/four/kernel \(3,\)",
        ),
        (
            lambda m: {k.replace("two", "four"): v for k, v in m.items()},
            r"missing: net/two/kernel \(5, 5\); unknown: net/four/kernel",
        ),
        (
            changed(net_one_kernel=np.ones((5, 32))),
            r"other shape: net/one/kernel \(5, 32\) instead of \(32, 5\)",
        ),
        (
            lambda m: dict(enumerate_arrays(list(m.values())[:3])),
            r"missing: net/three/kernel \(5, 5\)\.",
        ),
        (
            lambda m: dict(enumerate_arrays(list(m.values())[::-1])),
            r"other shape: arr_0 \(5, 5\) instead of \(3, 3, 1, 2\), arr_1",
        ),
        (
            lambda m: {f"arr_{i + 1}": v for i, v in enumerate(m.values())},
            "numbers that do not begin at 0 or leave gaps",
        ),
        (changed(net_one_kernel=np.full((32, 5), np.nan)), "other than 0 and"),
        (changed(net_one_kernel=np.full((32, 5), 0.5)), "other than 0 and 1"),
        (changed(net_one_kernel=np.full((32, 5), -1)), "other than 0 and 1"),
        (changed(net_one_kernel=np.ones((32, 5), "c8")), "complex numbers"),
        (changed(net_one_kernel=np.full((32, 5), "1")), "no plain array"),
        (
            changed(net_one_kernel=np.full((32, 5), None)),
            "no plain array of numbers, but has the header .*O",
        ),
        (
            lambda m: {f"net/{i}/kernel": np.ones(1) for i in range(17)},
            "17 arrays in place of 16 at most",
        ),
        (lambda m: {}, "missing: net/conv/kernel"),
    ],
)
def test_what_does_not_fit_is_named(file, mask, change, message):
    np.savez(file, **change(mask))
    with pytest.raises(ValueError, match=message) as caught:
        load_mask(file, network())
    text = str(caught.value)
    assert text.startswith("`path` must be an .npz file with one array of ")
    assert f"Received: path={str(file)!r}" in text
    assert len(text.splitlines()) == 1


def enumerate_arrays(values):
    return ((f"arr_{i}", v) for i, v in enumerate(values))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "BadZipFile"),
        (b"PK\x03\x04 and no more", "BadZipFile"),
        (bytes(10**6), "1000000 bytes, for masks of"),
        (None, "No such file"),
    ],
)
def test_what_is_no_archive_is_refused(file, data, message):
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(ValueError, match=message):
        load_mask(file, network())


def test_a_folder_a_name_and_a_single_array_are_refused(tmp_path, file):
    with pytest.raises(ValueError, match="Is a directory"):
        load_mask(tmp_path, network())
    with pytest.raises(ValueError, match="null byte"):
        load_mask("a\0b", network())
    np.save(tmp_path / "one.npy", np.ones(3, bool))
    with pytest.raises(ValueError, match="BadZipFile"):
        load_mask(tmp_path / "one.npy", network())


def test_names_twice_and_odd_ones_are_refused(tmp_path, mask):
    import zipfile

    for names, message in (
        (["net/one/kernel.npy"] * 2, "'net/one/kernel' is there twice"),
        (["net/one/kernel.txt"], "'net/one/kernel.txt' is no array"),
        (["a\n\x1b[2J.npy"], r"other shape: a \?\[2J"),
    ):
        np.save(tmp_path / "a.npy", mask["net/one/kernel"])
        with zipfile.ZipFile(tmp_path / "m.npz", "w") as file:
            for name in names:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr("warnings.warn", lambda *a, **k: None)
                    file.write(tmp_path / "a.npy", name)
        with pytest.raises(ValueError, match=message) as caught:
            load_mask(tmp_path / "m.npz", network())
        assert str(caught.value).isprintable()


def test_a_boolean_of_another_byte_is_refused(file, mask):
    odd = {k: m.astype("u1") * 2 for k, m in mask.items()}
    np.savez(file, **{k: m.view(bool) for k, m in odd.items()})
    with pytest.raises(ValueError, match="booleans other than 0 and 1"):
        load_mask(file, network())


def test_the_model_is_checked(file, mask):
    np.savez(file, **mask)
    with pytest.raises(TypeError, match="`model` must be a Keras 3 model"):
        load_mask(file, "net")
    with pytest.raises(ValueError, match="`model` must be built"):
        load_mask(file, keras.Sequential([keras.layers.Dense(3)]))


def test_it_is_public():
    assert tfl.load_mask is load_mask and "load_mask" in tfl.__all__


class TestReadMask:
    @pytest.fixture
    def ticket(self, tmp_path, mask):
        model = mask_model(network())
        set_mask(model, mask)
        state = tfl.layers.get_state(model)
        Ticket.of(model, rewind=state, level=1).save(tmp_path / "ticket")
        return tmp_path / "ticket"

    def test_weights_are_neither_read_nor_checked(self, ticket, mask):
        for name in ("rewind.npz", "trained.npz"):
            (ticket / name).write_bytes(b"no archive")
        found = read_mask(ticket)
        assert found == mask and list(found) == list(mask)

    @pytest.mark.parametrize("name", ["mask.npz", "ticket.json"])
    def test_other_files_are(self, ticket, name):
        content = (ticket / name).read_bytes()
        (ticket / name).write_bytes(content[:-3])
        with pytest.raises(ValueError, match=f"{name} truncated or altered"):
            read_mask(ticket)
        (ticket / name).unlink()
        with pytest.raises(ValueError, match=f"{name} missing"):
            read_mask(str(ticket))

    def test_whoever_wrote_them(self, ticket):
        meta = json.loads((ticket / "ticket.json").read_text())
        meta["kernels"][0]["kept"] += 1
        del meta["sha256"]["ticket.json"]
        meta["sha256"]["ticket.json"] = json_digest(meta)
        (ticket / "ticket.json").write_text(json.dumps(meta))
        with pytest.raises(ValueError, match="^`path`.*ValueError: .*weights"):
            read_mask(ticket)

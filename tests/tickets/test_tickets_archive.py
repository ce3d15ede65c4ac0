"""A ticket's files: read with NumPy and json alone, small, and hostile."""

import hashlib
import io
import json
import zipfile

import keras
import numpy as np
import pytest

from tf_lottery import Mask, Ticket
from tf_lottery.tickets import archive
from tf_lottery.tickets.verify import json_digest

SHAPES = {
    "dense_1/kernel": (784, 300),
    "dense_2/kernel": (300, 100),
    "output/kernel": (100, 10),
}


def lenet_weights(seed=0):
    draw = keras.initializers.GlorotNormal(seed=seed)
    return {k: np.array(draw(shape)) for k, shape in SHAPES.items()}


def make_mask(weights, sparsity, kind, seed=1):
    """Keeps the best-scored of every kernel."""
    rng = np.random.default_rng(seed)
    arrays = {}
    for path, value in weights.items():
        noise = rng.random(value.shape)
        size = np.abs(value) / value.std()
        # A trained magnitude: the initial one and what training added.
        score = {"random": noise, "trained": size + 3 * noise}[kind]
        keep = value.size - round(sparsity * value.size)
        order = np.argsort(-score, axis=None, kind="stable")
        flat = np.zeros(value.size, bool)
        flat[order[:keep]] = True
        arrays[path] = flat.reshape(value.shape)
    return Mask(arrays)


def read_as_documented(folder):
    """Word for word the recipe in archive.py's docstring."""
    recipe = archive.__doc__.split("\n\n")[2]
    lines = [line[4:] for line in recipe.splitlines()]
    assert lines[0].startswith("kernels = json.load(")
    names = {"json": json, "np": np}
    text = "\n".join(lines)
    for name in ("ticket.json", "mask.npz", "rewind.npz"):
        assert f'"{name}"' in text
        text = text.replace(f'"{name}"', repr(str(folder / name)))
    exec(text, names)
    return names["index"], names["kept"]


# The recipe leaves closing its files to Python.
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    "sparsity", [0, 0.2, 0.5, 0.87, 0.875, 0.88, 0.95, 0.999]
)
def test_numpy_and_json_alone_read_it(tmp_path, sparsity):
    weights = lenet_weights()
    mask = make_mask(weights, sparsity, "random")
    trained = {k: np.where(m, weights[k], 0) for k, m in mask.items()}
    Ticket(mask, trained, trained, 1).save(tmp_path)
    index, kept = read_as_documented(tmp_path)
    flat = np.concatenate([m.ravel() for m in mask.values()])
    values = np.concatenate([w.ravel() for w in weights.values()])
    np.testing.assert_array_equal(index, np.flatnonzero(flat))
    np.testing.assert_array_equal(kept, values[flat])
    loaded = Ticket.load(tmp_path)
    assert loaded.mask == mask
    for path, value in trained.items():
        np.testing.assert_array_equal(loaded.rewind[path], value)


def test_files_of_the_first_version_are_read():
    # One plane array and one bit per weight, also where few are kept.
    weights = lenet_weights()
    mask = make_mask(weights, 0.95, "random")
    flat = np.concatenate([m.ravel() for m in mask.values()])
    bits = {"bits": np.packbits(flat)}
    assert archive.unpack_mask(bits, SHAPES, mask.kept) == mask
    new = archive.pack_weights(weights, mask)
    old = {"kernels": np.concatenate([new.pop("kernels"), new.pop("high")])}
    dtypes = dict.fromkeys(SHAPES, "float32")
    state = archive.unpack_weights(old, mask, list(SHAPES), dtypes)
    for path, keep in mask.items():
        np.testing.assert_array_equal(
            state[path], np.where(keep, weights[path], 0)
        )


@pytest.mark.parametrize("kind", ["trained", "random"])
@pytest.mark.parametrize("sparsity", [0.8, 0.9, 0.95, 0.98, 0.99])
def test_mask_and_rewind_weights_beat_the_bound(tmp_path, sparsity, kind):
    weights = lenet_weights()
    mask = make_mask(weights, sparsity, kind)
    rewind = {k: np.where(m, weights[k], 0) for k, m in mask.items()}
    Ticket(mask, rewind, rewind, 5).save(tmp_path)
    size = sum(
        (tmp_path / name).stat().st_size for name in ("mask.npz", "rewind.npz")
    )
    s = sparsity
    entropy = -s * np.log2(s) - (1 - s) * np.log2(1 - s)
    bound = mask.size * entropy / 8 + 4 * mask.kept
    assert size <= 0.95 * bound, size / bound


@pytest.mark.parametrize("sparsity", [0, 0.2, 0.5, 0.8, 0.9, 0.99])
def test_a_mask_takes_about_a_bit_per_weight_at_most(sparsity):
    mask = make_mask(lenet_weights(), sparsity, "random")
    size = len(archive.npz_bytes(archive.pack_mask(mask)))
    assert size <= mask.size / 8 + 1000


def test_npz_bytes_have_no_date_and_no_pickle():
    data = archive.npz_bytes({"a": np.arange(3)})
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        assert [e.date_time for e in file.infolist()] == [
            (1980, 1, 1, 0, 0, 0)
        ]
    with pytest.raises(ValueError, match="[Oo]bject"):
        archive.npz_bytes({"a": np.array([{}])})


def forge(folder, change=lambda meta: None, **arrays):
    """A ticket with other content whose checksums hold."""
    weights = {k: w[:8] for k, w in lenet_weights().items()}
    mask = make_mask(weights, 0.95, "random")
    kept = {k: np.where(m, weights[k], 0) for k, m in mask.items()}
    Ticket(mask, kept, kept, 1, architecture="{}").save(folder)
    path = folder / "ticket.json"
    meta = json.loads(path.read_text("utf-8"))
    for name, data in arrays.items():
        (folder / f"{name}.npz").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        meta["sha256"][f"{name}.npz"] = digest
    del meta["sha256"]["ticket.json"]
    change(meta)
    meta["sha256"]["ticket.json"] = json_digest(meta)
    path.write_text(json.dumps(meta), "utf-8")


def put(*keys_and_value):
    *keys, last, value = keys_and_value

    def change(meta):
        for key in keys:
            meta = meta[key]
        meta[last] = value

    return change


HOSTILE = {
    "level is text": put("level", "1"),
    "level is negative": put("level", -1),
    "level is a boolean": put("level", True),
    "kernels is a dict": put("kernels", {}),
    "kernels is empty": put("kernels", []),
    "a kernel is null": put("kernels", 0, None),
    "no path": put("kernels", 0, {"shape": [8, 300], "kept": 1}),
    "path is a list": put("kernels", 0, "path", ["a"]),
    "another path": put("kernels", 0, "path", "../../etc/passwd"),
    "shape is text": put("kernels", 0, "shape", "8"),
    "shape is huge": put("kernels", 0, "shape", [2**40, 2**40]),
    "shape is large": put("kernels", 0, "shape", [2**20, 2**20]),
    "shape is negative": put("kernels", 0, "shape", [-8, -300]),
    "shape is a fraction": put("kernels", 0, "shape", [8.0, 300]),
    "kept is too large": put("kernels", 0, "kept", 10**15),
    "kept is text": put("kernels", 0, "kept", "9"),
    "unknown type": put("kernels", 0, "dtype", "float31"),
    "object type": put("kernels", 0, "dtype", "O"),
    "type is a number": put("kernels", 0, "dtype", 4),
    "wider type": put("kernels", 0, "dtype", "complex128"),
    "state is missing": lambda meta: meta.pop("state"),
    "state is text": put("state", "abc"),
    "state has numbers": put("state", 0, 7),
    "state is too long": lambda meta: meta["state"].append("x"),
    "state is too short": lambda meta: meta["state"].clear(),
    "config is a list": put("config", []),
    "metrics is null": put("metrics", None),
    "architecture is a number": put("architecture", 5),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_one_value_error(tmp_path, change):
    forge(tmp_path, change)
    with pytest.raises(ValueError) as caught:
        Ticket.load(tmp_path)
    text = str(caught.value)
    assert text.startswith("`path` must be the folder of a ")
    assert "Received: path=" in text and "\n" not in text and len(text) < 700


def test_a_forged_ticket_is_read_where_nothing_is_changed(tmp_path):
    forge(tmp_path)
    assert Ticket.load(tmp_path).verify() == []


@pytest.mark.parametrize("text", ["", "[]", "null", "7", '"x"', "{}", "{",
                                  '{"sha256": []}', '{"sha256": "x"}',
                                  '{"sha256": {}}', "[" * 100_000, "\udcff"])
def test_json_of_any_content_is_refused(tmp_path, text):
    forge(tmp_path)
    path = tmp_path / "ticket.json"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match="ticket.json truncated or altered"):
        Ticket.load(tmp_path)


def pickled():
    file = io.BytesIO()
    np.savez(file, kernels=np.array([{"a": 1}], dtype=object))
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04 not a zip",
        pickled(),
        archive.npz_bytes({}),
        archive.npz_bytes({"kernels": np.zeros((4, 3), np.uint8)}),
        archive.npz_bytes({"kernels": np.zeros(7)}),
        archive.npz_bytes({"positions": np.zeros(2, np.uint8)}),
        archive.npz_bytes({"positions": np.zeros(400)}),
    ],
)
@pytest.mark.parametrize("name", ["mask", "rewind", "trained"])
def test_arrays_of_any_content_are_refused(tmp_path, name, data):
    forge(tmp_path, **{name: data})
    with pytest.raises(ValueError, match="do not fit together") as caught:
        Ticket.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_mask_with_positions_beyond_its_kernels_is_refused():
    shapes = {"a": (100,)}
    code = archive.pack_mask(Mask({"a": np.arange(100) >= 98}))
    wrong = {"positions": code["positions"] | 1}
    with pytest.raises((ValueError, IndexError)):
        archive.unpack_mask(wrong, {"a": (99,)}, 2)
    assert archive.unpack_mask(code, shapes, 2)["a"].sum() == 2


@pytest.mark.parametrize(
    ("name", "size", "shape", "kept", "message"),
    [
        ("bits", 2, (17,), 5, "2 bytes for a mask of 17 weights"),
        ("bits", 2, (8,), 5, "2 bytes for a mask of 8 weights"),
        ("bits", 2, (2**30, 2**30), 2**58, "2 bytes for a mask of"),
        ("positions", 2, (2**30, 2**30), 1, "2 bytes for a mask of"),
        ("bits", 2, (16,), 5, "does not keep 5 weights"),
    ],
)
def test_counts_that_do_not_agree_are_refused(
    name, size, shape, kept, message
):
    code = np.full(size, 0b00010001, np.uint8)
    with pytest.raises(ValueError, match=message):
        archive.unpack_mask({name: code}, {"a": shape}, kept)

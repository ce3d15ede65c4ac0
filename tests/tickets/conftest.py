"""Mutations of a ticket's files, for the fuzzers."""

import copy
import hashlib
import io
import json
import struct
import time
import tracemalloc
import types
import zipfile
import zlib

import pytest

from tf_lottery.tickets.verify import json_digest

JSON = "ticket.json"
ODD = [
    None, True, -1, 0, 1, 2, 99, 2**31, 2**62, 2**63, 2**64, 10**300, 1e308,
    0.5, float("nan"), float("inf"), "", "a", "../../x", "float64", "O",
    "\ud800", "\x1b[2J\n\u2028", "x" * 5000, [], [[]], {}, {"a": {}},
    [2**40, 2**40], [2**17, 2**17], [0, 10**30], [1] * 70,
]
DESCRIPTORS = [b"|b1", b"|u1", b"<f4", b">f8", b"<f2", b"<c8", b"|O", b"<U9",
               b"|S1000000000", b"<M8[s]", b"|V8", b"<f16", b"[('a', '<f4')]"]


# Mutations of bytes: rng, bytes -> bytes.
def flip(rng, data):
    data = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        if data:
            data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(data)


def truncate(rng, data):
    return data[: rng.integers(len(data) + 1)]


def cut(rng, data):
    """Three parts of random length."""
    a, b = sorted(rng.integers(len(data) + 1, size=2))
    return data[:a], data[a:b], data[b:]


def overwrite(rng, data):
    a, b, c = cut(rng, data)
    b = b[:64]
    filler = [b"\0" * len(b), b"\xff" * len(b), rng.bytes(len(b))]
    return a + filler[rng.integers(3)] + c


def duplicate(rng, data):
    a, b, c = cut(rng, data)
    return a + b + b + c


def remove(rng, data):
    a, _, c = cut(rng, data)
    return a + c


def empty(rng, data):
    return b""


RAW = [flip, truncate, overwrite, duplicate, remove, empty]


def some(rng, items):
    return items[rng.integers(len(items))]


# Mutations that checksums do not catch.
def zipped(entries, rng=None):
    """A zip of (name, bytes) pairs; with `rng`, entries of odd kinds."""
    out, central = io.BytesIO(), b""
    for name, data in entries:
        name = name.encode("utf-8", "surrogatepass")
        method, flags, size, crc = 8, 0, len(data), zlib.crc32(data)
        if rng is not None:
            method = some(rng, [0, 8, 8, 8, 9, 12, 14, 93, 99])
            flags = some(rng, [0, 0, 0, 1, 8, 0x20, 0x40, 0x800])
            size = some(rng, [size, size, 0, 1, 2**32 - 1, size + 1, 2**31])
        packed = data
        if method == 8:
            packer = zlib.compressobj(9, zlib.DEFLATED, -15)
            packed = packer.compress(data) + packer.flush()
        head = struct.pack(
            "<HHHHHIIIHH", 20, flags, method, 0, 33, crc, len(packed), size,
            len(name), 0,
        )
        central += b"PK\x01\x02\x14\0" + head + struct.pack(
            "<HHHII", 0, 0, 0, 0, out.tell()
        ) + name
        out.write(b"PK\x03\x04" + head + name + packed)
    start = out.tell()
    count = len(entries)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(central), start, 0)
    return out.getvalue() + central + b"PK\x05\x06" + end


def change_header(rng, data):
    """Another type, shape or order in an array's header, of right length."""
    length = struct.unpack("<H", data[8:10])[0]
    header, rest = data[10 : 10 + length], data[10 + length :]
    a, b = header.index(b"(") + 1, header.index(b")")
    shape = header[a:b]
    sizes = [b"", b"1,", b"0,", b"-1,", b"%d," % 2**40, b"2, 3", b"9" * 4500,
             b"%d, %d" % (2**40, 2**40), b"1.0,", b"3, " * 40, b"'a'", b"3L,",
             shape + b"1,", b"(" * 300, b"0, 9223372036854775808"]
    kind = rng.integers(5)
    if kind == 0:
        header = header[:a] + some(rng, sizes) + header[b:]
    elif kind == 1:
        start = header.index(b":") + 3
        end = header.index(b"'", start)
        header = header[:start] + some(rng, DESCRIPTORS) + header[end:]
    elif kind == 2:
        header = header.replace(b"False", some(rng, [b"True", b"None", b"1"]))
    elif kind == 3:
        header = some(rng, RAW)(rng, header)
    else:
        rest = some(rng, RAW)(rng, rest)
    start = some(rng, [data[:8]] * 8 + [b"\x93NUMPY\2\0", b"\x93NUMPX\1\0"])
    return start + struct.pack("<H", len(header) % 2**16) + header + rest


def change_npz(rng, data):
    """Another archive whose CRCs hold."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        entries = [(name, file.read(name)) for name in file.namelist()]
    i = rng.integers(len(entries))
    name, content = entries[i]
    kind = rng.integers(9)
    if kind <= 2:
        entries[i] = name, change_header(rng, content)
    elif kind == 3:
        entries[i] = some(rng, ["", "x", "../../x.npy", "a\n\x1b.npy", "/.npy",
                                "arr_0.npy", "arr_9.npy", "high.npy",
                                "bits.npy", "state_1.npy"]), content
    elif kind == 4:
        entries.insert(rng.integers(len(entries) + 1), some(rng, entries))
    elif kind == 5:
        del entries[i]
    elif kind == 6:
        entries = [entries[k] for k in rng.permutation(len(entries))]
    elif kind == 7:
        entries[i] = name, some(rng, entries)[1]
    else:
        entries[i] = name, some(rng, RAW)(rng, content)
    return zipped(entries, rng if rng.random() < 0.2 else None)


def change_json(rng, value):
    """Another value somewhere in a JSON tree, in place."""
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        if not len(keys):
            return
        key = some(rng, list(keys))
        inner = value[key]
        if isinstance(inner, (dict, list)) and inner and rng.random() < 0.8:
            value = inner
            continue
        kind = rng.integers(5)
        if kind == 0:
            del value[key]
        elif kind == 1 and isinstance(inner, int):
            value[key] = inner + int(rng.integers(-2, 3))
        elif kind == 2:
            other = value[some(rng, list(keys))]
            value[key] = json.loads(json.dumps(other))
        elif kind == 3 and isinstance(value, list):
            value.append(copy.deepcopy(inner))
        else:
            value[key] = copy.deepcopy(some(rng, ODD))
        return


def forge(rng, files):
    """A change to one file of a ticket whose checksums hold again."""
    files = dict(files)
    meta = json.loads(files[JSON])
    digests = meta.pop("sha256")
    name = some(rng, list(files))
    if name == JSON or rng.random() < 0.3:
        for _ in range(rng.integers(1, 4)):
            change_json(rng, meta)
    if name != JSON:
        change = change_npz if rng.random() < 0.7 else some(rng, RAW)
        files[name] = change(rng, files[name])
        digests[name] = hashlib.sha256(files[name]).hexdigest()
    meta["sha256"] = {k: v for k, v in digests.items() if k != JSON}
    meta["sha256"][JSON] = json_digest(meta)
    files[JSON] = json.dumps(meta).encode()
    return files


@pytest.fixture(scope="session")
def fuzz():
    """The mutations, each a function of a generator and what is mutated."""
    return types.SimpleNamespace(
        raw=RAW,
        some=some,
        forge=forge,
        change_npz=change_npz,
        change_json=change_json,
    )


@pytest.fixture(scope="session")
def refused():
    """Calls what must raise ValueError, at little cost; returns its line."""

    def call(load, most=2**26, seconds=5):
        began = time.monotonic()
        tracemalloc.start()
        try:
            with pytest.raises(ValueError) as caught:
                load()
            assert tracemalloc.get_traced_memory()[1] < most
        finally:
            tracemalloc.stop()
        assert time.monotonic() - began < seconds
        text = str(caught.value)
        assert len(text.splitlines()) == 1 and len(text) < 1500
        assert "Received: " in text
        return text

    return call

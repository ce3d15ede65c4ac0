"""The ticket: what is saved comes back, and builds the same network."""

import json

import keras
import numpy as np
import pytest

from tf_lottery import Mask, Ticket, mask_model, set_mask
from tf_lottery.layers import get_mask, get_state, set_state
from tf_lottery.tickets import verify_files

FILES = ("mask.npz", "rewind.npz", "ticket.json", "trained.npz")


def make_ticket(level=1, kept=0.5, seed=0, **changes):
    """Kernels of three types and state of others, under odd paths."""
    rng = np.random.default_rng(seed)
    shapes = {"a/kernel": (7, 5), "Ü b/kernel#2": (3, 3, 2, 4), "../c": (6,)}
    dtypes = dict(zip(shapes, (np.float32, np.float16, np.float64)))
    mask = Mask({k: rng.random(s) < kept for k, s in shapes.items()})

    def state():
        kernels = {
            k: np.where(
                mask[k] | (level == 0), rng.normal(size=s), 0
            ).astype(dtypes[k])
            for k, s in shapes.items()
        }
        return {
            "norm/gamma": rng.normal(size=4).astype(np.float32),
            **kernels,
            "norm/moving_mean": np.full(4, np.nan, np.float32),
            "seed": np.array([1, 2**32 - 1], np.uint32),
            "scalar": np.array(-0.0),
            "empty": np.zeros((0, 3), np.float16),
            "flag": np.array([True, False]),
        }

    rewind, trained = state(), state()
    for path, keep in mask.items():
        trained[path][~keep] = 0
    fields = {
        "config": {"seed": 3, "exclude": []},
        "metrics": {"test_accuracy": 0.1 + 0.2, "loss": float("nan")},
        "architecture": "{}",
        **changes,
    }
    return Ticket(mask, rewind, trained, level, **fields)


def same_bits(one, other):
    one, other = np.asarray(one), np.asarray(other)
    return (one.dtype, one.shape, one.tobytes()) == (
        other.dtype, other.shape, other.tobytes(),
    )


@pytest.mark.parametrize("kept", [1.0, 0.5, 0.05])
@pytest.mark.parametrize("level", [0, 1])
def test_save_and_load_are_bit_equal(tmp_path, level, kept):
    ticket = make_ticket(level, kept)
    ticket.save(tmp_path / "new" / "ticket")
    loaded = Ticket.load(tmp_path / "new" / "ticket")
    assert list(loaded.mask) == list(ticket.mask)
    assert loaded.mask == ticket.mask
    for name in ("rewind", "trained"):
        before, after = getattr(ticket, name), getattr(loaded, name)
        assert list(after) == list(before)
        for path in before:
            assert same_bits(before[path], after[path]), (name, path)
    assert loaded.level == level
    assert dict(loaded.config) == dict(ticket.config)
    assert json.dumps(loaded.metrics) == json.dumps(ticket.metrics)
    assert loaded.architecture == ticket.architecture
    assert loaded.verify() == []
    assert loaded.digest() == ticket.digest() and loaded == ticket


def test_a_mask_that_keeps_nothing_or_one(tmp_path):
    for kept in (0, 1):
        keep = np.zeros((40, 10), bool)
        keep.flat[377] = kept
        weights = {"k": np.where(keep, 2.5, 0).astype(np.float32)}
        Ticket(Mask({"k": keep}), weights, weights, 3).save(tmp_path)
        loaded = Ticket.load(tmp_path)
        assert np.array_equal(loaded.mask["k"], keep)
        assert same_bits(loaded.trained["k"], weights["k"])


def test_files_are_those_of_the_format(tmp_path):
    make_ticket().save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == list(FILES)
    for path in tmp_path.glob("*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                assert arrays[name].dtype != object
    meta = json.loads((tmp_path / "ticket.json").read_text("utf-8"))
    assert meta["versions"].keys() >= {"tf_lottery", "keras", "numpy"}
    assert meta["sha256"].keys() == set(FILES)
    assert meta["config"]["seed"] == 3


def test_two_saves_give_equal_bytes(tmp_path):
    for name in "ab":
        make_ticket().save(tmp_path / name)
    for name in FILES:
        one, two = ((tmp_path / k / name).read_bytes() for k in "ab")
        assert one == two, name


def test_the_order_of_the_trained_state_does_not_matter(tmp_path):
    ticket = make_ticket()
    backwards = dict(reversed(list(ticket.trained.items())))
    moved = Ticket(
        ticket.mask, ticket.rewind, backwards, architecture="{}", level=1
    )
    moved.save(tmp_path)
    loaded = Ticket.load(tmp_path)
    for path, value in ticket.trained.items():
        assert same_bits(loaded.trained[path], value), path


def test_level_0_stores_every_rewind_weight_and_later_ones_the_kept():
    for level, full in ((0, True), (1, False)):
        model = masked_network()
        mask = Mask({k: drop_first(v) for k, v in get_mask(model).items()})
        theta = get_state(model)
        set_mask(model, mask)
        ticket = Ticket.of(model, rewind=theta, level=level)
        for path, keep in mask.items():
            pruned = ticket.rewind[path][~keep]
            assert pruned.size and np.all(pruned != 0) == full
            assert same_bits(ticket.rewind[path][keep], theta[path][keep])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.trained.update({"a/kernel": np.full((7, 5), 1e-30)}),
            r"^`trained` must be 0 where the mask prunes\. Received: .*"
            r"a/kernel\.",
        ),
        (
            lambda t: t.trained.update({"a/kernel": np.full((7, 5), np.nan)}),
            r"^`trained` must be 0",
        ),
        (
            lambda t: t.rewind.pop("a/kernel"),
            r"^`trained` must have the paths of `rewind`\. Received: a/kernel",
        ),
        (
            lambda t: t.trained.pop("norm/gamma"),
            r"paths of `rewind`\. Received: norm/gamma",
        ),
        (
            lambda t: t.rewind.update({"a/kernel": np.zeros((5, 7))}),
            r"^`rewind` must have one entry .* a/kernel",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(change, message):
    ticket = make_ticket()
    change(ticket)
    with pytest.raises(ValueError, match=message):
        Ticket(ticket.mask, ticket.rewind, ticket.trained, 1)


def test_what_digest_and_equality_are_of():
    ticket = make_ticket()
    digest = ticket.digest()
    other = make_ticket()
    other.metrics["loss"] = 1.0
    assert [make_ticket(kept=0.4), ticket].index(other) == 1
    other.trained["norm/gamma"] = other.trained["norm/gamma"] + 1
    assert other.digest() == digest and other != ticket
    other.rewind["norm/gamma"] = other.rewind["norm/gamma"] + 1
    assert other.digest() != digest
    assert make_ticket(kept=0.4).digest() != digest


def test_the_arrays_cannot_be_written():
    ticket = make_ticket()
    for weights in (ticket.rewind, ticket.trained):
        with pytest.raises(ValueError, match="read-only"):
            weights["norm/gamma"][0] = 1


def test_verify_wants_a_loaded_ticket():
    with pytest.raises(
        RuntimeError, match=r"`verify` must be called .* Received: .*memory"
    ):
        make_ticket().verify()


def drop_first(keep):
    keep = keep.copy()
    keep.flat[::3] = False
    return keep


def masked_network(exclude=()):
    keras.utils.set_random_seed(1)
    x = inputs = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(3, 3, name="conv")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dropout(0.5, seed=1, name="drop")(x)
    model = keras.Model(inputs, keras.layers.Dense(4, name="out")(x))
    rng = np.random.default_rng(0)
    state = {
        k: rng.normal(size=v.shape).astype(v.dtype) ** 2
        if v.dtype.kind == "f" else v
        for k, v in get_state(model).items()
    }
    set_state(model, state)
    return mask_model(model, exclude=exclude)


@pytest.mark.parametrize("named", [True, False], ids=["config", "no config"])
@pytest.mark.parametrize("exclude", [(), ("out/*",)], ids=["all", "exclude"])
@pytest.mark.parametrize("saved", [True, False], ids=["saved", "memory"])
def test_build_model_gives_the_network_back(tmp_path, saved, exclude, named):
    model = masked_network(exclude)
    theta = get_state(model)
    mask = Mask({k: drop_first(v) for k, v in get_mask(model).items()})
    assert ("out/kernel" in mask) == (not exclude)
    x = np.random.default_rng(2).normal(size=(5, 6, 6, 1)).astype("f")
    outputs = {}
    set_mask(model, mask)
    outputs["rewind"] = model(x)
    half = {k: (v / 2).astype(v.dtype) for k, v in theta.items()}
    set_state(model, half)
    outputs["trained"] = model(x)
    ticket = Ticket.of(
        model,
        rewind=theta,
        level=2,
        config={"exclude": list(exclude)} if named else None,
    )
    if saved:
        ticket.save(tmp_path)
        ticket = Ticket.load(tmp_path)
    for weights in ("rewind", "trained"):
        masked = ticket.build_model(weights=weights)
        stock = ticket.build_model(masked=False, weights=weights)
        assert get_mask(masked) == mask
        assert {type(layer).__module__.split(".")[0] for layer in
                stock.layers} == {"keras"}
        for built in (masked, stock):
            np.testing.assert_array_equal(built(x), outputs[weights])
        # By order: a seed generator's name is numbered per process.
        state = getattr(ticket, weights)
        for (path, new), old in zip(
            get_state(stock).items(), state.values(), strict=True
        ):
            assert same_bits(new, old), path
    assert np.abs(outputs["rewind"] - outputs["trained"]).max() > 0.1


def test_a_built_ticket_can_be_trained_and_stays_masked():
    model = masked_network()
    mask = Mask({k: drop_first(v) for k, v in get_mask(model).items()})
    set_mask(model, mask)
    built = Ticket.of(model, rewind=get_state(model), level=1).build_model()
    built.compile("adam", "mse", jit_compile=False)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 6, 6, 1)), rng.normal(size=(8, 4))
    before = get_state(built)
    built.fit(x, y, epochs=2, verbose=0)
    after = get_state(built)
    for path, keep in mask.items():
        assert not after[path][~keep].any()
        assert (after[path] != before[path])[keep].any()


def test_build_model_refuses():
    ticket = make_ticket()
    with pytest.raises(
        ValueError, match=r"`weights` must be .* Received: weights='x'"
    ):
        ticket.build_model(weights="x")
    with pytest.raises(ValueError, match=r"`architecture` must be stored"):
        make_ticket(architecture=None).build_model()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("how", ["missing", "truncated", "altered", "folder"])
def test_damage_is_named_and_refused(tmp_path, name, how):
    make_ticket().save(tmp_path)
    loaded = Ticket.load(tmp_path)
    path = tmp_path / name
    data = path.read_bytes()
    path.unlink()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "altered":
        middle = data.index(b"0.3") if b"json" in name.encode() else 60
        path.write_bytes(
            data[:middle] + b"\x31" + data[middle + 1 :]
        )
    elif how == "folder":
        path.mkdir()
    problems = loaded.verify()
    assert problems == verify_files(tmp_path)
    assert len(problems) == 1
    words = {"folder": "unreadable"}.get(how, how)
    assert problems[0].startswith(f"{name} ") and words in problems[0]
    with pytest.raises(ValueError) as caught:
        Ticket.load(tmp_path)
    text = str(caught.value)
    assert problems[0] in text and "\n" not in text
    assert text.startswith("`path` must be the folder of a whole ticket. ")
    assert f"Received: path='{tmp_path}'" in text


def test_every_damaged_file_is_named(tmp_path):
    make_ticket().save(tmp_path)
    (tmp_path / "mask.npz").unlink()
    (tmp_path / "rewind.npz").write_bytes(b"")
    assert verify_files(tmp_path) == [
        "mask.npz missing", "rewind.npz truncated or altered",
    ]
    assert verify_files(tmp_path / "nowhere") == ["ticket.json missing"]


def test_a_later_format_is_refused(tmp_path, monkeypatch):
    from tf_lottery.tickets import ticket

    monkeypatch.setattr(ticket, "FORMAT", 99)
    make_ticket().save(tmp_path)
    with pytest.raises(ValueError, match="ticket.json of format 99"):
        Ticket.load(tmp_path)


def test_metrics_of_any_number_type_are_saved(tmp_path):
    model = masked_network()
    ticket = Ticket.of(
        model,
        rewind=get_state(model),
        metrics={
            "loss": np.float32(0.5),
            "by_class": np.array([1, 2]),
            "inner": {"steps": np.int64(3), "text": "x", "none": None},
            "tensor": keras.ops.convert_to_tensor(2.0),
        },
    )
    ticket.save(tmp_path)
    assert Ticket.load(tmp_path).metrics == {
        "loss": 0.5,
        "by_class": [1, 2],
        "inner": {"steps": 3, "text": "x", "none": None},
        "tensor": 2.0,
    }
    with pytest.raises(TypeError, match=r"^`metrics` must hold .* type object"):
        Ticket.of(model, rewind=get_state(model), metrics={"a": object()})


@pytest.mark.parametrize("units", [{2: 8, 10: 16}, {2: 8, "x": 16}])
def test_keys_that_are_no_texts_are_saved_as_texts(tmp_path, units):
    model = masked_network()
    config = {"units": units}
    ticket = Ticket.of(model, rewind=get_state(model), config=config)
    make_ticket(config=config).save(tmp_path / "direct")
    ticket.save(tmp_path / "of")
    texts = {"units": {str(k): v for k, v in units.items()}}
    for name in ("direct", "of"):
        assert Ticket.load(tmp_path / name).config == texts
    assert ticket.config == texts
    with pytest.raises(TypeError, match=r"^`config` must hold .* type object"):
        Ticket.of(model, rewind=get_state(model), config={"a": object()})


def test_raw_weights_left_by_an_optimizer_that_mixes_them_are_dropped():
    model = masked_network()
    mask = {k: drop_first(v) for k, v in get_mask(model).items()}
    set_mask(model, mask)
    for layer in model.layers:
        if hasattr(layer, "raw_kernel"):
            raw = layer.raw_kernel()
            raw.assign(np.ones(raw.shape))
    ticket = Ticket.of(model, rewind=get_state(model), level=1)
    for path, keep in mask.items():
        np.testing.assert_array_equal(ticket.trained[path], keep)


def test_a_model_that_holds_another_mask_is_given_the_ticket_whole():
    x = keras.Input((2,))
    model = mask_model(keras.Model(x, keras.layers.Dense(2, name="out")(x)))
    state = get_state(model)
    ticket = Ticket.of(model, rewind=state)
    set_mask(model, {"out/kernel": np.zeros((2, 2), bool)})
    ticket.apply_to(model)
    found = get_state(model)
    assert np.array_equal(found["out/kernel"], state["out/kernel"])

"""Exports of tickets and models: what is written is what was verified."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.export import compact
from tf_lottery.export import export
from tf_lottery.export import files as files_module
from tf_lottery.export import report as report_module
from tf_lottery.export.runtime import Runner
from tf_lottery.export.sparse import inspect
from tf_lottery.export.verify import Agreement

X = np.random.default_rng(0).normal(size=(50, 20)).astype("float32")


def network():
    x = keras.Input((20,), name="x")
    y = keras.layers.Dense(64, activation="relu", name="a")(x)
    y = keras.layers.Dense(64, activation="relu", name="b")(y)
    model = keras.Model(x, keras.layers.Dense(5, name="c")(y))
    # Its own: a tie between two outputs may go either way in int8.
    rng = np.random.default_rng(1)
    for v in model.weights:
        v.assign(rng.normal(size=v.shape))
    return model


@pytest.fixture(scope="module")
def pruned():
    model = network()
    tfl.prune(model, 0.9, scope="uniform")
    # A unit without inputs, which compaction folds.
    mask = {k: np.array(v) for k, v in tfl.get_mask(model).items()}
    mask["a/kernel"][:, 3] = False
    tfl.set_mask(model, tfl.Mask(mask))
    return model


@pytest.fixture(scope="module")
def done(pruned, tmp_path_factory):
    folder = tmp_path_factory.mktemp("done")
    return folder, export(pruned, folder, samples=X, rounds=1)


def test_all_files_compute_the_model(pruned, done):
    folder, report = done
    expected = pruned(X).numpy()
    reloaded = keras.models.load_model(folder / "model.keras", compile=False)
    served = tf.saved_model.load(str(folder / "saved_model"))
    for outputs in (
        reloaded(X).numpy(),
        served.serve(X).numpy(),
        Runner((folder / "model.tflite").read_bytes())(X),
    ):
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    assert not any(isinstance(layer, tfl.MaskedKernel)
                   for layer in reloaded.layers)
    assert sorted(os.listdir(folder)) == [
        "model.keras", "model.tflite", "report.json", "report.png",
        "saved_model",
    ]
    # Readable by others, as folders are that mkdir makes.
    assert (folder / "saved_model").stat().st_mode & 0o755 == 0o755


def test_the_report_counts_what_was_written(pruned, done):
    folder, report = done
    by_name = {entry["format"]: entry for entry in report.entries}
    assert list(by_name) == ["keras", "saved_model", "dense tflite", "tflite"]
    lite = by_name["tflite"]
    assert lite["raw"] == (folder / "model.tflite").stat().st_size
    assert lite["size_ratio"] == by_name["dense tflite"]["raw"] / lite["raw"]
    assert lite["size_ratio"] > 2 and lite["gzip"] <= lite["raw"] + 30
    assert lite["error"] <= 1e-5 and lite["argmax"] == 1.0
    assert lite["examples"] == 100  # The samples, and as many random inputs.
    assert lite["latency_ratio"] > 0 and lite["microseconds"] > 0
    assert report.density == pytest.approx(tfl.get_mask(pruned).density)
    before, after = report.removed["a"]
    assert before == 64 and after <= 63
    # 2 FLOPs for each of 20 * 64 + 64 * 64 + 64 * 5 entries.
    assert report.flops["dense"] == 2 * (1280 + 4096 + 320)
    stripped = compact(tfl.strip_masks(pruned)).model
    left = sum(np.count_nonzero(v) for v in stripped.weights if v.ndim > 1)
    assert report.flops["effective"] == 2 * left
    assert report.effective_density == pytest.approx(left / 5696)
    stored = json.loads((folder / "report.json").read_text("utf-8"))
    assert stored["entries"][-1]["raw"] == lite["raw"]
    text = str(report)
    assert f"{lite['raw']:,}" in text and "Compacted: " in text
    assert report.recommendation() in text


def test_nothing_is_compacted_on_demand(pruned, tmp_path):
    report = export(
        pruned, tmp_path, ["keras"], samples=X, compact=False, rounds=0
    )
    assert report.removed == {}
    assert report.parameters[0] == report.parameters[1]
    assert keras.models.load_model(
        tmp_path / "model.keras", compile=False
    ).get_layer("a").units == 64


@pytest.mark.parametrize("dead, used", [(4, False), (40, True)])
def test_tflite_is_compacted_where_that_pays(tmp_path, dead, used):
    model = network()
    kernel = np.array(model.get_layer("a").kernel)
    kernel[:, :dead] = 0
    model.get_layer("a").kernel.assign(kernel)
    report = export(model, tmp_path, ["tflite"], samples=X, rounds=0)
    data = (tmp_path / "model.tflite").read_bytes()
    shapes = [weight.shape for weight in inspect(data)]
    assert ((64 - dead if used else 64), 20) in shapes
    assert any("not compacted" in note for note in report.notes) != used
    # Of what was written, not of what might have been.
    assert report.removed == ({"a": (64, 64 - dead)} if used else {})
    before, after = report.parameters
    assert (after < before) == used == ("Compacted: " in str(report))
    report = export(model, tmp_path, ["keras", "tflite"], samples=X, rounds=0)
    assert report.removed == {"a": (64, 64 - dead)}
    assert [entry["compacted"] for entry in report.entries] == [
        True, False, used,
    ]


@pytest.mark.parametrize("form, error", [("float16", 1e-3), ("int8", 0.1)])
def test_other_forms(pruned, tmp_path, form, error):
    report = export(
        pruned, tmp_path, ["tflite"], form=form, samples=X, rounds=0
    )
    outputs = Runner((tmp_path / "model.tflite").read_bytes())(X)
    expected = pruned(X).numpy()
    scale = max(1, np.abs(expected).max())
    assert np.abs(outputs - expected).max() <= error * scale
    assert report.entries[-1]["size_ratio"] > 2
    assert "microseconds" not in report.entries[-1]


@pytest.mark.parametrize("batch", [None, 4])
def test_other_batches_are_timed_beside_one_example(pruned, tmp_path, batch):
    lines = []
    report = export(
        pruned, tmp_path, ["tflite"], samples=X, rounds=1, batch=batch,
        notice=lines.append,
    )
    for entry in report.entries:
        assert entry["microseconds"] > 0 < entry["microseconds_batch_1"]
        assert entry["latency_ratio"] > 0 < entry["latency_ratio_batch_1"]
    heads = [x for x in str(report).splitlines() if x.startswith("file")]
    assert [" ".join(head.split()) for head in heads] == [
        "file bytes gzip zstd smaller faster at batch 1 error argmax"
        if report.entries[0]["zstd"]
        else "file bytes gzip smaller faster at batch 1 error argmax"
    ]
    assert f"batch {batch or 'any (64 timed)'}, one thread" in str(report)
    assert lines == [
        "Removing what pruning cut off", "Writing and verifying tflite",
    ]


def test_the_figure_shows_bytes_and_time_side_by_side(done):
    folder, report = done
    figure = report_module._figure(report.entries[-2:])
    size, time = figure.axes
    for axes, name, unit in ((size, "raw", 1000), (time, "microseconds", 1)):
        assert [bar.get_width() for bar in axes.patches] == [
            entry[name] / unit for entry in report.entries[-2:]
        ]
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names == ["dense", "ticket"]
    assert (folder / "report.png").read_bytes()[:4] == b"\x89PNG"
    untimed = [{"raw": 5, "path": None}, {"raw": 3, "path": "x"}]
    assert len(report_module._figure(untimed).axes) == 1


@pytest.mark.parametrize("entry, form, text", [
    ({"size_ratio": 3.9}, "float32", "3.9 times smaller than the dense TFLite "
     "file: ship it, compressed where it is sent."),
    ({"size_ratio": 3.9, "latency_ratio": 1.03}, "int8",
     "file and as fast: ship it, compressed where it is sent."),
    ({"size_ratio": 3.9, "latency_ratio": 0.3}, "float32", "and 0.30 times as "
     "fast: ship it only where bytes count for more than time."),
    ({"size_ratio": 1.0, "latency_ratio": 2.0}, "float32", "and 2.00 times as "
     "fast: pruning does not pay here. Ship int8, or prune more."),
    ({"size_ratio": 1.0}, "float16",
     "float16 does not pay here. Ship int8, or prune more."),
    ({"size_ratio": 1.0}, "int8",
     "int8 does not pay here. Ship float32, which is exact."),
    ({"size_ratio": 1.0}, "full_int8",
     "full_int8 does not pay here. Ship float32, which is exact."),
])
def test_what_is_recommended(entry, form, text):
    report = report_module.ExportReport(
        form, 1, None, 1.0, None, (1, 1), {}, "", [],
        [{"format": "tflite", **entry}],
    )
    assert report.recommendation().endswith(text)


def test_named_samples_of_listed_inputs(tmp_path):
    inputs = [keras.Input((3,), name=name) for name in ("zed", "alpha")]
    model = keras.Model(inputs, keras.layers.Subtract()(inputs))
    zed, alpha = X[:, :3], 3 * X[:, 3:6]
    samples = {"alpha": alpha, "zed": zed, "unused": X}
    for form in ("float32", "full_int8"):
        report = export(
            model, tmp_path, form=form, samples=samples, rounds=1
        )
        same = export(
            model, tmp_path, form=form, samples=[zed, alpha], rounds=0
        )
        for one, two in zip(report.entries, same.entries):
            assert one["error"] == two["error"]
    with pytest.raises(ValueError, match="`samples` must .* zed, alpha. Rec"):
        export(model, tmp_path, samples={"alpha": alpha, "b": zed})


def test_without_samples_the_report_says_so(tmp_path):
    report = export(network(), tmp_path, ["tflite"], rounds=0)
    assert "compared on random inputs alone" in str(report)
    assert report.density is None


def test_a_model_without_zeros_is_told_that_it_does_not_pay(tmp_path):
    report = export(network(), tmp_path, ["tflite"], samples=X, rounds=0)
    assert "pruning does not pay here" in report.recommendation()


def test_the_package_is_called_as_its_function(tmp_path):
    assert tfl.export(network(), tmp_path, ["keras"], samples=X).entries
    assert tfl.export.export is export


class Unregistered(keras.layers.Layer):
    def call(self, x):
        return 2 * x


def test_what_keras_cannot_load_is_one_line(tmp_path):
    x = keras.Input((20,))
    model = keras.Model(x, Unregistered()(x), name="own")
    with pytest.raises(ValueError) as caught:
        export(model, tmp_path, samples=X)
    text = str(caught.value)
    assert text.startswith("`model` must be one that Keras can save and load.")
    assert "keras.saving.register_keras_serializable" in text
    assert "leave keras out of formats" in text and "\n" not in text
    assert os.listdir(tmp_path) == []
    formats = ["saved_model", "tflite"]
    assert export(model, tmp_path, formats, samples=X, rounds=0).entries


def test_no_report_tells_of_files_that_it_is_not_of(
    pruned, tmp_path, monkeypatch
):
    export(pruned, tmp_path, ["tflite"], samples=X, rounds=0)
    before = (tmp_path / "model.tflite").read_bytes()
    report = export(network(), tmp_path, ["keras"], samples=X)
    # It is the user's to delete.
    assert (tmp_path / "model.tflite").read_bytes() == before
    assert "model.tflite: left from an earlier export" in report.notes
    assert sorted(os.listdir(tmp_path)) == [
        "model.keras", "model.tflite", "report.json",
    ]

    def fail(*_, **__):
        raise ValueError("no TFLite")

    monkeypatch.setattr("tf_lottery.export.files.convert", fail)
    with pytest.raises(ValueError, match="no TFLite"):
        export(pruned, tmp_path, ["tflite"], samples=X)
    assert (tmp_path / "report.json").exists()
    with pytest.raises(ValueError, match="no TFLite"):
        export(pruned, tmp_path, ["keras", "tflite"], samples=X)
    assert sorted(os.listdir(tmp_path)) == ["model.keras", "model.tflite"]


def test_files_are_run_where_the_model_is():
    """On a GPU, products of float32 would be rounded to TF32."""
    seen = []

    def call(x):
        seen.extend([x.device, (x + x).device])
        return x

    with tf.device("CPU:1"):
        run = files_module._flat(call, network())
        run([X])
    assert [name[-5:] for name in seen] == ["CPU:0", "CPU:0"]


def test_a_file_that_does_not_agree_is_not_written(
    pruned, tmp_path, monkeypatch
):
    (tmp_path / "model.tflite").write_bytes(b"before")
    monkeypatch.setattr(
        "tf_lottery.export.files.check_agreement",
        lambda *_: Agreement(0.5, 1.0, True, 1),
    )
    for name in ("keras", "saved_model", "tflite"):
        with pytest.raises(RuntimeError, match="It was not written"):
            export(pruned, tmp_path, [name], samples=X, compact=False)
    assert os.listdir(tmp_path) == ["model.tflite"]
    assert (tmp_path / "model.tflite").read_bytes() == b"before"


def test_a_compaction_that_is_not_exact_is_not_used(
    pruned, tmp_path, monkeypatch
):
    honest = tfl.export.compact

    def wrong(model, **how):
        result = honest(model, **how)
        result.model.layers[-1].bias.assign_add(np.full(5, 1e-3))
        return result

    monkeypatch.setattr("tf_lottery.export.files.compact_model", wrong)
    report = export(pruned, tmp_path, ["keras"], samples=X)
    assert report.removed == {}
    assert any(
        note.startswith("compaction: not used, since it gives an error of ")
        for note in report.notes
    )


def test_litert_alone_runs_the_file(done, tmp_path, python):
    pytest.importorskip(
        "ai_edge_litert", reason="the litert extra is not installed"
    )
    folder, _ = done
    np.save(tmp_path / "x.npy", X[:1])
    (tmp_path / "alone.py").write_text(
        "import sys\n"
        "import numpy as np\n"
        "from ai_edge_litert.interpreter import Interpreter\n"
        "run = Interpreter(model_path=sys.argv[1])\n"
        "run.allocate_tensors()\n"
        "run.set_tensor(run.get_input_details()[0]['index'],"
        " np.load(sys.argv[2]))\n"
        "run.invoke()\n"
        "np.save(sys.argv[3],"
        " run.get_tensor(run.get_output_details()[0]['index']))\n"
        "assert not {'tensorflow', 'keras', 'tf_lottery'} & {*sys.modules}\n"
    )
    ran = python(
        tmp_path / "alone.py", folder / "model.tflite", tmp_path / "x.npy",
        tmp_path / "y.npy", cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    served = tf.saved_model.load(str(folder / "saved_model"))
    np.testing.assert_allclose(
        np.load(tmp_path / "y.npy"), served.serve(X[:1]), atol=1e-5
    )

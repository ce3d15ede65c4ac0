"""Dense TFLite files, and the interpreter that runs them."""

import importlib.metadata
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.export import runtime
from tf_lottery.export.flatbuffer import parse
from tf_lottery.export.runtime import Runner
from tf_lottery.export.runtime import latency
from tf_lottery.export.runtime import runtime_name
from tf_lottery.export.sparse import inspect
from tf_lottery.export.tflite import FORMS
from tf_lottery.export.tflite import convert
from tf_lottery.export.verify import check_agreement

RNG = np.random.default_rng(0)


def make_model(units=40):
    keras.utils.set_random_seed(0)
    x = keras.Input((30,))
    y = keras.layers.Dense(units, activation="relu")(x)
    return keras.Model(x, keras.layers.Dense(3)(y))


X = RNG.normal(size=(20, 30)).astype("float32")


@pytest.mark.parametrize(
    "form, dtype, bound",
    [
        ("float32", "float32", 1e-6),
        ("float16", "float16", 2e-3),
        ("int8", "int8", 0.05),
        ("full_int8", "int8", 0.05),
    ],
)
def test_every_form_takes_and_gives_floats(form, dtype, bound):
    model = make_model()
    data = convert(model, form=form, samples=X)
    # Weights of fewer than 1024 numbers stay float where nothing is
    # calibrated.
    assert dtype in {weight.dtype for weight in inspect(data)}
    y = Runner(data)(X)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, model(X), atol=bound)


def test_the_forms_are_those():
    assert FORMS == ("float32", "float16", "int8", "full_int8")


def test_weights_are_in_the_file():
    """The trap: a file of a few kB that reads variables nobody wrote."""
    model = make_model(400)
    assert len(convert(model)) > 4 * 400 * 33


@pytest.mark.parametrize("batch", [1, 3, None])
def test_any_number_of_examples(batch):
    model = make_model()
    run = Runner(convert(model, batch=batch))
    assert run.batch == batch
    for count in (1, 3, 7, 2):
        np.testing.assert_allclose(
            run(X[:count]), model(X[:count]), atol=1e-6
        )


def test_what_is_not_calibrated_on_is_rounded():
    """A last, partial batch of samples counts: its range is the widest."""
    model = make_model()
    samples = X.copy()
    samples[-1] *= 20
    data = convert(model, form="full_int8", samples=samples, batch=8)
    wide = np.asarray(model(samples))
    assert np.abs(Runner(data)(samples) - wide).max() < 0.05 * wide.max()


def test_nothing_is_printed(capfd):
    capfd.readouterr()
    model = make_model()
    for form in FORMS:
        Runner(convert(model, form=form, samples=X))(X)
    captured = capfd.readouterr()
    assert captured.out == captured.err == ""
    print("heard", file=sys.stderr)
    assert capfd.readouterr().err == "heard\n"


def test_errors_come_through_the_quiet(capfd):
    capfd.readouterr()
    with pytest.raises(KeyError), runtime.quiet():
        warnings.warn("dropped")
        print("dropped")
        raise KeyError
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard")
    assert capfd.readouterr().out == ""


class Lacking(keras.layers.Layer):
    """An operation that TFLite does not have."""

    def call(self, x):
        return tf.math.betainc(abs(x) + 1, abs(x) + 1, tf.sigmoid(x))

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape)


def test_operations_that_tflite_lacks_are_one_line(capfd):
    x = keras.Input((3,))
    model = keras.Model(x, Lacking()(x), name="lacking")
    capfd.readouterr()
    with pytest.raises(ValueError) as caught:
        convert(model)
    assert str(caught.value) == (
        "`model` must hold only operations that TFLite has. Received: model "
        "'lacking' with Betainc, which it lacks. Export it as a SavedModel."
    )
    assert capfd.readouterr().err == ""


def test_what_cannot_be_converted_is_refused():
    model = make_model()
    with pytest.raises(ValueError, match="`form` must be one of float32, "):
        convert(model, form="int4")
    with pytest.raises(ValueError, match="`batch` must be a whole number"):
        convert(model, batch=0)
    with pytest.raises(ValueError, match="`samples` must be real inputs wh"):
        convert(model, form="full_int8")

    class Own(keras.Model):
        def call(self, x):
            return x

    unbuilt = keras.Sequential([keras.layers.Dense(3)])
    for other in (Own(), unbuilt):
        with pytest.raises(ValueError, match="must be functional, or Sequ"):
            convert(other)
    # The converter would end the process.
    x = keras.Input((5, 3))
    with pytest.raises(ValueError, match="another than full_int8 for a mod"):
        convert(
            keras.Model(x, keras.layers.GRU(4)(x)),
            form="full_int8", samples=np.ones((4, 5, 3)),
        )
    x = keras.Input((5,))
    half = keras.layers.Dense(3, dtype="mixed_bfloat16")(x)
    with pytest.raises(ValueError, match="must compute in float32.*bfloat16"):
        convert(keras.Model(x, half))


@pytest.mark.parametrize(
    "samples", [X[:0], X[:, :7], X[0], [X, X], np.float32(1), []]
)
def test_samples_of_another_shape_are_refused(samples):
    with pytest.raises(ValueError, match="`samples` must hold inputs of the"):
        convert(make_model(), form="full_int8", samples=samples)


def make_many(kind):
    # Neither their names nor their first use is in the order of the inputs.
    a, b = keras.Input((3,), name="zed"), keras.Input((3,), name="alpha")
    y = keras.layers.Subtract()([a, b])
    outs = [keras.layers.Rescaling(float(i))(y) for i in range(12)]
    A, B = RNG.normal(size=(2, 5, 3))
    if kind == "list":
        return keras.Model([b, a], outs), [B, A]
    named = {"k2": outs[1], "k10": outs[2], "j": y}
    x = {"zed": A, "alpha": B}
    if kind == "named":
        return keras.Model([a, b], outs), x
    return keras.Model({"zed": a, "alpha": b}, named), x


@pytest.mark.parametrize("kind", ["list", "dict", "named"])
@pytest.mark.parametrize("form", ["float32", "full_int8"])
def test_inputs_and_outputs_are_in_the_order_of_the_model(kind, form):
    model, x = make_many(kind)
    run = Runner(convert(model, form=form, samples=x, batch=2))
    bound = {"float32": 1e-6, "full_int8": 0.02}[form]
    assert check_agreement(run, model, x).error < bound


def test_a_sequential_model_and_odd_names():
    model = keras.Sequential([
        keras.Input((4,), name="a b-1"), keras.layers.Dense(2),
    ])
    x = RNG.normal(size=(3, 4))
    np.testing.assert_allclose(Runner(convert(model))(x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    "names", [("input_1", "a-b"), ("a-b", "input_0"), ("a-b", "a b", "input_1")]
)
def test_a_made_up_name_is_no_other_input_s(names):
    inputs = [keras.Input((3,), name=name) for name in names]
    scaled = [keras.layers.Rescaling(i)(x) for i, x in enumerate(inputs, 1)]
    model = keras.Model(inputs, keras.layers.Add()(scaled))
    x = list(RNG.normal(size=(len(names), 4, 3)))
    run = Runner(convert(model, batch=4))
    np.testing.assert_allclose(run(x), model(x), atol=1e-6)


def test_a_list_of_one_input_or_of_rows():
    model = make_model()
    run = Runner(convert(model))
    np.testing.assert_array_equal(run([X]), run(X))
    np.testing.assert_array_equal(run(X.tolist()), run(X))


def test_whole_numbers_in():
    x = keras.Input((6,), dtype="int32")
    y = keras.layers.Embedding(9, 4)(x)
    model = keras.Model(x, keras.layers.Flatten()(y))
    ids = RNG.integers(0, 9, size=(3, 6))
    np.testing.assert_allclose(Runner(convert(model))(ids), model(ids))


@pytest.mark.parametrize(
    "x", [X[0], X[:, :3], X[:0], [X, X], np.float32(1)]
)
def test_arrays_that_a_file_does_not_take_are_refused(x):
    with pytest.raises(ValueError, match="^`x` must h"):
        Runner(convert(make_model()))(x)


def test_several_inputs_of_several_lengths_are_refused():
    model, (b, a) = make_many("list")
    run = Runner(convert(model))
    with pytest.raises(ValueError, match="one batch of at least 1 for all"):
        run([b, a[:2]])
    with pytest.raises(ValueError, match="`x` must hold 2 arrays"):
        run(a)


def test_what_cannot_be_run_is_refused():
    with pytest.raises(ValueError, match="`data` must be a TFLite model"):
        Runner(b"no file at all")
    with pytest.raises(ValueError, match="`threads` must be at least 1"):
        Runner(convert(make_model()), threads=0)


def test_tensorflow_runs_it_where_litert_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert runtime_name() == f"tensorflow {tf.__version__}"
    model = make_model()
    np.testing.assert_allclose(Runner(convert(model))(X), model(X), atol=1e-6)


def test_litert_runs_it_where_it_is_installed():
    pytest.importorskip("ai_edge_litert")
    version = importlib.metadata.version("ai-edge-litert")
    assert runtime_name() == f"ai-edge-litert {version}"


class Clock:
    """A runner whose invocations take as long as they are told to."""

    def __init__(self, now, spent, order=None):
        self._now, self._spent = now, iter(spent)
        self.fed, self.order = None, order

    def feed(self, x):
        self.fed = x

    def invoke(self):
        self._now[0] += next(self._spent)
        if self.order is not None:
            self.order.append(self)


def test_latency_is_the_median_of_ratios_of_rounds(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: now[0])
    # The first invocation warms up. The machine is slow in the second round.
    runners = {
        "dense": Clock(now, [99.0, 4.0, 40.0, 4.0]),
        "sparse": Clock(now, [99.0, 1.0, 10.0, 2.0]),
    }
    times = latency(runners, X, rounds=3, seconds=0.5)
    assert times == {
        "dense": {"median_seconds": 4.0, "ratio": 1.0},
        "sparse": {"median_seconds": 2.0, "ratio": 4.0},
    }
    assert runners["dense"].fed is X


def test_who_comes_first_changes_from_round_to_round(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: now[0])
    a, b = (Clock(now, [1.0] * 9, order) for _ in range(2))
    latency({"a": a, "b": b}, X, rounds=2, seconds=0.5)
    assert order[2:] in ([a, b, b, a], [b, a, a, b])


def test_a_round_lasts_as_long_as_asked(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(runtime.time, "perf_counter", lambda: now[0])
    clock = Clock(now, [1.0] * 8)
    times = latency({"one": clock}, X, rounds=1, seconds=7.0)
    assert times["one"]["median_seconds"] == 1.0
    assert next(clock._spent, None) is None


def test_latency_of_real_files():
    model = make_model()
    runners = {
        str(threads): Runner(convert(model), threads) for threads in (1, 2)
    }
    times = latency(runners, X[:1], rounds=2, seconds=0.001)
    assert list(times) == ["1", "2"]
    assert all(0 < t["median_seconds"] < 1 for t in times.values())
    with pytest.raises(ValueError, match="`x` must have the batch of the fi"):
        latency(runners, X)
    with pytest.raises(ValueError, match="`runners` must hold a model"):
        latency({}, X)
    with pytest.raises(ValueError, match="`runners` must hold a model"):
        latency(runners, X, rounds=0)


def test_a_file_of_one_input_and_output_is_the_converters_own():
    data = convert(make_model())
    (signature,) = parse(data).signatureDefs
    assert signature.signatureKey == b"serving_default"

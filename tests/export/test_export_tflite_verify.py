"""What does not agree with the model is not handed out."""

import keras
import numpy as np
import pytest

from tf_lottery.export import sparse
from tf_lottery.export import verify
from tf_lottery.export.runtime import Runner
from tf_lottery.export.sparse import inspect
from tf_lottery.export.tflite import FORMS
from tf_lottery.export.tflite import convert
from tf_lottery.export.verify import Agreement
from tf_lottery.export.verify import BOUNDS
from tf_lottery.export.verify import check_agreement
from tf_lottery.export.verify import ok
from tf_lottery.export.verify import safe_tflite

RNG = np.random.default_rng(0)
X = RNG.normal(size=(20, 301)).astype("float32")


def make_model(zeros=0.95, units=65):
    keras.utils.set_random_seed(0)
    x = keras.Input((301,))
    y = keras.layers.Dense(units, activation="relu", name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(10)(y))
    for variable in model.trainable_variables:
        value = RNG.normal(size=variable.shape)
        if variable.ndim > 1:
            value *= RNG.random(variable.shape) >= zeros
        variable.assign(value)
    return model


def identity(size=3):
    x = keras.Input((size,))
    return keras.Model(x, keras.layers.Activation("linear")(x))


def answering(given):
    """A function that gives these outputs, whatever it is asked."""
    rows = iter(np.asarray(given))
    return lambda arrays: np.stack([next(rows) for _ in arrays[0]])


def test_the_error_is_relative_above_1_and_absolute_below():
    y = np.array([[1.0, 4.0, 0.0], [2.0, 0.0, 0.0]])
    given = [[1.0, 4.0, 0.0], [2.0, 1.0, 0.0]]
    agreement = check_agreement(answering(given), identity(), y)
    assert agreement == Agreement(0.25, 1.0, True, 2)
    agreement = check_agreement(
        answering(np.array(given) / 10), identity(), y / 10
    )
    assert agreement.error == pytest.approx(0.1)


def test_argmax_counts_ties_either_way():
    y = np.array([[1, 0, 0], [0, 1, 1], [0, 1, 0], [3, 2, 1]], float)
    given = np.array([[1, 2, 0], [0, 1, 2], [0, 1, 0], [0, 0, 9]], float)
    assert check_agreement(answering(given), identity(), y).argmax == 0.5


@pytest.mark.parametrize("gap, argmax", [(1e-6, 1.0), (1e-5, 0.0)])
def test_a_tie_is_what_float32_cannot_tell(gap, argmax):
    y = np.array([[3.0, 3.0 + gap, 0.0]])
    given = np.array([[3.0, 2.9, 0.0]])
    agreement = check_agreement(answering(given), identity(), y)
    assert agreement.argmax == argmax


def test_single_numbers_have_no_argmax():
    y = np.array([[1.0], [2.0]])
    assert check_agreement(answering(-y), identity(1), y).argmax == 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_does_not_agree(value):
    y = np.ones((2, 3))
    given = np.array([[1, 1, 1], [1, 1, value]])
    agreement = check_agreement(answering(given), identity(), y)
    assert not agreement.finite and agreement.error == np.inf
    assert not any(ok(agreement, form) for form in FORMS)
    with pytest.raises(ValueError, match="`model` must give finite outputs"):
        check_agreement(answering(y), identity(), given)


def test_the_worst_of_several_outputs_counts():
    x = keras.Input((3,))
    model = keras.Model(
        x, [keras.layers.Rescaling(s)(x) for s in (1.0, 10.0)]
    )
    y = np.eye(3) * 10

    def run(arrays):
        return [arrays[0], arrays[0][:, ::-1] * 10]

    agreement = check_agreement(run, model, y)
    assert agreement == Agreement(1.0, pytest.approx(1 / 3), True, 3)


def test_many_examples_are_looked_at_in_parts():
    y = RNG.normal(size=(150, 3)).astype("float32")
    sizes = []

    def run(arrays):
        sizes.append(len(arrays[0]))
        return arrays[0]

    assert check_agreement(run, identity(), y).examples == 150
    assert sizes == [1, 64, 64, 21]


def test_the_model_is_asked_in_inference_mode():
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dropout(0.5)(x))
    y = np.ones((4, 3))
    assert check_agreement(lambda a: a[0], model, y).error == 0.0


def test_an_agreement_is_told_in_words():
    assert str(Agreement(2e-5, 0.98, True, 8)) == (
        "an error of 2.0e-05 and argmax 0.9800 in 8 examples"
    )
    assert str(Agreement(np.inf, 1.0, False, 8)) == (
        "NaN or infinity in 8 examples"
    )


def test_outputs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="`run` must give outputs of shapes"):
        check_agreement(lambda a: a[0][:, :2], identity(), np.ones((4, 3)))


def test_the_bounds():
    assert set(BOUNDS) == set(FORMS)
    close = Agreement(9e-6, 0.0, True, 1)
    assert ok(close, "float32") and not ok(close, "int8")
    assert not ok(Agreement(1.1e-5, 1.0, True, 1), "float32")
    assert ok(Agreement(9e-4, 0.0, True, 1), "float16")
    assert not ok(Agreement(1.1e-3, 1.0, True, 1), "float16")
    assert ok(Agreement(0.05, 0.99, True, 1), "int8")
    assert not ok(Agreement(0.0, 0.98, True, 1), "full_int8")
    assert not ok(Agreement(0.0, 1.0, False, 1), "float32")


@pytest.mark.parametrize("batch", [1, 16, None])
def test_the_sparsest_file_that_agrees(batch):
    model = make_model()
    data, notes, agreement = safe_tflite(model, "float32", X, batch=batch)
    assert "direct" in {w.storage for w in inspect(data)}
    assert notes == [] and agreement.examples == 40
    assert agreement.error < 1e-6 and ok(agreement, "float32")
    assert Runner(data).batch == batch
    data, _, _ = safe_tflite(model, "float32", X, batch=batch, direct=2)
    assert "direct" not in {w.storage for w in inspect(data)}
    data, notes, _ = safe_tflite(model, "float32", X, sparse=False)
    assert data == convert(model) and notes == []


def test_float16_and_int8():
    model = make_model()
    # As large as a network's: float16 rounds what it sums.
    for variable in model.trainable_variables:
        variable.assign(variable * 0.3)
    data, notes, agreement = safe_tflite(model, "float16", X)
    assert notes == [] and 1e-6 < agreement.error < 1e-3
    assert "csr" in {w.storage for w in inspect(data)}
    for form in ("int8", "full_int8"):
        data, notes, agreement = safe_tflite(model, form, X)
        assert {w.storage for w in inspect(data)} == {"dense"}
        assert [note[:22] for note in notes] == ["int8 weights stay dens"]
        assert agreement.argmax >= 0.99 and agreement.examples == 20


def corrupt(monkeypatch, which):
    """Breaks the encoder in a way in which the stock one is broken."""
    if which == "direct":
        # Version 1: XNNPACK takes the values for a dense matrix.
        monkeypatch.setattr(sparse, "_SPARSE_VERSION", 1)
    else:
        rows = sparse._compressed_rows

        def lose_the_last(matrix):
            matrix = matrix.copy()
            matrix[:, -matrix.shape[1] // 4:] = 0
            return rows(matrix)

        monkeypatch.setattr(sparse, "_compressed_rows", lose_the_last)


def test_version_1_is_caught_and_the_next_form_is_taken(monkeypatch):
    corrupt(monkeypatch, "direct")
    data, notes, agreement = safe_tflite(make_model(), "float32", X)
    assert {w.storage for w in inspect(data)} == {"csr"}
    (note,) = notes
    assert note.startswith("rows read directly: does not agree with the mod")
    assert ok(agreement, "float32")


def test_lost_weights_are_caught_and_the_file_is_dense(monkeypatch):
    model = make_model()
    corrupt(monkeypatch, "rows")
    data, notes, agreement = safe_tflite(model, "float32", X)
    assert data == convert(model) and ok(agreement, "float32")
    assert [note.split(":")[0] for note in notes] == [
        "rows read directly", "rows expanded at load",
        notes[2].split(":")[0],
    ]
    assert "hidden" in notes[2] and "stored dense with their" in notes[2]


def test_what_the_interpreter_refuses_is_noted(monkeypatch):
    # The stock encoder's sparse int8 fails in this way.
    def refuse(data):
        if any(w.storage == "direct" for w in inspect(data)):
            raise RuntimeError("failed\nto prepare")
        return Runner(data)

    monkeypatch.setattr(verify, "Runner", refuse)
    data, notes, _ = safe_tflite(make_model(), "float32", X)
    assert notes[0] == "rows read directly: failed to prepare"
    assert "csr" in {w.storage for w in inspect(data)}


def test_a_file_without_its_weights_is_caught(monkeypatch):
    # Zeros agree with zeros: only the size tells.
    model = make_model()
    empty = convert(identity(301))
    monkeypatch.setattr(verify, "convert", lambda *a, **k: empty)
    with pytest.raises(RuntimeError, match="cannot hold the weights"):
        safe_tflite(model, "float32", X)


def test_kernels_that_a_normalisation_zeroes_are_not_missing():
    """As network slimming leaves them: the converter multiplies them."""
    x = keras.Input((300,))
    y = keras.layers.Dense(64, use_bias=False)(x)
    model = keras.Model(x, keras.layers.BatchNormalization(name="n")(y))
    gamma = np.zeros(64)
    gamma[::8] = 1.0
    model.get_layer("n").gamma.assign(gamma)
    data, notes, agreement = safe_tflite(model, "float32", X[:, :300])
    assert len(data) < 4 * 300 * 64 / 4 and ok(agreement, "float32")
    assert notes == [] and "csr" in {w.storage for w in inspect(data)}


def test_nothing_is_handed_out_where_not_even_dense_agrees(monkeypatch):
    other = convert(make_model())
    monkeypatch.setattr(verify, "convert", lambda *a, **k: other)
    with pytest.raises(RuntimeError) as caught:
        safe_tflite(make_model(), "float32", X)
    text = str(caught.value)
    assert text.startswith(
        "`form` must give a file that agrees with the model. Received: "
        "form='float32', rows read directly: does not agree"
    )
    assert "dense: does not agree" in text and "\n" not in text


def test_random_inputs_find_what_real_ones_do_not_reach(monkeypatch):
    """As border pixels, which are 0 in every image."""
    model = make_model()
    corrupt(monkeypatch, "rows")
    image = X.copy()
    image[:, -80:] = 0
    hidden = model.get_layer("hidden")
    hidden.bias.assign(hidden.bias * 0)
    _, notes, _ = safe_tflite(model, "float32", image)
    assert notes[0].startswith("rows read directly: does not agree")


def test_pruned_weights_that_stay_dense_are_named():
    x = keras.Input((8, 8, 30))
    y = keras.layers.Conv2DTranspose(20, 3, name="up")(x)
    model = keras.Model(x, y)
    kernel = model.layers[1].kernel
    kernel.assign(kernel * (RNG.random(kernel.shape) < 0.05))
    images = RNG.normal(size=(4, 8, 8, 30))
    data, notes, _ = safe_tflite(model, "float32", images)
    assert data == convert(model)
    (note,) = notes
    assert "up" in note and "stored dense with their zeros" in note


def test_equal_weights_that_are_stored_once_are_not_missing():
    x = keras.Input((301,))
    layers = [keras.layers.Dense(301) for _ in range(3)]
    model = keras.Model(x, layers[2](layers[1](layers[0](x))))
    kernel = np.eye(301) + RNG.normal(size=(301, 301)) / 100
    for layer in layers:
        layer.kernel.assign(kernel)
    data, _, _ = safe_tflite(model, "float32", X)
    assert len(data) < 2 * 4 * 301**2


@pytest.mark.parametrize("layers, samples", [
    ([keras.layers.Lambda(lambda x: keras.ops.sqrt(x)),
      keras.layers.Dense(2)], np.abs(X[:, :6])),
    ([keras.layers.Embedding(1, 4), keras.layers.Flatten()],
     np.zeros((5, 6), "float32")),
])
def test_random_inputs_that_a_model_cannot_take_are_left_out(layers, samples):
    model = keras.Sequential([keras.Input((6,)), *layers])
    _, notes, agreement = safe_tflite(model, "float32", samples, sparse=False)
    assert agreement.examples == len(samples)
    assert notes == [
        "compared on the samples alone: the model fails on random inputs, or "
        "gives NaN or infinity"
    ]


def test_samples_on_which_the_model_fails_are_refused_in_one_line():
    x = keras.Input((6,))
    y = keras.layers.Flatten()(keras.layers.Embedding(9, 4)(x))
    with pytest.raises(ValueError) as caught:
        safe_tflite(keras.Model(x, y), "float32", np.full((3, 6), 99.0))
    text = str(caught.value)
    assert text.startswith("`inputs` must be such as the model takes. Receiv")
    assert "InvalidArgumentError" in text and "\n" not in text


def test_inputs_that_are_no_floats_are_not_drawn_at_random():
    x = keras.Input((6,), dtype="int32")
    y = keras.layers.Embedding(9, 4)(x)
    model = keras.Model(x, keras.layers.Flatten()(y))
    ids = RNG.integers(0, 9, size=(5, 6))
    _, _, agreement = safe_tflite(model, "float32", ids)
    assert agreement.examples == 5


@pytest.mark.parametrize("samples", [X[:0], X[:, :7], X[0], [X, X]])
def test_samples_of_another_shape_are_refused(samples):
    with pytest.raises(ValueError, match="`samples` must hold inputs of the"):
        safe_tflite(make_model(), "float32", samples)

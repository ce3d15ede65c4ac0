"""Compressed rows compute what the dense file does, and are smaller."""

import sys

import keras
import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from tf_lottery.export import sparse
from tf_lottery.export.flatbuffer import parse
from tf_lottery.export.runtime import Runner
from tf_lottery.export.sparse import encode_sparse
from tf_lottery.export.sparse import inspect
from tf_lottery.export.tflite import convert
from tf_lottery.models import build_model

RNG = np.random.default_rng(0)
RUNTIMES = ["ai_edge_litert", "tensorflow"]


@pytest.fixture(params=RUNTIMES)
def runtime(request, monkeypatch):
    """Both interpreters, where both are there."""
    if request.param == "tensorflow":
        monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    else:
        pytest.importorskip("ai_edge_litert")


def pruned(shape, zeros):
    values = RNG.normal(size=shape).astype("float32")
    return np.where(RNG.random(shape) < zeros, np.float32(0), values)


def prune_all(model, zeros):
    for variable in model.trainable_variables:
        if variable.ndim > 1:
            variable.assign(pruned(variable.shape, zeros))
        else:
            # The converter drops a bias of zeros.
            variable.assign(RNG.normal(size=variable.shape))
    return model


def dense_model(units_in, units_out, kernel, **options):
    x = keras.Input((units_in,))
    model = keras.Model(x, keras.layers.Dense(units_out, **options)(x))
    model.layers[1].kernel.assign(kernel)
    if model.layers[1].use_bias:
        model.layers[1].bias.assign(RNG.normal(size=units_out))
    return model


def inputs_of(model, count=5):
    return RNG.normal(size=(count, *model.input_shape[1:])).astype("float32")


def storage(data):
    return sorted(w.storage for w in inspect(data))


def error(run, model, x):
    y = np.asarray(model(x))
    return np.abs(run(x) - y).max() / max(1, np.abs(y).max())


def codes(data):
    """[(builtin code, version)] of the operations, in order."""
    model = parse(data)
    return [
        (sparse._code(code), code.version)
        for graph in model.subgraphs
        for op in graph.operators
        for code in [model.operatorCodes[op.opcodeIndex]]
    ]


# Widths that no block of 4 or 16 divides, at which the stock encoder reads
# past a row's end; most weights in the last columns, which it lost.
@pytest.mark.parametrize("width", [1027, 1028, 301])
def test_any_width_is_exact(runtime, width):
    kernel = pruned((width, 37), 0.97)
    kernel[-3:] = RNG.normal(size=(3, 37))
    model = dense_model(width, 37, kernel, activation="relu")
    x = inputs_of(model)
    data = convert(model)
    expanded, direct = encode_sparse(data, direct=2), encode_sparse(data)
    assert storage(expanded) == ["csr"] and storage(direct) == ["direct"]
    np.testing.assert_array_equal(Runner(expanded)(x), Runner(data)(x))
    assert error(Runner(direct), model, x) < 1e-6


def test_direct_reading_is_version_8_of_its_own():
    model = keras.Sequential([
        keras.Input((300,)), keras.layers.Dense(300), keras.layers.Dense(30),
    ])
    prune_all(model, 0.95)
    model.layers[1].kernel.assign(RNG.normal(size=(300, 30)))
    full = schema.BuiltinOperator.FULLY_CONNECTED
    data = encode_sparse(convert(model))
    # XNNPACK takes version 1, and reads past the values of a sparse weight.
    assert codes(data) == [(full, 8), (full, 1)]
    expanded = encode_sparse(convert(model), direct=2)
    densify = schema.BuiltinOperator.DENSIFY
    assert codes(expanded) == [(densify, 1), (full, 1), (full, 1)]


@pytest.mark.parametrize("zeros", [0.8, 0.95])
def test_small_weights_are_read_directly_where_the_largest_is(zeros):
    x = keras.Input((300,))
    y = keras.layers.Dense(60)(keras.layers.Dense(200)(x))
    model = prune_all(keras.Model(x, y), 0.95)
    model.layers[1].kernel.assign(pruned((300, 200), zeros))
    kind = "csr" if zeros == 0.8 else "direct"
    assert storage(encode_sparse(convert(model))) == [kind, kind]


@pytest.mark.parametrize("batch", [1, 16, None])
@pytest.mark.parametrize("threads", [1, 3])
def test_any_batch_and_number_of_threads(batch, threads):
    model = dense_model(301, 65, pruned((301, 65), 0.95))
    data = convert(model, batch=batch)
    direct, expanded = encode_sparse(data), encode_sparse(data, direct=2)
    for count in (1, 16, 19):
        x = inputs_of(model, count)
        assert error(Runner(direct, threads), model, x) < 1e-6
        np.testing.assert_array_equal(
            Runner(expanded, threads)(x), Runner(data, threads)(x)
        )


# The position of the last weight decides the type of the indices, the number
# of weights that of the rows' ends.
@pytest.mark.parametrize(
    "width, indices, ends",
    [
        (256, "uint8", "uint8"),
        (257, "uint16", "uint8"),
        (65536, "uint16", "uint16"),
        (65537, "int32", "uint16"),
    ],
)
def test_the_smallest_type_that_holds_the_indices(width, indices, ends):
    count = 85 if width < 300 else 2000
    kernel = np.zeros((width, 3), np.float32)
    for unit in range(3):
        kept = RNG.choice(width - 2, count - 2, replace=False) + 1
        kernel[[0, *kept, width - 1], unit] = RNG.normal(size=count)
    model = dense_model(width, 3, kernel)
    data = convert(model)
    encoded = encode_sparse(data, direct=2)
    (axis,) = [
        tensor.sparsity.dimMetadata[1]
        for tensor in parse(encoded).subgraphs[0].tensors
        if tensor.sparsity is not None
    ]
    assert axis.arrayIndices.values.dtype == indices
    assert axis.arraySegments.values.dtype == ends
    (weight,) = inspect(encoded)
    sizes = np.dtype(indices).itemsize, np.dtype(ends).itemsize
    assert weight.bytes == 3 * count * (4 + sizes[0]) + 4 * sizes[1]
    x = inputs_of(model)
    np.testing.assert_array_equal(Runner(encoded)(x), Runner(data)(x))
    assert error(Runner(encode_sparse(data)), model, x) < 1e-5


def test_more_than_65535_weights_need_larger_ends():
    kernel = pruned((1000, 180), 0.6)
    assert np.count_nonzero(kernel) > 65535
    model = dense_model(1000, 180, kernel)
    data = convert(model)
    x = inputs_of(model)
    encoded = encode_sparse(data)
    assert storage(encoded) == ["csr"]
    np.testing.assert_array_equal(Runner(encoded)(x), Runner(data)(x))


@pytest.mark.parametrize("kept", [0, 1])
@pytest.mark.parametrize("direct", [0.9, 2])
def test_a_weight_of_nothing_or_of_one_number(runtime, kept, direct):
    kernel = np.zeros((301, 37), np.float32)
    kernel[300, 36] = 3 * kept
    model = dense_model(301, 37, kernel)
    encoded = encode_sparse(convert(model), direct=direct)
    assert storage(encoded) == ["csr" if direct == 2 else "direct"]
    (weight,) = inspect(encoded)
    assert weight.zeros == pytest.approx(1 - kept / kernel.size, abs=1e-12)
    assert error(Runner(encoded), model, inputs_of(model)) < 1e-6


def test_tiny_weights_stay_as_they_are():
    model = dense_model(3, 2, np.eye(3, 2))
    data = convert(model)
    assert encode_sparse(data) is data
    (weight,) = inspect(data)
    assert (weight.shape, weight.storage) == ((2, 3), "dense")
    assert weight.zeros == pytest.approx(2 / 3)


def test_what_would_not_be_smaller_stays_dense():
    # Rows of one number: their ends alone take half of what they hold.
    x = keras.Input((9, 9, 1))
    model = keras.Model(x, keras.layers.Conv2D(64, 3)(x))
    model.layers[1].kernel.assign(np.arange(576).reshape(3, 3, 1, 64) % 2)
    data = convert(model)
    assert encode_sparse(data) is data
    # Nor beside one that repays more than this one costs.
    y = keras.layers.Conv2D(64, 1)(model.output)
    model = keras.Model(model.input, y)
    model.layers[2].kernel.assign(pruned((1, 1, 64, 64), 0.95))
    assert storage(encode_sparse(convert(model))) == ["csr", "dense"]


def test_a_file_that_a_new_bias_makes_larger_is_left():
    kernel = np.ones((2, 1000), np.float32)
    kernel[0] = 0
    model = dense_model(2, 1000, kernel, use_bias=False)
    data = convert(model)
    assert encode_sparse(data, direct=0.5) is data
    assert storage(encode_sparse(data)) == ["csr"]


@pytest.mark.parametrize("zeros, kept", [(0.4, "dense"), (0.6, "csr")])
def test_a_weight_of_few_zeros_is_left(zeros, kept):
    # At 5 bytes for each of the others, 0.4 would make it smaller too.
    kernel = RNG.normal(size=(100, 200))
    kernel[:int(100 * zeros)] = 0
    data = convert(dense_model(100, 200, kernel))
    assert storage(encode_sparse(data)) == [kept]


def test_a_missing_bias_is_put_there():
    kernel = pruned((301, 37), 0.95)
    model = dense_model(301, 37, kernel, use_bias=False)
    data = encode_sparse(convert(model))
    (operator,) = parse(data).subgraphs[0].operators
    # Early versions of the kernel read it without asking.
    assert min(operator.inputs) >= 0 and len(operator.inputs) == 3
    assert error(Runner(data), model, inputs_of(model)) < 1e-6


def make_convolutions():
    x = inputs = keras.Input((10, 10, 24))
    x = keras.layers.DepthwiseConv2D(3)(x)
    x = keras.layers.Conv2D(65, 3, padding="same", activation="relu")(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Add()([x, keras.layers.Conv2D(65, 1, groups=5)(x)])
    x = keras.layers.Flatten()(x)
    return keras.Model(inputs, keras.layers.Dense(11)(x))


@pytest.mark.parametrize("form", ["float32", "float16"])
def test_convolutions_are_bit_identical(runtime, form):
    model = prune_all(make_convolutions(), 0.95)
    data = convert(model, form=form)
    encoded = encode_sparse(data, direct=2)
    assert storage(encoded).count("csr") >= 3
    assert len(data) > 6 * len(encoded)
    x = inputs_of(model)
    np.testing.assert_array_equal(Runner(encoded)(x), Runner(data)(x))
    tolerance = {"float32": 1e-5, "float16": 1e-3}[form]
    assert error(Runner(encoded), model, x) < tolerance


def test_float16_is_never_read_directly():
    # Without a DENSIFY the interpreters give NaN.
    model = dense_model(300, 64, pruned((300, 64), 0.99))
    data = convert(model, form="float16")
    encoded = encode_sparse(data)
    assert storage(encoded) == ["csr"]
    assert codes(encoded)[0] == (schema.BuiltinOperator.DENSIFY, 1)
    x = inputs_of(model)
    np.testing.assert_array_equal(Runner(encoded)(x), Runner(data)(x))


@pytest.mark.parametrize("form", ["int8", "full_int8"])
def test_int8_is_never_encoded(form):
    model = dense_model(300, 64, pruned((300, 64), 0.99))
    data = convert(model, form=form, samples=inputs_of(model, 20))
    assert [w.dtype for w in inspect(data)] == ["int8"]
    assert encode_sparse(data) is data


def test_loops_and_rows_in_time(runtime):
    x = keras.Input((7, 60))
    y = keras.layers.LSTM(50, return_sequences=True)(x)
    y = keras.layers.Dense(40, activation="tanh")(y)
    model = prune_all(keras.Model(x, keras.layers.Conv1D(30, 3)(y)), 0.95)
    data = convert(model)
    x = inputs_of(model)
    expanded = encode_sparse(data, direct=2)
    assert storage(expanded).count("csr") == 4
    np.testing.assert_array_equal(Runner(expanded)(x), Runner(data)(x))
    assert error(Runner(encode_sparse(data)), model, x) < 1e-6


SIZES = {
    ("lenet_300_100", (28, 28, 1)): (3.2, 6.3, 12, 27, 50),
    ("conv_4", (32, 32, 3)): (3.3, 6.6, 13, 31, 58),
}


@pytest.mark.parametrize(
    "name, shape",
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (case[0] == "conv_4"))
        for case in SIZES
    ],
)
def test_published_sizes(name, shape):
    model = build_model(name, shape, 10, seed=0)
    x = inputs_of(model, 4)
    rng = np.random.default_rng(0)
    initial = model.get_weights()
    least = SIZES[name, shape]
    for zeros, ratio in zip((0.8, 0.9, 0.95, 0.98, 0.99), least):
        for variable, value in zip(model.weights, initial):
            if variable.ndim > 1:
                kept = rng.random(variable.shape) >= zeros
                variable.assign(np.where(kept, value, 0))
                counted = np.count_nonzero(variable) / kept.size
                assert counted == pytest.approx(1 - zeros, rel=0.5)
            else:
                variable.assign(rng.normal(size=variable.shape) / 10)
        data = convert(model)
        encoded = encode_sparse(data)
        assert len(data) >= ratio * len(encoded)
        assert error(Runner(encoded), model, x) < 1e-5

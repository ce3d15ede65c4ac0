"""Files in which something is shared, kept, or not known."""

import flatbuffers
import keras
import numpy as np
import pytest
from tensorflow.lite.python import schema_py_generated as schema

from tf_lottery.export.flatbuffer import pack
from tf_lottery.export.flatbuffer import parse
from tf_lottery.export.runtime import Runner
from tf_lottery.export.sparse import encode_sparse
from tf_lottery.export.sparse import inspect
from tf_lottery.export.tflite import convert

RNG = np.random.default_rng(0)


def prune_all(model):
    for variable in model.trainable_variables:
        values = RNG.normal(size=variable.shape)
        if variable.ndim > 1:
            values *= RNG.random(variable.shape) >= 0.95
        variable.assign(values)
    return model


def make_one():
    x = keras.Input((300,))
    return prune_all(keras.Model(x, keras.layers.Dense(64)(x)))


def inputs_of(model):
    return RNG.normal(size=(5, *model.input_shape[1:])).astype("float32")


def storage(data):
    return sorted(w.storage for w in inspect(data))


def error(run, model, x):
    y = np.asarray(model(x))
    return np.abs(run(x) - y).max() / max(1, np.abs(y).max())


def builtins(data):
    """The builtin codes of the operations, in order."""
    file = parse(data)
    return [
        file.operatorCodes[op.opcodeIndex].builtinCode
        for op in file.subgraphs[0].operators
    ]


def make_shared():
    x = keras.Input((64,))
    first, second = keras.layers.Dense(64), keras.layers.Dense(64)
    model = keras.Model(x, second(first(first(x))))
    prune_all(model)
    second.kernel.assign(first.kernel)
    return model


@pytest.mark.parametrize("direct", [0.9, 2])
def test_a_weight_of_several_operations_is_stored_once(direct):
    model = make_shared()
    data = convert(model)
    encoded = encode_sparse(data, direct=direct)
    assert len(inspect(encoded)) == 1
    assert len(data) > 4 * len(encoded)
    assert error(Runner(encoded), model, inputs_of(model)) < 1e-6
    # One DENSIFY serves all.
    expected = [9, 9, 9] if direct < 1 else [124, 9, 9, 9]
    assert builtins(encoded) == expected


@pytest.mark.parametrize("same_shape", [True, False])
def test_a_buffer_of_several_tensors(same_shape):
    """Files of other converters may share a buffer between tensors."""
    model = make_shared()
    x = inputs_of(model)
    data = convert(model)
    file = parse(data)
    graph = file.subgraphs[0]
    last = graph.operators[-1]
    buffer = graph.tensors[last.inputs[1]].buffer
    twin = schema.TensorT(
        shape=np.array([64, 64] if same_shape else [32, 128], np.int32),
        type=0, buffer=buffer, name=b"twin",
    )
    graph.tensors.append(twin)
    last.inputs = np.array(
        [last.inputs[0], len(graph.tensors) - 1, last.inputs[2]], np.int32
    )
    shared = pack(file)
    assert len(shared) < len(data) + 300
    encoded = encode_sparse(shared, direct=2)
    if same_shape:
        assert storage(encoded) == ["csr", "csr"]
        np.testing.assert_array_equal(Runner(encoded)(x), Runner(data)(x))
    else:
        # Rows of the one are not rows of the other.
        assert encoded is shared


@pytest.mark.parametrize("reader", ["operation", "output", "variable"])
def test_a_weight_that_is_read_otherwise_stays_dense(reader):
    data = convert(make_shared())
    file = parse(data)
    graph = file.subgraphs[0]
    last = graph.operators[-1]
    weight = last.inputs[1]
    if reader == "operation":
        last.inputs = np.array([weight, weight, last.inputs[2]], np.int32)
    elif reader == "output":
        graph.outputs = np.array([*graph.outputs, weight], np.int32)
    else:
        graph.tensors[weight].isVariable = True
    other = pack(file)
    assert encode_sparse(other) is other


def test_nothing_else_is_changed():
    """All that is not a weight comes back as it was, names included."""
    a, b = keras.Input((300,), name="a"), keras.Input((7,), name="b")
    y = keras.layers.Concatenate()([keras.layers.Dense(64)(a), b])
    model = prune_all(keras.Model([a, b], [keras.layers.Dense(5)(y), y]))
    data = convert(model, batch=None)
    assert tree(parse(pack(parse(data)))) == tree(parse(data))
    before, after = parse(data), parse(encode_sparse(data, direct=2))
    assert len(encode_sparse(data)) < len(data) / 4
    for name in ("version", "description", "metadata", "signatureDefs"):
        assert tree(getattr(after, name)) == tree(getattr(before, name))
    # The metadata's numbers of buffers still mean the same bytes.
    for entry in before.metadata:
        assert tree(after.buffers[entry.buffer]) == tree(
            before.buffers[entry.buffer]
        )
    assert encode_sparse(data)[4:8] == b"TFL3"
    old, new = before.subgraphs[0], after.subgraphs[0]
    assert tree(old.inputs) == tree(new.inputs)
    assert tree(old.outputs) == tree(new.outputs)
    for one, other in zip(old.tensors, new.tensors):
        if other.sparsity is None:
            assert tree(one) == tree(other)
    assert [tree(op.builtinOptions) for op in old.operators] == [
        tree(op.builtinOptions)
        for op in new.operators
        if op.builtinOptionsType != schema.BuiltinOptions.DensifyOptions
    ]


def tree(value):
    """Something to compare of a schema object."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [tree(v) for v in value]
    if hasattr(value, "__dict__"):
        return {k: tree(v) for k, v in vars(value).items()}
    return value


def test_encoding_twice_changes_nothing_more():
    model = make_one()
    encoded = encode_sparse(convert(model))
    assert encode_sparse(encoded) is encoded


def test_buffers_start_at_multiples_of_16():
    model = make_shared()
    data = encode_sparse(convert(model))
    start = np.frombuffer(data, np.uint8).ctypes.data
    for buffer in parse(data).buffers:
        if buffer.data is not None and len(buffer.data):
            assert (buffer.data.ctypes.data - start) % 16 == 0


def test_data_behind_the_tables_is_read():
    """As in files above 2 GB."""
    model = make_one()
    data = convert(model)
    file = parse(data)
    (number,) = [
        i for i, b in enumerate(file.buffers)
        if b.data is not None and len(b.data) == 300 * 64 * 4
    ]
    weight = file.buffers[number].data.tobytes()

    def tables(offset):
        file.buffers[number] = schema.BufferT(
            offset=offset, size=len(weight)
        )
        builder = flatbuffers.Builder(1024)
        builder.Finish(file.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())

    outside = tables(len(tables(2))) + weight
    assert encode_sparse(outside) == encode_sparse(data)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"x" * 100])
def test_what_is_no_file_is_refused(data):
    for function in (encode_sparse, inspect):
        with pytest.raises(ValueError, match="`data` must be a TFLite file"):
            function(data)


def test_torn_bytes_are_refused():
    data = convert(make_one())
    for size in range(9, 400, 13):
        with pytest.raises(ValueError, match="`data` must be a TFLite file"):
            inspect(data[:size])


def test_operations_that_the_schema_lacks_are_refused(monkeypatch):
    model = make_one()
    data = convert(model)
    monkeypatch.setattr(
        schema, "BuiltinOptionsCreator", lambda kind, table: None
    )
    with pytest.raises(ValueError, match="`data` must hold operations"):
        encode_sparse(data)

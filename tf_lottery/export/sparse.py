"""Pruned weights of a TFLite file in compressed rows (CSR)."""

from __future__ import annotations

import collections
import copy
import dataclasses
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from tf_lottery.export.flatbuffer import pack
from tf_lottery.export.flatbuffer import parse

_OP = schema.BuiltinOperator
_TYPE = schema.TensorType
_READERS = {_OP.FULLY_CONNECTED, _OP.CONV_2D, _OP.DEPTHWISE_CONV_2D}
_DTYPES = {
    _TYPE.FLOAT32: np.dtype("float32"),
    _TYPE.FLOAT16: np.dtype("float16"),
    _TYPE.INT8: np.dtype("int8"),
}
# What the sparse kernel applies to its output.
_ACTIVATIONS = {
    schema.ActivationFunctionType.NONE,
    schema.ActivationFunctionType.RELU,
    schema.ActivationFunctionType.RELU_N1_TO_1,
    schema.ActivationFunctionType.RELU6,
}
# The first version with a sparse kernel. It is also what keeps XNNPACK off,
# which would take the values for a dense matrix and read past their end.
_SPARSE_VERSION = 8
# Fraction of zeros, at the least, of what is encoded.
_SPARSE = 0.5
# Bytes of the tables that describe one sparse tensor and its DENSIFY.
_TABLES = 400
_INDICES = (
    (np.uint8, schema.SparseIndexVector.Uint8Vector, schema.Uint8VectorT),
    (np.uint16, schema.SparseIndexVector.Uint16Vector, schema.Uint16VectorT),
    (np.int32, schema.SparseIndexVector.Int32Vector, schema.Int32VectorT),
)


@dataclasses.dataclass(frozen=True)
class StoredWeight:
    """How a TFLite file stores one weight.

    Attributes:
        name: the tensor's name in the file.
        shape: its shape; for a matrix `(units_out, units_in)`.
        dtype: `"float32"`, `"float16"` or `"int8"`.
        zeros: fraction of entries that are zero, in [0, 1].
        storage: `"dense"`; `"csr"`, expanded when the file is loaded; or
            `"direct"`, read as it is by the operation.
        bytes: of values and indices in the file.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    zeros: float
    storage: str
    bytes: int


def inspect(data: bytes) -> list[StoredWeight]:
    """Lists the weights of a TFLite file: constants of two or more axes.

    Args:
        data: the bytes of a TFLite file.

    Returns:
        One entry per weight, in the order of the file.

    Raises:
        ValueError: `data` is no TFLite file.

    Example:
        >>> from tf_lottery.export.tflite import convert
        >>> x = keras.Input((4,))
        >>> layer = keras.layers.Dense(2, kernel_initializer="ones")
        >>> (weight,) = inspect(convert(keras.Model(x, layer(x))))
        >>> weight.shape, weight.zeros, weight.storage, weight.bytes
        ((2, 4), 0.0, 'dense', 32)
    """
    model = parse(data)
    stored = []
    for graph in model.subgraphs:
        readers = _readers(model, graph)
        for index, tensor in enumerate(graph.tensors):
            values = _values(model, tensor)
            if values is None or len(tensor.shape) < 2:
                continue
            storage, size = "dense", values.nbytes
            if tensor.sparsity is not None:
                codes = {code for code, _, _ in readers[index]}
                storage = "csr" if codes == {_OP.DENSIFY} else "direct"
                size += sum(
                    vector.values.nbytes
                    for axis in tensor.sparsity.dimMetadata
                    for vector in (axis.arraySegments, axis.arrayIndices)
                    if vector is not None
                )
            kept = np.count_nonzero(values) / np.prod(tensor.shape)
            stored.append(
                StoredWeight(
                    tensor.name.decode(),
                    tuple(int(n) for n in tensor.shape),
                    values.dtype.name,
                    float(1 - kept),
                    storage,
                    size,
                )
            )
    return stored


def encode_sparse(data: bytes, *, direct: float = 0.9) -> bytes:
    """Stores the pruned weights of a dense TFLite file in compressed rows.

    A row is all but the last axis: an output unit of FULLY_CONNECTED, an
    output channel and position of CONV_2D. Per weight the file holds the
    values that are not zero, their indices in the row and where each row
    begins, in the smallest integers that hold them. An operation DENSIFY
    expands it once at load, so the outputs are those of the dense file bit for
    bit. A FULLY_CONNECTED with very few weights reads the rows themselves,
    which is faster; its sums are formed in another order. None does where the
    largest such weight of the file does not: changing between the kernels
    takes longer than a small weight saves.

    float32 and float16 weights of FULLY_CONNECTED, CONV_2D and
    DEPTHWISE_CONV_2D are encoded; int8 never, which the interpreters do not
    read right, and float16 never directly. What other operations read too, or
    what would not be smaller, stays dense.

    Args:
        data: the bytes of a TFLite file without sparse tensors.
        direct: fraction of zeros, at the least, of a float32 FULLY_CONNECTED
            that reads its rows directly; 2 for never.

    Returns:
        The bytes of the smaller file; `data` itself where nothing qualifies.

    Raises:
        ValueError: `data` is no TFLite file.

    Example:
        >>> from tf_lottery.export.tflite import convert
        >>> x = keras.Input((200,))
        >>> model = keras.Model(x, keras.layers.Dense(50)(x))
        >>> kernel = np.eye(200, 50, dtype="float32")
        >>> model.layers[1].set_weights([kernel, np.zeros(50)])
        >>> data = convert(model)
        >>> [w.storage for w in inspect(encode_sparse(data))]
        ['direct']
        >>> len(data) > 10 * len(encode_sparse(data))
        True
    """
    model = parse(data)
    users = collections.defaultdict(list)
    for graph in model.subgraphs:
        readers = _readers(model, graph)
        for index, tensor in enumerate(graph.tensors):
            users[tensor.buffer].append((graph, index, readers))
    if _zeros_of_largest(model, users) < direct:
        direct = 2
    changed = False
    for number, places in list(users.items()):
        changed |= _encode(model, number, places, direct)
    if not changed:
        return data
    encoded = pack(model)
    return encoded if len(encoded) < len(data) else data


def _zeros_of_largest(model, users) -> float:
    """Fraction of zeros in the largest weight of a FULLY_CONNECTED."""
    largest = np.zeros(1)
    for places in users.values():
        graph, index, readers = places[0]
        values = _values(model, graph.tensors[index])
        if values is not None and values.size > largest.size and any(
            code == _OP.FULLY_CONNECTED and slot == 1
            for code, slot, _ in readers[index]
        ):
            largest = values
    return float(np.mean(largest == 0))


def _readers(model, graph):
    """`{tensor: [(builtin code, slot, operator)]}` of those that read it."""
    readers = collections.defaultdict(list)
    for operator in graph.operators:
        code = _code(model.operatorCodes[operator.opcodeIndex])
        for slot, index in enumerate(operator.inputs):
            readers[int(index)].append((code, slot, operator))
    return readers


def _code(operator_code):
    # Old files hold the code in a field of one byte.
    return max(operator_code.builtinCode, operator_code.deprecatedBuiltinCode)


def _values(model, tensor):
    """The numbers that a constant stores, or None."""
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.type not in _DTYPES:
        return None
    return np.frombuffer(data.tobytes(), _DTYPES[tensor.type])


def _encode(model, number, places, direct) -> bool:
    """Encodes what is stored in one buffer, for all that refer to it."""
    first, index, _ = places[0]
    values = _values(model, first.tensors[index])
    shape = first.tensors[index].shape
    if values is None or not all(
        _qualifies(graph, index, readers, shape)
        for graph, index, readers in places
    ):
        return False
    rows = values.reshape(-1, shape[-1])
    zeros = 1 - np.count_nonzero(rows) / rows.size
    if zeros < _SPARSE:
        return False
    kept, axis = _compressed_rows(rows)
    tables = sum(
        vector.values.nbytes
        for vector in (axis.arraySegments, axis.arrayIndices)
    )
    if kept.nbytes + len(places) * (tables + _TABLES) >= values.nbytes:
        return False
    model.buffers[number].data = np.frombuffer(kept.tobytes(), np.uint8)
    for graph, index, readers in places:
        tensor = graph.tensors[index]
        tensor.sparsity = schema.SparsityParametersT(
            traversalOrder=np.arange(len(shape), dtype=np.int32),
            dimMetadata=[
                *(
                    schema.DimensionMetadataT(denseSize=int(size))
                    for size in shape[:-1]
                ),
                axis,
            ],
        )
        if zeros >= direct and _reads_rows(graph, tensor, readers[index]):
            for _, _, operator in readers[index]:
                _read_rows(model, graph, operator)
        else:
            _densify(model, graph, index, readers[index])
    return True


def _qualifies(graph, index, readers, shape) -> bool:
    tensor = graph.tensors[index]
    through = [(graph, index)]
    if tensor.type == _TYPE.FLOAT16:
        if {code for code, _, _ in readers[index]} != {_OP.DEQUANTIZE}:
            return False
        through += [
            (graph, int(operator.outputs[0]))
            for _, _, operator in readers[index]
        ]
        final = [r for _, i in through[1:] for r in readers[i]]
    elif tensor.type == _TYPE.FLOAT32:
        final = readers[index]
    else:
        return False
    outside = {int(i) for i in (*graph.inputs, *graph.outputs)}
    return (
        tensor.sparsity is None
        and not tensor.isVariable
        and np.array_equal(tensor.shape, shape)
        and len(shape) in (2, 4)
        and not any(i in outside for _, i in through)
        and bool(final)
        and all(code in _READERS and slot == 1 for code, slot, _ in final)
    )


def _reads_rows(graph, tensor, readers) -> bool:
    return tensor.type == _TYPE.FLOAT32 and all(
        code == _OP.FULLY_CONNECTED
        and operator.builtinOptions.fusedActivationFunction in _ACTIVATIONS
        and operator.builtinOptions.weightsFormat
        == schema.FullyConnectedOptionsWeightsFormat.DEFAULT
        and graph.tensors[operator.inputs[0]].type == _TYPE.FLOAT32
        for code, _, operator in readers
    )


def _compressed_rows(rows):
    """Values kept, and the metadata of the compressed axis."""
    keep = rows != 0
    if not keep.any():
        # A buffer without bytes would stand for no constant at all.
        keep[0, 0] = True
    segments = np.concatenate([[0], np.cumsum(keep.sum(axis=1))])
    axis = schema.DimensionMetadataT(format=schema.DimensionType.SPARSE_CSR)
    axis.arraySegmentsType, axis.arraySegments = _vector(segments)
    axis.arrayIndicesType, axis.arrayIndices = _vector(np.nonzero(keep)[1])
    return rows[keep], axis


def _vector(numbers):
    for dtype, kind, vector in _INDICES:
        if numbers.max() <= np.iinfo(dtype).max:
            return kind, vector(numbers.astype(dtype))
    raise ValueError(
        "`data` must hold weights of fewer than 2**31 entries. Received: "
        f"{numbers.max()}. Leave the file dense."
    )


def _read_rows(model, graph, operator) -> None:
    """Lets a FULLY_CONNECTED use the kernel that reads sparse weights."""
    operator.opcodeIndex = _operator_code(
        model, _OP.FULLY_CONNECTED, _SPARSE_VERSION
    )
    if len(operator.inputs) < 3 or operator.inputs[2] < 0:
        # Early versions of that kernel read a bias that is not there.
        units = graph.tensors[operator.inputs[1]].shape[0]
        model.buffers.append(
            schema.BufferT(np.zeros(4 * int(units), np.uint8))
        )
        bias = schema.TensorT(
            shape=np.array([units], np.int32),
            type=_TYPE.FLOAT32,
            buffer=len(model.buffers) - 1,
            name=b"zero_bias",
        )
        graph.tensors.append(bias)
        operator.inputs = np.array(
            [*operator.inputs[:2], len(graph.tensors) - 1], np.int32
        )


def _densify(model, graph, index, readers) -> None:
    """Puts a DENSIFY between a sparse tensor and those that read it."""
    dense = copy.copy(graph.tensors[index])
    dense.sparsity = None
    dense.buffer = 0  # By convention the empty one.
    dense.name = b"densified_%d" % index
    graph.tensors.append(dense)
    for _, slot, operator in readers:
        inputs = np.array(operator.inputs)
        inputs[slot] = len(graph.tensors) - 1
        operator.inputs = inputs
    graph.operators.insert(
        0,
        schema.OperatorT(
            opcodeIndex=_operator_code(model, _OP.DENSIFY, 1),
            inputs=np.array([index], np.int32),
            outputs=np.array([len(graph.tensors) - 1], np.int32),
            builtinOptionsType=schema.BuiltinOptions.DensifyOptions,
            builtinOptions=schema.DensifyOptionsT(),
        ),
    )


def _operator_code(model, code: int, version: int) -> Any:
    for index, known in enumerate(model.operatorCodes):
        if (_code(known), known.version) == (code, version):
            return index
    model.operatorCodes.append(
        schema.OperatorCodeT(
            # The old field has one signed byte; 127 stands for "see the new".
            deprecatedBuiltinCode=min(code, 127),
            version=version,
            builtinCode=code,
        )
    )
    return len(model.operatorCodes) - 1

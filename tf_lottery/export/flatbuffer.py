"""TFLite bytes as an object and back, by the official schema."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

_IDENTIFIER = b"TFL3"


class _AlignedBuffer(schema.BufferT):
    """A buffer that starts at a multiple of 16, as the schema asks.

    The generated Python code knows nothing of the schema's `force_align`.
    """

    def Pack(self, builder):
        if self.data is not None:
            builder.Prep(16, len(self.data))
        return super().Pack(builder)


def parse(data: bytes) -> Any:
    """Returns the `ModelT` that TFLite bytes hold.

    Args:
        data: the bytes of a TFLite file.

    Raises:
        ValueError: they are none, or the schema of this TensorFlow does not
            know all that they hold, so that it would be lost.

    Example:
        >>> parse(b"nothing of the kind")
        Traceback (most recent call last):
        ValueError: `data` must be a TFLite file. Received: 19 bytes. Convert
        the model with this TensorFlow.
    """
    try:
        model = _parse(data)
    except Exception as error:
        # Of torn bytes the generated code raises whatever it stumbles on.
        raise ValueError(
            f"`data` must be a TFLite file. Received: {len(data)} bytes. "
            "Convert the model with this TensorFlow."
        ) from error
    for graph in model.subgraphs:
        for operator in graph.operators:
            _check_known(operator)
    return model


def _parse(data):
    if bytes(data[4:8]) != _IDENTIFIER:
        raise ValueError("no TFLite file")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    for buffer in model.buffers:
        # Data behind the tables, as files above 2 GB have.
        if buffer.offset > 1:
            end = buffer.offset + buffer.size
            buffer.data = np.frombuffer(data[buffer.offset:end], np.uint8)
            buffer.offset = buffer.size = 0
    return model


def _check_known(operator):
    for kind, options in (
        (operator.builtinOptionsType, operator.builtinOptions),
        (operator.builtinOptions2Type, operator.builtinOptions2),
    ):
        if (kind and options is None) or operator.largeCustomOptionsOffset:
            raise ValueError(
                "`data` must hold operations that the schema of this "
                f"TensorFlow knows. Received: options of type {kind}. "
                "Convert the model with this TensorFlow."
            )


def pack(model: Any) -> bytes:
    """Returns the bytes of a TFLite file.

    Args:
        model: what `parse` returned.
    """
    buffers = model.buffers
    model.buffers = [_AlignedBuffer(buffer.data) for buffer in buffers]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    model.buffers = buffers
    return bytes(builder.Output())

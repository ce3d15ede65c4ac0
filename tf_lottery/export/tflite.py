"""A Keras model as dense TFLite bytes."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.export.flatbuffer import pack
from tf_lottery.export.flatbuffer import parse
from tf_lottery.export.runtime import quiet

FORMS = ("float32", "float16", "int8", "full_int8")


def convert(
    model: keras.Model,
    *,
    form: str = "float32",
    samples: Any = None,
    batch: int | None = 1,
) -> bytes:
    """Converts a model to TFLite, every weight stored, zeros included.

    The file takes and gives floats in all forms. Its inputs and outputs are
    in the order of `keras.tree.flatten(model.input)` and `(model.output)`.

    Args:
        model: a built Keras model.
        form: `"float32"`; `"float16"`, weights as float16; `"int8"`, weights
            as int8 and activations quantised on the fly; `"full_int8"`, both
            as int8, with ranges found on `samples`.
        samples: real inputs, an array with a leading batch axis or, for a
            model of several inputs, a structure of them as the model takes;
            needed for `"full_int8"` alone.
        batch: examples per run, or None for any number.

    Returns:
        The bytes of the file.

    Raises:
        ValueError: an argument is not one of these, or the model holds
            operations that TFLite lacks.

    Example:
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1)(x))
        >>> convert(model)[4:8]
        b'TFL3'
    """
    if form not in FORMS:
        raise ValueError(
            f"`form` must be one of {', '.join(FORMS)}. Received: "
            f"form={form!r}. float32 computes what the model does."
        )
    if batch is not None and batch < 1:
        raise ValueError(
            "`batch` must be at least 1, or None for any number. Received: "
            f"batch={batch}. 1 is usual."
        )
    if form == "full_int8" and samples is None:
        raise ValueError(
            "`samples` must be real inputs where form is full_int8. "
            "Received: samples=None. A hundred examples are enough."
        )
    try:
        specs = _signature(model, batch)
        with quiet(), tempfile.TemporaryDirectory() as folder:
            # The way through the model alone, `from_concrete_functions` with
            # a Keras model, writes a file without weights and says nothing.
            model.export(folder, verbose=False, input_signature=specs)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            if form != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if form == "float16":
                converter.target_spec.supported_types = [tf.float16]
            if form == "full_int8":
                converter.representative_dataset = lambda: _examples(
                    samples, specs, batch
                )
            data = converter.convert()
    except Exception as error:
        # The converter raises classes of its own that have no common base.
        raise ValueError(
            "`model` must hold only operations that TFLite has. Received: "
            f"model {model.name!r} with {_reason(error)}. Export it as a "
            "SavedModel."
        ) from error
    return _in_order(data, [spec.name for spec in keras.tree.flatten(specs)])


def _signature(model, batch):
    """What the model is called on: a list of one structure of specs."""
    numbers = iter(range(10**6))

    def spec(tensor):
        number = next(numbers)
        name = tensor.name
        if not re.fullmatch(r"[A-Za-z]\w*", name):
            name = f"input_{number}"
        return tf.TensorSpec((batch, *tensor.shape[1:]), tensor.dtype, name)

    return [keras.tree.map_structure(spec, model.input)]


def _examples(samples, specs, batch) -> Iterator[dict[str, np.ndarray]]:
    flat = keras.tree.flatten(specs)
    arrays = [
        np.asarray(array, spec.dtype.as_numpy_dtype)
        for array, spec in zip(keras.tree.flatten(samples), flat)
    ]
    size = batch or 1
    # A fixed batch must be full: what is left over is not looked at.
    for start in range(0, len(arrays[0]) - size + 1, size):
        yield {
            spec.name: array[start:start + size]
            for spec, array in zip(flat, arrays)
        }


def _reason(error: Exception) -> str:
    text = str(error)
    named = re.findall(r"^(?:Custom|Flex|TF Select) ops: (.+)$", text, re.M)
    if named:
        return f"{', '.join(named)}, which it lacks"
    return f"an error, {' '.join(text.split())[:200] or type(error).__name__}"


def _in_order(data: bytes, names: list[str]) -> bytes:
    """Puts inputs and outputs in the order of the model.

    The converter orders inputs by first use and outputs as text, so that
    output_10 comes before output_2.
    """
    file = parse(data)
    graph = file.subgraphs[0]
    if len(graph.inputs) == len(graph.outputs) == 1:
        return data
    (signature,) = file.signatureDefs
    inputs = {t.name.decode(): t.tensorIndex for t in signature.inputs}
    outputs = {t.name.decode(): t.tensorIndex for t in signature.outputs}
    graph.inputs = np.array([inputs[name] for name in names], np.int32)
    graph.outputs = np.array(
        [outputs[name] for name in sorted(outputs, key=_by_number)], np.int32
    )
    return pack(file)


def _by_number(name: str) -> tuple[str, int]:
    stem, number = re.fullmatch(r"(.*?)(\d*)", name, re.S).groups()
    return stem, int(number or -1)

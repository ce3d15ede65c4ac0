"""A Keras model as dense TFLite bytes."""

from __future__ import annotations

import numbers
import re
import tempfile
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.models.functional import Functional

from tf_lottery.export.flatbuffer import pack
from tf_lottery.export.flatbuffer import parse
from tf_lottery.export.runtime import quiet
from tf_lottery.export.saved_model import file_errors
from tf_lottery.layers import walk

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
        model: a functional or Sequential model.
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
        ValueError: an argument is not one of these, or the model is neither
            functional nor Sequential, computes in float16 or bfloat16, or
            holds operations that TFLite lacks.
        OSError: the folder of temporary files cannot be written.

    Example:
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1)(x))
        >>> convert(model)[4:8]
        b'TFL3'
    """
    check_form(form, batch)
    if form == "full_int8" and samples is None:
        raise ValueError(
            "`samples` must be real inputs where form is full_int8. "
            "Received: samples=None. A hundred examples are enough."
        )
    specs = _signature(model, batch)
    if samples is not None:
        samples = in_order(model, samples)
        check_samples(model, samples)
    loops = False
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            # The way through the model alone, `from_concrete_functions` with
            # a Keras model, writes a file without weights and says nothing.
            with file_errors(tempfile.gettempdir()):
                model.export(folder, verbose=False, input_signature=specs)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            if form == "full_int8":
                loops = len(parse(converter.convert()).subgraphs) > 1
            if form != "float32":
                converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if form == "float16":
                converter.target_spec.supported_types = [tf.float16]
            if form == "full_int8":
                converter.representative_dataset = lambda: _examples(
                    samples, specs, batch
                )
            # Calibrating a loop ends the process, without an exception.
            data = b"" if loops else converter.convert()
    except OSError:
        raise
    except Exception as error:
        # The converter raises classes of its own that have no common base.
        raise ValueError(
            "`model` must hold only operations that TFLite has. Received: "
            f"model {model.name!r} with {_reason(error)}. Export it as a "
            "SavedModel."
        ) from error
    if loops:
        raise ValueError(
            "`form` must be another than full_int8 for a model with loops. "
            f"Received: model {model.name!r}, form={form!r}. Use int8, or "
            "unroll its recurrent layers."
        )
    return _in_order(data, [spec.name for spec in keras.tree.flatten(specs)])


def check_form(form: str, batch: int | None) -> None:
    """Raises ValueError for a form or a batch that no file can have.

    Args:
        form: as in `convert`.
        batch: as in `convert`.
    """
    if form not in FORMS:
        raise ValueError(
            f"`form` must be one of {', '.join(FORMS)}. Received: "
            f"form={form!r}. float32 computes what the model does."
        )
    if batch is not None and (
        not isinstance(batch, numbers.Integral) or batch < 1
    ):
        raise ValueError(
            "`batch` must be a whole number of at least 1, or None for any "
            f"number. Received: batch={batch!r}. 1 is usual."
        )


def input_of(model: keras.Model) -> Any:
    """Returns the symbolic input that a model is called on.

    Args:
        model: a functional model, or a Sequential one that is built.

    Returns:
        A `keras.KerasTensor`, or a structure of them.

    Raises:
        ValueError: the model is of another kind, or is not built.

    Example:
        >>> layers = [keras.Input((2,)), keras.layers.ReLU()]
        >>> input_of(keras.Sequential(layers)).shape
        (None, 2)
    """
    # It has no `input` before it is called, and no `inputs` if not built.
    if isinstance(model, keras.Sequential):
        inputs = getattr(model, "inputs", None)
        if inputs:
            return inputs[0]
    if isinstance(model, Functional):
        return model.input
    raise ValueError(
        "`model` must be functional, or Sequential and built. Received: model "
        f"{model.name!r} of class {type(model).__name__}. Wrap it: "
        "keras.Model(x, model(x)) with x = keras.Input(...)."
    )


def in_order(model: keras.Model, samples: Any) -> Any:
    """Returns samples in the order of a model's inputs.

    Args:
        model: a functional or Sequential model.
        samples: as in `check_samples`; by name too where the model takes a
            list, as Keras allows.

    Returns:
        A list where they are given by name and the model takes a list;
        otherwise `samples`.

    Raises:
        ValueError: an input's name is missing.

    Example:
        >>> inputs = [keras.Input((1,), name=name) for name in ("b", "a")]
        >>> model = keras.Model(inputs, keras.layers.Add()(inputs))
        >>> in_order(model, {"a": [[1.0]], "b": [[2.0]]})
        [[[2.0]], [[1.0]]]
    """
    inputs = input_of(model)
    if not isinstance(samples, dict) or not isinstance(inputs, (list, tuple)):
        return samples
    names = [tensor.name for tensor in keras.tree.flatten(inputs)]
    if not samples.keys() >= set(names):
        raise ValueError(
            "`samples` must hold the model's inputs by their names, "
            f"{', '.join(names)}. Received: {', '.join(map(str, samples))}. "
            "Give arrays, as the model takes them."
        )
    return [samples[name] for name in names]


def check_samples(model: keras.Model, samples: Any) -> None:
    """Raises where arrays are no batch of inputs of a model.

    Args:
        model: a functional or Sequential model.
        samples: an array with a leading batch axis or, for a model of several
            inputs, a structure of them as the model takes.

    Raises:
        ValueError: the number of arrays, their shapes or lengths are others,
            or the model is of another kind.

    Example:
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.ReLU()(x))
        >>> check_samples(model, np.ones((5, 2)))
    """
    inputs = keras.tree.flatten(input_of(model))
    shapes = [np.shape(array) for array in keras.tree.flatten(samples)]
    lengths = {shape[:1] for shape in shapes}
    fits = len(shapes) == len(inputs) and len(lengths) == 1 and all(
        len(shape) == len(tensor.shape)
        and all(n in (None, m) for n, m in zip(tensor.shape[1:], shape[1:]))
        for shape, tensor in zip(shapes, inputs)
    )
    if not fits or not shapes[0][0]:
        wanted = ", ".join(str(tuple(t.shape)) for t in inputs)
        given = ", ".join(map(str, shapes[:8]))
        if len(shapes) > 8:
            # Rows as lists are as many numbers.
            given += f" and {len(shapes) - 8} more"
        raise ValueError(
            "`samples` must hold inputs of the model, one at the least, of "
            f"shape {wanted}. Received: shape {given}. Give arrays, as the "
            "model takes them."
        )


def _signature(model, batch):
    """What the model is called on: a list of one structure of specs."""
    half = sorted(
        {
            str(layer.compute_dtype)
            for layer in walk(model)
            if layer.compute_dtype in ("float16", "bfloat16")
        }
    )
    if half:
        raise ValueError(
            "`model` must compute in float32. Received: model "
            f"{model.name!r}, computing in {', '.join(half)}. Build it under "
            "the dtype policy float32 and set its weights."
        )
    inputs = input_of(model)
    own = {tensor.name for tensor in keras.tree.flatten(inputs)}
    names: list[str] = []

    def spec(tensor):
        name, number = tensor.name, len(names)
        if not re.fullmatch(r"[A-Za-z]\w*", name) or name in names:
            while (name := f"input_{number}") in own.union(names):
                number += 1
        names.append(name)
        return tf.TensorSpec((batch, *tensor.shape[1:]), tensor.dtype, name)

    return [keras.tree.map_structure(spec, inputs)]


def _examples(samples, specs, batch) -> Iterator[dict[str, np.ndarray]]:
    flat = keras.tree.flatten(specs)
    arrays = [
        np.asarray(array, spec.dtype.as_numpy_dtype)
        for array, spec in zip(keras.tree.flatten(samples), flat)
    ]
    size = batch or 1
    for start in range(0, len(arrays[0]), size):
        # A fixed batch must be full: the last one is filled from the first.
        chosen = np.arange(start, start + size) % len(arrays[0])
        yield {spec.name: array[chosen] for spec, array in zip(flat, arrays)}


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


def _by_number(name: str) -> tuple[int, str]:
    # Keras names the outputs of a list by number, of a dict by its keys,
    # which flatten sorts as text.
    number = re.fullmatch(r"output_(\d+)", name)
    return int(number.group(1)) if number else -1, name

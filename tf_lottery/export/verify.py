"""No TFLite bytes leave without agreeing with the model."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.export.runtime import Runner
from tf_lottery.export.sparse import encode_sparse
from tf_lottery.export.sparse import inspect
from tf_lottery.export.tflite import check_samples
from tf_lottery.export.tflite import convert
from tf_lottery.export.tflite import in_order
from tf_lottery.export.tflite import input_of
from tf_lottery.layers import named_variables

# Per form: the largest error, the least argmax agreement. An int8 file is not
# close, but must decide as the model does; its error is that of no garbage.
BOUNDS = {
    "float32": (1e-5, 0.0),
    "float16": (1e-3, 0.0),
    "int8": (0.1, 0.99),
    "full_int8": (0.1, 0.99),
}
# Below 4, 2 and 1: equal weights may be stored once.
_BYTES_PER_WEIGHT = {
    "float32": 3.5, "float16": 1.75, "int8": 0.9, "full_int8": 0.9,
}
# Examples per call of the model, and of random inputs.
_CHUNK = 64


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How near a function is to a model.

    Attributes:
        error: `max |y_run - y| / max(1, max |y|)` over all outputs and
            examples; infinite where an output of the function is not finite.
        argmax: fraction of examples whose largest output is the model's
            largest, or within 1e-6 * max(1, max |y|) of it, so that a tie
            may go either way; 1 where the model gives single numbers.
        finite: whether all outputs of the function are.
        examples: how many were compared.
    """

    error: float
    argmax: float
    finite: bool
    examples: int

    def __str__(self) -> str:
        if not self.finite:
            return f"NaN or infinity in {self.examples} examples"
        return (
            f"an error of {self.error:.1e} and argmax {self.argmax:.4f} in "
            f"{self.examples} examples"
        )


def ok(agreement: Agreement, form: str) -> bool:
    """Returns whether a file of that form is near enough to be kept.

    Args:
        agreement: what `check_agreement` returned.
        form: one of `tf_lottery.export.tflite.FORMS`.

    Example:
        >>> ok(Agreement(2e-5, 1.0, True, 8), "float32")
        False
        >>> ok(Agreement(2e-5, 1.0, True, 8), "float16")
        True
    """
    error, argmax = BOUNDS[form]
    return (
        agreement.finite
        and agreement.error <= error
        and agreement.argmax >= argmax
    )


def check_agreement(
    run: Callable[[Any], Any], model: keras.Model, inputs: Any
) -> Agreement:
    """Compares a function with a model, in inference mode on the CPU.

    Args:
        run: takes a list of arrays, one per input of the model in the order
            of `keras.tree.flatten(model.input)`, and returns an array or a
            list of them, as `Runner` does.
        model: the model that it is to compute.
        inputs: an array with a leading batch axis or, for a model of several
            inputs, a structure of them as the model takes.

    Returns:
        The agreement over all examples.

    Raises:
        ValueError: `inputs` are none of the model, or it fails on them or
            gives what is not finite, or the function's outputs are of another
            shape.

    Example:
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.ReLU()(x))
        >>> rows = np.array([[1.0, -2.0], [3.0, 4.0]])
        >>> check_agreement(lambda arrays: arrays[0], model, rows)
        Agreement(error=0.5, argmax=1.0, finite=True, examples=2)
    """
    inputs = in_order(model, inputs)
    wanted = outputs_of(model, inputs)
    parts = [keras.tree.flatten(run(chunk)) for chunk in _chunks(inputs)]
    given = [np.concatenate(list(map(np.asarray, p))) for p in zip(*parts)]
    return _compare(wanted, given, len(keras.tree.flatten(inputs)[0]))


def outputs_of(model: keras.Model, inputs: Any) -> list[np.ndarray]:
    """Returns what a model gives, in inference mode on the CPU.

    Args:
        model: a built Keras model.
        inputs: as in `check_agreement`.

    Returns:
        One float32 array per output, in the order of `keras.tree.flatten`.

    Raises:
        ValueError: `inputs` are none of the model, or it fails on them or
            gives what is not finite.

    Example:
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.ReLU()(x))
        >>> outputs_of(model, np.array([[1.0, -2.0]]))
        [array([[1., 0.]], dtype=float32)]
    """
    inputs = in_order(model, inputs)
    check_samples(model, inputs)
    parts = [_outputs(model, inputs, chunk) for chunk in _chunks(inputs)]
    outputs = [np.concatenate(arrays) for arrays in zip(*parts)]
    if not all(np.isfinite(array).all() for array in outputs):
        raise ValueError(
            "`model` must give finite outputs. Received: NaN or infinity "
            f"from model {model.name!r}. Look at its weights."
        )
    return outputs


def _chunks(inputs) -> Iterator[list[np.ndarray]]:
    flat = [np.asarray(array) for array in keras.tree.flatten(inputs)]
    # One alone first, for files that take any number.
    for start in (0, *range(1, len(flat[0]), _CHUNK)):
        stop = start + _CHUNK if start else 1
        yield [array[start:stop] for array in flat]


def _outputs(model, structure, chunk) -> list[np.ndarray]:
    # A GPU would round float32 products to TF32.
    with tf.device("CPU:0"):
        tensors = [
            tf.convert_to_tensor(array, tensor.dtype)
            for array, tensor in zip(
                chunk, keras.tree.flatten(input_of(model))
            )
        ]
        try:
            outputs = model(
                keras.tree.pack_sequence_as(structure, tensors), training=False
            )
        except Exception as error:
            # Of any kind, as of an index that an Embedding does not have.
            raise ValueError(
                "`inputs` must be such as the model takes. Received: "
                f"{type(error).__name__} from model {model.name!r}, "
                f"{' '.join(str(error).split())[:200]}. Give real inputs."
            ) from error
    return [
        keras.ops.convert_to_numpy(keras.ops.cast(output, "float32"))
        for output in keras.tree.flatten(outputs)
    ]


def _compare(wanted, given, examples) -> Agreement:
    shapes = [array.shape for array in wanted]
    if [array.shape for array in given] != shapes:
        raise ValueError(
            f"`run` must give outputs of shapes {shapes}. Received: "
            f"{[array.shape for array in given]}. The file is not of this "
            "model."
        )
    finite = all(bool(np.isfinite(array).all()) for array in given)
    error, alike = float("inf"), 1.0
    scale = [max(1.0, float(np.abs(y).max(initial=0))) for y in wanted]
    if finite:
        error = max(
            float(np.abs(y - x).max(initial=0)) / size
            for x, y, size in zip(given, wanted, scale)
        )
    for x, y, size in zip(given, wanted, scale):
        if y.ndim > 1 and y.shape[-1] > 1:
            best = np.argmax(x, axis=-1, keepdims=True)
            chosen = np.take_along_axis(y, best, axis=-1)[..., 0]
            first = chosen >= y.max(axis=-1) - 1e-6 * size
            alike = min(alike, float(np.mean(first)))
    return Agreement(error, alike, finite, examples)


def safe_tflite(
    model: keras.Model,
    form: str,
    samples: Any,
    *,
    batch: int | None = 1,
    sparse: bool = True,
    direct: float = 0.9,
) -> tuple[bytes, list[str], Agreement]:
    """Converts a model to the smallest file that agrees with it.

    The sparsest file is tried first: rows read directly, then rows expanded
    at load, then dense. Each is run in the default interpreter, on the samples
    and on as many normally distributed inputs (up to 64; only where all
    inputs are floats, of which the model gives finite outputs). An int8 file
    must agree on the samples, of which there should be some hundreds then;
    what it gives for random inputs, of another range, must be finite.

    Args:
        model: a built Keras model without masks.
        form: one of `tf_lottery.export.tflite.FORMS`.
        samples: real inputs, an array with a leading batch axis or, for a
            model of several inputs, a structure of them as the model takes.
        batch: examples per run, or None for any number.
        sparse: False for the dense file alone.
        direct: fraction of zeros from which a FULLY_CONNECTED reads its rows
            directly, which pays at batch 1 from about 0.9 and at batch 16
            from about 0.96, since that kernel uses one thread; 2 for never.

    Returns:
        The bytes; notes on what was not done and why, or failed and how; and
        the agreement of those bytes, over the samples and, but for int8
        files, the random inputs.

    Raises:
        ValueError: an argument is not one of these, the model cannot be
            converted, or it gives NaN.
        RuntimeError: not even the dense file agrees with the model.

    Example:
        >>> x = keras.Input((200,))
        >>> model = keras.Model(x, keras.layers.Dense(50)(x))
        >>> kernel = np.eye(200, 50, dtype="float32")
        >>> model.layers[1].set_weights([kernel, np.zeros(50)])
        >>> data, notes, agreement = safe_tflite(
        ...     model, "float32", np.ones((8, 200))
        ... )
        >>> len(data) < 4000, notes, agreement.examples
        (True, [], 16)
    """
    samples = in_order(model, samples)
    check_samples(model, samples)
    dense = convert(model, form=form, samples=samples, batch=batch)
    notes: list[str] = []
    least = _weights(model) * _BYTES_PER_WEIGHT[form]
    random = _random_inputs(model, samples, notes)
    # Sparse files are made of this one; they may well be smaller, where the
    # converter multiplied a kernel with the zeros of a normalisation.
    if len(dense) < least:
        raise _failure(form, [
            f"dense: {len(dense)} bytes cannot hold the weights, which take "
            f"{least:.0f}"
        ])
    for name, data in _attempts(dense, form, sparse, direct, notes):
        try:
            agreement = _agreement(Runner(data), model, form, samples, random)
        except RuntimeError as error:
            notes.append(f"{name}: {' '.join(str(error).split())[:200]}")
            continue
        if ok(agreement, form):
            if sparse and "int8" not in form:
                notes += _left_dense(data)
            return data, notes, agreement
        notes.append(f"{name}: does not agree with the model, {agreement}")
    raise _failure(form, notes)


def _failure(form: str, notes: list[str]) -> RuntimeError:
    return RuntimeError(
        f"`form` must give a file that agrees with the model. Received: "
        f"form={form!r}, {'; '.join(notes)}. Try "
        f"{'float16' if 'int8' in form else 'a SavedModel'}."
    )


def _attempts(dense, form, sparse, direct, notes) -> Iterator[tuple]:
    if sparse and "int8" in form:
        notes.append(
            "int8 weights stay dense: the interpreters read sparse ones "
            "wrongly, and compressed the dense file is smaller"
        )
    elif sparse:
        rows = encode_sparse(dense, direct=direct)
        expanded = encode_sparse(dense, direct=2)
        if rows not in (dense, expanded):
            yield "rows read directly", rows
        if expanded is not dense:
            yield "rows expanded at load", expanded
    yield "dense", dense


def _left_dense(data) -> list[str]:
    """Says which pruned weights a sparse file holds dense."""
    names = [
        weight.name
        for weight in inspect(data)
        if weight.storage == "dense"
        # Smaller ones cannot repay what a sparse tensor needs besides.
        and weight.zeros >= 0.5 and weight.bytes > 1000
    ]
    if not names:
        return []
    return [
        f"{', '.join(names)}: stored dense with their zeros, since they would "
        "not be smaller, or operations read them that take no sparse weight"
    ]


def _agreement(run, model, form, samples, random) -> Agreement:
    real = check_agreement(run, model, samples)
    if random is None:
        return real
    other = check_agreement(run, model, random)
    if "int8" in form:
        return dataclasses.replace(real, finite=real.finite and other.finite)
    return Agreement(
        max(real.error, other.error),
        min(real.argmax, other.argmax),
        real.finite and other.finite,
        real.examples + other.examples,
    )


def _random_inputs(model, samples, notes):
    inputs = keras.tree.flatten(input_of(model))
    if not all("float" in tensor.dtype for tensor in inputs):
        return None
    rng = np.random.default_rng(0)
    drawn = keras.tree.map_structure(
        lambda array: rng.normal(
            size=(min(len(array), _CHUNK), *np.shape(array)[1:])
        ).astype("float32"),
        samples,
    )
    try:
        outputs_of(model, drawn)
    except ValueError:
        # It may take the root of them, or look up what they number.
        notes.append(
            "compared on the samples alone: the model fails on random inputs, "
            "or gives NaN or infinity"
        )
        return None
    return drawn


def _weights(model) -> int:
    """Number of weights that are not zero, in kernels of unequal values."""
    kernels: dict[bytes, int] = {
        hashlib.sha256(np.asarray(v).tobytes()).digest(): int(
            np.count_nonzero(v)
        )
        for v in named_variables(model).values()
        if v.ndim > 1
    }
    return sum(kernels.values())

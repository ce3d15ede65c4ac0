"""Runs TFLite bytes, with LiteRT where it is installed."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import statistics
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops what TFLite's C++ code and converter print, and all warnings.

    The C++ code writes to the process's own standard error, so for the time
    of the block other threads are not heard there either.
    """
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(open(os.devnull, "w"))
        try:
            saved = os.dup(2)
        except OSError:  # A process without standard error.
            pass
        else:
            os.dup2(sink.fileno(), 2)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, 2)
        stack.enter_context(contextlib.redirect_stdout(sink))
        stack.enter_context(contextlib.redirect_stderr(sink))
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        yield


def runtime_name() -> str:
    """Returns the name and version of the interpreter that runs the files.

    Returns:
        `"ai-edge-litert <version>"`, or `"tensorflow <version>"` where LiteRT
        is not installed.

    Example:
        >>> runtime_name().split()[0] in ("ai-edge-litert", "tensorflow")
        True
    """
    name = _interpreter_class().__module__.partition(".")[0]
    name = "ai-edge-litert" if name == "ai_edge_litert" else "tensorflow"
    return f"{name} {importlib.metadata.version(name)}"


def _interpreter_class() -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        import tensorflow as tf

        return tf.lite.Interpreter
    return Interpreter


class Runner:
    """A TFLite model in the default interpreter, called like a function.

    A file with a dynamic batch is resized to the batch that it is given; one
    with a fixed batch is run as often as needed, the last time filled up.

    Args:
        data: the bytes of a TFLite file.
        threads: number of threads, at least 1.

    Raises:
        ValueError: `data` is no TFLite model, or `threads` is below 1.
        RuntimeError: the interpreter cannot run it.

    Example:
        >>> from tf_lottery.export.tflite import convert
        >>> x = keras.Input((3,))
        >>> model = keras.Model(x, keras.layers.ReLU()(x))
        >>> run = Runner(convert(model))
        >>> run(np.array([[1.0, -2.0, 3.0], [-1.0, 0.0, 0.5]]))
        array([[1. , 0. , 3. ],
               [0. , 0. , 0.5]], dtype=float32)
    """

    def __init__(self, data: bytes, threads: int = 1) -> None:
        if threads < 1:
            raise ValueError(
                "`threads` must be at least 1. Received: "
                f"threads={threads}. 1 is the fastest for small models."
            )
        try:
            with quiet():
                self._interpreter = _interpreter_class()(
                    model_content=data, num_threads=threads
                )
        except (TypeError, ValueError) as error:
            raise ValueError(
                "`data` must be a TFLite model. Received: "
                f"{' '.join(str(error).split())[:200]}. Convert the model "
                "again."
            ) from error
        with quiet():
            self._interpreter.allocate_tensors()
        self._outputs = [
            detail["index"]
            for detail in self._interpreter.get_output_details()
        ]

    @property
    def batch(self) -> int | None:
        """Examples that one invocation takes; None where any number."""
        first = self._interpreter.get_input_details()[0]
        size = int(first["shape_signature"][0])
        return None if size == -1 else size

    def __call__(self, x: Any) -> Any:
        """Returns the outputs for a batch of any size.

        Args:
            x: one array with a leading batch axis; for a model of several
                inputs a list in the order of the file.

        Returns:
            An array, or for a model of several outputs a list of them.

        Raises:
            ValueError: the arrays are not those that the model takes.
        """
        arrays = self._arrays(x)
        total = len(arrays[0])
        size = self.batch or total
        parts = []
        for start in range(0, total, size):
            chunk = [a[start:start + size] for a in arrays]
            missing = size - len(chunk[0])
            if missing:
                chunk = [
                    np.concatenate([a, np.repeat(a[-1:], missing, axis=0)])
                    for a in chunk
                ]
            self._feed(chunk)
            self.invoke()
            parts.append([
                self._interpreter.get_tensor(index)[:size - missing]
                for index in self._outputs
            ])
        outputs = [np.concatenate(output) for output in zip(*parts)]
        return outputs[0] if len(outputs) == 1 else outputs

    def feed(self, x: Any) -> None:
        """Sets the inputs of one invocation, for `invoke` to be timed alone.

        Args:
            x: as for a call, with exactly the batch of a file that has one.

        Raises:
            ValueError: the arrays are not those that the model takes.
        """
        arrays = self._arrays(x)
        if self.batch not in (None, len(arrays[0])):
            raise ValueError(
                f"`x` must have the batch of the file, {self.batch}. "
                f"Received: a batch of {len(arrays[0])}. Convert the model "
                "for that batch."
            )
        self._feed(arrays)

    def invoke(self) -> None:
        """Runs the model once, on the inputs that it was fed."""
        self._interpreter.invoke()

    def _feed(self, arrays: Sequence[np.ndarray]) -> None:
        details = self._interpreter.get_input_details()
        if any(
            tuple(detail["shape"]) != array.shape
            for detail, array in zip(details, arrays)
        ):
            for detail, array in zip(details, arrays):
                self._interpreter.resize_tensor_input(
                    detail["index"], array.shape
                )
            with quiet():
                self._interpreter.allocate_tensors()
        for detail, array in zip(details, arrays):
            self._interpreter.set_tensor(detail["index"], array)

    def _arrays(self, x: Any) -> list[np.ndarray]:
        """The inputs in the order of the file, in its dtypes."""
        details = self._interpreter.get_input_details()
        if not isinstance(x, (list, tuple)) or len(details) == 1:
            # Of one input a list is that input's rows.
            x = [x[0]] if self._is_wrapped(x, details) else [x]
        if len(x) != len(details):
            raise ValueError(
                f"`x` must hold {len(details)} arrays. Received: {len(x)}. "
                "Give one for each input of the model."
            )
        arrays = [
            np.asarray(array, dtype=detail["dtype"])
            for array, detail in zip(x, details)
        ]
        for array, detail in zip(arrays, details):
            wanted = tuple(int(n) for n in detail["shape_signature"])
            fits = array.ndim == len(wanted) and all(
                size in (-1, given)
                for size, given in zip(wanted[1:], array.shape[1:])
            )
            if not fits or not len(array) or len(array) != len(arrays[0]):
                raise ValueError(
                    f"`x` must have shape {('batch', *wanted[1:])}, with one "
                    f"batch of at least 1 for all inputs. Received: shape="
                    f"{array.shape}. -1 stands for any size."
                )
        return arrays

    def _is_wrapped(self, x: Any, details: Any) -> bool:
        return (
            isinstance(x, (list, tuple))
            and len(x) == 1
            and np.ndim(x[0]) == len(details[0]["shape_signature"])
        )


def latency(
    runners: Mapping[str, Runner],
    x: Any,
    rounds: int = 20,
    seconds: float = 0.05,
) -> dict[str, dict[str, float]]:
    """Times models against each other, in turns.

    Each round times every model once, so what slows the machine for a while
    slows all; a ratio is the median over the rounds of `t_first / t_model`.

    Args:
        runners: `{name: Runner}`; the first is what the others are compared
            with.
        x: inputs of one invocation.
        rounds: number of rounds.
        seconds: how long each model is timed in a round, at the least.

    Returns:
        `{name: {"median_seconds": seconds per invocation, "ratio": how many
        times as fast as the first}}`.

    Raises:
        ValueError: there is nothing to time, or `rounds` is below 1.
    """
    if not runners or rounds < 1:
        raise ValueError(
            "`runners` must hold a model, and `rounds` be at least 1. "
            f"Received: {len(runners)} models, rounds={rounds}. Give both."
        )
    for runner in runners.values():
        runner.feed(x)
        runner.invoke()  # Prepares what the first run alone needs.
    times: dict[str, list[float]] = {name: [] for name in runners}
    for number in range(rounds):
        # Turned round each time: who follows whom must not matter.
        order = list(runners) if number % 2 else list(runners)[::-1]
        for name in order:
            times[name].append(_seconds(runners[name].invoke, seconds))
    first = times[next(iter(runners))]
    return {
        name: {
            "median_seconds": statistics.median(spent),
            "ratio": statistics.median(
                a / b for a, b in zip(first, spent)
            ),
        }
        for name, spent in times.items()
    }


def _seconds(call: Any, seconds: float) -> float:
    count = 0
    start = now = time.perf_counter()
    while now - start < seconds or not count:
        call()
        count += 1
        now = time.perf_counter()
    return (now - start) / count

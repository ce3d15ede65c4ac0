"""Devices: which strategy trains, and whether XLA compiles the loop."""

from __future__ import annotations

import functools

import keras
import tensorflow as tf

from tf_lottery.layers import walk

STRATEGIES = ("auto", "one_device", "mirrored")
JIT = ("auto", "on", "off")


def make_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Returns the strategy of that name.

    Args:
        name: `"one_device"`: the first GPU, or the CPU. `"mirrored"`: every
            GPU, or every logical CPU device where there is none. `"auto"`:
            mirrored over several GPUs, one device otherwise.

    Raises:
        ValueError: an unknown name.
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {', '.join(STRATEGIES)}. Received: "
            f"strategy={name!r}. Choose one of these."
        )
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if name == "mirrored" or (name == "auto" and len(gpus) > 1):
        return _mirrored(tuple(d.name for d in devices))
    return tf.distribute.OneDeviceStrategy(devices[0].name)


# One per process: two strategies would number their collective operations
# alike, and TensorFlow then takes the second's for the first's and fails.
@functools.cache
def _mirrored(devices: tuple[str, ...]) -> tf.distribute.MirroredStrategy:
    return tf.distribute.MirroredStrategy(devices)


def use_xla(
    jit: str, model: keras.Model, strategy: tf.distribute.Strategy
) -> bool:
    """Decides whether XLA compiles the training loop.

    On a CPU, XLA makes a dense network's loop about twice as fast and a
    convolution inside a loop about a hundred times slower; over several
    logical CPU devices it fails.

    Args:
        jit: `"on"`, `"off"`, or `"auto"` to choose by model and device.
        model: the model to be trained.
        strategy: the strategy that trains it.

    Raises:
        ValueError: an unknown value, or `"on"` over several CPU devices.
    """
    if jit not in JIT:
        raise ValueError(
            f"`jit` must be one of {', '.join(JIT)}. Received: jit={jit!r}. "
            "Choose one of these."
        )
    replicas = strategy.num_replicas_in_sync
    gpu = bool(tf.config.list_logical_devices("GPU"))
    if jit == "on" and replicas > 1 and not gpu:
        raise ValueError(
            f"`jit` must be auto or off on {replicas} logical CPU devices. "
            "Received: jit='on'. XLA compiles for one CPU device only."
        )
    if jit != "auto":
        return jit == "on"
    if gpu:
        return True
    windowed = any(hasattr(layer, "strides") for layer in walk(model))
    return not windowed and replicas == 1

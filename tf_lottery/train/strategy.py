"""Devices: which strategy trains, and whether XLA compiles the loop."""

from __future__ import annotations

import functools
import os

import keras
import tensorflow as tf

from tf_lottery.layers import walk
from tf_lottery.train.workers import read_task

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")
JIT = ("auto", "on", "off")


def make_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Returns the strategy of that name.

    Args:
        name: `"one_device"`: the first GPU, or the CPU. `"mirrored"`: every
            GPU, or every logical CPU device where there is none. `"auto"`:
            mirrored over several GPUs, one device otherwise.
            `"multi_worker"`: every GPU, or the CPU, of every process that
            TF_CONFIG names; it waits for them. `"tpu"`: the TPU that
            TPU_NAME names, or the one of this machine; no TPU was at hand to
            run this on.

    Raises:
        ValueError: an unknown name, or a TF_CONFIG that is not right.
        RuntimeError: there is no TPU; the workers cannot be joined, or
            TensorFlow has computed something before.
    """
    if name not in STRATEGIES:
        raise ValueError(
            f"`strategy` must be one of {', '.join(STRATEGIES)}. Received: "
            f"strategy={name!r}. Choose one of these."
        )
    if name == "multi_worker":
        read_task(name)
        return _multi_worker()
    if name == "tpu":
        return _tpu()
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


@functools.cache
def _multi_worker() -> tf.distribute.MultiWorkerMirroredStrategy:
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError) as error:
        raise RuntimeError(
            "`strategy` multi_worker must be set up before TensorFlow "
            "computes anything, with the others of TF_CONFIG in reach. "
            f"Received: {' '.join(str(error).split())[:200]} Start the same "
            "command on all workers, each on a free port of its own."
        ) from error


@functools.cache
def _tpu() -> tf.distribute.TPUStrategy:
    """The documented way to a TPU. It was not run: none was at hand."""
    name = os.environ.get("TPU_NAME", "local")
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(name)
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    except (ValueError, RuntimeError, tf.errors.OpError) as error:
        raise RuntimeError(
            "`strategy` tpu must have a TPU. Received: TPU_NAME="
            f"{name}, and {' '.join(str(error).split())[:100]} Run on a TPU "
            "machine, or choose another strategy."
        ) from error


def xla_scope(
    jit: str, model: keras.Model, strategy: tf.distribute.Strategy
) -> str:
    """Decides what of the training loop XLA compiles.

    On a CPU, XLA makes a dense network's loop about twice as fast and a
    convolution inside a loop about a hundred times slower; a recurrent network
    is as fast without, and compiled in half the time. Of both it compiles the
    optimizer's update alone, and on every device where a layer does not
    support XLA, as a recurrent one on a GPU by cuDNN, or RandomRotation. It
    compiles for one device: a loop over several replicas is left to
    TensorFlow.

    Args:
        jit: `"on"`, `"off"`, or `"auto"` to choose by model and device.
        model: the model to be trained.
        strategy: the strategy that trains it.

    Returns:
        `"loop"`, `"update"` or `"nothing"`, as `compile_steps` takes it.

    Raises:
        ValueError: an unknown value, or `"on"` over several replicas or for a
            model with a layer that does not support XLA.
    """
    if jit not in JIT:
        raise ValueError(
            f"`jit` must be one of {', '.join(JIT)}. Received: jit={jit!r}. "
            "Choose one of these."
        )
    replicas = strategy.num_replicas_in_sync
    if jit == "on" and replicas > 1:
        raise ValueError(
            f"`jit` must be auto or off on {replicas} replicas. Received: "
            "jit='on'. XLA compiles the training loop for one device only."
        )
    tpu = isinstance(strategy, tf.distribute.TPUStrategy)
    if jit == "off" or replicas > 1 or tpu:
        return "nothing"
    layers = [model, *walk(model)]
    unfit = [layer.name for layer in layers if not layer.supports_jit]
    if jit == "on" and unfit:
        raise ValueError(
            "`jit` must be auto or off for layers that do not support XLA. "
            f"Received: jit='on' with {', '.join(unfit[:4])}. Choose auto, "
            "which compiles what can be."
        )
    if jit == "on":
        return "loop"
    # Keras finds out whether cuDNN computes a recurrent layer at its call.
    if unfit or any(isinstance(x, keras.layers.RNN) for x in layers):
        return "update"
    if tf.config.list_logical_devices("GPU"):
        return "loop"
    return "update" if any(hasattr(x, "strides") for x in layers) else "loop"

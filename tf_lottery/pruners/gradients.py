"""Derivatives of the loss by the kernels, streamed over the examples.

Everything is computed in a `keras.StatelessScope`: the model is called as in
training, but what the call would assign (moving statistics, seed generators)
is dropped, so that not even an error in the middle leaves a trace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np

from tf_lottery import seeds
from tf_lottery.layers import masked_kernels
from tf_lottery.pruners.given import count_examples
from tf_lottery.pruners.given import loss_of
from tf_lottery.pruners.given import require

if TYPE_CHECKING:
    from tf_lottery.pruners.base import PruningContext

# Calls that take longer than tracing a function does.
_MANY = 16


class Batch(NamedTuple):
    """Some examples, and the states of the model's seed generators.

    Args:
        x: inputs, as the model takes them.
        y: targets, as the loss takes them.
        seeds: `(generators, 2)` integers.
    """

    x: Any
    y: Any
    seeds: Any


class Objective:
    """The mean loss of a batch, a pure function of kernels and masks.

    Only the loss function counts, neither weight decay nor `add_loss`.

    Args:
        context: gives the model and the loss.
        training: how the model is called; True takes BatchNormalization's
            statistics from the batch.
        temperature: the model's outputs are divided by it.

    Example:
        >>> from tf_lottery.layers import mask_model
        >>> from tf_lottery.pruners import PruningContext
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[3.0], [-1.0]]), np.zeros(1)])
        >>> context = PruningContext(mask_model(model), loss="mse")
        >>> batch = Batch(np.array([[1.0, 2]]), np.zeros((1, 1)), [])
        >>> float(Objective(context)(batch))
        1.0
    """

    def __init__(
        self,
        context: PruningContext,
        *,
        training: bool = True,
        temperature: float = 1.0,
    ):
        # Also lest another loss be given this one's id.
        self._context = context
        self._model = context.model
        self._loss = loss_of(context)
        self._training = training
        self._temperature = temperature
        self._pairs = list(masked_kernels(context.model).values())
        self._generators = generators(context.model)

    def kernels(self) -> list:
        """Returns the raw kernels as tensors, in the order of the masks."""
        return [_tensor(raw) for raw, _ in self._pairs]

    def masks(self) -> list:
        """Returns the masks as tensors."""
        return [_tensor(mask) for _, mask in self._pairs]

    def __call__(self, batch: Batch, kernels=None, masks=None):
        """Returns the mean loss of a batch, a scalar tensor.

        Args:
            batch: the examples.
            kernels: tensors to compute with in place of the raw kernels.
            masks: tensors to compute with in place of the masks.
        """
        values = list(zip(self._generators, keras.ops.unstack(batch.seeds)))
        values += zip((raw for raw, _ in self._pairs), kernels or ())
        values += zip((mask for _, mask in self._pairs), masks or ())
        with keras.StatelessScope(values):
            outputs = self._model(batch.x, training=self._training)
            if self._temperature != 1:
                outputs = keras.tree.map_structure(
                    lambda a: a / self._temperature, outputs
                )
            losses = self._loss(batch.y, outputs)
        return keras.ops.mean(keras.ops.cast(losses, "float32"))


def _tensor(variable):
    import tensorflow as tf

    # Keras' own conversion gives the variable itself back.
    return tf.convert_to_tensor(variable.value)


def kernel_gradients(objective: Objective, batch: Batch) -> list:
    """Returns the gradients of a batch's mean loss by the raw kernels.

    Args:
        objective: the mean loss.
        batch: some examples.

    Returns:
        Tensors, one per kernel and of its shape; 0 at pruned positions.
    """
    import tensorflow as tf

    kernels = objective.kernels()
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(kernels)
        loss = objective(batch, kernels=kernels)
    return tape.gradient(loss, kernels, unconnected_gradients="zero")


def dense_gradients(objective: Objective, batch: Batch) -> list:
    """Returns the gradients by all weights, the pruned ones among them.

    Args:
        objective: the mean loss.
        batch: some examples.

    Returns:
        Tensors, one per kernel and of its shape. Pruned weights count as 0.
    """
    import tensorflow as tf

    kernels = [
        kernel * tf.cast(mask, kernel.dtype)
        for kernel, mask in zip(objective.kernels(), objective.masks())
    ]
    ones = [tf.ones_like(mask) for mask in objective.masks()]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(kernels)
        loss = objective(batch, kernels=kernels, masks=ones)
    return tape.gradient(loss, kernels, unconnected_gradients="zero")


def average(
    context: PruningContext,
    derivative: Callable[..., Sequence],
    *vectors: Mapping[str, np.ndarray],
    training: bool = True,
    temperature: float = 1.0,
    loops: bool = False,
) -> dict[str, np.ndarray]:
    """Averages a derivative over the examples of a context.

    The examples come in batches of `context.batch_size`, in their order, and
    each batch counts by its size; in memory are one batch's derivative and
    the sum.

    Args:
        context: gives model, examples, loss and seed.
        derivative: `(objective, batch, *vectors) -> tensors`, one per kernel
            and of its shape: a mean over the batch. A function of a module,
            not a new one in every call, so that it is compiled once.
        *vectors: `{path: array}`, given to the derivative as lists of
            tensors.
        training: as in `Objective`.
        temperature: as in `Objective`.
        loops: whether the derivative takes the examples one by one.

    Returns:
        `{path: array}` of the kernels' shapes, float32.

    Raises:
        ValueError: the context has no examples or no loss.

    Example:
        >>> from tf_lottery.layers import mask_model
        >>> from tf_lottery.pruners import PruningContext
        >>> x = keras.Input((2,))
        >>> model = keras.Model(x, keras.layers.Dense(1, name="out")(x))
        >>> model.set_weights([np.array([[3.0], [-1.0]]), np.zeros(1)])
        >>> context = PruningContext(
        ...     mask_model(model), loss="mse", x=np.array([[1.0, 2], [1, 0]]),
        ...     y=np.zeros((2, 1)), batch_size=1)
        >>> average(context, kernel_gradients)["out/kernel"].ravel().tolist()
        [4.0, 2.0]
    """
    require(context, "x", "y", "loss")
    size = count_examples(context)
    paths = list(masked_kernels(context.model))

    def make():
        objective = Objective(
            context, training=training, temperature=temperature
        )
        return lambda batch, *lists: derivative(objective, batch, *lists)

    key = (derivative, training, temperature, id(context.loss))
    batches = -(-size // context.batch_size)
    calls = size if loops else batches
    function = compiled(context, key, make, calls)
    lists = [[vector[path] for path in paths] for vector in vectors]
    totals: list[np.ndarray] = []
    for start in range(0, size, context.batch_size):
        batch, share = _batch(context, start, size)
        found = function(batch, *lists)
        if not totals:
            totals = [np.zeros(t.shape, np.float32) for t in found]
        for total, tensor in zip(totals, found):
            total += np.float32(share) * np.asarray(tensor, np.float32)
    return dict(zip(paths, totals))


def _batch(context, start, size):
    import tensorflow as tf

    stop = min(start + context.batch_size, size)

    def part(array):
        tensor = tf.convert_to_tensor(array[start:stop])
        # As `fit` does: a loss would refuse to mix the types.
        double = tensor.dtype == tf.float64
        return tf.cast(tensor, keras.config.floatx()) if double else tensor

    x, y = keras.tree.map_structure(part, (context.x, context.y))
    states = [
        [seeds.derive(context.seed, "generator", i, start), 0]
        for i, _ in enumerate(generators(context.model))
    ]
    states = np.array(states, np.uint32).reshape(-1, 2)
    return Batch(x, y, tf.convert_to_tensor(states)), (stop - start) / size


def generators(model: keras.Model) -> list[keras.Variable]:
    """Returns the states of the seed generators that a model draws from."""
    weights = {id(v) for v in model.weights}
    return [
        v
        for v in model.non_trainable_variables
        if id(v) not in weights and v.path.endswith("seed_generator_state")
    ]


def compiled(
    context: PruningContext, key: Any, make: Callable[[], Callable], calls: int
) -> Callable:
    """Returns a function, compiled where that pays.

    Args:
        context: its cache holds the function for all rounds of a pruning;
            where its model runs eagerly, so does the function.
        key: the function's, in the cache.
        make: returns the function.
        calls: about how often a round calls it.
    """
    import tensorflow as tf

    # By itself a context may be used after its model was changed.
    cache = {} if context.cache is None else context.cache
    if key not in cache:
        function = make()
        calls *= cache.get("rounds", 1)
        if calls >= _MANY and not context.model.run_eagerly:
            # As Keras' own training step: plain Python.
            function = tf.function(
                function, autograph=False, reduce_retracing=True
            )
        cache[key] = function
    return cache[key]


@contextlib.contextmanager
def replaced(changes: Sequence[tuple[Any, dict[str, Any]]]) -> Iterator[None]:
    """Inside it layers have other attributes, whatever their classes say.

    Args:
        changes: a layer or an operation, and `{attribute: value}`.
    """
    before = [
        {name: vars(one)[name] for name in values if name in vars(one)}
        for one, values in changes
    ]
    # Past `Layer.__setattr__`, which tracks what it is given, and past the
    # property of layers that show another's activation.
    try:
        for one, values in changes:
            vars(one).update(values)
        yield
    finally:
        for (one, values), old in zip(changes, before):
            vars(one).update(old)
            for name in values.keys() - old.keys():
                del vars(one)[name]

"""A network whose masks are trained, its weights frozen."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery import seeds
from tf_lottery.layers import is_masked
from tf_lottery.layers import kernels_as
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.masks import Mask
from tf_lottery.methods import RESCALE
from tf_lottery.search.gates import GATES


class ScoredModel(keras.Model):
    """Trains which weights of a network are kept, and none of the weights.

    A Keras model around a masked one, with a score per weight as its only
    trainable variables: it can be compiled and fitted as any other, by any
    optimizer. It computes what the network computes with the kernels

        w * h(s) * (size / kept)^p,

    where h is 1 or 0 by the scores s, as `by` says, and p by `rescale`.

    Args:
        network: masked by `mask_model`, with its weights; its mask bounds
            what may be kept. Biases and normalisation are frozen too.
        by: `"edge_popup"`, as `tf_lottery.search.gates.EdgePopup`, or
            `"bernoulli"`, as `Bernoulli`.
        keep: `{path: count}`, what each kernel keeps, or one total over all,
            for which all weights compete; half of every kernel if none.
        rescale: `"none"`: p = 0; `"sqrt"`: 1/2, which makes of an
            initialisation of variance 2 / fan_in the paper's scaled one;
            `"dwr"`: 1, Zhou et al.'s dynamic weight rescaling.
        seed: of the scores, and of what is drawn.

    Raises:
        ValueError: a network without masks, an unknown name, or counts that
            do not fit it.
        RuntimeError: Keras runs on another backend than TensorFlow.

    Example:
        >>> from tf_lottery import mask_model
        >>> network = mask_model(keras.Sequential(
        ...     [keras.Input((4,)), keras.layers.Dense(2, name="out")]))
        >>> model = ScoredModel(network, keep=3)
        >>> model.compile("sgd", "mse")
        >>> _ = model.fit(np.ones((8, 4)), np.ones((8, 2)), verbose=0)
        >>> model.find_mask().kept
        3

    Reference:
        Ramanujan et al., 2020, arXiv:1911.13299; Zhou et al., 2019,
        arXiv:1905.01067.
    """

    def __init__(
        self,
        network: keras.Model,
        *,
        by: str = "edge_popup",
        keep: Mapping[str, int] | int | None = None,
        rescale: str = "none",
        seed: int = 0,
    ):
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "`KERAS_BACKEND` must be tensorflow to train scores. Received:"
                f" KERAS_BACKEND={keras.backend.backend()}. Set it before "
                "Keras is imported."
            )
        for name, value, known in (
            ("by", by, GATES), ("rescale", rescale, RESCALE)
        ):
            if value not in known:
                raise ValueError(
                    f"`{name}` must be one of {', '.join(known)}. Received: "
                    f"{name}={value!r}. Choose one of these."
                )
        if not is_masked(network):
            raise ValueError(
                "`network` must have masks. Received: model "
                f"{network.name!r} without. Pass it through mask_model first."
            )
        # Scores keep their precision under any policy; the network's layers
        # have their own.
        super().__init__(name=f"{network.name}_scored", dtype="float32")
        self.network = network
        self.gate = GATES[by]
        self.rescale = rescale
        self._together = isinstance(keep, numbers.Integral)
        self._draws = keras.random.SeedGenerator(seed)
        self._scores = [
            self.add_weight(
                name=f"{path.replace('/', '_')}_score",
                shape=raw.shape,
                dtype="float32",
                initializer="zeros",
            )
            for path, (raw, _) in self._kernels.items()
        ]
        self._counts = self.add_weight(
            name="keep",
            shape=(1 if self._together else len(self._kernels),),
            dtype="int32",
            initializer="zeros",
            trainable=False,
        )
        # 1, or 0 once the network's own weights have their factors.
        self._unsettled = self.add_weight(
            name="unsettled", shape=(), initializer="ones", trainable=False
        )
        self.built = True
        self.start(keep, seed)

    def start(
        self, keep: Mapping[str, int] | int | None = None, seed: int = 0
    ) -> None:
        """Begins anew, for other counts.

        Args:
            keep: as of the class, and of the same kind.
            seed: of the scores, and of what is drawn.

        Raises:
            ValueError: counts that do not fit the network or its mask.
        """
        kernels = self._kernels
        alive = {
            path: int(np.count_nonzero(mask))
            for path, (_, mask) in kernels.items()
        }
        if keep is None and not self._together:
            keep = {path: n // 2 for path, n in alive.items()}
        whole = isinstance(keep, numbers.Integral)
        given: dict[str, Any] = (
            {"": keep} if whole else dict(keep or {})  # type: ignore
        )
        most = {"": sum(alive.values())} if self._together else alive
        if given.keys() != most.keys() or not all(
            isinstance(n, numbers.Integral)
            and not isinstance(n, bool)
            and 0 <= int(n) <= most[path]
            for path, n in given.items()
        ):
            raise ValueError(
                "`keep` must be a count for each kernel, or one total as of "
                f"the first, of at most {most}. Received: keep={keep}. Take "
                "counts from the network's own mask."
            )
        self._counts.assign([given[path] for path in most])
        self._unsettled.assign(1.0)
        self._draws.state.assign([seeds.derive(seed, "draws"), 0])
        for score, (path, (raw, _)) in zip(self._scores, kernels.items()):
            density = given.get(path, 0) / max(1, int(np.prod(raw.shape)))
            if self._together:
                density = given[""] / sum(alive.values())
            score.assign(
                self.gate.initial(
                    tuple(raw.shape), density, seeds.derive(seed, path)
                )
            )

    @property
    def _kernels(self) -> dict[str, tuple[keras.Variable, keras.Variable]]:
        # Not kept: Keras would track the network's variables a second time.
        return masked_kernels(self.network)

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """The scores."""
        return list(self._scores)

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        """The scores."""
        return list(self._scores)

    @property
    def non_trainable_variables(self) -> list[keras.Variable]:
        """Everything else."""
        scores = {id(s) for s in self._scores}
        return [v for v in self.variables if id(v) not in scores]

    @property
    def non_trainable_weights(self) -> list[keras.Variable]:
        """Everything else, without the state of random generators."""
        scores = {id(s) for s in self._scores}
        return [v for v in self.weights if id(v) not in scores]

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns what the network gives with the kernels by the scores."""
        gates = self._gates(bool(training))
        kernels = {}
        for (raw, _), gate in zip(self._kernels.values(), gates):
            factor = _factor(gate, RESCALE[self.rescale], self._unsettled)
            value = tf.convert_to_tensor(raw.value)
            kernels[id(raw)] = value * tf.cast(gate * factor, value.dtype)
        with kernels_as(kernels):
            return self.network(inputs, training=training)

    def get_config(self) -> dict[str, Any]:
        """Refuses: the network that is scored is no part of a config.

        Raises:
            ValueError: always.
        """
        raise ValueError(
            "`model` must be saved without its scores. Received: model "
            f"{self.name!r}. Save its weights, or settle it and save its "
            "network."
        )

    def find_mask(self) -> Mask:
        """Returns what is kept by the scores as they are now.

        Raises:
            ValueError: a score is not finite.
        """
        for path, score in zip(self._kernels, self._scores):
            if not np.isfinite(np.asarray(score)).all():
                raise ValueError(
                    f"The scores of {path} must be finite. Received: NaN or "
                    "infinity. Train them at a lower learning rate."
                )
        return Mask({
            path: np.asarray(gate) != 0
            for path, gate in zip(self._kernels, self._gates(False))
        })

    def settle(self) -> Mask:
        """Gives the network this mask and these weights, and returns the mask.

        Afterwards the network alone computes what this model does.

        Raises:
            ValueError: a score is not finite.
        """
        mask = self.find_mask()
        set_mask(self.network, mask)
        if np.asarray(self._unsettled):
            kernels = self._kernels
            for path, factor in factors(mask, self.rescale).items():
                kernels[path][0].assign(kernels[path][0] * factor)
            self._unsettled.assign(0.0)
        return mask

    def _gates(self, training: bool) -> list[tf.Tensor]:
        shapes = [tuple(s.shape) for s in self._scores]
        scores = [tf.reshape(s.value, [-1]) for s in self._scores]
        alive = [
            tf.reshape(mask.value, [-1]) != 0
            for _, mask in self._kernels.values()
        ]
        sizes = [s.shape[0] for s in scores]
        if self._together:
            scores, alive = [tf.concat(scores, 0)], [tf.concat(alive, 0)]
        # A variable would be captured by the function that it is passed to.
        counts = tf.convert_to_tensor(self._counts.value)
        gates = self.gate.values(
            scores, alive, counts, self._draws, training
        )
        if self._together:
            gates = tf.split(gates[0], sizes)
        return [tf.reshape(g, shape) for g, shape in zip(gates, shapes)]


def factors(mask: Mask, rescale: str) -> dict[str, np.float32]:
    """Returns `{path: factor}` that the kept weights are multiplied by.

    Args:
        mask: of the network.
        rescale: as of `ScoredModel`.

    Example:
        >>> factors(Mask({"kernel": [[1, 0], [0, 0]]}), "sqrt")
        {'kernel': np.float32(2.0)}
    """
    return {
        path: np.float32((keep.size / max(1, keep.sum())) ** RESCALE[rescale])
        for path, keep in mask.items()
    }


def _factor(gate, power, unsettled):
    """The same of one kernel, in a compiled step."""
    if not power:
        return tf.constant(1.0)
    # How many are kept is no way to lower the loss.
    kept = tf.maximum(tf.reduce_sum(tf.stop_gradient(gate)), 1.0)
    size = float(np.prod(gate.shape))
    return (size / kept) ** (power * tf.convert_to_tensor(unsettled.value))

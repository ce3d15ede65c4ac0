"""How a trained score opens or shuts a frozen weight."""

from __future__ import annotations

import abc
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tf_lottery import seeds
from tf_lottery.search.hard_top import hard_top


class Gate(abc.ABC):
    """What a `ScoredModel` makes of its scores.

    Attributes:
        learning_rate: of the paper, for SGD.
        weight_decay: of the paper, on the scores.
        by_magnitude: whether the score's magnitude is what counts.
    """

    learning_rate: float
    weight_decay: float = 0.0
    by_magnitude: bool = False

    @abc.abstractmethod
    def initial(
        self, shape: tuple[int, ...], density: float, seed: int
    ) -> np.ndarray:
        """Returns the scores that a kernel's training begins with.

        Args:
            shape: of the kernel.
            density: fraction of it to be kept in the end.
            seed: of what is drawn.
        """

    @abc.abstractmethod
    def values(
        self,
        scores: Sequence[tf.Tensor],
        alive: Sequence[tf.Tensor],
        counts: tf.Tensor,
        generator: keras.random.SeedGenerator,
        training: bool,
    ) -> list[tf.Tensor]:
        """Returns 1 where a weight is kept, 0 elsewhere, with gradients.

        Args:
            scores: flat arrays, one per set of weights that compete.
            alive: `scores`' shapes; what may be kept at all.
            counts: `(len(scores),)` how many to keep.
            generator: of what is drawn.
            training: as of Keras' layers.
        """

    def chosen(self, scores, alive, counts) -> list[tf.Tensor]:
        """Returns what is kept, as booleans."""
        if self.by_magnitude:
            scores = [tf.abs(s) for s in scores]
        return hard_top(scores, alive, counts)


class EdgePopup(Gate):
    """The weights of the largest |score| are kept; straight-through.

        h = 1 where |s| is among the k largest, 0 elsewhere;
        dL/ds = dL/d(w h) * w * sign(s), for every weight, kept or not.

    Reference:
        Ramanujan et al., "What's Hidden in a Randomly Weighted Neural
        Network?", 2020, arXiv:1911.13299, section 3 and algorithm 1; scores
        begin as `U(-1, 1) / sqrt(fan_in)`, as in the authors' code.
    """

    learning_rate = 0.1
    weight_decay = 1e-4
    by_magnitude = True

    def initial(self, shape, density, seed):
        """As of `Gate`: uniform in (-1, 1) / sqrt(fan_in)."""
        fan_in = max(1, int(np.prod(shape[:-1])))
        rng = np.random.default_rng(seeds.derive(seed, "scores"))
        return rng.uniform(-1, 1, shape) / np.sqrt(fan_in)

    def values(self, scores, alive, counts, generator, training):
        """As of `Gate`; the same in training and outside."""
        kept = self.chosen(scores, alive, counts)
        return [
            tf.cast(k, s.dtype) + _zero(tf.abs(s))
            for k, s in zip(kept, scores)
        ]


class Bernoulli(Gate):
    """A weight is kept with probability sigmoid(score); straight-through.

        h ~ Bernoulli(sigmoid(s)) in every training step;
        dL/ds = dL/d(w h) * w * sigmoid(s) * (1 - sigmoid(s)).

    The network that is evaluated, and found, keeps the k most probable
    weights. The paper evaluates the mean of ten drawn ones, and does not ask
    for a density; scores begin at the logit of the one asked for here.

    Reference:
        Zhou et al., "Deconstructing Lottery Tickets", 2019, arXiv:1905.01067,
        section 5: SGD with learning rate 100 and momentum 0.9, in their code.
    """

    learning_rate = 100.0

    def initial(self, shape, density, seed):
        """As of `Gate`: log(density / (1 - density)), of every weight."""
        # A kernel that is kept whole, or not at all, needs no decision.
        density = np.clip(density, 0.01, 0.99)
        return np.full(shape, np.log(density / (1 - density)))

    def values(self, scores, alive, counts, generator, training):
        """As of `Gate`; drawn in training, the most probable outside."""
        if not training:
            kept = self.chosen(scores, alive, counts)
            return [tf.cast(k, s.dtype) for k, s in zip(kept, scores)]
        result = []
        for s, may in zip(scores, alive):
            p = tf.sigmoid(s)
            drawn = _uniform(s.shape[0], generator.next()) < p
            result.append(tf.cast(drawn & may, s.dtype) + _zero(p))
        return result


GATES: dict[str, Gate] = {"edge_popup": EdgePopup(), "bernoulli": Bernoulli()}


def _uniform(size, key):
    """Returns `(size,)` numbers in [0, 1), a function of the key.

    A hash of the index, whose operations XLA makes one loop of with what
    follows: its own generator takes twenty times as long on a CPU.
    """
    index = tf.cast(tf.range(size), tf.uint32)
    x = index * tf.constant(0x9E3779B9, tf.uint32)
    for word in tf.unstack(tf.cast(key, tf.uint32)):
        x = _mix(x ^ word)
    # 24 bits, as many as float32 holds exactly.
    high = tf.bitwise.right_shift(x, tf.constant(8, tf.uint32))
    return tf.cast(tf.bitcast(high, tf.int32), tf.float32) * 2.0**-24


def _mix(x):
    """Wellons' integer hash lowbias32: every bit moves all."""
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x ^= tf.bitwise.right_shift(x, tf.constant(shift, tf.uint32))
        x *= tf.constant(factor, tf.uint32)
    return x ^ tf.bitwise.right_shift(x, tf.constant(16, tf.uint32))


def _zero(x):
    """Exactly 0, with the gradient of x."""
    return x - tf.stop_gradient(x)

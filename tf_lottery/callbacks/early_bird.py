"""Early-Bird tickets inside `model.fit`."""

from __future__ import annotations

import sys
from typing import Any

import keras
import numpy as np

from tf_lottery.callbacks.beside import refuse_beside
from tf_lottery.callbacks.beside import require_masked
from tf_lottery.callbacks.gradual import GradualPruning
from tf_lottery.callbacks.lottery import LotteryTicket
from tf_lottery.callbacks.rewiring import DynamicSparseTraining
from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import get_pruner
from tf_lottery.search import EarlyBird as Search
from tf_lottery.search import check_choice


class EarlyBird(keras.callbacks.Callback):
    """Prunes a masked model once, after the epoch in which its mask settles.

    After every epoch the mask of the target sparsity is found; where it
    differs from each of the `window - 1` before by at most `tolerance`, it is
    put in place, and training goes on with it. With whole channels, what reads
    a pruned channel is pruned too, and `tf_lottery.export` shrinks the network
    to what is left. Epochs show `mask_distance` and `sparsity`.

    The paper trains with an L1 penalty on the scales of BatchNormalization:
    `BatchNormalization(gamma_regularizer=keras.regularizers.L1(1e-4))`.

    Args:
        sparsity: fraction of the prunable weights to be zero, in [0, 1); None
            where the structure fixes it.
        criterion: a name in `PRUNERS`, or a `Pruner`; another than
            `"bn_scale"` needs no BatchNormalization.
        structure: as in `tf_lottery.prune`; None for single weights.
        scope: as in `tf_lottery.prune`.
        window: masks that must agree.
        tolerance: largest distance of two that do; of channels the fraction
            that differ, of single weights that of the kept ones.
        stop: whether training ends where the ticket emerges, for training
            its mask from the initial weights.
        collapse: `"stop"`, `"floor"` or `"allow"`, for pruning that would
            leave a kernel empty.
        seed: of random criteria.
        x: inputs, for criteria that need data.
        y: their targets.

    Attributes:
        epoch: in which the ticket emerged, from 0; None where it has not.
        distances: the largest distance of every epoch that has one.
        learning_rate: of the optimizer then. Masks also settle because little
            is learned.

    Raises:
        ValueError: an unknown name or a number out of range; in `fit`, a
            model without masks.

    Example:
        >>> from tf_lottery import mask_model
        >>> x = keras.Input((4,))
        >>> y = keras.layers.BatchNormalization()(keras.layers.Dense(8)(x))
        >>> y = keras.layers.Dense(5, name="out")(y)
        >>> model = mask_model(keras.Model(x, y), exclude="out/*")
        >>> model.compile("sgd", "mse")
        >>> bird = EarlyBird(0.3)
        >>> data = np.random.default_rng(0).normal(size=(12, 9))
        >>> history = model.fit(
        ...     data[:, :4], data[:, 4:], epochs=6, verbose=0,
        ...     callbacks=[bird])
        >>> bird.epoch, bool(history.history["sparsity"][-1] > 0.29)
        (4, True)

    Reference:
        You et al., "Drawing Early-Bird Tickets", 2020, arXiv:1909.11957,
        section 3 and algorithm 1.
    """

    def __init__(
        self,
        sparsity: float | None,
        criterion: str | Pruner = "bn_scale",
        *,
        structure: str | None = "channel",
        scope: str = "global",
        window: int = 5,
        tolerance: float = 0.1,
        stop: bool = False,
        collapse: str = "stop",
        seed: int = 0,
        x: Any = None,
        y: Any = None,
    ):
        super().__init__()
        given = {k: v for k, v in (("x", x), ("y", y)) if v is not None}
        pruner = get_pruner(criterion, ("loss", *given))
        self.stop = stop
        self._pruner, self._structure = pruner, structure
        self._seen: keras.Model | None = None
        self.epoch: int | None = None
        self.distances: list[float] = []
        self._search = Search(
            pruner, sparsity, scope=scope, structure=structure, every=1,
            end_step=sys.maxsize, window=window, tolerance=tolerance,
            collapse=collapse, seed=seed, given=given,
        )

    @property
    def learning_rate(self) -> float:
        """Of the optimizer when the ticket emerged; 0 before."""
        return self._search.learning_rate

    def on_train_begin(self, logs=None):
        model = self.model
        require_masked(self, is_masked(model))
        refuse_beside(
            self,
            _changes_masks,
            "It would change the mask too, or bring a denser one back: let "
            "EarlyStopping not restore the best weights, and prune by one.",
        )
        if self._seen not in (None, model):
            raise ValueError(
                "`callbacks` must hold a new EarlyBird for another model. "
                f"Received: one that has seen {self._seen.name!r}, for "
                f"{model.name!r}. Make another."
            )
        self._seen = model
        check_choice(model, self._pruner, self._structure)

    def on_epoch_end(self, epoch, logs=None):
        # Under JAX reading `self.model` brings its state up to date.
        model = self.model
        if self.epoch is None:
            step = int(np.asarray(model.optimizer.iterations))
            self._search(model, model.optimizer, step)
            if self._search.distance is not None:
                self.distances.append(self._search.distance)
            if self._search.emerged is not None:
                self.epoch = epoch
                model.stop_training = model.stop_training or self.stop
        if logs is not None:
            logs["mask_distance"] = _number(self._search.distance)
            logs["sparsity"] = get_mask(model).sparsity

    def on_train_end(self, logs=None):
        if self.epoch is None and (self.params or {}).get("verbose"):
            print(
                "EarlyBird: no ticket emerged; the masks of the last epochs "
                f"are {_number(self._search.distance):.2f} apart. Train on, "
                "or allow a larger tolerance."
            )


def _number(distance: float | None) -> float:
    return 1.0 if distance is None else distance


def _changes_masks(callback):
    if isinstance(callback, keras.callbacks.EarlyStopping):
        return callback.restore_best_weights
    kinds = (EarlyBird, DynamicSparseTraining, GradualPruning, LotteryTicket)
    return isinstance(callback, kinds)

"""Dynamic sparse training inside `model.fit`."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from tf_lottery.callbacks.beside import callbacks_beside
from tf_lottery.callbacks.beside import check_epoch
from tf_lottery.callbacks.beside import check_execution
from tf_lottery.callbacks.beside import check_stepped
from tf_lottery.callbacks.beside import count_batches
from tf_lottery.callbacks.beside import require_masked
from tf_lottery.callbacks.gradual import GradualPruning
from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.pruners import Rewirer
from tf_lottery.pruners import get_rewirer
from tf_lottery.search import Rewiring


class DynamicSparseTraining(keras.callbacks.Callback):
    """Rewires a masked model while it is trained, at equal counts.

    Every `every` updates, until `end_step`, a fraction of each kernel's kept
    weights is dropped, the smallest, and as many others are grown, which start
    at 0 and without momentum. Prune the model first, for example
    `tf_lottery.prune(model, 0.9, "random", scope="erk")`.

    Args:
        method: `"set"` grows at random, `"rigl"` where the gradient is
            largest; or a `Rewirer`.
        every: updates between two changes.
        end_step: from this update on the mask stays; three quarters of the
            training are usual.
        fraction: dropped at first; it falls to 0 along a cosine.
        x: inputs from which rigl draws 128 for its gradients: an array, or a
            structure of arrays as the model takes it.
        y: their targets.
        seed: of what is drawn.

    Raises:
        ValueError: an unknown name, a number out of range, or rigl without
            data; in `fit`, a model without masks or with nothing pruned, or
            a `steps_per_execution` that does not divide `every`.

    Example:
        >>> from tf_lottery import mask_model, prune
        >>> x = keras.Input((4,))
        >>> model = mask_model(keras.Model(x, keras.layers.Dense(5)(x)))
        >>> mask = prune(model, 0.5, "random")
        >>> model.compile("adam", "mse")
        >>> rewire = DynamicSparseTraining("set", every=2, end_step=6)
        >>> history = model.fit(
        ...     np.ones((12, 4)), np.ones((12, 5)), batch_size=2, verbose=0,
        ...     callbacks=[rewire])
        >>> rewire.rewired
        [2, 4]

    Reference:
        Mocanu et al., 2018, arXiv:1707.04780 (SET); Evci et al., 2020,
        arXiv:1911.11134 (RigL).
    """

    def __init__(
        self,
        method: str | Rewirer = "rigl",
        *,
        every: int = 100,
        end_step: int,
        fraction: float = 0.3,
        x: Any = None,
        y: Any = None,
        seed: int = 0,
    ):
        super().__init__()
        rewirer = get_rewirer(method)
        for name, value in (("every", every), ("end_step", end_step)):
            if not (isinstance(value, (int, np.integer)) and value > 0):
                raise ValueError(
                    f"`{name}` must be a positive number of updates. "
                    f"Received: {name}={value!r}. 100 is usual for every."
                )
        if every >= end_step:
            raise ValueError(
                "`every` must be below end_step, at which nothing moves. "
                f"Received: every={every}, end_step={end_step}. Rewire more "
                "often, or for longer."
            )
        if not 0 < fraction <= 1:
            raise ValueError(
                "`fraction` must be in (0, 1]. Received: "
                f"fraction={fraction!r}. The papers use 0.3."
            )
        for name, value in (("x", x), ("y", y)):
            if name in rewirer.needs and value is None:
                raise ValueError(
                    f"`{name}` must be given for gradients. Received: "
                    f"{name}=None. Pass the training examples, or use set."
                )
        self.rewired: list[int] = []
        self._rewiring = Rewiring(
            rewirer, int(every), int(end_step), fraction, seed,
            dict(x=x, y=y),
        )

    def on_train_begin(self, logs=None):
        require_masked(self, is_masked(self.model))
        check_execution(self.model, "every", self._rewiring.every)
        check_epoch(self)
        beside = callbacks_beside(self)
        if get_mask(self.model).sparsity == 0 and not any(
            isinstance(callback, GradualPruning) for callback in beside
        ):
            raise ValueError(
                "`model` must be pruned: of a dense mask nothing can be "
                "rewired. Received: a model of sparsity 0. Call for example "
                "tf_lottery.prune(model, 0.9, 'random') before fit."
            )
        self._last = None
        # Of an epoch without a batch nothing is said.
        self._batches = -1

    def on_train_batch_begin(self, batch, logs=None):
        # Under JAX reading `self.model` brings its state up to date.
        model = self.model
        step = int(np.asarray(model.optimizer.iterations))
        if self._last is None:
            self._batches = count_batches(model)
        # Accumulated gradients make several batches one step.
        if step != self._last and self._rewiring.next(step) == step:
            self._rewiring(model, model.optimizer, step)
            self.rewired.append(step)
        self._last = step

    def on_epoch_end(self, epoch, logs=None):
        check_stepped(self.model, self._batches)

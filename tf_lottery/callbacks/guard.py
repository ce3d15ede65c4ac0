"""Checks, while a model is trained, that what is pruned stays pruned."""

from __future__ import annotations

import keras
import numpy as np

from tf_lottery.callbacks.beside import callbacks_beside
from tf_lottery.callbacks.beside import require_masked
from tf_lottery.callbacks.rewiring import DynamicSparseTraining
from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import mixes_state
from tf_lottery.layers import mixes_weights
from tf_lottery.layers import neutral_slots
from tf_lottery.masks import Mask


class MaskGuard(keras.callbacks.Callback):
    """Raises as soon as a mask no longer holds.

    For people who write their own layers, optimizers or training loops. It
    checks, after every `every` batches, that

    - masks hold zeros and ones and only shrink; beside a
      `DynamicSparseTraining` they may grow;
    - pruned weights are exactly 0, also the raw ones that files store;
    - the optimizer's per-weight state is neutral where weights are pruned;
    - kernels are finite.

    Muon mixes the entries of a matrix, so its raw weights and state are not
    checked, and of Adafactor the state is not: the network sees the masked
    kernels alone.

    Args:
        every: batches between two checks; each reads all kernels.

    Raises:
        RuntimeError: in `fit` or `check`, naming the kernel and the step.

    Example:
        >>> from tf_lottery import mask_model, prune
        >>> x = keras.Input((4,))
        >>> y = keras.layers.Dense(5, name="out")(x)
        >>> model = mask_model(keras.Model(x, y))
        >>> guard = MaskGuard()
        >>> _ = prune(model, 0.5)
        >>> guard.check(model)
        >>> model.get_layer("out").raw_kernel().assign(np.ones((4, 5)))
        ... # doctest: +ELLIPSIS
        <...>
        >>> guard.check(model)
        Traceback (most recent call last):
        ...
        RuntimeError: Pruned weights must be 0. Received: 10 of out/kernel that
        are not. Call set_mask after assigning weights.
    """

    def __init__(self, every: int = 1):
        super().__init__()
        if every < 1:
            raise ValueError(
                "`every` must be a number of batches. Received: "
                f"every={every}. 1 checks after every batch."
            )
        self.every = every
        self._last: Mask | None = None
        self._checked: keras.Model | None = None
        self._batches = 0
        self._may_grow = False

    def check(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer | None = None,
    ) -> None:
        """Checks a masked model, and that its mask shrank since last time.

        Args:
            model: a masked model.
            optimizer: what trains it; by default that of a compiled model.

        Raises:
            RuntimeError: naming the kernel that breaks an invariant.
        """
        if optimizer is None:
            optimizer = getattr(model, "optimizer", None)
        kernels = masked_kernels(model)
        slots = neutral_slots(optimizer)
        weights_hold = not mixes_weights(optimizer)
        state_holds = not mixes_state(optimizer)
        for path, (raw, mask) in kernels.items():
            mask = np.asarray(mask)
            weights = np.asarray(raw).astype("float64")
            if not np.isin(mask, (0, 1)).all():
                _fail("Masks", "hold zeros and ones", f"the mask of {path}")
            bad = ~np.isfinite(weights)
            _count("Kernels", "be finite", bad, path, "Train at a lower rate.")
            pruned = mask == 0
            if weights_hold:
                bad = pruned & (weights != 0)
                _count("Pruned weights", "be 0", bad, path)
            for slot, neutral in slots.get(id(raw), ()) if state_holds else ():
                start = np.asarray(neutral, np.asarray(slot).dtype)
                bad = pruned & (np.asarray(slot) != start)
                name = f"{path} in {slot.path}"
                what = "Optimizer state of pruned weights"
                _count(what, "be neutral", bad, name)
        now = get_mask(model)
        if self._checked is not model or self._may_grow:
            self._last = None
        self._checked = model
        if self._last is not None and not now.is_subset_of(self._last):
            back = [k for k in now if (now[k] & ~self._last[k]).any()]
            _fail("Masks", "only shrink", ", ".join(back))
        self._last = now

    def on_train_begin(self, logs=None):
        require_masked(self, is_masked(self.model))
        self._last = None
        self._batches = 0
        self._may_grow = any(
            isinstance(callback, DynamicSparseTraining)
            for callback in callbacks_beside(self)
        )

    def on_train_batch_begin(self, batch, logs=None):
        # Not at the end of a batch: Keras may call that from a thread.
        if self._batches % self.every == 0:
            self.check(self.model)
        self._batches += 1

    def on_epoch_end(self, epoch, logs=None):
        self.check(self.model)


_ASSIGNED = "Call set_mask after assigning weights."


def _count(what, rule, bad, path, advice=_ASSIGNED):
    count = int(np.count_nonzero(bad))
    if count:
        _fail(what, rule, f"{count} of {path} that are not", advice)


def _fail(what, rule, found, advice=_ASSIGNED):
    raise RuntimeError(f"{what} must {rule}. Received: {found}. {advice}")

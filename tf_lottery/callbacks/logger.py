"""Sparsity, layer by layer, in TensorBoard and in the logs of `fit`."""

from __future__ import annotations

import os

import keras
import numpy as np

from tf_lottery.callbacks.beside import require_masked
from tf_lottery.layers import is_masked
from tf_lottery.layers import masked_kernels
from tf_lottery.report import log_kernels
from tf_lottery.report import require_tensorboard


class SparsityLogger(keras.callbacks.Callback):
    """Logs how sparse a masked model is, at the end of every epoch.

    Adds `sparsity` to the logs of `fit`, where its progress bar, its history
    and other callbacks see it. With a `log_dir` TensorBoard shows a scalar
    `sparsity/<kernel>` per kernel and `sparsity/all`, and histograms of the
    surviving weights.

    Args:
        log_dir: folder of the event file, beside that of
            `keras.callbacks.TensorBoard`; None writes none.
        histograms: epochs between two histograms `weights/<kernel>`; 0 writes
            none.

    Raises:
        ModuleNotFoundError: a `log_dir` without the package tensorboard.
        ValueError: `histograms` without `log_dir`, or below 0.

    Example:
        >>> from tf_lottery import mask_model, prune
        >>> x = keras.Input((4,))
        >>> model = mask_model(keras.Model(x, keras.layers.Dense(5)(x)))
        >>> model.compile("sgd", "mse")
        >>> _ = prune(model, 0.75)
        >>> history = model.fit(np.ones((8, 4)), np.ones((8, 5)), epochs=2,
        ...     verbose=0, callbacks=[SparsityLogger()])
        >>> history.history["sparsity"]
        [0.75, 0.75]
    """

    def __init__(
        self, log_dir: str | os.PathLike | None = None, histograms: int = 1
    ):
        super().__init__()
        if histograms < 0:
            raise ValueError(
                "`histograms` must be a number of epochs. Received: "
                f"histograms={histograms}. 0 writes none."
            )
        self._log_dir = None if log_dir is None else os.fspath(log_dir)
        self._histograms = histograms
        self._writer = None
        if self._log_dir is not None:
            require_tensorboard("log_dir", self._log_dir, "None")

    def on_train_begin(self, logs=None):
        require_masked(self, is_masked(self.model))

    def on_epoch_end(self, epoch, logs=None):
        kernels = {
            path: (np.asarray(raw), np.asarray(mask) != 0)
            for path, (raw, mask) in masked_kernels(self.model).items()
        }
        kept = sum(int(np.count_nonzero(m)) for _, m in kernels.values())
        size = sum(mask.size for _, mask in kernels.values())
        sparsity = (size - kept) / size
        if logs is not None:
            logs["sparsity"] = sparsity
        if self._log_dir is not None:
            self._write(epoch, kernels)

    def _write(self, epoch, kernels):
        # TensorBoard's writer is TensorFlow's, under every backend.
        from tensorflow import summary

        if self._writer is None:
            self._writer = summary.create_file_writer(self._log_dir)
        with self._writer.as_default(epoch):
            log_kernels(
                kernels,
                histograms=bool(
                    self._histograms and epoch % self._histograms == 0
                ),
            )

    def on_train_end(self, logs=None):
        if self._writer is not None:
            self._writer.close()
            self._writer = None

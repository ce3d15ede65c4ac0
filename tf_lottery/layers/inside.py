"""Layers whose own code makes the layers with the kernels."""

from __future__ import annotations

from tf_lottery.layers.masked import MASKED_LAYERS
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.masked import MaskedKernel
from tf_lottery.layers.state import walk


class MaskedInside(Masked):
    """Mixin of a layer that makes the layers with the kernels by itself.

    An LSTM makes its cell, and attention its projections, as stock layers,
    whenever it is rebuilt from its config. This mixin turns them into masked
    ones as soon as they are there, so that a reloaded layer is masked too.
    In `dense_kernels` a kernel is named `"<layer inside>/<kernel>"`.
    """

    def add_masks(self) -> None:
        """Turns the layers inside, those that exist yet, into masked ones."""
        for layer in list(walk(self)):
            cls = MASKED_LAYERS.get(type(layer))
            if cls is None:
                continue
            if issubclass(cls, MaskedKernel):
                dense = [
                    name.removeprefix(f"{layer.name}/")
                    for name in self.dense_kernels
                    if name.startswith(f"{layer.name}/")
                ]
                if not set(cls.masked_kernels) <= set(dense):
                    cls.convert(layer, dense)
            else:
                cls.convert(layer, self.dense_kernels)

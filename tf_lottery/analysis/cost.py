"""What a network costs: FLOPs of its kernels, dense and without zeros."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from tf_lottery.analysis.uses import KernelUse
from tf_lottery.analysis.uses import kernel_uses
from tf_lottery.layers import masked_kernels

#: Columns of results.csv that belong to one training.
COST_COLUMNS = (
    "train_examples",
    "train_flops",
    "train_effective_flops",
    "inference_flops",
    "inference_effective_flops",
)
# Forward, and twice as much backward: the gradients with respect to a
# kernel and to its input are a product of the same size each.
_PASSES = 3


@dataclasses.dataclass(frozen=True)
class Cost:
    """A number of floating-point operations.

    Args:
        dense: every entry of every kernel counted, zero or not: what a
            computation that knows nothing of the mask executes.
        effective: the kept entries alone: what is left to be done.
    """

    dense: int
    effective: int


def inference_flops(
    model: keras.Model,
    mask: Mapping[str, np.ndarray] | None = None,
    *,
    input_shape: Sequence[int] | None = None,
) -> Cost:
    """Returns the FLOPs of one example's forward pass.

    `dense = sum_k 2 * size_k * uses_k` over the kernels k, and `effective`
    the same with the kept entries in place of `size_k`. A multiplication and
    its addition are 2 FLOPs. `uses_k` is how often an entry of the kernel is
    multiplied: the positions of a convolution's output (of a transposed
    one's input; padding counts as input), those a dense layer is applied at,
    the time steps of a recurrent one; each call of a shared layer counts.

    Not counted: biases, normalisation, activations, pooling, the products of
    activations with each other in attention, and table look-ups (embeddings).

    Args:
        model: a built Keras model, masked or not; it is not changed.
        mask: `{path: array}`, True = keep, in place of the model's own.
            Kernels that it does not name count in full.
        input_shape: of one example, where the model has no `Input`.

    Returns:
        A `Cost` per example.

    Raises:
        ValueError: something in the model cannot be counted, see
            `kernel_uses`, or `mask` is not of the model's kernels.

    Example:
        >>> x = keras.Input((8, 8, 3))
        >>> y = keras.layers.Conv2D(4, 3, padding="same")(x)
        >>> inference_flops(keras.Model(x, y))  # 2 * (3 * 3 * 3 * 4) * 64
        Cost(dense=13824, effective=13824)
    """
    kernels = kernel_uses(model, input_shape=input_shape)
    if mask is None:
        mask = {
            path: np.asarray(own) != 0
            for path, (_, own) in masked_kernels(model).items()
        }
    return _cost(kernels, mask)


def _cost(
    kernels: Mapping[str, KernelUse], mask: Mapping[str, np.ndarray]
) -> Cost:
    """The cost of a mask, given as arrays."""
    strange = [
        path
        for path, keep in mask.items()
        if path not in kernels or np.size(keep) != kernels[path].size
    ]
    if strange:
        raise ValueError(
            "`mask` must be of the model's kernels. Received: "
            f"{strange}, while the kernels are {list(kernels)}. Pass a mask "
            "of this model."
        )
    return _cost_of_counts(
        kernels, {k: int(np.count_nonzero(m)) for k, m in mask.items()}
    )


def _cost_of_counts(
    kernels: Mapping[str, KernelUse], kept: Mapping[str, int]
) -> Cost:
    return Cost(
        sum(2 * kernel.size * kernel.uses for kernel in kernels.values()),
        sum(
            2 * kept.get(path, kernel.size) * kernel.uses
            for path, kernel in kernels.items()
        ),
    )


def training_flops(inference: Cost, examples: int) -> Cost:
    """Returns the FLOPs of training on so many examples, `3 * f * examples`.

    `f` is the forward pass of one example, and the backward pass counts
    twice as much: one product for the gradient of the input, one for that of
    the kernel. Optimizer, augmentation and evaluations are not counted.

    Args:
        inference: of one example, see `inference_flops`.
        examples: optimizer steps times batch size.

    Example:
        >>> training_flops(Cost(dense=100, effective=20), 7)
        Cost(dense=2100, effective=420)

    Reference:
        Evci et al., Rigging the Lottery, 2020, arXiv:1911.11134, appendix
        "Calculating FLOPs of models and methods".
    """
    return Cost(
        _PASSES * inference.dense * examples,
        _PASSES * inference.effective * examples,
    )


class CostMeter:
    """Counts a model once, then prices every training of it.

    Args:
        model: as in `inference_flops`.
        input_shape: as in `inference_flops`.
        notice: called with one line if the model cannot be counted; its
            FLOPs are then unknown (None) in every row.
    """

    def __init__(
        self,
        model: keras.Model,
        input_shape: Sequence[int] | None = None,
        notice: Callable[[str], None] = print,
    ):
        self._kernels: dict[str, KernelUse] | None = None
        try:
            self._kernels = kernel_uses(model, input_shape=input_shape)
        except ValueError as error:
            notice(f"FLOPs stay empty in results.csv. {error}")

    def columns(
        self,
        mask: Mapping[str, np.ndarray],
        *,
        examples: int | None,
        batch_size: int = 1,
        changes: Sequence[tuple[int, Mapping[str, int]]] = (),
    ) -> dict[str, int | None]:
        """Returns the `COST_COLUMNS` of one training.

        Args:
            mask: that it was trained with.
            examples: that it really took, a multiple of the batch size; None
                where that is not known.
            batch_size: examples per step.
            changes: `(step, {path: kept})` from the step on that training
                started from, where the mask changed on the way.
        """
        flops: list[int | None] = [None] * 4
        if self._kernels is not None:
            inference = _cost(self._kernels, mask)
            flops[2:] = dataclasses.astuple(inference)
        if self._kernels is not None and examples is not None:
            training = training_flops(inference, examples)
            if changes:
                stops = [step for step, _ in changes[1:]]
                stops.append(changes[0][0] + examples // batch_size)
                parts = [
                    training_flops(
                        _cost_of_counts(self._kernels, kept),
                        (stop - start) * batch_size,
                    )
                    for (start, kept), stop in zip(changes, stops)
                ]
                spent = sum(part.effective for part in parts)
                training = Cost(training.dense, spent)
            flops[:2] = dataclasses.astuple(training)
        return dict(zip(COST_COLUMNS, [examples, *flops]))

"""Every stock Keras layer with a kernel, masked; and a user's own."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras.src.layers.rnn.conv_lstm import ConvLSTMCell

from tf_lottery.layers.inside import MaskedInside
from tf_lottery.layers.masked import MASKED_LAYERS
from tf_lottery.layers.masked import PACKAGE
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.masked import MaskedKernel
from tf_lottery.layers.masked import masked_class


@masked_class
class MaskedDense(MaskedKernel, keras.layers.Dense):
    """`keras.layers.Dense` with a masked kernel."""


@masked_class
class MaskedEinsumDense(MaskedKernel, keras.layers.EinsumDense):
    """`keras.layers.EinsumDense` with a masked kernel."""


@masked_class
class MaskedConv1D(MaskedKernel, keras.layers.Conv1D):
    """`keras.layers.Conv1D` with a masked kernel."""


@masked_class
class MaskedConv2D(MaskedKernel, keras.layers.Conv2D):
    """`keras.layers.Conv2D` with a masked kernel."""


@masked_class
class MaskedConv3D(MaskedKernel, keras.layers.Conv3D):
    """`keras.layers.Conv3D` with a masked kernel."""


@masked_class
class MaskedConv1DTranspose(MaskedKernel, keras.layers.Conv1DTranspose):
    """`keras.layers.Conv1DTranspose` with a masked kernel."""


@masked_class
class MaskedConv2DTranspose(MaskedKernel, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose` with a masked kernel."""


@masked_class
class MaskedConv3DTranspose(MaskedKernel, keras.layers.Conv3DTranspose):
    """`keras.layers.Conv3DTranspose` with a masked kernel."""


@masked_class
class MaskedDepthwiseConv1D(MaskedKernel, keras.layers.DepthwiseConv1D):
    """`keras.layers.DepthwiseConv1D` with a masked kernel."""


@masked_class
class MaskedDepthwiseConv2D(MaskedKernel, keras.layers.DepthwiseConv2D):
    """`keras.layers.DepthwiseConv2D` with a masked kernel."""


@masked_class
class MaskedSeparableConv1D(MaskedKernel, keras.layers.SeparableConv1D):
    """`keras.layers.SeparableConv1D` with masked kernels."""

    masked_kernels = ("depthwise_kernel", "pointwise_kernel")


@masked_class
class MaskedSeparableConv2D(MaskedKernel, keras.layers.SeparableConv2D):
    """`keras.layers.SeparableConv2D` with masked kernels."""

    masked_kernels = ("depthwise_kernel", "pointwise_kernel")


@masked_class
class MaskedEmbedding(MaskedKernel, keras.layers.Embedding):
    """`keras.layers.Embedding` with masked embeddings."""

    masked_kernels = ("embeddings",)


@masked_class
class MaskedSimpleRNNCell(MaskedKernel, keras.layers.SimpleRNNCell):
    """`keras.layers.SimpleRNNCell` with masked kernels."""

    masked_kernels = ("kernel", "recurrent_kernel")


@masked_class
class MaskedLSTMCell(MaskedKernel, keras.layers.LSTMCell):
    """`keras.layers.LSTMCell` with masked kernels."""

    masked_kernels = ("kernel", "recurrent_kernel")


@masked_class
class MaskedGRUCell(MaskedKernel, keras.layers.GRUCell):
    """`keras.layers.GRUCell` with masked kernels."""

    masked_kernels = ("kernel", "recurrent_kernel")


@masked_class
class MaskedConvLSTMCell(MaskedKernel, ConvLSTMCell):
    """`ConvLSTMCell` with masked kernels."""

    masked_kernels = ("kernel", "recurrent_kernel")


@masked_class
class MaskedSimpleRNN(MaskedInside, keras.layers.SimpleRNN):
    """`keras.layers.SimpleRNN` around a masked cell."""


@masked_class
class MaskedLSTM(MaskedInside, keras.layers.LSTM):
    """`keras.layers.LSTM` around a masked cell."""


@masked_class
class MaskedGRU(MaskedInside, keras.layers.GRU):
    """`keras.layers.GRU` around a masked cell."""


@masked_class
class MaskedConvLSTM1D(MaskedInside, keras.layers.ConvLSTM1D):
    """`keras.layers.ConvLSTM1D` around a masked cell."""


@masked_class
class MaskedConvLSTM2D(MaskedInside, keras.layers.ConvLSTM2D):
    """`keras.layers.ConvLSTM2D` around a masked cell."""


@masked_class
class MaskedConvLSTM3D(MaskedInside, keras.layers.ConvLSTM3D):
    """`keras.layers.ConvLSTM3D` around a masked cell."""


@masked_class
class MaskedMultiHeadAttention(MaskedInside, keras.layers.MultiHeadAttention):
    """`keras.layers.MultiHeadAttention` with masked projections."""


@masked_class
class MaskedGroupedQueryAttention(
    MaskedInside, keras.layers.GroupQueryAttention
):
    """`keras.layers.GroupQueryAttention` with masked projections."""


# Keras has it since 3.13.
if hasattr(keras.layers, "ReversibleEmbedding"):

    @masked_class
    class MaskedReversibleEmbedding(
        MaskedKernel, keras.layers.ReversibleEmbedding
    ):
        """`keras.layers.ReversibleEmbedding` with masked embeddings."""

        masked_kernels = ("embeddings", "reverse_embeddings")

        @classmethod
        def kernels_of(cls, layer):
            """Names of the kernels: tied embeddings have but one."""
            return cls.masked_kernels[: 1 if layer.tie_weights else 2]


def register_layer(
    cls: type[keras.layers.Layer], kernels: str | Sequence[str] = ()
) -> type[keras.layers.Layer]:
    """Makes a layer class of your own maskable.

    Call it once, beside the class: before `mask_model`, and before a masked
    model with such layers is loaded from a `.keras` file.

    Args:
        cls: the layer's class.
        kernels: names of the attributes that hold its kernels, each a
            variable made by `add_weight`. Without names, a subclass of a
            layer that can be masked has that one's kernels, and any other
            class is taken for one that makes layers with kernels in its
            `__init__` or `build`, from its config.

    Returns:
        `cls`.

    Raises:
        TypeError: `cls` is not a layer class.
        ValueError: `cls` is a model or a masked layer, or has been registered
            with other kernels.

    Example:
        >>> class Scale(keras.layers.Layer):
        ...     def build(self, input_shape):
        ...         self.w = self.add_weight(shape=input_shape[1:], name="w")
        ...     def call(self, x):
        ...         return x * self.w
        >>> _ = register_layer(Scale, kernels="w")
        >>> MASKED_LAYERS[Scale].masked_kernels
        ('w',)
    """
    if not (isinstance(cls, type) and issubclass(cls, keras.layers.Layer)):
        raise TypeError(
            "`cls` must be a class of Keras layers. Received: "
            f"cls={cls!r}. Pass the class, not an instance."
        )
    if issubclass(cls, (keras.Model, Masked)):
        raise ValueError(
            "`cls` must be a layer without masks. Received: "
            f"cls={cls.__name__}. A model needs no registration, but its "
            "layers may."
        )
    names = (kernels,) if isinstance(kernels, str) else tuple(kernels)
    known = next((c for c in cls.__mro__ if c in MASKED_LAYERS), None)
    mixin: type[Masked] = MaskedKernel if names else MaskedInside
    if known is not None and not names:
        mixin = next(
            m
            for m in (MaskedKernel, MaskedInside)
            if issubclass(MASKED_LAYERS[known], m)
        )
        names = getattr(MASKED_LAYERS[known], "masked_kernels", ())
    if known is cls:
        before = getattr(MASKED_LAYERS[cls], "masked_kernels", ())
        if before != names:
            raise ValueError(
                "`kernels` must be those registered before. Received: "
                f"kernels={names}, and before {before} for {cls.__name__}. "
                "Register a class once."
            )
        return cls
    masked = type(
        f"Masked{cls.__name__}",
        (mixin, cls),
        {
            "__doc__": f"`{cls.__name__}` with masks.",
            "__module__": cls.__module__,
            **({"masked_kernels": names} if names else {}),
        },
    )
    # Two classes of one name in two packages are two masked classes.
    name = f"Masked[{keras.saving.get_registered_name(cls)}]"
    keras.saving.register_keras_serializable(PACKAGE, name)(masked)
    MASKED_LAYERS[cls] = masked
    return cls

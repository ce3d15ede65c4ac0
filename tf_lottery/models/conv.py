"""Conv-2, Conv-4 and Conv-6: scaled-down VGG networks for CIFAR-10."""

from __future__ import annotations

import keras

from tf_lottery.models.lenet import check_side
from tf_lottery.models.lenet import hidden
from tf_lottery.models.lenet import logits
from tf_lottery.models.registry import register


@register("conv_2")
def conv_2(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Returns Conv-2: two 3x3 convolutions of 64 filters and a pool.

    After every two convolutions (stride 1, zero padding to equal size)
    comes a 2x2 max-pool of stride 2, then 256 and 256 hidden units. ReLU
    follows every layer but the last, biases start at zero, kernels are drawn
    as in `lenet_300_100`. On CIFAR-10 it has 4,300,992 weights.

    Args:
        input_shape: `(height, width, channels)`, at least 2 x 2 pixels.
        num_classes: width of the output, logits.

    Returns:
        A built model with kernels "conv_1/kernel", "conv_2/kernel",
        "dense_1/kernel", "dense_2/kernel" and "output/kernel".

    Raises:
        ValueError: the images are too small for the pools.

    Example:
        >>> conv_2((32, 32, 3), 10).output_shape
        (None, 10)

    Reference:
        Frankle and Carbin, The Lottery Ticket Hypothesis, 2019,
        arXiv:1803.03635, figure 2.
    """
    return _build("conv_2", (64,), input_shape, num_classes)


@register("conv_4")
def conv_4(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Returns Conv-4: `conv_2` with two more convolutions of 128 filters.

    On CIFAR-10 it has 2,425,024 weights.

    Args:
        input_shape: `(height, width, channels)`, at least 4 x 4 pixels.
        num_classes: width of the output, logits.

    Returns:
        A built model with kernels "conv_1/kernel" to "conv_4/kernel",
        "dense_1/kernel", "dense_2/kernel" and "output/kernel".

    Raises:
        ValueError: the images are too small for the pools.

    Example:
        >>> conv_4((32, 32, 3), 10).output_shape
        (None, 10)

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, figure 2.
    """
    return _build("conv_4", (64, 128), input_shape, num_classes)


@register("conv_6")
def conv_6(input_shape: tuple[int, int, int], num_classes: int) -> keras.Model:
    """Returns Conv-6: `conv_4` with two more convolutions of 256 filters.

    On CIFAR-10 it has 2,261,184 weights, of which 1,144,512 in convolutions.
    The paper's table says 1.7 million; the densities that it quotes for
    Conv-6 agree with the number here, which follows from its description.

    Args:
        input_shape: `(height, width, channels)`, at least 8 x 8 pixels.
        num_classes: width of the output, logits.

    Returns:
        A built model with kernels "conv_1/kernel" to "conv_6/kernel",
        "dense_1/kernel", "dense_2/kernel" and "output/kernel".

    Raises:
        ValueError: the images are too small for the pools.

    Example:
        >>> conv_6((32, 32, 3), 10).output_shape
        (None, 10)

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, figure 2.
    """
    return _build("conv_6", (64, 128, 256), input_shape, num_classes)


@register("conv_2_dropout")
def conv_2_dropout(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns `conv_2` with dropout of half the units.

    The paper states the rate but not the layers; here dropout follows the two
    hidden dense layers.

    Args:
        input_shape: as of `conv_2`.
        num_classes: width of the output, logits.

    Returns:
        A built model with the kernels of `conv_2`.

    Raises:
        ValueError: the images are too small for the pools.

    Example:
        >>> conv_2_dropout((32, 32, 3), 10).get_layer("dropout_2").rate
        0.5

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 3, "dropout".
    """
    return _build("conv_2_dropout", (64,), input_shape, num_classes, 0.5)


@register("conv_4_dropout")
def conv_4_dropout(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns `conv_4` with dropout, placed as in `conv_2_dropout`.

    Args:
        input_shape: as of `conv_4`.
        num_classes: width of the output, logits.

    Returns:
        A built model with the kernels of `conv_4`.

    Raises:
        ValueError: the images are too small for the pools.

    Example:
        >>> conv_4_dropout((32, 32, 3), 10).output_shape
        (None, 10)

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 3, "dropout".
    """
    return _build("conv_4_dropout", (64, 128), input_shape, num_classes, 0.5)


@register("conv_6_dropout")
def conv_6_dropout(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns `conv_6` with dropout, placed as in `conv_2_dropout`.

    Args:
        input_shape: as of `conv_6`.
        num_classes: width of the output, logits.

    Returns:
        A built model with the kernels of `conv_6`.

    Raises:
        ValueError: the images are too small for the pools.

    Example:
        >>> conv_6_dropout((32, 32, 3), 10).output_shape
        (None, 10)

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 3, "dropout".
    """
    return _build(
        "conv_6_dropout", (64, 128, 256), input_shape, num_classes, 0.5
    )


def _build(
    name: str,
    blocks: tuple[int, ...],
    input_shape: tuple[int, int, int],
    num_classes: int,
    dropout: float = 0.0,
) -> keras.Model:
    check_side(name, input_shape, 2 ** len(blocks))
    inputs = keras.Input(input_shape, name="image")
    x = inputs
    for block, filters in enumerate(blocks, start=1):
        for index in (2 * block - 1, 2 * block):
            x = keras.layers.Conv2D(
                filters,
                3,
                padding="same",
                activation="relu",
                kernel_initializer=keras.initializers.GlorotNormal(),
                name=f"conv_{index}",
            )(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool_{block}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    for index in (1, 2):
        x = hidden(256, f"dense_{index}")(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout_{index}")(x)
    return keras.Model(inputs, logits(num_classes)(x), name=name)

"""VGG-16 and VGG-19 for CIFAR-10, with batch normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from tf_lottery.models.initial import kaiming_normal
from tf_lottery.models.lenet import check_side
from tf_lottery.models.lenet import logits
from tf_lottery.models.registry import register


@register("vgg_16")
def vgg_16(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns VGG-16 for CIFAR-10: 13 convolutions and one dense layer.

    Groups of two convolutions of 64 filters, two of 128, three of 256, three
    of 512 and three of 512, all 3x3 with zero padding to equal size, batch
    normalisation and ReLU; between groups a 2x2 max-pool of stride 2; then
    the mean over all pixels and the output layer, in place of the three dense
    layers of the network for ImageNet. On CIFAR-10 it has 14,715,584 weights,
    of which 5,120 in the output layer.

    Kernels are drawn as PyTorch's `kaiming_normal_` draws them, and
    normalisation has momentum 0.9 and epsilon 1e-5, as in OpenLTH; its scales
    start at 1, where OpenLTH by default draws them from [0, 1). Convolutions
    have no bias: the normalisation after them would cancel it.

    Args:
        input_shape: `(height, width, channels)`, at least 16 x 16 pixels.
        num_classes: width of the output, logits.

    Returns:
        A built model with kernels "conv_1/kernel" to "conv_13/kernel" and
        "output/kernel".

    Raises:
        ValueError: the images are smaller than 16 x 16.

    Example:
        >>> vgg_16((32, 32, 3), 10).output_shape
        (None, 10)

    Reference:
        Simonyan and Zisserman, Very Deep Convolutional Networks, 2015,
        arXiv:1409.1556, table 1, column D; Frankle et al., Linear Mode
        Connectivity and the Lottery Ticket Hypothesis, 2020,
        arXiv:1912.05671; OpenLTH, github.com/facebookresearch/open_lth,
        models/cifar_vgg.py.
    """
    sizes = (2, 2, 3, 3, 3)
    return _build("vgg_16", sizes, input_shape, num_classes, kaiming_normal)


@register("vgg_19")
def vgg_19(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns VGG-19 for CIFAR-10: `vgg_16` with groups of 2, 2, 4, 4 and 4.

    On CIFAR-10 it has 20,024,000 weights, of which 5,120 in the output layer.
    Kernels are drawn "Gaussian Glorot", as in `lenet_300_100`.

    Args:
        input_shape: `(height, width, channels)`, at least 16 x 16 pixels.
        num_classes: width of the output, logits.

    Returns:
        A built model with kernels "conv_1/kernel" to "conv_16/kernel" and
        "output/kernel".

    Raises:
        ValueError: the images are smaller than 16 x 16.

    Example:
        >>> vgg_19((32, 32, 3), 10).output_shape
        (None, 10)

    Reference:
        Simonyan and Zisserman, 2015, arXiv:1409.1556, table 1, column E;
        Frankle and Carbin, The Lottery Ticket Hypothesis, 2019,
        arXiv:1803.03635, figure 2.
    """
    return _build(
        "vgg_19",
        (2, 2, 4, 4, 4),
        input_shape,
        num_classes,
        keras.initializers.GlorotNormal,
    )


def _build(
    name: str,
    sizes: Sequence[int],
    input_shape: tuple[int, int, int],
    num_classes: int,
    initializer: Callable[[], keras.initializers.Initializer],
) -> keras.Model:
    check_side(name, input_shape, 16)
    inputs = keras.Input(input_shape, name="image")
    x = inputs
    index = 0
    for group, size in enumerate(sizes):
        if group:
            x = keras.layers.MaxPooling2D(2, name=f"pool_{group}")(x)
        for _ in range(size):
            index += 1
            x = keras.layers.Conv2D(
                64 * 2 ** min(group, 3),
                3,
                padding="same",
                use_bias=False,
                kernel_initializer=initializer(),
                name=f"conv_{index}",
            )(x)
            x = keras.layers.BatchNormalization(
                momentum=0.9, epsilon=1e-5, name=f"conv_{index}_norm"
            )(x)
            x = keras.layers.ReLU(name=f"conv_{index}_relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    x = logits(num_classes, initializer())(x)
    return keras.Model(inputs, x, name=name)

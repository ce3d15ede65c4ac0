"""ResNets for CIFAR-10: ResNet-20, called Resnet-18 by one paper, and -56."""

from __future__ import annotations

from collections.abc import Callable

import keras

from tf_lottery.models.initial import kaiming_normal
from tf_lottery.models.lenet import logits
from tf_lottery.models.registry import register


@register("resnet_18")
def resnet_18(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns what Frankle and Carbin call Resnet-18: `resnet_20`.

    The same graph with other initial weights: the paper draws all kernels
    "Gaussian Glorot", as in `lenet_300_100`. Its table counts every value
    of the network on CIFAR-10, the biases and statistics included: 274,042.

    Args:
        input_shape: `(height, width, channels)`, pixels.
        num_classes: width of the output, logits.

    Returns:
        A built model with the kernels of `resnet_20`.

    Example:
        >>> resnet_18((32, 32, 3), 10).count_params()
        274042

    Reference:
        Frankle and Carbin, The Lottery Ticket Hypothesis, 2019,
        arXiv:1803.03635, figure 2.
    """
    return _build(
        "resnet_18",
        20,
        input_shape,
        num_classes,
        keras.initializers.GlorotNormal,
    )


@register("resnet_20")
def resnet_20(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns the ResNet-20 for CIFAR-10: 20 layers along its longest path.

    A 3x3 convolution of 16 filters, three stages of three blocks with 16, 32
    and 64 filters, the mean over all pixels, and the output layer. A block is
    two 3x3 convolutions beside a shortcut; batch normalisation follows each
    convolution, ReLU the first one and the sum. The first blocks of stages 2
    and 3 halve the image (stride 2), and their shortcut is a 1x1 convolution
    of stride 2 with normalisation, where He et al. pad with zeros. On
    CIFAR-10 it has 270,896 weights, of which 2,560 in shortcuts and 640 in
    the output layer.

    Zero padding is the same on all sides, so that a stride of 2 takes the
    pixels that the shortcut takes; Keras' padding="same" would not. Kernels
    are drawn as PyTorch's `kaiming_normal_` draws them, and normalisation has
    momentum 0.9 and epsilon 1e-5, as in OpenLTH; its scales start at 1, where
    OpenLTH by default draws them from [0, 1).

    Args:
        input_shape: `(height, width, channels)`, pixels.
        num_classes: width of the output, logits.

    Returns:
        A built model with kernels "conv/kernel", "stage_1_block_1_conv_1/
        kernel" to "stage_3_block_3_conv_2/kernel", "stage_2_shortcut/kernel",
        "stage_3_shortcut/kernel" and "output/kernel".

    Example:
        >>> resnet_20((32, 32, 3), 10).output_shape
        (None, 10)

    Reference:
        He et al., Deep Residual Learning for Image Recognition, 2016,
        arXiv:1512.03385, section 4.2; Frankle et al., Linear Mode
        Connectivity and the Lottery Ticket Hypothesis, 2020,
        arXiv:1912.05671; OpenLTH, github.com/facebookresearch/open_lth,
        models/cifar_resnet.py.
    """
    return _build("resnet_20", 20, input_shape, num_classes, kaiming_normal)


@register("resnet_56")
def resnet_56(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns the ResNet-56 for CIFAR-10: `resnet_20` with nine-block stages.

    On CIFAR-10 it has 851,504 weights. As in the code of Renda et al., kernels
    are drawn from Keras' `LecunNormal` (variance 1 / fan_in), the output's
    from a normal distribution of deviation 0.01, and normalisation has
    momentum 0.997. That code also puts a 1x1 convolution (256 weights) on the
    shortcut of the first stage, whose sizes do not change; here it is left
    out.

    Args:
        input_shape: `(height, width, channels)`, pixels.
        num_classes: width of the output, logits.

    Returns:
        A built model with kernels named as in `resnet_20`.

    Example:
        >>> resnet_56((32, 32, 3), 10).output_shape
        (None, 10)

    Reference:
        He et al., 2016, arXiv:1512.03385, section 4.2; Renda et al.,
        Comparing Rewinding and Fine-tuning in Neural Network Pruning, 2020,
        arXiv:2003.02389, and its code,
        github.com/lottery-ticket/rewinding-iclr20-public.
    """
    return _build(
        "resnet_56",
        56,
        input_shape,
        num_classes,
        keras.initializers.LecunNormal,
        output=keras.initializers.RandomNormal(stddev=0.01),
        momentum=0.997,
    )


def _build(
    name: str,
    depth: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
    initializer: Callable[[], keras.initializers.Initializer],
    *,
    output: keras.initializers.Initializer | None = None,
    momentum: float = 0.9,
) -> keras.Model:
    def conv(x, filters, size, stride, layer):
        if size > stride > 1:
            x = keras.layers.ZeroPadding2D(1, name=f"{layer}_pad")(x)
        x = keras.layers.Conv2D(
            filters,
            size,
            strides=stride,
            padding="valid" if stride > 1 else "same",
            use_bias=False,
            kernel_initializer=initializer(),
            name=layer,
        )(x)
        return keras.layers.BatchNormalization(
            momentum=momentum, epsilon=1e-5, name=f"{layer}_norm"
        )(x)

    inputs = keras.Input(input_shape, name="image")
    x = conv(inputs, 16, 3, 1, "conv")
    x = keras.layers.ReLU(name="conv_relu")(x)
    for stage, filters in enumerate((16, 32, 64), start=1):
        for block in range(1, (depth - 2) // 6 + 1):
            layer = f"stage_{stage}_block_{block}"
            halves = stage > 1 and block == 1
            shortcut = x
            if halves:
                shortcut = conv(x, filters, 1, 2, f"stage_{stage}_shortcut")
            x = conv(x, filters, 3, 1 + halves, f"{layer}_conv_1")
            x = keras.layers.ReLU(name=f"{layer}_relu_1")(x)
            x = conv(x, filters, 3, 1, f"{layer}_conv_2")
            x = keras.layers.Add(name=f"{layer}_sum")([x, shortcut])
            x = keras.layers.ReLU(name=f"{layer}_relu_2")(x)
    x = keras.layers.GlobalAveragePooling2D(name="mean")(x)
    x = logits(num_classes, output or initializer())(x)
    return keras.Model(inputs, x, name=name)

"""LeNet-300-100 and LeNet-5."""

from __future__ import annotations

import keras

from tf_lottery.models.registry import register


@register("lenet_300_100")
def lenet_300_100(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns the fully connected LeNet of 300 and 100 hidden units.

    On MNIST it has 784 * 300 + 300 * 100 + 100 * 10 = 266,200 weights.
    Hidden units are ReLU, biases start at zero, and kernels are drawn from
    Keras' `GlorotNormal`: a normal distribution truncated at two standard
    deviations, then scaled to the variance 2 / (fan_in + fan_out). The paper
    says "Gaussian Glorot"; its released code draws from
    `tf.contrib.layers.xavier_initializer(uniform=False)`, truncated too,
    whose scale differs by 0.3 %.

    Args:
        input_shape: `(height, width, channels)`, pixels.
        num_classes: width of the output, logits.

    Returns:
        A built model with kernels "dense_1/kernel", "dense_2/kernel" and
        "output/kernel".

    Example:
        >>> lenet_300_100((28, 28, 1), 10).output_shape
        (None, 10)

    Reference:
        LeCun et al., Gradient-based learning applied to document
        recognition, 1998, doi:10.1109/5.726791, section III.B; Frankle and
        Carbin, The Lottery Ticket Hypothesis, 2019, arXiv:1803.03635,
        figure 2.
    """
    return _two_hidden(300, 100, input_shape, num_classes)


@register("lenet_100_34")
def lenet_100_34(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns the fully connected LeNet of 100 and 34 hidden units.

    On MNIST it has 784 * 100 + 100 * 34 + 34 * 10 = 82,140 weights; all else
    is as in `lenet_300_100`.

    Args:
        input_shape: `(height, width, channels)`, pixels.
        num_classes: width of the output, logits.

    Example:
        >>> lenet_100_34((28, 28, 1), 10).count_params()
        82284

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix G, which varies
        the widths with about three to one between the hidden layers.
    """
    return _two_hidden(100, 34, input_shape, num_classes)


def _two_hidden(
    first: int,
    second: int,
    input_shape: tuple[int, int, int],
    num_classes: int,
) -> keras.Model:
    inputs = keras.Input(input_shape, name="image")
    x = keras.layers.Flatten(name="flatten")(inputs)
    x = hidden(first, "dense_1")(x)
    x = hidden(second, "dense_2")(x)
    name = f"lenet_{first}_{second}"
    return keras.Model(inputs, logits(num_classes)(x), name=name)


@register("lenet_5")
def lenet_5(
    input_shape: tuple[int, int, int], num_classes: int
) -> keras.Model:
    """Returns the LeNet-5 variant of the pruning literature (20-50-500).

    Two 5x5 convolutions without padding (20 and 50 filters), each followed
    by a 2x2 max-pool, then 500 hidden units: 430,500 weights and 580 biases
    on MNIST. It is Caffe's version of the network, not LeCun's of 1998, and
    differs from Caffe's in two points: ReLU also follows the convolutions,
    and kernels are drawn as in `lenet_300_100`.

    Args:
        input_shape: `(height, width, channels)`, at least 16 x 16 pixels.
        num_classes: width of the output, logits.

    Returns:
        A built model with kernels "conv_1/kernel", "conv_2/kernel",
        "dense_1/kernel" and "output/kernel".

    Raises:
        ValueError: the images are smaller than 16 x 16.

    Example:
        >>> lenet_5((28, 28, 1), 10).count_params()
        431080

    Reference:
        LeCun et al., 1998, doi:10.1109/5.726791; Han et al., Learning both
        Weights and Connections for Efficient Neural Networks, 2015,
        arXiv:1506.02626, table 4.
    """
    # ((16 - 4) / 2 - 4) / 2 = 1 pixel is left.
    check_side("lenet_5", input_shape, 16)
    inputs = keras.Input(input_shape, name="image")
    x = inputs
    for index, filters in enumerate((20, 50), start=1):
        x = keras.layers.Conv2D(
            filters,
            5,
            activation="relu",
            kernel_initializer=keras.initializers.GlorotNormal(),
            name=f"conv_{index}",
        )(x)
        x = keras.layers.MaxPooling2D(2, name=f"pool_{index}")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = hidden(500, "dense_1")(x)
    return keras.Model(inputs, logits(num_classes)(x), name="lenet_5")


def hidden(units: int, name: str) -> keras.layers.Dense:
    """Returns a hidden layer: ReLU, Gaussian Glorot kernel, zero bias.

    Args:
        units: width of the layer.
        name: name of the layer.

    Returns:
        An unbuilt layer.

    Example:
        >>> hidden(300, "dense_1").units
        300
    """
    return keras.layers.Dense(
        units,
        activation="relu",
        kernel_initializer=keras.initializers.GlorotNormal(),
        name=name,
    )


def logits(
    num_classes: int,
    kernel_initializer: keras.initializers.Initializer | None = None,
) -> keras.layers.Dense:
    """Returns the output layer: no activation, and float32 in any policy.

    Args:
        num_classes: width of the layer.
        kernel_initializer: Gaussian Glorot by default.

    Returns:
        An unbuilt layer named "output".

    Example:
        >>> logits(10).name
        'output'
    """
    return keras.layers.Dense(
        num_classes,
        kernel_initializer=(
            kernel_initializer or keras.initializers.GlorotNormal()
        ),
        # bfloat16 logits have 8 bits, too few to tell good losses apart.
        dtype="float32",
        name="output",
    )


def check_side(
    model: str, input_shape: tuple[int, int, int], smallest: int
) -> None:
    """Checks that images are large enough to survive a model's pooling.

    Args:
        model: the model's registered name.
        input_shape: `(height, width, channels)`, pixels.
        smallest: the smallest side that leaves a pixel after pooling.

    Raises:
        ValueError: a side is smaller.

    Example:
        >>> check_side("lenet_5", (28, 28, 1), 16)
    """
    if min(input_shape[:2]) < smallest:
        raise ValueError(
            f"`model` must fit the images: {model} needs at least {smallest} "
            f"x {smallest} pixels. Received: model={model!r}, "
            f"input_shape={tuple(input_shape)}. Choose 'lenet_300_100', "
            "which takes any size, or larger images."
        )

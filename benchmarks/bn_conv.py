"""A small convolutional network with batch normalisation, for Early-Bird.

    python binaries/train_ticket.py --model=benchmarks.bn_conv:bn_conv ...
"""

from __future__ import annotations

import keras

L = keras.layers


def bn_conv(input_shape, num_classes) -> keras.Model:
    """Three 3x3 convolutions of 16, 32 and 64 channels, pooled, and a Dense.

    Args:
        input_shape: of an image.
        num_classes: units of the output.
    """
    x = y = keras.Input(input_shape)
    for i, filters in enumerate((16, 32, 64), 1):
        y = L.Conv2D(
            filters, 3, padding="same", use_bias=False,
            kernel_initializer="he_normal", name=f"conv_{i}",
        )(y)
        y = L.BatchNormalization(name=f"bn_{i}")(y)
        y = L.MaxPooling2D(name=f"pool_{i}")(L.ReLU(name=f"relu_{i}")(y))
    y = L.GlobalAveragePooling2D(name="mean")(y)
    return keras.Model(x, L.Dense(num_classes, name="output")(y))

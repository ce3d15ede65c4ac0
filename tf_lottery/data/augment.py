"""Random changes of training images, as functions of seed and step alone."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class FlipCrop:
    """Mirrors half of the images, and shifts all by up to `pad` pixels.

    An image is surrounded by `pad` zeros on each side (black, as stored),
    cropped to its old size at a random place, and mirrored left to right with
    probability one half. All `2 * (2 * pad + 1) ** 2` outcomes are equally
    likely; an image's draw is the number of its outcome,

        draw = 2 * ((2 * pad + 1) * top + left) + mirrored

    with `top` and `left` the corner of the crop in the padded image.

    Args:
        pad: pixels on each side, at least 0.

    Raises:
        ValueError: `pad` is negative.

    Example:
        >>> x = tf.constant([[1, 2], [3, 4]], shape=(1, 2, 2, 1))
        >>> y = FlipCrop(pad=1).apply(x, tf.constant([2 * (3 * 0 + 1)]))
        >>> y[0, :, :, 0].numpy().tolist()
        [[0, 0], [1, 2]]

    Reference:
        He et al., Deep Residual Learning for Image Recognition, 2016,
        arXiv:1512.03385, section 4.2.
    """

    pad: int = 4

    def __post_init__(self) -> None:
        if self.pad < 0:
            raise ValueError(
                "`pad` must be at least 0. Received: "
                f"pad={self.pad}. The papers use 4."
            )

    def draw(self, seed: tf.Tensor, batch_size: int) -> tf.Tensor:
        """Returns what happens to each image of a batch.

        Args:
            seed: `(2,)` integers, a key and the number of the step.
            batch_size: examples of the whole batch, over all replicas.

        Returns:
            `(batch_size,)` int32 draws.
        """
        import tensorflow as tf

        # Named, because the default differs between kinds of devices.
        return tf.random.stateless_uniform(
            (batch_size,),
            seed,
            maxval=2 * (2 * self.pad + 1) ** 2,
            dtype=tf.int32,
            alg="philox",
        )

    def apply(self, examples: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
        """Returns the changed images.

        Args:
            examples: `(batch, height, width, channels)`, of any type.
            draws: `(batch,)`, from `draw`.

        Returns:
            Images of the shape and type of `examples`.
        """
        import tensorflow as tf

        pad, places = self.pad, 2 * self.pad + 1
        height, width, channels = examples.shape[1:]
        place, mirrored = draws // 2, draws % 2
        column = tf.range(width)
        column = tf.where(
            tf.equal(mirrored, 1)[:, tf.newaxis], width - 1 - column, column
        )
        row = (place // places)[:, tf.newaxis] + tf.range(height)
        column += (place % places)[:, tf.newaxis]
        # Pixels by their number in the padded batch: on a CPU one such gather
        # takes half the time of two, of rows and of columns.
        image = tf.range(tf.shape(examples)[0])[:, tf.newaxis]
        row = (image * (height + 2 * pad) + row) * (width + 2 * pad)
        index = row[:, :, tf.newaxis] + column[:, tf.newaxis, :]
        padded = tf.pad(examples, [[0, 0], [pad, pad], [pad, pad], [0, 0]])
        return tf.gather(tf.reshape(padded, (-1, channels)), index)

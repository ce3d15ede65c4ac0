"""The loss that networks are trained by."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tf_lottery.models import gives_probabilities


def example_loss(model: keras.Model) -> Callable:
    """Returns the cross-entropy of every example.

    Where an example has many labels, as a sequence has a next token at every
    place, its loss is the mean over these: of all, also where a layer masks
    some, as `Embedding(mask_zero=True)` does.

    Args:
        model: gives logits, or probabilities as its end says.

    Returns:
        `(labels, outputs) -> losses` of `(batch, ...)`, `(batch, ...,
        classes)` and `(batch,)`.

    Example:
        >>> model = keras.Sequential(
        ...     [keras.Input((3, 2)), keras.layers.Dense(2)])
        >>> logits = np.log([[[0.5, 0.5], [0.125, 0.875], [0.5, 0.5]]])
        >>> loss = example_loss(model)(np.zeros((1, 3), int), logits)
        >>> (loss.numpy() / np.log(2)).round(4).tolist()
        [1.6667]
    """
    from_logits = not gives_probabilities(model)

    def loss(labels, outputs):
        # The loss object of Keras takes masked places for losses of 0.
        values = keras.losses.sparse_categorical_crossentropy(
            tf.convert_to_tensor(labels),
            tf.cast(outputs, tf.float32),
            from_logits=from_logits,
        )
        return mean_of_example(values)

    return loss


def mean_of_example(values: tf.Tensor) -> tf.Tensor:
    """Returns the mean over all axes but the first.

    Args:
        values: `(batch, ...)`.

    Example:
        >>> mean_of_example(tf.constant([[1.0, 3.0], [2.0, 2.0]])).numpy()
        array([2., 2.], dtype=float32)
    """
    axes = list(range(1, values.shape.rank))
    return tf.reduce_mean(values, axes) if axes else values

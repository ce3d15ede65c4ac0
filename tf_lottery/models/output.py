"""What a model's outputs are."""

from __future__ import annotations

import keras


def gives_probabilities(model: keras.Model) -> bool:
    """Whether a model ends in a softmax, rather than in logits.

    Args:
        model: whose last layer, or that of the model which is its last layer,
            is looked at.

    Example:
        >>> gives_probabilities(keras.Sequential([keras.layers.Softmax()]))
        True
    """
    last = model.layers[-1]
    if isinstance(last, keras.Model):
        return gives_probabilities(last)
    activation = getattr(last, "activation", None)
    return isinstance(last, keras.layers.Softmax) or (
        activation is keras.activations.softmax
    )

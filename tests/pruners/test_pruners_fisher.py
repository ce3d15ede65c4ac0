"""The diagonal Fisher information, example by example."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners.fisher import Fisher


def square(y, outputs):
    return tf.square(outputs - y)[:, 0]


@pytest.mark.parametrize("run_eagerly", [True, False])
@pytest.mark.parametrize("batch_size", [256, 2])
def test_by_hand(run_eagerly, batch_size, monkeypatch):
    monkeypatch.setattr("tf_lottery.pruners.gradients._MANY", 3)
    x = keras.Input((2,))
    layer = keras.layers.Dense(1, name="one", use_bias=False)
    model = mask_model(keras.Model(x, layer(x)))
    model.weights[0].assign([[2.0], [-3.0]])
    model.run_eagerly = run_eagerly
    eager = set()

    def loss(y, outputs):
        eager.add(tf.executing_eagerly())
        return square(y, outputs)

    context = PruningContext(
        model,
        x=np.array([[1.0, 0], [0, 1], [1, 1]]),
        y=np.array([[1.0], [-1.0], [-1.0]]),
        loss=loss,
        batch_size=batch_size,
    )
    # Residuals 1, -2 and 0; gradients 2 r x: (2, 0), (0, -4) and (0, 0). The
    # mean gradient's square, (2 / 3)^2, would be another score.
    found = Fisher().scores(context)["one/kernel"]
    np.testing.assert_allclose(
        found, [[4 / 2 * 4 / 3], [9 / 2 * 16 / 3]], rtol=1e-6
    )
    # Three examples are three calls, also in one batch.
    assert eager == {run_eagerly}
    set_mask(model, {"one/kernel": [[True], [False]]})
    # Residuals 1, 1 and 3: gradients 2, 0 and 6.
    found = Fisher().scores(context)["one/kernel"]
    np.testing.assert_allclose(found, [[4 / 2 * 40 / 3], [0]], rtol=1e-6)


def test_normalisation_is_that_of_inference():
    x = keras.Input((2,))
    y = keras.layers.Dense(2, name="one", use_bias=False)(x)
    y = keras.layers.BatchNormalization()(y)
    y = keras.layers.Dropout(0.5)(y)
    model = mask_model(keras.Model(x, keras.layers.Dense(1, name="two")(y)))
    # An example by itself would be normalised to 0, with no gradient left.
    found = Fisher().scores(
        PruningContext(
            model,
            x=np.array([[1.0, 2], [3, 1]]),
            y=np.ones((2, 1)),
            loss=square,
        )
    )
    assert all((score > 0).all() for score in found.values())

"""What a copy of a model must take along."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_state
from tf_lottery.layers import strip_masks

pytestmark = pytest.mark.any_backend


def test_adapted_normalization_survives_copies_and_new_state():
    normalization = keras.layers.Normalization()
    x = np.random.default_rng(0).normal(5.0, 3.0, (64, 4)).astype("float32")
    normalization.adapt(x)
    model = keras.Sequential(
        [keras.Input((4,)), normalization, keras.layers.Dense(2)]
    )
    masked = mask_model(model)
    expected = model(x)
    np.testing.assert_array_equal(masked(x), expected)
    np.testing.assert_array_equal(strip_masks(masked)(x), expected)
    other = keras.models.clone_model(model)
    set_state(other, get_state(model))
    np.testing.assert_array_equal(other(x), expected)


def test_an_adapted_discretization_survives_copies_and_new_state():
    bins = keras.layers.Discretization(num_bins=4, output_mode="one_hot")
    x = np.random.default_rng(0).normal(size=(64, 1)).astype("float32")
    bins.adapt(x)
    model = keras.Sequential([keras.Input((1,)), bins, keras.layers.Dense(2)])
    masked = mask_model(model)
    expected = model(x)
    np.testing.assert_array_equal(masked(x), expected)
    np.testing.assert_array_equal(strip_masks(masked)(x), expected)
    set_state(masked, get_state(model))
    np.testing.assert_array_equal(masked(x), expected)


def test_lambda_layers_are_shared():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Lambda(lambda t: t * 2),
            keras.layers.Dense(2),
        ]
    )
    x = np.ones((1, 4), "float32")
    masked = mask_model(model)
    np.testing.assert_array_equal(masked(x), model(x))
    np.testing.assert_array_equal(strip_masks(masked)(x), model(x))

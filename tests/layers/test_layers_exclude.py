"""Masks for a while, and masks on some of the kernels."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked
from tf_lottery.layers import register_layer
from tf_lottery.layers import set_mask
from tf_lottery.layers import strip_masks

layers = keras.layers
pytestmark = pytest.mark.any_backend
X = np.random.default_rng(0).normal(size=(5, 4)).astype("float32")


def functional():
    x = keras.Input((4,))
    y = layers.Dense(4, activation="tanh", name="one")(x)
    return keras.Model(x, layers.Dense(2, name="two")(y))


def test_masked_for_as_long_as_the_context_lasts():
    model = functional()
    before, variables = np.asarray(model(X)), [id(v) for v in model.variables]
    with pytest.raises(KeyError), masked(model) as same_model:
        assert same_model is model
        shapes = {"one/kernel": (4, 4), "two/kernel": (4, 2)}
        assert get_mask(model).shapes == shapes
        raise KeyError
    assert not is_masked(model)
    assert [id(v) for v in model.variables] == variables
    assert np.array_equal(model(X), before)


def test_a_model_with_masks_keeps_them_in_the_context():
    model = mask_model(functional())
    set_mask(
        model, {k: np.eye(*m.shape) for k, m in get_mask(model).items()}
    )
    mask = get_mask(model)
    with masked(model):
        assert get_mask(model) == mask
    assert get_mask(model) == mask


def test_paths_of_wrapped_kernels_stay_the_same_in_a_copy():
    x = keras.Input((3, 4))
    y = layers.TimeDistributed(layers.Dense(4, name="in"), name="a")(x)
    y = layers.TimeDistributed(layers.Dense(4, name="in"), name="b")(y)
    model = keras.Model(x, y)
    twin = mask_model(model)
    assert list(get_mask(twin)) == ["a/in/kernel", "b/in/kernel"]
    assert list(get_state(strip_masks(twin))) == list(get_state(model))
    found = get_mask(mask_model(model, exclude="a/*"))
    assert list(found) == ["b/in/kernel"]


def test_kernels_of_one_name_inside_a_layer_are_excluded_together():
    @keras.saving.register_keras_serializable("tests")
    class Twins(layers.Layer):
        def build(self, input_shape):
            self.parts = [layers.Dense(4, name="in") for _ in range(2)]
            for part in self.parts:
                part.build(input_shape)

        def call(self, x):
            return self.parts[1](self.parts[0](x))

    register_layer(Twins)
    x = keras.Input((4,))
    model = keras.Model(x, layers.Dense(2)(Twins(name="twins")(x)))
    with pytest.raises(ValueError, match="`exclude` must match all or none"):
        mask_model(model, exclude="twins/in/kernel")
    assert get_mask(mask_model(model, exclude="twins/*")).size == 8


def test_a_registered_kernel_of_one_axis_can_be_excluded():
    @keras.saving.register_keras_serializable("tests")
    class Scale(layers.Layer):
        def build(self, input_shape):
            self.w = self.add_weight(shape=input_shape[1:], name="w")

        def call(self, x):
            return x * self.w

    register_layer(Scale, kernels="w")
    x = keras.Input((4,))
    y = Scale(name="scale")(x)
    model = keras.Model(x, layers.Dense(2, name="out")(y))
    assert list(get_mask(mask_model(model))) == ["scale/w", "out/kernel"]
    for pattern in ("scale", "scale/w"):
        found = mask_model(model, exclude=pattern)
        assert list(get_mask(found)) == ["out/kernel"]


def test_a_whole_path_comes_before_the_end_of_another():
    inner = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(3, name="out")], name="block"
    )
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(2, name="out")(inner(x)))
    one = mask_model(model, exclude="out/kernel")
    paths = list(get_mask(one))
    assert len(paths) == 1 and "block" in paths[0]


def test_the_name_of_a_layer_is_enough():
    x = keras.Input((3,))
    y = keras.layers.Dense(3, name="body")(x)
    model = keras.Model(x, keras.layers.Dense(2, name="head")(y))
    assert list(get_mask(mask_model(model, exclude="head"))) == ["body/kernel"]
    with pytest.raises(TypeError, match="`exclude` must hold patterns"):
        mask_model(model, exclude=model.layers[-1])

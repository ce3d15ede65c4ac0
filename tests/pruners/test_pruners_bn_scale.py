"""Scores by the scales of batch normalisation."""

import keras
import numpy as np
import pytest

from tf_lottery.graph import effective_mask
from tf_lottery.layers import get_mask
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.pruners import prune
from tf_lottery.pruners import scores

L = keras.layers


def network():
    """Two convolutions with normalisation, one without, a residual sum."""
    x = keras.Input((6, 6, 2))
    y = L.Conv2D(4, 3, padding="same", use_bias=False, name="one")(x)
    y = L.ReLU()(L.BatchNormalization(name="bn_one")(y))
    z = L.Conv2D(3, 3, padding="same", name="two")(y)
    z = L.BatchNormalization(name="bn_two")(z)
    w = L.Conv2D(3, 1, name="three")(y)
    out = L.Dense(2, name="out")(L.Flatten()(L.add([z, w])))
    return mask_model(keras.Model(x, out), exclude=["three/*", "out/*"])


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    model = network()
    model.get_layer("bn_one").gamma.assign([0.5, -0.1, 0.3, -0.9])
    model.get_layer("bn_two").gamma.assign([0.2, 0.8, -0.05])
    return model


def test_a_channel_s_weights_share_its_scale(model):
    found = scores(model, "bn_scale")
    one = found["one/kernel"]
    assert np.allclose(one.sum(axis=(0, 1, 2)), [0.5, 0.1, 0.3, 0.9])
    assert np.ptp(one, axis=(0, 1, 2)).max() == 0
    two = found["two/kernel"].sum(axis=(0, 1, 2))
    assert np.allclose(two, [0.2, 0.8, 0.05])


def test_of_a_channel_that_is_pruned_in_part_the_rest_shares_it(model):
    mask = {k: np.array(m) for k, m in get_mask(model).items()}
    mask["one/kernel"][0] = False
    set_mask(model, mask)
    one = scores(model, "bn_scale")["one/kernel"]
    kept = np.where(mask["one/kernel"], one, 0)
    assert np.allclose(kept.sum(axis=(0, 1, 2)), [0.5, 0.1, 0.3, 0.9])


def test_channels_go_by_scale_over_both_kernels(model):
    # By |gamma|: 0.05 and 0.1 go, of 36 and 18 weights.
    size = get_mask(model).size
    mask = prune(model, 54.5 / size, "bn_scale", structure="channel")
    assert mask.kept == size - 54
    alive = {k: m.any(axis=tuple(range(m.ndim - 1))) for k, m in mask.items()}
    assert alive["one/kernel"].tolist() == [True, False, True, True]
    assert alive["two/kernel"].tolist() == [True, True, False]


def test_what_reads_a_channel_is_on_no_path(model):
    size = get_mask(model).size
    prune(model, 54.5 / size, "bn_scale", structure="channel")
    mask = effective_mask(model)
    assert not mask["two/kernel"][:, :, 1].any()
    # Of the other channels nothing but the pruned one has gone.
    assert mask["two/kernel"][:, :, [0, 2, 3], :2].all()


def test_shared_and_nested():
    conv = L.Conv2D(2, 1, name="conv")
    inner = keras.Sequential(
        [keras.Input((4, 4, 2)), L.BatchNormalization(name="bn")]
    )
    x = keras.Input((4, 4, 2))
    y = inner(conv(L.BatchNormalization(name="first")(conv(x))))
    model = keras.Model(x, y)
    model.get_layer("first").gamma.assign([1.0, -2.0])
    inner.get_layer("bn").gamma.assign([0.5, 0.25])
    found = scores(model, "bn_scale")
    assert np.allclose(found["conv/kernel"].sum(axis=(0, 1, 2)), [1.5, 2.25])


def transposed(inputs):
    x = keras.Input((4, 4, inputs))
    bn = L.BatchNormalization(name="bn")
    up = L.Conv2DTranspose(3, 2, name="up")
    # As itself, and inside of another layer.
    y = bn(up(x) if inputs == 3 else L.TimeDistributed(up)(x[:, None]))
    y = L.Reshape((5, 5, 3))(y)
    model = keras.Model(x, L.Conv2D(1, 1, name="out")(y))
    bn.gamma.assign([1.0, -2, 3])
    return mask_model(model, exclude="*out/*")


@pytest.mark.parametrize("inputs", [2, 3])
def test_a_transposed_convolution_has_its_outputs_last_but_one(inputs):
    model = transposed(inputs)
    (found,) = scores(model, "bn_scale").values()
    assert found.shape == (2, 2, 3, inputs)
    assert np.allclose(found.sum(axis=(0, 1, 3)), [1, 2, 3])
    assert np.ptp(found, axis=(0, 1, 3)).max() == 0
    with pytest.raises(ValueError, match="`structure` must .*up/kernel"):
        prune(model, 0.3, "bn_scale", structure="channel")


@pytest.mark.parametrize(
    "layer",
    [
        # A depthwise kernel's last axis is not the output's.
        L.DepthwiseConv2D(1, depth_multiplier=2, name="a"),
        L.Conv2D(4, 1, name="a"),
    ],
    ids=["depthwise", "without_scale"],
)
def test_a_kernel_without_a_scale_is_refused_by_name(layer):
    scale = isinstance(layer, L.DepthwiseConv2D)
    layers = [
        keras.Input((4, 4, 2)), layer, L.BatchNormalization(scale=scale),
        L.Dense(2, name="b"),
    ]
    with pytest.raises(ValueError, match="for a model without scales"):
        scores(keras.Sequential(layers), "bn_scale")
    ends = [L.Dense(3, name="c"), L.BatchNormalization(), L.Dense(2, name="b")]
    layers[3:] = ends
    with pytest.raises(ValueError, match="another than bn_scale.*a/.*b/kern"):
        scores(keras.Sequential(layers), "bn_scale")


def test_scales_that_are_all_the_same_choose_nothing():
    with pytest.raises(ValueError, match="bn_scale where all scales are the"):
        scores(network(), "bn_scale")


def test_a_subclassed_model_is_refused():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(3)

        def call(self, x):
            return self.dense(x)

    model = Own()
    model(np.ones((1, 2)))
    with pytest.raises(ValueError, match="^`model` must be Sequential or"):
        scores(model, "bn_scale")

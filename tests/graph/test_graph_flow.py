"""Weights on a path, by the network's own gradient; deep networks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery import Mask
from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import set_mask
from tf_lottery.graph import check_paths
from tf_lottery.graph import effective_density
from tf_lottery.graph import effective_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import named_variables
from tf_lottery.models import build_model

layers = keras.layers


def conv_net(kind):
    x = keras.Input((6, 6, 2))
    if kind == "plain":
        y = layers.Conv2D(3, 3, padding="same")(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.AveragePooling2D(2)(y)
        y = layers.Conv2D(3, 2, strides=2)(y)
        y = layers.Dense(4)(layers.Flatten()(y))
    elif kind == "residual":
        y = layers.Conv2D(4, 3, strides=2, padding="same")(x)
        z = layers.Conv2D(4, 3, padding="same", activation="relu")(y)
        z = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(z))
        y = layers.concatenate([layers.add([y, z]), layers.Conv2D(1, 1)(y)])
        y = layers.Dense(3)(layers.GlobalAveragePooling2D()(y))
    elif kind == "separable":
        y = layers.SeparableConv2D(3, 3, depth_multiplier=2)(x)
        y = layers.DepthwiseConv2D(2, depth_multiplier=2)(y)
        y = layers.Conv2D(6, 2, groups=2)(layers.ZeroPadding2D(1)(y))
        y = layers.Conv2DTranspose(2, 3, strides=2)(y)
        y = layers.Flatten()(layers.Cropping2D(2)(y))
        y = layers.Dense(2)(y)
    else:
        y = layers.Reshape((9, 8))(x)
        y = layers.EinsumDense("abc,cde->abde", (None, 2, 3))(y)
        y = layers.Conv1D(3, 3, padding="causal")(layers.Reshape((9, 6))(y))
        y = layers.Permute((2, 1))(y)[:, :, 3:]
        y = layers.Dense(2)(layers.UpSampling1D(2)(y))
        y = keras.ops.mean(y, axis=1)
    return keras.Model(x, y)


@pytest.mark.parametrize("part", [0.15, 0.3])
@pytest.mark.parametrize("kind", ["plain", "residual", "separable", "moves"])
@pytest.mark.parametrize("seed", range(2))
def test_the_gradient_of_a_positive_network(kind, seed, part):
    """With positive weights and inputs no sum cancels, in few layers."""
    model = mask_model(conv_net(kind))
    rng = np.random.default_rng(seed)
    mask = {k: rng.random(m.shape) < part for k, m in get_mask(model).items()}
    for path, variable in named_variables(model).items():
        if path in mask:
            variable.assign(rng.random(variable.shape) + 0.5)
        elif path.endswith("bias"):
            variable.assign(np.zeros(variable.shape))
    set_mask(model, mask)
    kernels = {k: v for k, v in named_variables(model).items() if k in mask}
    with tf.GradientTape() as tape:
        output = tf.reduce_sum(model(tf.ones((1, 6, 6, 2))))
    gradients = tape.gradient(output, [v.value for v in kernels.values()])
    found = effective_mask(model)
    for path, gradient in zip(kernels, gradients):
        used = (gradient.numpy() > 0) & mask[path]
        assert np.array_equal(found[path], used), path


@pytest.mark.parametrize(
    "name", [pytest.param("vgg_19", marks=pytest.mark.slow), "resnet_20"]
)
def test_deep_networks_at_a_thousandth(name):
    """Forty layers neither overflow nor vanish, and nothing is changed."""
    model = mask_model(build_model(name, (32, 32, 3), 10, seed=0))
    kernels = list(get_mask(model))
    before = get_state(model)
    assert effective_density(model) == 1
    # One path: entry 0 of the middle of every kernel.
    mask = {}
    for path, m in get_mask(model).items():
        one = np.zeros(m.shape, bool)
        middle = tuple(n // 2 for n in m.shape[:-2])
        one[(*middle, 0, 0)] = True
        mask[path] = one
    found = check_paths(model, Mask(mask))
    assert found.mask.kept == len(kernels) and not found.is_cut
    rng = np.random.default_rng(0)
    mask = {k: rng.random(m.shape) < 1e-3 for k, m in mask.items()}
    report = check_paths(model, Mask(mask))
    assert report.mask.is_subset_of(Mask(mask))
    assert 0 <= report.effective_density < report.density < 2e-3
    # What is on no path may go: what is left is on one.
    assert effective_mask(model, report.mask) == report.mask
    after = get_state(model)
    assert all(np.array_equal(after[k], v) for k, v in before.items())


def test_sums_that_are_a_little_off(monkeypatch):
    """Fast convolutions do not give exact zeros."""
    x = keras.Input((4, 4, 1))
    y = layers.Flatten()(layers.Conv2D(1, 3, name="conv")(x))
    model = keras.Model(x, layers.Dense(1, name="out")(y))
    mask = Mask(
        {"conv/kernel": np.zeros((3, 3, 1, 1)), "out/kernel": np.ones((4, 1))}
    )
    exact = keras.src.ops.conv
    monkeypatch.setattr(
        "keras.src.ops.conv", lambda *args, **how: exact(*args, **how) + 1e-3
    )
    report = check_paths(model, mask)
    assert report.cut_by == ("conv/kernel",) and report.mask.kept == 0

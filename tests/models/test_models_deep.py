"""ResNets and VGGs: weights counted by hand, wiring, initialisation."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery import Step
from tf_lottery import Trainer
from tf_lottery import TrainingSettings
from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import set_mask
from tf_lottery.assembly import build_model as build_from_config
from tf_lottery.config import Config
from tf_lottery.data import describe
from tf_lottery.layers import get_state
from tf_lottery.models import build_model
from tf_lottery.models import resnet

CIFAR = (32, 32, 3)


def resnet_kernels(blocks):
    """(path, shape) in the order of the layers."""
    found = [("conv", (3, 3, 3, 16))]
    before = 16
    for stage, filters in ((1, 16), (2, 32), (3, 64)):
        for block in range(1, blocks + 1):
            name = f"stage_{stage}_block_{block}_conv_"
            if before != filters:
                found.append((f"stage_{stage}_shortcut", (before, filters)))
            found.append((f"{name}1", (3, 3, before, filters)))
            found.append((f"{name}2", (3, 3, filters, filters)))
            before = filters
    return [*found, ("output", (64, 10))]


def vgg_kernels(sizes):
    found, before = [], 3
    for size, filters in zip(sizes, (64, 128, 256, 512, 512)):
        for _ in range(size):
            found.append((f"conv_{len(found) + 1}", (3, 3, before, filters)))
            before = filters
    return [*found, ("output", (512, 10))]


# 9 weights for each pair of an input and an output channel: the first layer,
# six (and eighteen) of 16 to 16, then the two halving stages.
RESNET_20 = 9 * (
    3 * 16
    + 6 * 16 * 16
    + 16 * 32 + 5 * 32 * 32
    + 32 * 64 + 5 * 64 * 64
)
RESNET_56 = 9 * (
    3 * 16
    + 18 * 16 * 16
    + 16 * 32 + 17 * 32 * 32
    + 32 * 64 + 17 * 64 * 64
)
SHORTCUTS = 16 * 32 + 32 * 64
VGG_16 = 9 * (
    3 * 64 + 64 * 64
    + 64 * 128 + 128 * 128
    + 128 * 256 + 2 * 256 * 256
    + 256 * 512 + 5 * 512 * 512
)
VGG_19 = VGG_16 + 9 * (256 * 256 + 2 * 512 * 512)

# Kernels, weights, and channels that are normalised.
EXPECTED = {
    "resnet_18": (
        resnet_kernels(3),
        RESNET_20 + SHORTCUTS + 640,
        7 * 16 + 6 * 32 + 6 * 64 + 32 + 64,
    ),
    "resnet_20": (
        resnet_kernels(3),
        RESNET_20 + SHORTCUTS + 640,
        7 * 16 + 6 * 32 + 6 * 64 + 32 + 64,
    ),
    "resnet_56": (
        resnet_kernels(9),
        RESNET_56 + SHORTCUTS + 640,
        19 * 16 + 18 * 32 + 18 * 64 + 32 + 64,
    ),
    "vgg_16": (
        vgg_kernels((2, 2, 3, 3, 3)),
        VGG_16 + 5120,
        2 * 64 + 2 * 128 + 3 * 256 + 6 * 512,
    ),
    "vgg_19": (
        vgg_kernels((2, 2, 4, 4, 4)),
        VGG_19 + 5120,
        2 * 64 + 2 * 128 + 4 * 256 + 8 * 512,
    ),
}


@pytest.fixture(scope="module")
def built():
    """Every network once."""
    return {name: build_model(name, CIFAR, 10, seed=1) for name in EXPECTED}


def test_the_counts_of_the_papers():
    # Figure 2 of arXiv:1803.03635 and its section 4, in thousands: 270 and
    # 20,018 in convolutions, 2560 and 640 not pruned; table 1 of
    # arXiv:2003.02389: 852.
    assert (RESNET_20, SHORTCUTS) == (267_696, 2560)
    assert RESNET_20 + SHORTCUTS == 270_256
    assert RESNET_56 + SHORTCUTS + 640 == 851_504
    assert VGG_19 == 20_018_880 and VGG_19 + 5120 == 20_024_000
    assert VGG_16 == 14_710_464
    # 274K with biases, scales, offsets and moving statistics.
    assert 270_256 + 640 + 10 + 4 * 784 == 274_042


@pytest.mark.parametrize("name", EXPECTED)
def test_kernels_have_the_published_paths_shapes_and_total(name, built):
    kernels, weights, normalised = EXPECTED[name]
    model = built[name]
    found = {
        v.path: tuple(v.shape) for v in model.weights if v.name == "kernel"
    }
    expected = {
        f"{layer}/kernel": (1, 1, *shape) if "short" in layer else shape
        for layer, shape in kernels
    }
    assert found == expected
    assert sum(map(np.prod, found.values())) == weights
    # Scale, offset, mean and variance; and the output's ten biases.
    assert model.count_params() == weights + 4 * normalised + 10
    norms = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    assert sum(n.gamma.shape[0] for n in norms) == normalised
    momentum = 0.997 if name == "resnet_56" else 0.9
    assert {(n.momentum, n.epsilon) for n in norms} == {(momentum, 1e-5)}
    assert all(n.scale and n.center for n in norms)
    assert model.output_shape == (None, 10)
    assert model.get_layer("output").activation is keras.activations.linear


@pytest.mark.parametrize(
    "name, gain, mode, truncated",
    [
        ("resnet_18", 1.0, "fan_avg", True),
        ("vgg_19", 1.0, "fan_avg", True),
        ("resnet_20", 2.0, "fan_in", False),
        ("vgg_16", 2.0, "fan_in", False),
        ("resnet_56", 1.0, "fan_in", True),
    ],
)
def test_kernels_are_drawn_as_in_the_paper(name, gain, mode, truncated, built):
    largest = 0.0
    for variable in built[name].weights:
        if variable.name != "kernel":
            continue
        values = variable.numpy()
        receptive = int(np.prod(values.shape[:-2]))
        fan = receptive * values.shape[-2]
        if mode == "fan_avg":
            fan = receptive * sum(values.shape[-2:]) / 2
        std = np.sqrt(gain / fan)
        cut = truncated
        if variable.path == "output/kernel" and name == "resnet_56":
            std, cut = 0.01, False
        # Of a normal sample the deviation's own is std / sqrt(2 n).
        assert values.std() == pytest.approx(
            std, rel=4.5 / np.sqrt(2.0 * values.size)
        ), variable.path
        if cut:
            # Two deviations of the parent, whose scale is 1/0.8796.
            assert np.abs(values).max() <= 2.0 * std / 0.8796 * 1.0001
        else:
            largest = max(largest, np.abs(values).max() / std)
    assert truncated or largest > 3.5


@pytest.mark.parametrize(
    "init, variance",
    [
        ("he_normal", 2 / 300),
        ("kaiming_normal", 2 / 300),
        ("glorot_normal", 2 / 400),
    ],
)
def test_init_draws_the_kernels_of_any_model(init, variance):
    model = build_model("lenet_300_100", (8, 8, 1), 10, seed=1, init=init)
    values = model.get_layer("dense_2").kernel.numpy()
    # Of 30,000 values.
    assert values.std() == pytest.approx(np.sqrt(variance), rel=0.02)
    cut = 2 * np.sqrt(variance) / 0.8796
    assert (np.abs(values).max() > cut) == (init == "kaiming_normal")


def test_resnet_18_is_resnet_20_with_other_weights(built):
    def graph(name):
        config = built[name].get_config()
        del config["name"]
        for layer in config["layers"]:
            layer["config"].pop("kernel_initializer", None)
        return config

    assert graph("resnet_18") == graph("resnet_20")
    assert graph("resnet_18") != graph("resnet_56")
    one, other = (built[f"resnet_{n}"].get_weights() for n in (18, 20))
    assert not np.array_equal(one[0], other[0])


def test_a_resnet_computes_the_formula_of_its_blocks(built):
    model = built["resnet_20"]

    def layer(name, x):
        return model.get_layer(name)(x)

    def norm(name, x):
        return layer(f"{name}_norm", layer(name, x))

    x = np.random.default_rng(0).random((2, *CIFAR), "float32")
    h = tf.nn.relu(norm("conv", x))
    for stage in (1, 2, 3):
        for block in (1, 2, 3):
            name = f"stage_{stage}_block_{block}_conv_"
            halves = stage > 1 and block == 1
            inner = h
            if halves:
                inner = tf.pad(h, [[0, 0], [1, 1], [1, 1], [0, 0]])
                h = norm(f"stage_{stage}_shortcut", h)
            inner = tf.nn.relu(norm(f"{name}1", inner))
            h = tf.nn.relu(norm(f"{name}2", inner) + h)
    assert h.shape == (2, 8, 8, 64)
    expected = layer("output", tf.reduce_mean(h, (1, 2)))
    # The same float32 sums, compiled otherwise.
    np.testing.assert_allclose(model(x), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def resnet_8():
    """The smallest of the family: a block in each stage."""
    return lambda shape: resnet._build(
        "resnet_8", 8, shape, 10, keras.initializers.HeNormal
    )


def test_a_halving_convolution_takes_the_pixels_of_its_shortcut(resnet_8):
    """Both kernels are the identity, on the pixel at their middle."""
    model = resnet_8((8, 8, 3))
    one = np.zeros((3, 3, 16, 32), "float32")
    one[1, 1, range(16), range(16)] = 1
    model.get_layer("stage_2_block_1_conv_1").kernel.assign(one)
    model.get_layer("stage_2_shortcut").kernel.assign(one[1:2, 1:2])
    find = keras.Model(
        model.input,
        [
            model.get_layer(f"stage_{name}").output
            for name in ("1_block_1_relu_2", "2_block_1_conv_1", "2_shortcut")
        ],
    )
    before, *after = find(np.random.default_rng(0).random((1, 8, 8, 3)))
    for x in after:
        np.testing.assert_array_equal(x[..., :16], before[:, ::2, ::2])


@pytest.mark.parametrize("name", ["vgg_16", "vgg_19"])
def test_a_vgg_pools_between_groups(name, built):
    kinds = "".join(
        {"Conv2D": "c", "MaxPooling2D": "P"}.get(type(layer).__name__, "")
        for layer in built[name].layers
    )
    size = 3 if name == "vgg_16" else 4
    assert kinds == "P".join(["cc", "cc", *["c" * size] * 3])
    assert built[name].get_layer("mean").input.shape == (None, 2, 2, 512)
    with pytest.raises(ValueError, match=rf"{name} needs at least 16 x 16"):
        build_model(name, (15, 32, 3), 10, seed=0)


def test_what_the_paper_keeps_dense_can_be_named(built):
    mask = get_mask(
        mask_model(built["resnet_18"], exclude=["output/*", "*_shortcut/*"])
    )
    assert mask.size == RESNET_20


@pytest.mark.parametrize("name", ["conv_2", "conv_4", "conv_6"])
def test_dropout_leaves_the_kernels_as_they_are(name):
    shape = (8, 8, 1)
    plain = build_model(name, shape, 10, seed=1)
    model = build_model(f"{name}_dropout", shape, 10, seed=1)
    assert [v.path for v in model.weights] == [v.path for v in plain.weights]
    names = [layer.name for layer in model.layers]
    assert names[-5:] == [
        "dense_1", "dropout_1", "dense_2", "dropout_2", "output",
    ]
    x = np.random.default_rng(0).random((4, *shape), "float32")
    model.set_weights(plain.get_weights())
    np.testing.assert_array_equal(model(x), plain(x))
    dropped = [
        np.mean(
            model.get_layer(f"dropout_{i}")(
                np.ones((50, 256)), training=True
            )
            == 0
        )
        for i in (1, 2)
    ]
    # 12,800 units: deviation 0.0044.
    assert dropped == pytest.approx([0.5, 0.5], abs=0.02)


def test_bfloat16_keeps_weights_masks_and_loss_in_float32(resnet_8):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = mask_model(resnet_8((8, 8, 1)))
    finally:
        keras.config.set_dtype_policy("float32")
    assert {v.dtype for v in model.variables} == {"float32"}
    assert model.get_layer("conv").compute_dtype == "bfloat16"
    assert model.output.dtype == "float32"
    mask = {
        path: np.arange(keep.size).reshape(keep.shape) % 2 == 0
        for path, keep in get_mask(model).items()
    }
    set_mask(model, mask)
    rng = np.random.default_rng(0)
    data = (
        rng.integers(0, 17, (16, 8, 8, 1)).astype(np.uint8),
        rng.integers(0, 10, 16).astype(np.int32),
    )
    before = get_state(model)
    trainer = Trainer(
        model,
        dict.fromkeys(("train", "validation", "test"), data),
        TrainingSettings(
            train_steps=Step(3), batch_size=8, optimizer="sgd", jit="off"
        ),
        preprocess=lambda x: tf.cast(x, tf.float32) / 16,
    )
    trainer(model, level=1, seed=0)
    for path, value in get_state(model).items():
        assert value.dtype == np.float32
        assert not np.array_equal(value, before[path]), path
        if path in mask:
            assert not value[~mask[path]].any()


@pytest.mark.parametrize("name", ["lenet_300_100", "resnet_20"])
def test_logits_are_float32_in_any_policy(name):
    config = Config(model=name, mixed_precision="mixed_bfloat16")
    info = dataclasses.replace(describe("digits"), input_shape=(16, 16, 1))
    model = build_from_config(config, info, seed=0)
    assert model.output.dtype == "float32"
    assert {v.dtype for v in model.variables} == {"float32"}
    body = [w for w in model.layers if w.weights and w.name != "output"]
    assert {layer.compute_dtype for layer in body} == {"bfloat16"}

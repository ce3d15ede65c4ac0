"""The published networks: shapes, counts, initialisation, errors."""

import keras
import numpy as np
import pytest

from tf_lottery.models import build_model

MNIST = (28, 28, 1)
CIFAR = (32, 32, 3)
CONV = [
    ("conv_1/kernel", (3, 3, 3, 64)),
    ("conv_2/kernel", (3, 3, 64, 64)),
    ("conv_3/kernel", (3, 3, 64, 128)),
    ("conv_4/kernel", (3, 3, 128, 128)),
    ("conv_5/kernel", (3, 3, 128, 256)),
    ("conv_6/kernel", (3, 3, 256, 256)),
]
FC = [("dense_2/kernel", (256, 256)), ("output/kernel", (256, 10))]

# Kernels and weight totals by hand, from figure 2 of arXiv:1803.03635 and
# from Caffe's LeNet.
EXPECTED = {
    "lenet_300_100": (
        MNIST,
        [
            ("dense_1/kernel", (784, 300)),
            ("dense_2/kernel", (300, 100)),
            ("output/kernel", (100, 10)),
        ],
        266_200,
        410,
    ),
    "lenet_100_34": (
        MNIST,
        [
            ("dense_1/kernel", (784, 100)),
            ("dense_2/kernel", (100, 34)),
            ("output/kernel", (34, 10)),
        ],
        82_140,
        144,
    ),
    "lenet_5": (
        MNIST,
        [
            ("conv_1/kernel", (5, 5, 1, 20)),
            ("conv_2/kernel", (5, 5, 20, 50)),
            ("dense_1/kernel", (800, 500)),
            ("output/kernel", (500, 10)),
        ],
        430_500,
        580,
    ),
    "conv_2": (
        CIFAR,
        [*CONV[:2], ("dense_1/kernel", (16 * 16 * 64, 256)), *FC],
        4_300_992,
        128 + 522,
    ),
    "conv_4": (
        CIFAR,
        [*CONV[:4], ("dense_1/kernel", (8 * 8 * 128, 256)), *FC],
        2_425_024,
        384 + 522,
    ),
    "conv_6": (
        CIFAR,
        [*CONV, ("dense_1/kernel", (4 * 4 * 256, 256)), *FC],
        2_261_184,
        896 + 522,
    ),
}


@pytest.fixture(scope="module", params=sorted(EXPECTED))
def built(request):
    shape, kernels, weights, biases = EXPECTED[request.param]
    model = build_model(request.param, shape, 10, seed=1)
    return model, shape, kernels, weights, biases


def test_kernels_have_the_published_paths_shapes_and_total(built):
    model, _, kernels, weights, biases = built
    found = [
        (v.path, tuple(v.shape)) for v in model.weights if v.name == "kernel"
    ]
    assert found == kernels
    assert sum(int(np.prod(shape)) for _, shape in found) == weights
    assert model.count_params() == weights + biases
    assert all(v.trainable for v in model.weights)


def test_kernels_are_truncated_gaussian_glorot_and_biases_zero(built):
    model = built[0]
    for variable in model.weights:
        values = variable.numpy()
        if variable.name == "bias":
            assert not values.any()
            continue
        receptive = int(np.prod(values.shape[:-2]))
        fans = receptive * sum(values.shape[-2:])
        std = np.sqrt(2.0 / fans)
        # Standard error of a sample deviation is std / sqrt(2 n), less for
        # a truncated normal; 4 of them, so that no kernel fails by chance.
        assert values.std() == pytest.approx(
            std, rel=4.0 / np.sqrt(2.0 * values.size)
        )
        # Truncated at 2 deviations of the parent, whose scale is 1/0.8796.
        assert np.abs(values).max() <= 2.0 * std / 0.8796 * 1.0001
        # A uniform law of equal variance would end at 1.73 deviations.
        assert np.abs(values).max() > 1.8 * std


def test_output_is_logits_and_hidden_layers_are_relu(built):
    model = built[0]
    *body, output = [w for w in model.layers if w.weights]
    assert output.activation is keras.activations.linear
    assert all(w.activation is keras.activations.relu for w in body)
    assert model.output_shape == (None, 10)


def test_lenet_computes_the_hand_written_network():
    model = build_model("lenet_300_100", (2, 2, 1), 3, seed=0)
    x = np.arange(8, dtype=np.float32).reshape(2, 2, 2, 1) / 8.0
    h = x.reshape(2, 4)
    for name in ("dense_1", "dense_2"):
        h = np.maximum(h @ model.get_layer(name).kernel.numpy(), 0.0)
    expected = h @ model.get_layer("output").kernel.numpy()
    # float32 sums of up to 300 terms, in another order.
    np.testing.assert_allclose(model(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "smallest"),
    [("lenet_5", 16), ("conv_2", 2), ("conv_4", 4), ("conv_6", 8)],
)
def test_too_small_images_are_refused_by_name_and_shape(name, smallest):
    model = build_model(name, (smallest, smallest, 1), 2, seed=0)
    assert model.output_shape == (None, 2)
    for shape in ((smallest - 1, 32, 1), (32, smallest - 1, 1)):
        with pytest.raises(ValueError) as caught:
            build_model(name, shape, 2, seed=0)
        text = str(caught.value)
        assert f"at least {smallest} x {smallest} pixels" in text
        assert f"Received: model='{name}', input_shape={shape}." in text
        assert "\n" not in text

"""Compaction of random networks: same outputs, never more parameters."""

import keras
import numpy as np
import pytest

from tf_lottery.export.compact import compact
from tf_lottery.models import build_model

L = keras.layers
ACTIVATIONS = ("relu", "tanh", "linear", "gelu", "sigmoid")


def random_network(rng):
    """A few blocks of convolutions, sums and joins, then Dense layers."""

    def some(*choices):
        return choices[rng.integers(len(choices))]

    def conv(x, filters):
        x = L.Conv2D(
            filters, int(some(1, 3)), padding=some("same", "valid", "same"),
            use_bias=bool(some(0, 1)), activation=some(*ACTIVATIONS),
        )(x)
        return L.BatchNormalization(scale=bool(some(0, 1)))(x)

    x = inputs = keras.Input((9, 9, 3))
    for _ in range(rng.integers(1, 4)):
        x = conv(x, int(rng.integers(3, 12)))
        kind = some("sum", "join", "pool", "pad", "depthwise")
        if kind == "sum":
            y = L.Conv2D(x.shape[-1], 3, padding="same", use_bias=False)(x)
            x = L.ReLU()(L.Add()([x, L.BatchNormalization()(y)]))
        elif kind == "join":
            y = L.Conv2D(5, 1, activation="elu")(x)
            x = L.Concatenate()([y, x])
        elif kind == "pool":
            x = some(L.MaxPooling2D, L.AveragePooling2D)(2, padding="same")(x)
        elif kind == "pad":
            x = L.ZeroPadding2D(1)(x)
        else:
            x = L.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    x = some(L.Flatten, L.GlobalAveragePooling2D, L.GlobalMaxPooling2D)()(x)
    for _ in range(rng.integers(0, 3)):
        x = L.Dense(
            int(rng.integers(3, 30)), activation=some(*ACTIVATIONS),
            use_bias=bool(some(0, 1)),
        )(x)
    return keras.Model(inputs, L.Dense(3)(x))


def dense_network(rng):
    x = inputs = keras.Input((int(rng.integers(5, 40)),))
    for units in rng.integers(2, 40, size=rng.integers(1, 5)):
        x = L.Dense(int(units), activation="relu")(x)
    return keras.Model(inputs, L.Dense(7, activation="softmax")(x))


def prune(model, rng, sparsity, channels):
    """Draws all weights; zeros single ones, or whole output channels."""
    for layer in model.layers:
        weights = layer.get_weights()
        keep = None
        for i, w in enumerate(weights):
            value = rng.normal(size=w.shape)
            if "variance" in layer.weights[i].path:
                value = 0.5 + np.abs(value)
            elif "kernel" in layer.weights[i].path:
                fan_in = max(1, w.size // w.shape[-1])
                value /= np.sqrt(fan_in)
                keep = rng.random(w.shape[-1] if channels else w.shape)
                keep = keep >= sparsity
                value *= keep
            elif channels and rng.random() < 0.7:
                # Whole channels of scale and shift too, as of slimming.
                value *= rng.random(w.shape) >= sparsity
            weights[i] = value
        layer.set_weights(weights)


def check(model, rng):
    done = compact(model)
    x = rng.normal(size=(6, *model.input_shape[1:])).astype("float32")
    y, z = np.asarray(model(x)), np.asarray(done.model(x))
    assert np.abs(y - z).max() <= 2e-6 * max(1, np.abs(y).max())
    created = sum(
        layer.bias.shape[0]
        for layer in done.model.layers
        if getattr(layer, "use_bias", False)
        and not model.get_layer(layer.name).use_bias
    )
    assert done.parameters == (
        model.count_params(), done.model.count_params()
    )
    assert done.parameters[1] <= done.parameters[0] + created
    # One sweep each way is enough.
    assert compact(done.model).parameters[1] == done.parameters[1]
    return done


@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize(
    "sparsity",
    [
        0.8, 0.95, 0.99,
        *(pytest.param(x, marks=pytest.mark.slow) for x in (0.5, 0.9)),
    ],
)
@pytest.mark.parametrize("network", [random_network, dense_network])
def test_random_networks(network, sparsity, channels):
    keras.backend.clear_session()
    removed = 0
    for seed in range(4):
        rng = np.random.default_rng([seed, int(100 * sparsity), channels])
        model = network(rng)
        prune(model, rng, sparsity, channels)
        removed += len(check(model, rng).removed)
    assert removed or not (channels or sparsity > 0.9)


@pytest.mark.parametrize(
    "name", ["resnet_20", pytest.param("vgg_16", marks=pytest.mark.slow)]
)
def test_channels_of_published_networks(name):
    rng = np.random.default_rng(0)
    model = build_model(name, (32, 32, 3), 10, seed=0)
    prune(model, rng, 0.5, channels=True)
    done = check(model, rng)
    # Nonzero constants before padded convolutions stay.
    assert done.parameters[1] < 0.8 * done.parameters[0]
    assert any("pads with zeros" in note for note in done.notes)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            keep = rng.random(gamma.shape) < 0.5
            layer.set_weights([gamma * keep, beta * keep, mean, variance])
    done = check(model, rng)
    assert done.parameters[1] < 0.4 * done.parameters[0]

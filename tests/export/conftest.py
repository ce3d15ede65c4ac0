"""How compacted networks are made and compared."""

import keras
import numpy as np
import pytest

RNG = np.random.default_rng(0)


def _agree(model, done, inputs=None):
    """Both models give the same on random inputs, in float32."""
    if inputs is None:
        inputs = [
            RNG.normal(size=(4, *x.shape[1:])).astype("float32")
            for x in model.inputs
        ]
    inputs = inputs[0] if len(inputs) == 1 else inputs
    given = keras.tree.flatten(model(inputs, training=False))
    new = keras.tree.flatten(done.model(inputs, training=False))
    assert len(given) == len(new)
    for y, z in zip(map(np.asarray, given), map(np.asarray, new)):
        # Sums of the same products, in another order.
        assert y.shape == z.shape
        assert np.abs(y - z).max() <= 2e-6 * max(1, np.abs(y).max())


def _fill(model, zero=0.0):
    """Draws every weight; statistics away from 0 and 1, variances > 0."""
    for v in model.variables:
        if "seed" in v.path:
            continue
        value = RNG.normal(size=v.shape)
        if "variance" in v.path:
            value = 0.5 + np.abs(value)
        if "kernel" in v.path:
            value *= RNG.random(v.shape) >= zero
        v.assign(value)
    return model


def _kill(layer, channel, bias=0.0):
    """Makes an output channel the constant `activation(bias)`."""
    kernel, *rest = layer.get_weights()
    kernel[..., channel] = 0
    if rest:
        rest[0][channel] = bias
    layer.set_weights([kernel, *rest])


@pytest.fixture(scope="session")
def agree():
    """Both models give the same on random inputs, in float32."""
    return _agree


@pytest.fixture(scope="session")
def fill():
    """Draws every weight; statistics away from 0 and 1, variances > 0."""
    return _fill


@pytest.fixture(scope="session")
def kill():
    """Makes an output channel the constant `activation(bias)`."""
    return _kill

"""Random small models: every file agrees, in its sparsest form."""

import keras
import numpy as np
import pytest

from tf_lottery.export.runtime import Runner
from tf_lottery.export.sparse import inspect
from tf_lottery.export.tflite import convert
from tf_lottery.export.verify import check_agreement
from tf_lottery.export.verify import safe_tflite


def random_model(rng):
    """Convolutions, a residual sum, normalisation, odd widths."""
    layers = keras.layers
    size, channels = rng.integers(5, 9), rng.integers(1, 8)
    x = inputs = keras.Input((size, size, channels))
    width = int(rng.integers(3, 70))
    for _ in range(rng.integers(1, 3)):
        x = layers.Conv2D(
            width, int(rng.integers(1, 4)), padding="same",
            strides=int(rng.integers(1, 3)), use_bias=bool(rng.integers(2)),
        )(x)
        x = layers.BatchNormalization()(x)
        y = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
        x = layers.Add()([x, y])
    pool = rng.integers(3)
    if pool == 0:
        x = layers.Flatten()(x)
    elif pool == 1:
        x = layers.GlobalAveragePooling2D()(x)
    else:
        x = layers.Flatten()(layers.MaxPooling2D(2, padding="same")(x))
    activation = [None, "relu", "relu6", "tanh"][rng.integers(4)]
    x = layers.Dense(int(rng.integers(5, 150)), activation=activation)(x)
    x = layers.Concatenate()([x, layers.Dense(9)(x)])
    return keras.Model(inputs, layers.Dense(int(rng.integers(1, 13)))(x))


def fill(model, rng):
    for v in model.variables:
        if v.ndim > 1:
            # Of the usual size, with a sparsity of its own.
            scale = np.sqrt(2 / np.prod(v.shape[:-1]))
            zeros = rng.choice([0.0, 0.5, 0.9, 0.98, 1.0])
            keep = rng.random(v.shape) >= zeros
            v.assign(rng.normal(size=v.shape) * scale * keep)
        elif "variance" in v.name:
            v.assign(rng.uniform(0.5, 2, size=v.shape))
        else:
            v.assign(rng.normal(size=v.shape) / 10)


@pytest.mark.parametrize(
    "seed",
    [pytest.param(n, marks=[pytest.mark.slow] * (n > 1)) for n in range(8)],
)
def test_every_file_agrees(seed):
    rng = np.random.default_rng(seed)
    model = random_model(rng)
    fill(model, rng)
    form = ["float32", "float16"][rng.integers(2)]
    batch = [1, 3, None][rng.integers(3)]
    direct = rng.choice([0.5, 0.9, 2])
    samples = rng.normal(size=(9, *model.input_shape[1:]))
    data, notes, agreement = safe_tflite(
        model, form, samples, batch=batch, direct=direct
    )
    # Nothing failed on the way; at the most a weight stayed dense.
    assert not [n for n in notes if "stored dense with their" not in n]
    assert agreement.finite and agreement.examples == 18
    dense = convert(model, form=form, batch=batch)
    assert len(data) <= len(dense)
    kinds = {weight.storage for weight in inspect(data)}
    if "direct" not in kinds:
        x = samples.astype("float32")
        np.testing.assert_array_equal(Runner(data)(x), Runner(dense)(x))
    else:
        assert form == "float32"
    again = check_agreement(Runner(data, threads=2), model, samples)
    assert again.error <= {"float32": 1e-5, "float16": 1e-3}[form]

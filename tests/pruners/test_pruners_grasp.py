"""GraSP: its sign, and against finite differences."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import get_pruner
from tf_lottery.pruners.grasp import GraSP

RNG = np.random.default_rng(0)


def quadratic(y, outputs):
    return tf.square(outputs - y)[:, 0]


def test_by_hand():
    # One example: L = (w x - y)^2, g = 2 r x, H = 2 x x', H g = 4 r |x|^2 x.
    x = keras.Input((2,))
    layer = keras.layers.Dense(1, name="one", use_bias=False)
    model = mask_model(keras.Model(x, layer(x)))
    model.weights[0].assign([[3.0], [-1.0]])
    context = PruningContext(
        model, 1, x=np.array([[1.0, 2]]), y=np.array([[-1.0]]), loss=quadratic
    )
    # r = 2, |x|^2 = 5: H g = (40, 80).
    found = GraSP(temperature=1).scores(context)["one/kernel"]
    np.testing.assert_allclose(found, [[120], [-80]], rtol=1e-5)
    # Outputs divided by 2: r = 1.5, g = r x, H = x x' / 2.
    found = GraSP(temperature=2).scores(context)["one/kernel"]
    np.testing.assert_allclose(
        found, [[3 * 0.5 * 1.5 * 5], [-0.5 * 1.5 * 5 * 2]], rtol=1e-5
    )
    # The largest is kept, not the largest magnitude.
    model.weights[0].assign([[3.0], [-9.0]])
    mask = GraSP(temperature=1).find_mask(context)
    assert mask["one/kernel"].ravel().tolist() == [False, True]
    model.weights[0].assign([[1.0], [-0.75]])
    mask = GraSP(temperature=1).find_mask(context)
    assert mask["one/kernel"].ravel().tolist() == [True, False]


def make_context(batch_size=256):
    keras.utils.set_random_seed(1)
    model = mask_model(
        keras.Sequential(
            [
                keras.Input((3,)),
                keras.layers.Dense(4, "tanh"),
                keras.layers.Dense(3),
            ]
        )
    )
    set_mask(
        model,
        {
            path: RNG.random(raw.shape) < 0.8
            for path, (raw, _) in masked_kernels(model).items()
        },
    )
    return PruningContext(
        model,
        x=RNG.normal(size=(5, 3)).astype("float32"),
        y=RNG.integers(0, 3, 5),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        batch_size=batch_size,
    )


@pytest.mark.parametrize("batch_size", [256, 2])
def test_finite_differences(batch_size):
    context = make_context(batch_size)
    found = GraSP(temperature=1).scores(context)
    raws = {k: raw for k, (raw, _) in masked_kernels(context.model).items()}
    before = {k: np.array(raw) for k, raw in raws.items()}
    g = context.gradients()
    # H g is how g changes along itself.
    step = 1e-2

    def gradients(sign):
        for path, raw in raws.items():
            raw.assign(before[path] + sign * step * g[path])
        return context.gradients()

    ahead, behind = gradients(1), gradients(-1)
    for path, score in found.items():
        product = (ahead[path] - behind[path]) / (2 * step)
        np.testing.assert_allclose(
            score, before[path] * product, rtol=2e-2, atol=2e-5
        )
        assert np.array_equal(score != 0, context.mask[path])


def test_it_is_the_flow_that_a_weight_adds():
    """Shrinking a weight changes the squared gradient norm by -2 score."""
    context = make_context()
    found = GraSP(temperature=1).scores(context)
    share = 1e-2
    for path, (raw, _) in masked_kernels(context.model).items():
        before = np.array(raw)
        for place in np.ndindex(before.shape):
            norms = []
            for sign in (-1, 1):
                value = before.copy()
                value[place] *= 1 + sign * share
                raw.assign(value)
                norms.append(
                    sum(np.sum(g**2) for g in context.gradients().values())
                )
            raw.assign(before)
            change = (norms[0] - norms[1]) / (2 * share)
            np.testing.assert_allclose(
                change, -2 * found[path][place], rtol=3e-2, atol=1e-4
            )


def test_a_second_derivative_through_convolution_and_normalisation():
    model = mask_model(
        keras.Sequential(
            [
                keras.Input((6, 6, 1)),
                keras.layers.Conv2D(2, 3, activation="relu"),
                keras.layers.BatchNormalization(),
                keras.layers.MaxPooling2D(),
                keras.layers.Flatten(),
                keras.layers.Dense(2),
            ]
        )
    )
    context = PruningContext(
        model,
        x=RNG.normal(size=(4, 6, 6, 1)),
        y=RNG.integers(0, 2, 4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    found = GraSP().scores(context)
    assert all(np.isfinite(s).all() and s.any() for s in found.values())


def test_mixed_precision_scores_in_float32():
    found = []
    for policy in ("float32", "mixed_float16"):
        keras.utils.set_random_seed(1)
        model = mask_model(
            keras.Sequential(
                [
                    keras.Input((8,)),
                    keras.layers.Dense(16, "relu", dtype=policy, name="one"),
                    keras.layers.Dense(3, dtype="float32", name="two"),
                ]
            )
        )
        before = [sorted(vars(layer)) for layer in model.layers]
        rng = np.random.default_rng(0)
        context = PruningContext(
            model,
            x=rng.normal(size=(40, 8)),
            y=rng.integers(0, 3, 40),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            # Enough calls to be compiled, the last one of another shape.
            batch_size=3,
            cache={"rounds": 2},
        )
        found.append(GraSP().scores(context))
        assert model.layers[0].dtype_policy.name == policy
        assert [sorted(vars(layer)) for layer in model.layers] == before
    for one, two in zip(*(scores.values() for scores in found)):
        assert one.all()
        # Only the sums' order may differ.
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-12)


def test_kernels_of_float16_are_refused():
    x = keras.Input((2,))
    model = mask_model(
        keras.Model(x, keras.layers.Dense(1, dtype="float16", name="one")(x))
    )
    context = PruningContext(
        model, x=np.ones((2, 2)), y=np.ones((2, 1)), loss="mse"
    )
    with pytest.raises(ValueError, match="`model` must .*one/kernel of float"):
        GraSP().scores(context)


def test_registered():
    pruner = get_pruner("grasp")
    assert (pruner.temperature, pruner.rounds) == (200, 1)
    assert GraSP(rounds=5).rounds == 5
    assert pruner.needs == ("x", "y", "loss")


@pytest.mark.parametrize("temperature", [0, -1, None, "200"])
def test_wrong_temperature(temperature):
    with pytest.raises(ValueError, match="`temperature` must be positive"):
        GraSP(temperature)

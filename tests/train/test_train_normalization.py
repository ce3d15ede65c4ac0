"""Fused batch normalisation against Keras' own, and when it is used."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.layers import get_state, set_state
from tf_lottery.train.normalization import fused_normalization

L = keras.layers


def network(layer, shape=(5, 4, 3)):
    inputs = keras.Input(shape)
    return keras.Model(inputs, layer(inputs))


def trained_on(model, x):
    """Outputs, gradients and state of one call in training."""

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=True)
            loss = tf.reduce_sum(y * tf.sin(y))
        return y, tape.gradient(loss, [x, *model.trainable_variables])

    outputs, gradients = step(tf.constant(x))
    return [np.array(v) for v in (outputs, *gradients)], get_state(model)


def operations(model, x):
    traced = tf.function(lambda x: model(x, training=True))
    graph = traced.get_concrete_function(tf.constant(x)).graph
    return {op.type for op in graph.get_operations()}


LAYERS = {
    "stock": L.BatchNormalization(momentum=0.9, epsilon=1e-5),
    "no scale": L.BatchNormalization(scale=False),
    "no offset": L.BatchNormalization(center=False, momentum=0.5),
    "last axis by number": L.BatchNormalization(axis=3),
}


@pytest.mark.parametrize("name", LAYERS)
def test_it_computes_what_keras_computes(name):
    model = network(LAYERS[name])
    rng = np.random.default_rng(0)
    x = rng.normal(1.0, 2.0, (6, 5, 4, 3)).astype("float32")
    start = {
        path: v + rng.random(v.shape).astype("float32")
        for path, v in get_state(model).items()
    }
    set_state(model, start)
    wanted, state = trained_on(model, x)
    set_state(model, start)
    with fused_normalization(model):
        assert "FusedBatchNormV3" in operations(model, x)
        set_state(model, start)
        found, fused_state = trained_on(model, x)
    # Sums in another order.
    for a, b in zip(wanted, found):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)
    for path, value in state.items():
        np.testing.assert_allclose(value, fused_state[path], rtol=1e-5)
        moving = "moving" in path
        assert moving == (not np.array_equal(value, start[path]))
    # By hand: the biased variance enters the average.
    momentum = LAYERS[name].momentum
    (path,) = [k for k in state if k.endswith("moving_variance")]
    by_hand = momentum * start[path] + (1 - momentum) * x.var((0, 1, 2))
    np.testing.assert_allclose(fused_state[path], by_hand, rtol=1e-5)


class Own(L.BatchNormalization):
    pass


@pytest.mark.parametrize(
    "layer, shape",
    [
        (L.BatchNormalization(), (3,)),
        (L.BatchNormalization(), (4, 3)),
        (L.BatchNormalization(axis=1), (5, 4, 3)),
        (Own(), (5, 4, 3)),
        (L.BatchNormalization(trainable=False), (5, 4, 3)),
        (L.BatchNormalization(dtype="float64"), (5, 4, 3)),
        (L.BatchNormalization(dtype="float16"), (5, 4, 3)),
    ],
)
def test_what_it_does_not_fit_stays_with_keras(layer, shape):
    model = network(layer, shape)
    x = np.ones((2, *shape), "float32")
    with fused_normalization(model):
        assert "FusedBatchNormV3" not in operations(model, x)


def test_a_size_left_open_stays_with_keras():
    model = network(L.BatchNormalization(), (None, 4, 3))
    spec = tf.TensorSpec((2, None, 4, 3))
    with fused_normalization(model):
        traced = tf.function(lambda x: model(x, training=True))
        graph = traced.get_concrete_function(spec).graph
    assert "FusedBatchNormV3" not in {op.type for op in graph.get_operations()}


def test_inference_and_the_layers_stay_as_they_are():
    model = network(LAYERS["stock"])
    layer = model.layers[-1]
    x = np.random.default_rng(0).normal(size=(2, 5, 4, 3)).astype("float32")
    wanted = np.array(model(x, training=False))
    with pytest.raises(KeyError), fused_normalization(model):
        found = np.array(model(x, training=False))
        raise KeyError
    assert np.array_equal(wanted, found)
    assert "call" not in vars(layer)
    assert "FusedBatchNormV3" not in operations(model, x)


def test_reduced_precision_comes_out_as_it_went_in():
    layer = L.BatchNormalization(dtype="mixed_bfloat16")
    model = network(layer)
    with fused_normalization(model):
        outputs = model(np.ones((2, 5, 4, 3), "float32"), training=True)
    assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"


def test_the_l1_penalty_is_on_the_scales_alone(make_net, make_trainer):
    ends = []
    for l1 in (0.0, 0.25):
        net = make_net(keras.layers.BatchNormalization(name="bn"))
        gamma = net.get_layer("bn").gamma
        gamma.assign([1.0, -2.0, 0.0, 0.5, -0.1])
        trainer = make_trainer(
            net, steps=1, rate=0.5, momentum=0.0, scale_l1=l1
        )
        trainer(net, level=0, seed=0)
        ends.append({v.path: np.array(v) for v in net.trainable_variables})
    with pytest.raises(ValueError, match="^`scale_l1` must be 0 for a model"):
        make_trainer(make_net(), scale_l1=0.25)
    moved = {k: ends[1][k] - ends[0][k] for k in ends[0]}
    # One step of rate 1/2 along -1/4 sign(gamma).
    shift = np.array([-1, 1, 0, -1, 1]) / 8
    assert np.allclose(moved.pop(gamma.path), shift, atol=1e-6)
    assert not any(value.any() for value in moved.values())

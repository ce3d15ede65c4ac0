"""Gradients that are streamed over the examples."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.layers import strip_masks
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import gradients
from tf_lottery.pruners import prune
from tf_lottery.pruners import scores
from tf_lottery.pruners.snip import IterativeSNIP

layers = keras.layers
RNG = np.random.default_rng(0)


def linear():
    """A model of two weights."""
    x = keras.Input((2,))
    outputs = layers.Dense(1, name="one", use_bias=False)(x)
    model = mask_model(keras.Model(x, outputs))
    model.weights[0].assign([[2.0], [3.0]])
    return model


def context_of(model, **kwargs):
    given = dict(
        x=np.array([[1.0, 0], [2, 1], [0, 4]], "float32"),
        y=np.array([[0.0], [1], [2]], "float32"),
        loss=lambda y, outputs: tf.square(outputs - y)[:, 0],
    )
    return PruningContext(model, **{**given, **kwargs})


def network(*extra):
    return mask_model(
        keras.Sequential(
            [keras.Input((4,)), layers.Dense(6, "tanh"), *extra,
             layers.Dense(3)]
        )
    )


def classes(count=7):
    return dict(
        x=RNG.normal(size=(count, 4)).astype("float32"),
        y=RNG.integers(0, 3, count),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )


def assert_close(one, other, rtol=1e-5):
    assert one.keys() == other.keys()
    for key, value in one.items():
        np.testing.assert_allclose(value, other[key], rtol, rtol * 1e-1)


def test_by_hand():
    # Residuals 2, 6 and 10; the gradient is mean(2 r x).
    found = context_of(linear()).gradients()
    assert list(found) == ["one/kernel"]
    expected = [[(4 + 24) / 3], [(12 + 80) / 3]]
    np.testing.assert_allclose(found["one/kernel"], expected, rtol=1e-6)


def test_pruned_weights_have_none():
    model = linear()
    set_mask(model, {"one/kernel": [[True], [False]]})
    # Residuals 2, 3 and -2.
    np.testing.assert_allclose(
        context_of(model).gradients()["one/kernel"], [[16 / 3], [0]], 1e-6
    )


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, np.int64(4)])
def test_batches_add_up(batch_size):
    context = PruningContext(network(), **classes())
    whole = context.gradients()
    parts = dataclasses.replace(context, batch_size=batch_size)
    assert_close(parts.gradients(), whole)


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        keras.losses.MeanSquaredError(),
        keras.losses.MeanSquaredError(reduction="sum"),
        lambda y, outputs: keras.ops.mean((y - outputs) ** 2),
    ],
    ids=["name", "mean", "sum", "scalar"],
)
@pytest.mark.parametrize("batch_size", [2, 3])
def test_any_form_of_loss_counts_every_example_alike(loss, batch_size):
    expected = context_of(linear()).gradients()
    context = context_of(linear(), loss=loss, batch_size=batch_size)
    assert_close(context.gradients(), expected)


def test_the_loss_of_a_compiled_model():
    model = linear()
    model.compile("sgd", "mse")
    given = context_of(model)
    assert_close(
        dataclasses.replace(given, loss=None).gradients(), given.gradients()
    )
    # One that is given comes first.
    other = context_of(model, loss=lambda y, outputs: 0 * outputs)
    assert not other.gradients()["one/kernel"].any()


@pytest.mark.parametrize("loss", ["mse", ["mse", "mse"]])
def test_a_compiled_loss_of_several_outputs_is_refused(loss):
    x = keras.Input((2,))
    outputs = [layers.Dense(n, name=f"to_{n}")(x) for n in (1, 3)]
    model = mask_model(keras.Model(x, outputs))
    model.compile("sgd", loss)
    y = [np.zeros((3, 1)), np.zeros((3, 3))]
    with pytest.raises(ValueError, match="`loss` must be given for a model"):
        context_of(model, loss=None, y=y).gradients()


def test_structures_of_inputs_and_targets():
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    y = layers.Dense(1, name="one")(layers.add([a, b]))
    z = layers.Dense(2, name="two")(a)
    model = mask_model(keras.Model({"a": a, "b": b}, [y, z]))
    x = {k: RNG.normal(size=(5, 2)) for k in "ab"}
    targets = [RNG.normal(size=(5, 1)), RNG.normal(size=(5, 2))]

    def loss(y, outputs):
        return sum(
            tf.reduce_mean((p - t) ** 2, axis=1)
            for t, p in zip(y, outputs)
        )

    context = PruningContext(model, x=x, y=targets, loss=loss, batch_size=2)
    residual = model(x)[0] - targets[0]
    expected = 2 * (x["a"] + x["b"]).T @ residual / 5
    found = context.gradients()
    np.testing.assert_allclose(found["one/kernel"], expected, 1e-4, 1e-6)
    assert found["two/kernel"].any()


def test_a_kernel_without_a_part_in_the_loss():
    x = keras.Input((2,))
    used, unused = layers.Dense(1, name="one"), layers.Dense(1, name="two")
    model = mask_model(keras.Model(x, [used(x), unused(x)]))
    found = context_of(
        model, loss=lambda y, outputs: tf.square(outputs[0] - y)
    ).gradients()
    assert found["one/kernel"].any() and not found["two/kernel"].any()


def test_batch_statistics_unless_told_otherwise():
    model = network(layers.BatchNormalization())
    given = classes()
    context = PruningContext(model, **given)
    kernels = [v for v in model.trainable_variables if "kernel" in v.path]
    for training in (False, True):
        before = get_state(model)
        with tf.GradientTape() as tape:
            outputs = model(given["x"], training=training)
            loss = given["loss"](given["y"], outputs)
        expected = tape.gradient(loss, [v.value for v in kernels])
        for variable, value in before.items():
            (v,) = (w for w in model.variables if w.path == variable)
            v.assign(value)
        found = context.gradients(training=training)
        for one, two in zip(found.values(), expected):
            np.testing.assert_allclose(one, two, 1e-4, 1e-6)


def test_random_layers_draw_by_seed_and_batch():
    model = network(layers.Dropout(0.5))
    given = classes(1)
    given["x"], given["y"] = (np.repeat(given[k], 4, 0) for k in "xy")
    context = PruningContext(model, seed=1, batch_size=2, **given)
    one = context.gradients()
    assert all(map(np.array_equal, one.values(), context.gradients().values()))
    other = dataclasses.replace(context, seed=2).gradients()
    assert not np.array_equal(*(list(g.values())[1] for g in (one, other)))
    # Two equal batches of two do not draw the same: four examples are more
    # than two.
    half = {k: given[k][:2] for k in "xy"}
    first = dataclasses.replace(context, **half).gradients()
    assert not np.array_equal(*(list(g.values())[1] for g in (one, first)))


def test_compiled_for_many_calls_and_traced_once(monkeypatch):
    traces = []
    given = classes(6)
    inner = given["loss"]

    def loss(y, outputs):
        traces.append(not tf.executing_eagerly())
        return inner(y, outputs)

    context = PruningContext(
        network(), keep=8, batch_size=3, **{**given, "loss": loss}
    )
    compiled = IterativeSNIP(rounds=10).find_mask(context)
    assert traces == [True]
    context.model.run_eagerly = True
    assert IterativeSNIP(rounds=10).find_mask(context) == compiled
    assert len(traces) == 21 and not any(traces[1:])
    # One round of two batches is not worth a trace.
    context.model.run_eagerly = False
    monkeypatch.setattr(gradients, "_MANY", 3)
    IterativeSNIP(rounds=1).find_mask(context)
    assert len(traces) == 23 and not any(traces[1:])


def test_nothing_is_remembered_of_another_loss_or_model(monkeypatch):
    monkeypatch.setattr(gradients, "_MANY", 1)
    context = context_of(linear())
    one = context.gradients()["one/kernel"]

    def twice(y, outputs):
        return 2 * context.loss(y, outputs)

    class Both(Pruner):
        rounds = 2

        def scores(self, context):
            other = dataclasses.replace(context, loss=twice)
            for given, factor in ((context, 1), (other, 2), (context, 1)):
                found = given.gradients()["one/kernel"]
                np.testing.assert_allclose(found, factor * one, rtol=1e-6)
            return context.kernels

    Both().find_mask(dataclasses.replace(context, keep=1))
    other = dataclasses.replace(context, loss=twice)
    np.testing.assert_allclose(other.gradients()["one/kernel"], 2 * one, 1e-6)
    strip_masks(context.model, in_place=True)
    mask_model(context.model, in_place=True)
    set_mask(context.model, {"one/kernel": [[True], [False]]})
    assert context.gradients()["one/kernel"][1] == 0


def test_gradients_of_one_kind_are_not_taken_for_another():
    model = network(layers.BatchNormalization())
    alone = PruningContext(model, **classes())
    together = dataclasses.replace(alone, cache={})
    before: list = []
    for how in ({}, {"training": False}, {"temperature": 3.0}):
        one, other = (
            gradients.average(context, gradients.kernel_gradients, **how)
            for context in (alone, together)
        )
        assert_close(one, other)
        first = next(iter(one.values()))
        assert not any(np.allclose(first, kernel) for kernel in before)
        before.append(first)


def test_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = network()
    finally:
        keras.config.set_dtype_policy(before)
    found = PruningContext(model, **classes()).gradients()
    assert {g.dtype.name for g in found.values()} == {"float32"}
    assert all(g.any() for g in found.values())


@pytest.mark.parametrize(
    "changes, text",
    [
        (dict(x=None), "`x` must be given.*Received: x=None"),
        (dict(y=None), "`y` must be given.*Received: y=None"),
        (dict(loss=None), "`loss` must be given.*compile the model"),
        (dict(loss=["mse", "mse"]), "`loss` must be one function"),
        (dict(x=np.zeros((0, 2)), y=np.zeros((0, 1))), "`x` must be arrays"),
        (dict(x=iter("abc")), "`x` must be arrays"),
        (dict(x=[[1.0, 0]] * 5), r"of lengths \[(0, ){7}0\] and 2 more\. Pass"),
        (dict(y=np.zeros((2, 1))), r"`y` must have one.*\[2\] for x of.*\[3\]"),
        (dict(y=[[0.0]] * 9), r"lengths \[(0, ){7}0\] and 1 more for x of.*3"),
        (dict(batch_size=0), "`batch_size`.*batch_size=0"),
        (dict(batch_size=2.0), "`batch_size`.*batch_size=2.0"),
    ],
)
def test_wrong_contexts(changes, text):
    with pytest.raises(ValueError, match=text):
        context_of(linear(), **changes).gradients()


@pytest.mark.parametrize("missing", ["x", "y", "loss"])
def test_what_is_missing_is_named_before_anything_else(missing):
    given = classes()
    given[missing] = None
    model = network()
    for call in (
        lambda: prune(model, 0.5, "snip", **given),
        lambda: scores(model, "snip", **given),
    ):
        with pytest.raises(ValueError, match=f"`{missing}` must be given"):
            call()

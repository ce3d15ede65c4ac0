"""Loss and accuracy against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.train.evaluate import Evaluator

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(
    from_logits=True, reduction=None
)


def classifier(*after):
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3), *after]
    )
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def evaluator(model, batch_size, jit=False):
    return Evaluator(
        model,
        CROSS_ENTROPY,
        lambda x: tf.cast(x, tf.float32) / 10,
        batch_size=batch_size,
        jit=jit,
    )


def data(size, dtype="int32"):
    rng = np.random.default_rng(size)
    x = rng.integers(0, 50, (size, 4)).astype("uint8")
    return x, rng.integers(0, 3, size).astype(dtype)


def by_hand(model, x, y):
    w, b = (v.astype("float64") for v in model.get_weights()[:2])
    logits = (x / 10) @ w + b
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    loss = -np.log(p[np.arange(len(y)), y]).mean()
    return loss, (logits.argmax(1) == y).mean()


def check(found, expected):
    # Sums of a few float32 against float64; accuracy is a count.
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1] == pytest.approx(expected[1], abs=1e-12)
    assert all(type(v) is float for v in found)


@pytest.mark.parametrize("size, batch", [(7, 3), (6, 3), (3, 10), (1, 1)])
def test_sizes_that_batches_divide_and_do_not(size, batch):
    model = classifier()
    evaluate = evaluator(model, batch)
    staged = evaluate.stage(*data(size))
    check(evaluate(staged), by_hand(model, *data(size)))


def test_compiled_by_xla():
    model = classifier()
    evaluate = evaluator(model, 3, jit=True)
    staged = evaluate.stage(*data(7))
    check(evaluate(staged), by_hand(model, *data(7)))


@pytest.mark.parametrize("dtype", ["uint8", "int64"])
def test_labels_of_any_integer_dtype(dtype):
    model = classifier()
    evaluate = evaluator(model, 5)
    staged = evaluate.stage(*data(7, dtype))
    check(evaluate(staged), by_hand(model, *data(7)))


def test_labels_of_another_shape_are_not_broadcast():
    evaluate = evaluator(classifier(), 5)
    x, y = data(7)
    with pytest.raises(ValueError, match="Shape must be"):
        evaluate(evaluate.stage(x, y[:, None]))


def test_staged_data_sees_the_weights_of_the_moment():
    model = classifier()
    evaluate = evaluator(model, 4)
    staged = evaluate.stage(*data(9))
    before = evaluate(staged)
    model.set_weights([-w for w in model.get_weights()])
    check(evaluate(staged), by_hand(model, *data(9)))
    assert evaluate(staged) != before


def test_dropout_and_batch_statistics_are_off():
    model = classifier(keras.layers.Dropout(0.5))
    evaluate = evaluator(model, 4)
    staged = evaluate.stage(*data(9))
    state = model.layers[-1].seed_generator.state.numpy()
    check(evaluate(staged), by_hand(model, *data(9)))
    assert np.array_equal(model.layers[-1].seed_generator.state, state)


def probabilities(kind):
    softmax = {
        "layer": keras.layers.Softmax(),
        "activation": keras.layers.Activation("softmax"),
        "nested": keras.Sequential(
            [keras.Input((3,)), keras.layers.Softmax()]
        ),
    }
    if kind == "inside":
        model = keras.Sequential(
            [keras.Input((4,)), keras.layers.Dense(3, activation="softmax")]
        )
        model.set_weights(classifier().get_weights())
        return model
    return classifier(softmax[kind])


@pytest.mark.parametrize("kind", ["layer", "activation", "nested", "inside"])
def test_the_trainer_knows_a_model_that_gives_probabilities(
    kind, make_trainer
):
    model = probabilities(kind)
    x, y = data(9)
    splits = dict.fromkeys(["train", "validation", "test"], (x / 10, y))
    trainer = make_trainer(model, steps=0, data=splits)
    metrics = trainer(model, level=0, seed=0)
    found = metrics["test_loss"], metrics["test_accuracy"]
    check(found, by_hand(model, x, y))


def test_the_trainer_evaluates_every_split(make_net, make_trainer, splits):
    model = make_net()
    trainer = make_trainer(model, steps=0)
    trainer(model, level=0, seed=0)
    w, b, _, v, c, _ = model.get_weights()
    assert {row.split for row in trainer.rows} == set(splits)
    for row in trainer.rows:
        x, y = splits[row.split]
        logits = np.maximum(x @ w + b, 0) @ v + c
        norm = np.log(np.exp(logits).sum(1))
        loss = (norm - logits[np.arange(len(y)), y]).mean()
        accuracy = (logits.argmax(1) == y).mean()
        check((row.loss, row.values["accuracy"]), (loss, accuracy))

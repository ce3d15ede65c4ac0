"""What replicas share, in what they differ, and what tells them apart."""

import keras
import numpy as np
import pytest

from tf_lottery import seeds
from tf_lottery import train
from tf_lottery.layers import get_state
from tf_lottery.layers import set_state
from tf_lottery.train.replicas import ReplicaCheck
from tf_lottery.train.replicas import Table
from tf_lottery.train.steps import _statistics


@pytest.fixture(scope="module")
def strategy():
    return train.make_strategy("mirrored")


def copies(variable):
    return [value.numpy() for value in variable.value.values]


def test_moving_averages_are_the_mean_over_replicas(
    strategy, make_net, make_trainer, splits
):
    """One step on 4 + 4 examples, by hand."""
    x = splits["train"][0]
    with strategy.scope():
        model = make_net(keras.layers.BatchNormalization(momentum=0.9))
    kernel, bias = (w.copy() for w in model.get_weights()[:2])
    layer = model.layers[1]
    trainer = make_trainer(model, steps=1, strategy=strategy)
    trainer(model, level=0, seed=3)
    rows = trainer._order.batches(0, 1, 3)[0]
    halves = [x[rows[:4]] @ kernel + bias, x[rows[4:]] @ kernel + bias]
    mean = 0.1 * np.mean([h.mean(0) for h in halves], 0)
    variance = 0.9 + 0.1 * np.mean([h.var(0) for h in halves], 0)
    for variable, expected in (
        (layer.moving_mean, mean), (layer.moving_variance, variance),
    ):
        first, second = copies(variable)
        assert np.array_equal(first, second)
        np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-6)


def test_where_calls_are_cut_changes_no_bit_on_two_replicas(
    strategy, make_net, make_trainer, monkeypatch
):
    with strategy.scope():
        model = make_net(keras.layers.BatchNormalization(momentum=0.9))
    trainer = make_trainer(model, strategy=strategy)
    start, ends = get_state(model), []
    for seconds in (1e9, 0):
        monkeypatch.setattr("tf_lottery.train.loop._CALL_SECONDS", seconds)
        set_state(model, start)
        trainer(model, level=0, seed=1)
        ends.append(get_state(model))
    for path, value in ends[0].items():
        assert np.array_equal(value, ends[1][path]), path


def test_synchronized_normalisation_is_that_of_one_device(
    strategy, make_net, make_trainer
):
    ends = []
    for where in (None, strategy):
        scope = (where or train.make_strategy("one_device")).scope()
        with scope:
            model = make_net(
                keras.layers.BatchNormalization(
                    synchronized=True, name="norm"
                )
            )
        make_trainer(model, strategy=where)(model, level=0, seed=3)
        ends.append(get_state(model))
    for path in ends[0]:
        np.testing.assert_allclose(
            # Sums over 4 + 4 instead of 8 examples, 15 steps.
            ends[1][path], ends[0][path], rtol=1e-3, atol=1e-4, err_msg=path
        )


def test_an_activity_penalty_counts_once(strategy, make_net, make_trainer):
    ends = []
    for where in (None, strategy):
        with (where or train.make_strategy("one_device")).scope():
            model = make_net(activity_regularizer=keras.regularizers.L2(0.3))
        make_trainer(model, strategy=where)(model, level=0, seed=3)
        ends.append(get_state(model)["net/hidden/kernel"])
    np.testing.assert_allclose(*ends, rtol=1e-4, atol=1e-5)


def test_dropout_draws_otherwise_on_every_replica(
    strategy, make_net, make_trainer, tmp_path
):
    with strategy.scope():
        model = make_net(keras.layers.Dropout(0.4))
    start = get_state(model)
    trainer = make_trainer(model, strategy=strategy)
    state = model.layers[1].seed_generator.state

    def train_again(**how):
        set_state(model, start)
        trainer(model, level=0, seed=5, **how)
        return get_state(model)

    whole = train_again()
    expected = [
        seeds.derive(5, "generator", 0), seeds.derive(5, "generator", 0, 1),
    ]
    assert [key for key, _ in copies(state)] == expected
    assert [count for _, count in copies(state)] == [15, 15]
    # A training that goes on in the middle draws what it would have.
    checkpoint = train.Checkpoint(tmp_path / "state.npz", {}, every=1e9)
    with pytest.raises(train.Stopped):
        train_again(checkpoint=checkpoint, stopping=lambda: 15)
    cut = train_again(checkpoint=checkpoint)
    assert [key for key, _ in copies(state)] == expected
    for path in whole:
        assert np.array_equal(whole[path], cut[path]), path


@pytest.mark.parametrize(
    "name, what",
    [
        ("kernel_mask", "the mask of net/hidden/kernel"),
        ("bias", "net/hidden/bias"),
    ],
)
def test_replicas_that_differ_are_named(
    name, what, strategy, make_net, make_trainer
):
    with strategy.scope():
        model = make_net()
    trainer = make_trainer(model, strategy=strategy)
    ReplicaCheck(model, strategy)()
    second = getattr(model.layers[0], name).value.values[1]
    second.assign(1 - second)
    with pytest.raises(RuntimeError) as error:
        trainer(model, level=1, seed=0)
    assert str(error.value) == (
        "All replicas must hold the same masks and weights. Received: others "
        f"in {what}. Set them in the scope of the strategy, on every worker "
        "alike."
    )


@pytest.mark.parametrize("number, path", [(0, "fc/bias"), (1, "fc/bias#2")])
def test_replicas_that_differ_in_one_of_equal_paths(number, path, strategy):
    def tower(x, name):
        inner = keras.Input((3,))
        y = keras.layers.Dense(2, name="fc")(inner)
        return keras.Model(inner, y, name=name)(x)

    with strategy.scope():
        x = keras.Input((3,))
        y = keras.layers.Add()([tower(x, "left"), tower(x, "right")])
        model = keras.Model(x, y)
    check = ReplicaCheck(model, strategy)
    check()
    bias = [v for v in model.weights if v.name == "bias"][number]
    second = bias.value.values[1]
    second.assign(1 - second)
    with pytest.raises(RuntimeError, match=f"others in {path}\\."):
        check()


def test_a_table_has_a_row_of_every_replica(strategy):
    table = Table(strategy)
    found = table(lambda replica: [replica + 1, 7])
    assert found.tolist() == [[1, 7], [2, 7]]
    assert table(lambda replica: [replica, -7]).tolist() == [[0, -7], [1, -7]]


def test_weights_of_a_frozen_layer_are_no_statistics(make_net):
    model = make_net(keras.layers.BatchNormalization(name="norm"))
    model.get_layer("hidden").trainable = False
    names = [v.name for v in _statistics(model)]
    assert names == ["moving_mean", "moving_variance"]


def test_replicas_share_the_penalty_on_the_scales(
    strategy, make_net, make_trainer
):
    ends = []
    for l1 in (0.0, 0.25):
        with strategy.scope():
            model = make_net(keras.layers.BatchNormalization(name="bn"))
        trainer = make_trainer(
            model, steps=1, rate=0.5, momentum=0.0, scale_l1=l1,
            strategy=strategy,
        )
        trainer(model, level=0, seed=0)
        ends.append(np.array(model.get_layer("bn").gamma))
    # One step of rate 1/2 along -1/4, not along -1/4 of each replica.
    assert np.allclose(ends[1] - ends[0], -1 / 8, atol=1e-6)

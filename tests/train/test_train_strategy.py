"""One replica or two; which devices; when XLA compiles."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery import Mask
from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import set_mask
from tf_lottery.layers import get_state
from tf_lottery.train import OPTIMIZERS
from tf_lottery.train import check_optimizer
from tf_lottery.train import make_optimizer
from tf_lottery.train import make_strategy
from tf_lottery.train.optimizers import OptimizerSnapshot
from tf_lottery.train.strategy import xla_scope

L2 = keras.regularizers.L2(0.05)


@pytest.fixture(scope="session")
def two_replicas():
    strategy = make_strategy("mirrored")
    assert strategy.num_replicas_in_sync == 2
    return strategy


def replicas(variable):
    return [value.numpy() for value in variable.value.values]


@pytest.mark.parametrize(
    "how",
    [
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "weight_decay": 0.1},
        {"optimizer": "sgd", "regularizer": L2},
        {"optimizer": "adamw", "weight_decay": 0.1, "regularizer": L2},
    ],
    ids=["plain", "decay", "regularizer", "adamw"],
)
def test_two_replicas_train_as_one_device(
    how, two_replicas, make_net, make_trainer
):
    how = dict(how)
    layer = {"kernel_regularizer": how.pop("regularizer", None)}
    one = make_net(**layer)
    make_trainer(one, **how)(one, level=1, seed=2)
    with two_replicas.scope():
        two = make_net(**layer)
    trainer = make_trainer(two, strategy=two_replicas, **how)
    # A second training: the optimizer starts new on both replicas.
    start = get_state(two)
    trainer(two, level=1, seed=7)
    for variable in two.trainable_variables:
        variable.assign(start[variable.path])
    trainer(two, level=1, seed=2)
    expected, found = get_state(one), get_state(two)
    for path in expected:
        # Sums over 4 + 4 instead of 8 examples, 15 steps.
        np.testing.assert_allclose(
            found[path], expected[path], rtol=1e-4, atol=1e-5, err_msg=path
        )
    mask = get_mask(two)
    assert mask == get_mask(one) and 0 < mask.density < 1
    for variable in two.variables:
        first, second = replicas(variable)
        assert np.array_equal(first, second), variable.path
        if variable.path in mask:
            assert not first[~mask[variable.path]].any()
    assert trainer._run.experimental_get_tracing_count() == 1


def test_regularizer_and_decay_are_not_idle(make_net, make_trainer):
    """What the comparison above compares is there at all."""
    ends = []
    for layer, how in [
        ({}, {}),
        ({}, {"weight_decay": 0.1}),
        ({"kernel_regularizer": L2}, {}),
    ]:
        model = make_net(**layer)
        make_trainer(model, **how)(model, level=1, seed=2)
        ends.append(get_state(model)["net/hidden/kernel"])
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(ends[a] - ends[b]).max() > 1e-3


def test_dropout_and_normalisation_train_on_two_replicas(
    two_replicas, make_net, make_trainer
):
    with two_replicas.scope():
        model = make_net(
            keras.layers.BatchNormalization(), keras.layers.Dropout(0.3)
        )
    trainer = make_trainer(model, strategy=two_replicas)
    start = get_state(model)
    trainer(model, level=0, seed=2)
    found = get_state(model)
    moved = {k for k in start if not np.array_equal(start[k], found[k])}
    # All but a bias whose gradient normalisation cancels.
    assert moved >= set(start) - {"net/hidden/bias"}
    for variable in model.trainable_variables:
        assert np.array_equal(*replicas(variable)), variable.path


def test_a_batch_divides_over_the_replicas(
    two_replicas, make_net, make_trainer
):
    with two_replicas.scope():
        model = make_net()
    with pytest.raises(ValueError) as error:
        make_trainer(model, batch_size=9, strategy=two_replicas)
    assert str(error.value) == (
        "`batch_size` must be a multiple of the 2 replicas. Received: "
        "batch_size=9. It is the global batch."
    )


def test_strategies_by_name(two_replicas):
    # Two mirrored strategies in a process would mix up their collectives.
    assert make_strategy("mirrored") is two_replicas
    one = make_strategy("one_device")
    assert isinstance(one, tf.distribute.OneDeviceStrategy)
    assert one.num_replicas_in_sync == 1
    if not tf.config.list_logical_devices("GPU"):
        auto = make_strategy()
        assert isinstance(auto, tf.distribute.OneDeviceStrategy)
    message = (
        "`strategy` must be one of auto, one_device, mirrored, multi_worker, "
        "tpu. Received"
    )
    with pytest.raises(ValueError, match=message):
        make_strategy("cluster")


def test_xla_is_chosen_by_model_and_device(two_replicas, make_net):
    one = make_strategy("one_device")
    dense = make_net()
    conv = mask_model(
        keras.Sequential(
            [
                keras.Input((4, 4, 1)),
                # Inside a nested model, to be looked for.
                keras.Sequential(
                    [keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3)]
                ),
                keras.layers.Flatten(),
                keras.layers.Dense(2),
            ]
        )
    )
    if not tf.config.list_logical_devices("GPU"):
        assert xla_scope("auto", dense, one) == "loop"
        assert xla_scope("auto", conv, one) == "update"
        assert xla_scope("auto", dense, two_replicas) == "nothing"
    assert xla_scope("on", conv, one) == "loop"
    assert xla_scope("off", dense, one) == "nothing"
    assert xla_scope("off", conv, one) == "nothing"
    with pytest.raises(ValueError, match="`jit` must be .* jit=True. Choose"):
        xla_scope(True, dense, one)


@pytest.mark.parametrize("devices", [[], ["a GPU"]])
def test_xla_compiles_no_loop_of_a_layer_that_does_not_support_it(
    devices, make_net, monkeypatch
):
    one = make_strategy("one_device")
    recurrent = make_net(
        keras.layers.Reshape((5, 1)), keras.layers.LSTM(2), mask=False
    )
    turned = make_net(
        keras.layers.Reshape((5, 1, 1)),
        keras.layers.RandomRotation(0.1, name="turn"),
        keras.layers.Flatten(),
    )
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda _: devices)
    assert xla_scope("auto", make_net(), one) == "loop"
    assert xla_scope("auto", recurrent, one) == "update"
    assert xla_scope("auto", turned, one) == "update"
    with pytest.raises(ValueError, match=r"do not support XLA.* with turn\."):
        xla_scope("on", turned, one)


def test_a_layer_that_does_not_support_xla_is_trained(make_net, make_trainer):
    model = make_net(
        keras.layers.Reshape((5, 1, 1)),
        keras.layers.RandomRotation(0.1),
        keras.layers.Flatten(),
    )
    before = get_state(model)["net/hidden/kernel"]
    make_trainer(model, steps=2, jit="auto")(model, level=1, seed=2)
    assert not np.array_equal(before, get_state(model)["net/hidden/kernel"])


@pytest.mark.parametrize(
    "name, expected",
    [
        ("sgd", {"momentum": 0.3}),
        ("adam", {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}),
        ("adamw", {"weight_decay": 0.02, "beta_1": 0.9}),
        ("rmsprop", {"rho": 0.9, "momentum": 0.0}),
    ],
)
def test_optimizers_by_name(name, expected):
    optimizer = make_optimizer(
        name, learning_rate=0.25, momentum=0.3, weight_decay=0.02
    )
    assert type(optimizer).__name__.lower() == name
    assert float(optimizer.learning_rate) == 0.25
    assert {k: getattr(optimizer, k) for k in expected} == expected
    # The loop adds L2 decay itself: twice would be wrong.
    if name != "adamw":
        assert optimizer.weight_decay is None


def test_unknown_optimizer():
    assert sorted(OPTIMIZERS) == ["adam", "adamw", "rmsprop", "sgd"]
    with pytest.raises(ValueError) as error:
        check_optimizer("lion")
    assert str(error.value) == (
        "`optimizer` must be one of adam, adamw, rmsprop, sgd. Received: "
        "optimizer='lion'. Choose one of these."
    )
    with pytest.raises(ValueError, match="`optimizer` must be one of"):
        make_optimizer("lion", learning_rate=0.1)


def test_a_snapshot_restores_slots_that_do_not_start_at_zero():
    optimizer = keras.optimizers.Adagrad(0.1, initial_accumulator_value=0.3)
    weight = keras.Variable(np.ones((2, 2), "float32"))
    optimizer.build([weight])
    start = [v.numpy() for v in optimizer.variables]
    snapshot = OptimizerSnapshot(optimizer)
    optimizer.apply([tf.ones((2, 2))], [weight])
    optimizer.learning_rate = 7.0
    assert any(
        np.any(a != b.numpy()) for a, b in zip(start, optimizer.variables)
    )
    snapshot.restore()
    for a, b in zip(start, optimizer.variables, strict=True):
        assert np.array_equal(a, b.numpy())
    assert np.all(optimizer.variables[2].numpy() == np.float32(0.3))


def test_a_mask_set_on_two_replicas_is_set_on_both(two_replicas, make_net):
    with two_replicas.scope():
        model = mask_model(make_net(mask=False))
    mask = {
        path: np.arange(keep.size).reshape(keep.shape) % 3 > 0
        for path, keep in get_mask(model).items()
    }
    set_mask(model, mask)
    assert get_mask(model) == Mask(mask)
    for layer in (model.get_layer("hidden"), model.get_layer("out")):
        first, second = replicas(layer.kernel_mask)
        assert np.array_equal(first, second)
        assert np.array_equal(first != 0, mask[f"net/{layer.name}/kernel"])


def test_xla_over_several_cpu_devices_is_refused(make_net):
    strategy = make_strategy("mirrored")
    with strategy.scope():
        model = make_net()
    with pytest.raises(ValueError, match=r"^`jit` must be auto or off on 2"):
        xla_scope("on", model, strategy)

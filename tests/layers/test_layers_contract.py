"""The contract of every masked layer, one table over all of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.layers import MASKED_LAYERS
from tf_lottery.layers import add_masks
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state

# Class -> (arguments, input shape without the batch).
ARGUMENTS = {
    keras.layers.Dense: (dict(units=3), (4,)),
    keras.layers.EinsumDense: (
        dict(equation="ab,bc->ac", output_shape=3, bias_axes="c"),
        (4,),
    ),
    keras.layers.Conv1D: (dict(filters=3, kernel_size=2), (6, 2)),
    keras.layers.Conv2D: (dict(filters=3, kernel_size=2), (5, 4, 2)),
    keras.layers.Conv3D: (dict(filters=2, kernel_size=2), (4, 3, 3, 2)),
    keras.layers.DepthwiseConv2D: (
        dict(kernel_size=2, depth_multiplier=2),
        (5, 4, 3),
    ),
}
LAYERS = pytest.mark.parametrize(
    "stock", list(MASKED_LAYERS), ids=lambda cls: cls.__name__
)


def make_inputs(stock, dtype="float32"):
    shape = (8, *ARGUMENTS[stock][1])
    return np.random.default_rng(1).normal(size=shape).astype(dtype)


def make_layer(cls, stock, **kwargs):
    arguments, shape = ARGUMENTS[stock]
    layer = cls(**arguments, bias_initializer="normal", name="one", **kwargs)
    layer.build((None, *shape))
    return layer


def make_model(stock, **kwargs):
    """A dense model around one layer; its kernel is "one/kernel"."""
    arguments, shape = ARGUMENTS[stock]
    x = keras.Input(shape)
    y = stock(**arguments, name="one", activation="tanh", **kwargs)(x)
    return keras.Model(x, keras.layers.Flatten(dtype="float32")(y))


def make_masked(stock, **kwargs):
    """Its masked twin under a random mask; also the mask."""
    model = mask_model(make_model(stock, **kwargs))
    shape = get_mask(model)["one/kernel"].shape
    mask = np.random.default_rng(2).random(shape) < 0.5
    assert 0 < mask.sum() < mask.size
    set_mask(model, {"one/kernel": mask})
    return model, mask


def train(model, stock, steps=3, **kwargs):
    x = make_inputs(stock)
    y = np.ones((8, *model.output_shape[1:]), "float32")
    if not model.compiled:
        model.compile(keras.optimizers.Adam(0.1), "mse", **kwargs)
    for _ in range(steps):
        model.train_on_batch(x, y)


def raw_kernel(model):
    ((raw, _),) = masked_kernels(model).values()
    return np.asarray(raw)


def check_pruned(model, mask):
    """The mask is there, and raw and effective kernels are 0 by it."""
    assert np.array_equal(get_mask(model)["one/kernel"], mask)
    effective = np.asarray(model.get_layer("one").kernel)
    assert not raw_kernel(model)[~mask].any()
    assert not effective[~mask].any()
    assert effective[mask].any()


def test_the_table_is_complete():
    assert set(ARGUMENTS) == set(MASKED_LAYERS)


@LAYERS
def test_ones_equal_the_stock_layer_bit_for_bit(stock):
    plain = make_layer(stock, stock)
    masked = make_layer(MASKED_LAYERS[stock], stock)
    for new, old in zip(masked.trainable_variables, plain.variables):
        new.assign(old)
    x = make_inputs(stock)
    assert np.asarray(masked.kernel_mask).all()
    assert np.array_equal(masked(x), plain(x))


@LAYERS
def test_a_mask_equals_a_stock_layer_with_zeros(stock):
    plain = make_layer(stock, stock)
    masked = make_layer(MASKED_LAYERS[stock], stock)
    mask = np.random.default_rng(0).random(plain.kernel.shape) < 0.5
    masked.kernel_mask.assign(mask.astype("float32"))
    for new, old in zip(masked.trainable_variables, plain.variables):
        new.assign(old)
    raw = plain.variables[0]
    raw.assign(np.where(mask, np.asarray(raw), 0))
    x = make_inputs(stock)
    assert np.array_equal(masked(x), plain(x))


@LAYERS
def test_same_trainable_variables_as_the_stock_layer(stock):
    masked = make_layer(MASKED_LAYERS[stock], stock)
    assert [(v.path, v.shape) for v in masked.trainable_variables] == [
        (v.path, v.shape)
        for v in make_layer(stock, stock).trainable_variables
    ]
    assert [v.name for v in masked.non_trainable_variables] == ["kernel_mask"]
    masked.trainable = False
    masked.trainable = True
    assert [v.name for v in masked.non_trainable_variables] == ["kernel_mask"]


@LAYERS
def test_config_round_trip(stock):
    masked = make_layer(MASKED_LAYERS[stock], stock)
    assert masked.get_config() == make_layer(stock, stock).get_config()
    config = keras.saving.serialize_keras_object(masked)
    assert config["registered_name"] == f"tf_lottery>Masked{stock.__name__}"
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is MASKED_LAYERS[stock]
    assert again.get_config() == masked.get_config()


@LAYERS
def test_in_place_equals_the_copy(stock):
    model = make_model(stock)
    copy = mask_model(model)
    add_masks(model)
    assert type(model.get_layer("one")) is MASKED_LAYERS[stock]
    mask = np.random.default_rng(2).random(raw_kernel(model).shape) < 0.5
    x = make_inputs(stock)
    for one in (model, copy):
        set_mask(one, {"one/kernel": mask})
    assert np.array_equal(model(x), copy(x))
    train(model, stock, run_eagerly=True)
    check_pruned(model, mask)


@LAYERS
def test_gradients_of_pruned_weights_are_zero(stock):
    model, mask = make_masked(stock)
    ((raw, _),) = masked_kernels(model).values()
    with tf.GradientTape() as tape:
        loss = keras.ops.sum(model(make_inputs(stock)) ** 2)
    gradient = np.asarray(tape.gradient(loss, raw.value))
    assert not gradient[~mask].any()
    assert gradient[mask].all()


@LAYERS
def test_keras_file_still_trains_masked(stock, tmp_path):
    model, mask = make_masked(stock)
    train(model, stock)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.get_layer("one")) is MASKED_LAYERS[stock]
    x = make_inputs(stock)
    assert np.array_equal(again(x), model(x))
    before = raw_kernel(again)
    train(again, stock)
    check_pruned(again, mask)
    assert (raw_kernel(again) != before)[mask].all()


@LAYERS
def test_weights_file(stock, tmp_path):
    model, mask = make_masked(stock)
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    again = mask_model(make_model(stock))
    again.load_weights(path)
    check_pruned(again, mask)
    assert np.array_equal(raw_kernel(again), raw_kernel(model))


# Keras' own remark beside the error, for stock layers as well.
@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
@LAYERS
def test_weights_file_without_masks_is_refused(stock, tmp_path):
    path = tmp_path / "model.weights.h5"
    make_model(stock).save_weights(path)
    again = mask_model(make_model(stock))
    with pytest.raises(ValueError, match="masked layer 'one' must be"):
        again.load_weights(path)


@LAYERS
def test_saved_model_serves_the_same(stock, tmp_path):
    model, _ = make_masked(stock)
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    x = make_inputs(stock)
    # A graph may fuse or reorder float32 sums that eager mode does not.
    np.testing.assert_allclose(
        served.serve(tf.constant(x)), model(x), rtol=1e-5, atol=1e-6
    )


@LAYERS
def test_clone_model_keeps_the_class(stock):
    model, mask = make_masked(stock)
    clone = keras.models.clone_model(model)
    assert is_masked(clone)
    set_mask(clone, {"one/kernel": mask})
    set_state(clone, get_state(model))
    x = make_inputs(stock)
    assert np.array_equal(clone(x), model(x))


@LAYERS
def test_xla(stock):
    model, mask = make_masked(stock)
    before = raw_kernel(model)
    train(model, stock, jit_compile=True)
    check_pruned(model, mask)
    assert (raw_kernel(model) != before)[mask].all()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "float64", "bfloat16"])
@LAYERS
def test_dtype_policies(stock, policy):
    model, mask = make_masked(stock, dtype=policy)
    variable = {"float64": "float64", "bfloat16": "bfloat16"}.get(
        policy, "float32"
    )
    layer = model.get_layer("one")
    assert layer.kernel_mask.dtype == layer.raw_kernel().dtype == variable
    train(model, stock, run_eagerly=True)
    check_pruned(model, mask)


def test_raw_kernel_of_an_unbuilt_layer():
    for cls, kwargs in (
        ("Dense", dict(units=2)),
        ("DepthwiseConv2D", dict(kernel_size=2)),
    ):
        layer = MASKED_LAYERS[getattr(keras.layers, cls)](**kwargs, name="new")
        with pytest.raises(AttributeError, match="'new' not built"):
            layer.raw_kernel()

"""The contract of every masked layer, one table over all of them."""

import copy
import json
import zipfile

import keras
import numpy as np
import pytest

from tf_lottery.layers import MASKED_LAYERS
from tf_lottery.layers import Masked
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.layers import strip_masks
from tf_lottery.layers import walk

any_backend = pytest.mark.any_backend


def classes(model):
    return [type(layer) for layer in walk(model)]


def set_masks_only(model, mask):
    """Sets the masks and leaves the raw weights that they prune as they are.

    So only the masks can be what makes a kernel 0 there.
    """
    for path, (_, variable) in masked_kernels(model).items():
        variable.assign(mask[path].astype(variable.dtype))


def zeroed(state, mask):
    return {
        path: np.where(mask[path], value, 0) if path in mask else value
        for path, value in state.items()
    }


@any_backend
def test_the_table_holds_every_layer_that_can_be_masked(cases):
    found = {cls for case in cases for cls in classes(case.dense())}
    # Other tests register classes of their own.
    stock = {c for c in MASKED_LAYERS if c.__module__.startswith("keras")}
    assert len(stock) > 20 and stock <= found


@any_backend
def test_ones_equal_the_stock_layer_bit_for_bit(case):
    dense = case.dense()
    masked = mask_model(dense)
    mask = get_mask(masked)
    assert mask.kept == mask.size > 0
    x = case.inputs()
    assert np.array_equal(masked(x), dense(x))


@any_backend
def test_a_mask_equals_a_stock_layer_with_zeros(case):
    dense = case.dense()
    masked = mask_model(dense)
    mask = case.random_mask(masked)
    x = case.inputs()
    before = np.asarray(dense(x))
    set_masks_only(masked, mask)
    set_state(dense, zeroed(get_state(dense), mask))
    assert np.array_equal(masked(x), dense(x))
    assert not np.array_equal(masked(x), before)


@any_backend
def test_same_variables_as_the_stock_layer_but_for_the_masks(case):
    dense = case.dense()
    masked = mask_model(dense)
    kernels = masked_kernels(masked)
    trained = [(v.path, v.shape) for v in dense.trainable_variables]
    for _ in range(2):
        assert trained == [
            (v.path, v.shape) for v in masked.trainable_variables
        ]
        # Masks are the only other weights; a mask is named by its kernel.
        others = {id(v) for v in masked.non_trainable_weights}
        assert others == {id(mask) for _, mask in kernels.values()}
        for raw, mask in kernels.values():
            assert mask.name == f"{raw.name}_mask"
            assert mask.shape == raw.shape and mask.dtype == raw.dtype
        masked.trainable = False
        assert not masked.trainable_variables
        masked.trainable = True


@any_backend
def test_every_trained_matrix_has_a_mask(case):
    masked = mask_model(case.dense())
    # Variables of two dimensions that are biases.
    biases = {"bias"} if case.name != "GRU" else {"bias", "recurrent_bias"}
    raws = {id(raw) for raw, _ in masked_kernels(masked).values()}
    assert not [
        v.path
        for v in masked.trainable_variables
        if v.ndim > 1 and id(v) not in raws and v.name not in biases
    ]


@any_backend
def test_pruned_weights_have_no_gradient(case):
    """With SGD a weight changes where its gradient is not 0."""
    model = mask_model(case.dense())
    mask = case.random_mask(model)
    set_masks_only(model, mask)
    before = case.raws(model)
    case.train(model, steps=1, optimizer=keras.optimizers.SGD(1.0))
    for keep, old, new in zip(mask.values(), before, case.raws(model)):
        assert old[~keep].all()
        assert np.array_equal(new[~keep], old[~keep])
        assert (new != old)[keep].mean() > 0.5


@any_backend
def test_config_round_trip(case):
    layer = mask_model(case.dense()).get_layer("one")
    config = keras.saving.serialize_keras_object(layer)
    json.dumps(config)
    if isinstance(layer, Masked):
        stock = case.dense().get_layer("one")
        assert layer.get_config() == stock.get_config()
        assert config["registered_name"].startswith("tf_lottery>Masked")
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(layer)
    assert again.get_config() == layer.get_config()


@any_backend
def test_in_place_equals_the_copy(case):
    model = case.dense()
    twin = mask_model(model)
    assert mask_model(model, in_place=True) is model
    assert classes(model) == classes(twin)
    mask = case.random_mask(model)
    for one in (model, twin):
        set_mask(one, mask)
    before = case.raws(model)
    assert np.array_equal(model(case.inputs()), twin(case.inputs()))
    case.train(model)
    case.check_trained(model, mask, before)


@any_backend
def test_a_copy_keeps_classes_masks_and_values(case):
    model, mask = case.masked()
    x = case.inputs()
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    for other in (clone, copy.deepcopy(model)):
        assert classes(other) == classes(model)
        case.check_pruned(other, mask)
        assert np.array_equal(other(x), model(x))
        before = case.raws(other)
        case.train(other, steps=1)
        case.check_trained(other, mask, before)
    case.check_pruned(model, mask)


@any_backend
def test_keras_file_still_trains_masked(case, tmp_path):
    model, mask = case.masked()
    case.train(model, steps=1)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert classes(again) == classes(model)
    x = case.inputs()
    assert np.array_equal(again(x), model(x))
    before = case.raws(again)
    case.train(again)
    case.check_trained(again, mask, before)


@any_backend
def test_weights_file(case, tmp_path):
    model, mask = case.masked()
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    again = mask_model(case.dense())
    again.load_weights(path)
    case.check_pruned(again, mask)
    assert all(map(np.array_equal, case.raws(again), case.raws(model)))


# Keras' own remark beside the error, for stock layers as well.
@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
@any_backend
def test_weights_file_without_masks_is_refused(case, tmp_path):
    path = tmp_path / "model.weights.h5"
    case.dense().save_weights(path)
    again = mask_model(case.dense())
    with pytest.raises(ValueError, match="weights of masked layer '.*' must"):
        again.load_weights(path)


@any_backend
def test_stripped_model_is_stock(case, tmp_path):
    dense = case.dense()
    plain, paths = classes(dense), [v.path for v in dense.weights]
    model = mask_model(dense)
    mask = case.random_mask(model)
    set_mask(model, mask)
    stripped = strip_masks(model)
    x = case.inputs()
    expected = np.asarray(model(x))
    # The masked source, stripped in place, is its own copy's twin.
    assert strip_masks(model, in_place=True) is model
    for one in (stripped, model):
        assert not is_masked(one)
        assert classes(one) == plain
        assert np.array_equal(one(x), expected)
        assert [v.path for v in one.weights] == paths
        path = tmp_path / "stripped.keras"
        one.save(path)
        with zipfile.ZipFile(path) as file:
            assert "tf_lottery" not in file.read("config.json").decode()
        assert np.array_equal(keras.saving.load_model(path)(x), expected)
    case.train(model, steps=1)
    state = get_state(model)
    assert all(state[path][~keep].any() for path, keep in mask.items())
    again = mask_model(stripped)
    set_mask(again, mask)
    assert np.array_equal(again(x), expected)


def test_saved_model_serves_the_same(case, tmp_path):
    import tensorflow as tf

    model, _ = case.masked()
    model.export(tmp_path / "served", verbose=False)
    served = tf.saved_model.load(tmp_path / "served")
    x = case.inputs()
    # A graph may fuse or reorder float32 sums that eager mode does not.
    np.testing.assert_allclose(
        served.serve(tf.constant(x, model.inputs[0].dtype)),
        model(x),
        rtol=1e-5,
        atol=1e-6,
    )


@pytest.mark.slow
@any_backend
def test_xla(case):
    if case.like:
        pytest.skip(f"compiled as {case.like} is, and slowly")
    model, mask = case.masked()
    before = case.raws(model)
    case.train(model, jit_compile=True)
    case.check_trained(model, mask, before)


@pytest.mark.parametrize(
    "policy",
    [
        "mixed_bfloat16",
        pytest.param("mixed_float16", marks=pytest.mark.slow),
        pytest.param("float64", marks=pytest.mark.slow),
        pytest.param("bfloat16", marks=pytest.mark.slow),
    ],
)
@any_backend
def test_dtype_policies(case, policy):
    if keras.backend.backend() != "tensorflow" and policy != "mixed_bfloat16":
        pytest.skip("one policy is enough where a step takes seconds")
    model, mask = case.masked(dtype=policy)
    stored = "float32" if policy.startswith("mixed") else policy
    for raw, variable in masked_kernels(model).values():
        assert variable.dtype == raw.dtype == stored
    before = case.raws(model)
    # In bfloat16 Adam's 0.999 is 1 and moves nothing.
    optimizer = keras.optimizers.SGD(1.0)
    if policy == "mixed_float16":
        # Low, so that no step is left out for a gradient that overflows.
        optimizer = keras.optimizers.LossScaleOptimizer(
            optimizer, initial_scale=2.0
        )
    case.train(model, 1, optimizer)
    case.check_trained(model, mask, before)


@any_backend
def test_an_excluded_kernel_stays_dense_in_files_and_copies(case, tmp_path):
    dense = case.dense()
    *kept, excluded = get_mask(mask_model(dense))
    if not kept:
        with pytest.raises(ValueError, match="none left after exclude"):
            mask_model(dense, exclude=excluded)
        return
    model = mask_model(dense, exclude=excluded)
    mask = case.random_mask(model)
    assert list(mask) == kept
    set_mask(model, mask)
    x = case.inputs()
    model.save(tmp_path / "model.keras")
    clone = keras.models.clone_model(model)
    clone.set_weights(model.get_weights())
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    for again in (loaded, clone):
        assert classes(again) == classes(model)
        assert np.array_equal(again(x), model(x))
        before = case.raws(again)
        case.train(again)
        case.check_trained(again, mask, before)
        # Keras leaves a wrapper's name out of the paths in a file.
        state = dict(zip(get_state(model), get_state(again).values()))
        assert state[excluded].all()
    stripped = strip_masks(model)
    assert classes(stripped) == classes(dense)
    assert stripped.get_layer("one").get_config() == (
        dense.get_layer("one").get_config()
    )


@any_backend
def test_raw_kernels_of_unbuilt_layers():
    for masked in MASKED_LAYERS.values():
        if hasattr(masked, "raw_kernel"):
            layer = object.__new__(masked)
            name = masked.masked_kernels[0]
            with pytest.raises((AttributeError, RuntimeError)):
                layer.raw_kernel(name)
    layer = MASKED_LAYERS[keras.layers.Dense](2, name="new")
    with pytest.raises(AttributeError, match="`kernel` must.*'new'.*built"):
        layer.raw_kernel()

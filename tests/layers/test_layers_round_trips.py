"""Whole models: trained, saved, stripped, quantised, under every policy."""

import contextlib

import keras
import numpy as np
import pytest

from tf_lottery.layers import Masked
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import reset_optimizer
from tf_lottery.layers import set_mask
from tf_lottery.layers import strip_masks
from tf_lottery.layers import walk
from tf_lottery.train import make_strategy

layers = keras.layers
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(8, 32, 32, 3)).astype("float32")
SMALL = IMAGES[:, :8, :8]
LABELS = RNG.integers(0, 10, 8)


def small(name="net"):
    """Convolutions, an LSTM over the rows they give, and a head."""
    keras.utils.set_random_seed(0)
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, activation="relu", padding="same", name="conv")(x)
    y = layers.BatchNormalization(name="norm")(y)
    y = layers.SeparableConv2D(4, 3, strides=2, name="separable")(y)
    y = layers.Reshape((3, 12), name="rows")(y)
    # TensorFlow has no orthogonal matrices of bfloat16.
    lstm = layers.LSTM(5, recurrent_initializer="he_normal", name="lstm")
    y = lstm(y)
    y = layers.Dense(10, name="head")(y)
    return keras.Model(x, layers.Activation("softmax", dtype="float32")(y))


def compile_model(model, optimizer=None, **kwargs):
    optimizer = optimizer or keras.optimizers.Adam(0.01)
    model.compile(optimizer, "sparse_categorical_crossentropy", **kwargs)


def random_mask(model, seed=3):
    rng = np.random.default_rng(seed)
    return {
        path: rng.random(m.shape) < 0.5 for path, m in get_mask(model).items()
    }


def prune(model):
    mask = random_mask(model)
    set_mask(model, mask)
    return mask


def check_pruned(model, mask):
    found = get_mask(model)
    assert len(found) == len(mask)
    for keep, same, raw in zip(
        mask.values(), found.values(), raws(model), strict=True
    ):
        assert np.array_equal(same, keep)
        assert np.isfinite(raw).all() and not raw[~keep].any()
        assert raw[keep].any()


def raws(model):
    return [np.asarray(raw) for raw, _ in masked_kernels(model).values()]


def check_moved(model, mask, before, share=0.5):
    for keep, old, new in zip(mask.values(), before, raws(model), strict=True):
        assert (old != new)[keep].mean() > share


def kinds(model):
    return [type(layer) for layer in walk(model)]


def predict(model, x):
    return np.asarray(model(x, training=False))


APPLICATIONS = {
    "MobileNetV2": {"alpha": 0.35},
    "ResNet50": {},
    "EfficientNetB0": {},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_an_application_is_masked_trained_saved_and_stripped(name, tmp_path):
    keras.utils.set_random_seed(0)
    dense = getattr(keras.applications, name)(
        weights=None, input_shape=(32, 32, 3), classes=10, **APPLICATIONS[name]
    )
    stock = kinds(dense)
    expected = predict(dense, IMAGES[:2])
    model = mask_model(dense)
    assert np.allclose(predict(model, IMAGES[:2]), expected, atol=1e-5)
    mask = prune(model)
    convolutions = [
        layer for layer in walk(dense)
        if isinstance(layer, (layers.Conv2D, layers.DepthwiseConv2D))
    ]
    assert len(mask) == len(convolutions) + 1
    before = raws(model)
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    compile_model(model, optimizer, run_eagerly=True)
    model.train_on_batch(IMAGES[:4], LABELS[:4])
    check_pruned(model, mask)
    # On one pixel, which is what is left in the end, 5 x 5 kernels are one.
    check_moved(model, mask, before, share=0.03)
    outputs = predict(model, IMAGES[:2])
    stripped = strip_masks(model)
    assert kinds(stripped) == stock
    assert np.array_equal(predict(stripped, IMAGES[:2]), outputs)
    for source in (model, stripped):
        source.save(tmp_path / "model.keras")
        again = keras.saving.load_model(
            tmp_path / "model.keras", compile=False
        )
        assert kinds(again) == kinds(source)
        assert np.array_equal(predict(again, IMAGES[:2]), outputs)
        if source is model:
            check_pruned(again, mask)


@pytest.mark.parametrize(
    "make",
    [
        # Keras cannot overwrite weights with averages under a strategy.
        lambda: keras.optimizers.SGD(0.05, momentum=0.9, use_ema=True),
        pytest.param(
            lambda: keras.optimizers.Adam(0.01), marks=pytest.mark.slow
        ),
        pytest.param(
            lambda: keras.optimizers.LossScaleOptimizer(
                keras.optimizers.Adagrad(0.05)
            ),
            marks=pytest.mark.slow,
        ),
    ],
    ids=["average", "adam", "loss_scale"],
)
def test_replicas_keep_masks_and_zeros(make):
    # The one of this process: two would share the keys of their reductions.
    strategy = make_strategy("mirrored")
    assert strategy.num_replicas_in_sync == 2
    with strategy.scope():
        model = mask_model(small())
        compile_model(model, make())
    model.fit(SMALL, LABELS, batch_size=8, verbose=0)
    # In the middle of training, outside the strategy's scope.
    mask = prune(model)
    before = raws(model)
    model.fit(SMALL, LABELS, batch_size=8, epochs=3, verbose=0)
    check_pruned(model, mask)
    check_moved(model, mask, before)
    for raw, kept in masked_kernels(model).values():
        replicas = [
            np.asarray(value)
            for value in strategy.experimental_local_results(raw.value)
        ]
        masks = strategy.experimental_local_results(kept.value)
        assert len(replicas) == len(masks) == 2
        assert np.array_equal(*replicas)
        for value, one in zip(replicas, masks):
            assert np.array_equal(np.asarray(one), np.asarray(kept))
            assert not value[np.asarray(one) == 0].any()
    reset_optimizer(model.optimizer, model)
    new = make()
    new.build(model.trainable_variables)
    for old, start in zip(model.optimizer.variables, new.variables):
        for value in strategy.experimental_local_results(old.value):
            assert np.array_equal(np.asarray(value), np.asarray(start))
    model.fit(SMALL, LABELS, batch_size=8, verbose=0)
    check_pruned(model, mask)


@contextlib.contextmanager
def policy(name):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@pytest.mark.parametrize(
    "name",
    [
        "mixed_bfloat16",
        pytest.param("mixed_float16", marks=pytest.mark.slow),
        pytest.param("bfloat16", marks=pytest.mark.slow),
    ],
)
def test_a_global_policy_with_fit(name, tmp_path):
    with policy(name):
        model = mask_model(small())
        # To bfloat16, 0.999 is 1: Keras' Adam would stand still.
        still = name == "bfloat16"
        compile_model(model, keras.optimizers.SGD(0.5) if still else None)
        half = name == "mixed_float16"
        kind = keras.optimizers.LossScaleOptimizer
        assert isinstance(model.optimizer, kind) == half
        model.fit(SMALL, LABELS, batch_size=4, verbose=0)
        mask = prune(model)
        before = raws(model)
        model.fit(SMALL, LABELS, batch_size=4, epochs=2, verbose=0)
        check_pruned(model, mask)
        # A small step is none where a weight is bfloat16.
        check_moved(model, mask, before, share=0.1 if still else 0.5)
        for path, (raw, kept) in masked_kernels(model).items():
            assert raw.dtype == kept.dtype, path
        outputs = predict(model, SMALL)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        check_pruned(again, mask)
        assert np.array_equal(predict(again, SMALL), outputs)
        stripped = strip_masks(model)
        assert np.array_equal(predict(stripped, SMALL), outputs)
    assert keras.config.dtype_policy().name == "float32"


def head_only(name="net"):
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Flatten(),
            layers.Dense(16, activation="relu", name="first"),
            layers.Dense(10, activation="softmax", name="head"),
        ],
        name=name,
    )


@pytest.mark.parametrize("make", [small, head_only])
def test_compiled_by_xla(make):
    model = mask_model(make())
    compile_model(model, jit_compile=True)
    model.fit(SMALL, LABELS, batch_size=8, verbose=0)
    mask = prune(model)
    before = raws(model)
    model.fit(SMALL, LABELS, batch_size=8, epochs=3, verbose=0)
    check_pruned(model, mask)
    check_moved(model, mask, before)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_a_stripped_model_is_quantised():
    model = mask_model(head_only())
    mask = prune(model)
    with pytest.raises(ValueError, match="strip_masks the model first"):
        model.quantize("int8")
    check_pruned(model, mask)
    exact = predict(model, SMALL)
    stripped = strip_masks(model)
    stripped.quantize("int8")
    assert np.allclose(predict(stripped, SMALL), exact, atol=0.05)
    # Symmetric: what was pruned is 0 as an integer too.
    for layer, keep in zip(stripped.layers[1:], mask.values()):
        kernel = np.asarray(layer._kernel)
        assert kernel.dtype == np.int8 and kernel.any()
        assert not kernel[~keep].any()
    with pytest.raises(ValueError, match="LoRA or quantised"):
        mask_model(stripped, in_place=True)


@pytest.mark.parametrize("wrap", ["call", "Sequential"])
def test_a_masked_model_inside_another(wrap, tmp_path):
    inner = mask_model(small("inner"))
    mask = prune(inner)
    if wrap == "call":
        x = keras.Input((8, 8, 3))
        y = layers.Dense(10, activation="softmax", name="top")(inner(x))
        outer = keras.Model(x, y)
    else:
        outer = keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                inner,
                layers.Dense(10, activation="softmax", name="top"),
            ]
        )
    # What is put on top later stays dense.
    assert is_masked(outer)
    check_pruned(outer, mask)
    before = raws(outer)
    compile_model(outer, keras.optimizers.Adam(0.05), run_eagerly=True)
    for _ in range(3):
        outer.train_on_batch(SMALL, LABELS)
        check_pruned(outer, mask)
        check_pruned(inner, mask)
    check_moved(outer, mask, before)
    outer.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    check_pruned(again, mask)
    assert np.array_equal(predict(again, SMALL), predict(outer, SMALL))
    stripped = strip_masks(outer)
    assert not is_masked(stripped) and is_masked(inner)
    assert np.array_equal(predict(stripped, SMALL), predict(outer, SMALL))


@pytest.mark.parametrize("in_place", [False, True])
def test_masking_stripping_and_masking_again(in_place):
    model = small()
    stock = kinds(model)
    paths = list(get_state(model))
    for seed in range(3):
        model = mask_model(model, in_place=in_place)
        assert any(isinstance(layer, Masked) for layer in walk(model))
        # A new mask is of ones: what was pruned before may come back.
        assert get_mask(model).sparsity == 0
        mask = random_mask(model, seed)
        set_mask(model, mask)
        before = raws(model)
        compile_model(
            model, keras.optimizers.SGD(0.5, momentum=0.9), run_eagerly=True
        )
        for _ in range(2):
            model.train_on_batch(SMALL, LABELS)
        check_pruned(model, mask)
        check_moved(model, mask, before)
        outputs = predict(model, SMALL)
        model = strip_masks(model, in_place=in_place)
        assert kinds(model) == stock and list(get_state(model)) == paths
        assert np.array_equal(predict(model, SMALL), outputs)

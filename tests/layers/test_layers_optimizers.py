"""Pruned weights and their optimizer slots are 0 after every step."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.layers import walk

optimizers = keras.optimizers
X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 16)

COMPILED = {
    "momentum": lambda: optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.05),
    "adamw": lambda: optimizers.AdamW(0.05, weight_decay=0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.01, momentum=0.9, centered=True),
}
EAGER = {
    **COMPILED,
    "amsgrad": lambda: optimizers.Adam(0.05, amsgrad=True),
    "adamax": lambda: optimizers.Adamax(0.05),
    "nadam": lambda: optimizers.Nadam(0.05),
    "lion": lambda: optimizers.Lion(0.01, weight_decay=0.1),
    "lamb": lambda: optimizers.Lamb(0.05),
    "adadelta": lambda: optimizers.Adadelta(0.5),
    "adagrad": lambda: optimizers.Adagrad(0.1),
    "ftrl": lambda: optimizers.Ftrl(0.1),
    "clipping": lambda: optimizers.Adam(0.05, global_clipnorm=0.1),
    "average": lambda: optimizers.SGD(
        0.1, momentum=0.9, use_ema=True, ema_overwrite_frequency=2
    ),
    "accumulation": lambda: optimizers.Adam(
        0.05, gradient_accumulation_steps=2
    ),
    "loss_scale": lambda: optimizers.LossScaleOptimizer(
        optimizers.Adagrad(0.1)
    ),
}


def make_dense(seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(5, activation="tanh", name="first"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(3, name="second"),
        ],
        name="net",
    )


def random_mask(model, seed=3):
    rng = np.random.default_rng(seed)
    return {
        path: rng.random(m.shape) < 0.5 for path, m in get_mask(model).items()
    }


def compile_model(model, optimizer, **kwargs):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, **kwargs)


def slots(optimizer, raw):
    """Per-weight slots of `raw` by their names, with their neutral value."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    start = getattr(inner, "initial_accumulator_value", 0.0)
    name = raw.path.replace("/", "_")
    found = [
        (v, start if v.path.endswith(f"{name}_accumulator") else 0.0)
        for v in optimizer.variables
        if name in v.path and v.shape == raw.shape
    ]
    assert found
    return found


def check_zeros(model, mask):
    assert get_mask(model) == get_mask(model).__class__(mask)
    for layer in walk(model):
        for name in getattr(layer, "masked_kernels", ()):
            raw = layer.raw_kernel(name)
            pruned = ~mask[raw.path]
            assert pruned.any()
            assert not np.asarray(raw)[pruned].any()
            assert not np.asarray(getattr(layer, name))[pruned].any()
            for slot, neutral in slots(model.optimizer, raw):
                value = np.asarray(slot)
                assert np.isfinite(value).all()
                assert (value[pruned] == np.float32(neutral)).all(), slot.path


@pytest.mark.parametrize("name", COMPILED)
def test_zero_after_every_compiled_step(name):
    model = mask_model(make_dense())
    mask = random_mask(model)
    set_mask(model, mask)
    compile_model(model, COMPILED[name]())
    before = get_state(model)
    for _ in range(4):
        model.train_on_batch(X, Y)
        check_zeros(model, mask)
    for path, keep in mask.items():
        moved = get_state(model)[path] != before[path]
        assert moved[keep].all()


@pytest.mark.parametrize("name", EAGER)
def test_masking_in_the_middle_of_training(name):
    model = mask_model(make_dense())
    compile_model(model, EAGER[name](), run_eagerly=True)
    # An odd number, so that accumulated gradients wait in their slots.
    for _ in range(3):
        model.train_on_batch(X, Y)
    mask = random_mask(model)
    kernels = {path: raw for path, (raw, _) in masked_kernels(model).items()}
    before = {
        path: [np.array(np.asarray(s)) for s, _ in slots(model.optimizer, raw)]
        for path, raw in kernels.items()
    }
    set_mask(model, mask, optimizer=model.optimizer)
    check_zeros(model, mask)
    for path, raw in kernels.items():
        now = slots(model.optimizer, raw)
        for old, (slot, _) in zip(before[path], now, strict=True):
            keep = mask[path]
            assert np.array_equal(np.asarray(slot)[keep], old[keep])
            assert old[~keep].any()
    for _ in range(3):
        model.train_on_batch(X, Y)
        check_zeros(model, mask)


def test_the_optimizer_of_a_compiled_model_is_found():
    model = mask_model(make_dense())
    compile_model(model, optimizers.Adam(0.05), run_eagerly=True)
    model.train_on_batch(X, Y)
    mask = random_mask(model)
    set_mask(model, mask)
    check_zeros(model, mask)


def test_slots_of_equal_names_are_told_apart():
    # Both kernels' slots are named "inner_kernel_momentum".
    x = keras.Input((4,))
    y = x
    for name in ("left", "right"):
        z = keras.Input((4,))
        part = keras.Model(z, keras.layers.Dense(4, name="inner")(z), name=name)
        y = part(y)
    model = mask_model(keras.Model(x, y))
    compile_model(model, optimizers.SGD(0.1, momentum=0.9), run_eagerly=True)
    model.train_on_batch(X[:, :4], Y)
    one, two = get_mask(model)
    assert two == one + "#2"
    optimizer = model.optimizer
    (first, second) = [
        v for v in optimizer.variables if v.path.endswith("kernel_momentum")
    ]
    before = np.array(np.asarray(second))
    mask = {one: np.zeros((4, 4), bool), two: np.ones((4, 4), bool)}
    set_mask(model, mask, optimizer=optimizer)
    assert not np.asarray(first).any()
    assert np.array_equal(np.asarray(second), before) and before.all()


def test_an_optimizer_that_is_not_built_or_knows_other_weights():
    model = mask_model(make_dense())
    mask = random_mask(model)
    other = make_dense(1)
    optimizer = optimizers.Adam()
    set_mask(model, mask, optimizer=optimizer)
    optimizer.build(other.trainable_variables)
    optimizer.variables[2].assign(np.ones((6, 5)))
    set_mask(model, mask, optimizer=optimizer)
    assert np.asarray(optimizer.variables[2]).all()


@pytest.mark.parametrize("name", ["momentum", "adamw"])
def test_masks_of_ones_train_like_the_dense_twin(name):
    dense = make_dense()
    masked = mask_model(dense)
    for model in (dense, masked):
        compile_model(model, COMPILED[name]())
        for _ in range(5):
            model.train_on_batch(X, Y)
    found, expected = get_state(masked), get_state(dense)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert np.array_equal(found[path], value), path

"""Finding an optimizer's slots, and restarting it, where that is not plain."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import neutral_slots
from tf_lottery.layers import reset_optimizer
from tf_lottery.layers import set_mask

optimizers = keras.optimizers
any_backend = pytest.mark.any_backend
X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 16)


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


@pytest.fixture
def model():
    return mask_model(make_dense())


def random_mask(model, seed=3):
    rng = np.random.default_rng(seed)
    return {
        path: rng.random(m.shape) < 0.5 for path, m in get_mask(model).items()
    }


def compile_model(model, optimizer, run_eagerly=True):
    # A step on JAX is faster with its compilation than without.
    run_eagerly = run_eagerly and keras.backend.backend() != "jax"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, run_eagerly=run_eagerly)


def train(model, steps):
    for _ in range(steps):
        model.train_on_batch(X, Y)


def slots(optimizer, raw):
    """Arrays of the per-weight slots of `raw` by their kind."""
    name = raw.path.replace("/", "_") + "_"
    return {
        v.path.rpartition(name)[2]: np.asarray(v)
        for v in optimizer.variables
        if name in v.path and v.shape == raw.shape
    }


def check_equal(one, other):
    assert len(one.variables) > 2
    for a, b in zip(one.variables, other.variables, strict=True):
        assert np.array_equal(np.asarray(a), np.asarray(b)), a.path


@any_backend
@pytest.mark.parametrize("frequency", [None, 2])
def test_averages_that_fit_puts_in_place_are_pruned(frequency, model):
    mask = random_mask(model)
    set_mask(model, mask)
    optimizer = optimizers.Adam(
        0.05, use_ema=True, ema_overwrite_frequency=frequency
    )
    compile_model(model, optimizer)
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    for path, (raw, _) in masked_kernels(model).items():
        value = np.asarray(raw)
        assert np.array_equal(value, slots(optimizer, raw)["average"])
        assert value[mask[path]].all() and not value[~mask[path]].any()


@any_backend
def test_an_optimizer_given_goes_before_the_compiled_one(model):
    mask = random_mask(model)
    compile_model(model, optimizers.SGD(0.1, momentum=0.9))
    train(model, 1)
    given = optimizers.SGD(0.1, momentum=0.9)
    given.build(model.trainable_variables)
    for variable in given.variables[2:]:
        variable.assign(np.ones(variable.shape))
    set_mask(model, mask, optimizer=given)
    for path, (raw, _) in masked_kernels(model).items():
        assert np.array_equal(slots(given, raw)["momentum"], mask[path])
        assert slots(model.optimizer, raw)["momentum"].all()


@any_backend
def test_slots_of_equal_names_are_told_apart():
    # Both kernels' slots are named "inner_kernel_momentum".
    x = keras.Input((4,))
    y = x
    for name in ("left", "right"):
        z = keras.Input((4,))
        part = keras.Model(z, keras.layers.Dense(4, name="inner")(z), name=name)
        y = part(y)
    model = mask_model(keras.Model(x, y))
    compile_model(model, optimizers.SGD(0.1, momentum=0.9))
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


@any_backend
def test_an_optimizer_that_is_not_built_or_knows_other_weights(model):
    mask = random_mask(model)
    other = make_dense(1)
    optimizer = optimizers.Adam()
    set_mask(model, mask, optimizer=optimizer)
    optimizer.build(other.trainable_variables)
    optimizer.variables[2].assign(np.ones((6, 5)))
    set_mask(model, mask, optimizer=optimizer)
    assert np.asarray(optimizer.variables[2]).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.SGD(0.1, momentum=0.9),
        lambda: optimizers.AdamW(0.05, weight_decay=0.1),
    ],
    ids=["momentum", "adamw"],
)
def test_masks_of_ones_train_like_the_dense_twin(make):
    dense = make_dense()
    masked = mask_model(dense)
    for model in (dense, masked):
        compile_model(model, make(), run_eagerly=False)
        train(model, 5)
    found, expected = get_state(masked), get_state(dense)
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        assert np.array_equal(found[path], value), path


@any_backend
def test_weights_that_come_back_start_anew(model):
    optimizer = optimizers.Adagrad(0.1, initial_accumulator_value=0.25)
    compile_model(model, optimizer)
    mask = random_mask(model)
    set_mask(model, mask)
    train(model, 3)
    set_mask(model, {path: np.ones(m.shape, bool) for path, m in mask.items()})
    for path, (raw, _) in masked_kernels(model).items():
        value = slots(optimizer, raw)["accumulator"]
        assert (value[~mask[path]] == 0.25).all()
        assert (value[mask[path]] > 0.25).all()
        assert not np.asarray(raw)[~mask[path]].any()
    train(model, 2)
    for raw, _ in masked_kernels(model).values():
        assert np.isfinite(np.asarray(raw)).all() and np.asarray(raw).all()


@any_backend
@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.Adafactor(0.1),
        lambda: optimizers.Ftrl(0.1, initial_accumulator_value=0.0),
    ],
    ids=["adafactor", "ftrl"],
)
def test_where_keras_divides_a_gradient_of_zero_by_zero(make):
    """A limit named in BUILD_NOTES.md; a dense model has it too."""
    weight = keras.Variable(np.ones((3, 4), "float32"))
    gradient = np.ones((3, 4), "float32")
    gradient[0] = gradient[:, 1] = 0
    optimizer = make()
    optimizer.build([weight])
    optimizer.apply([keras.ops.convert_to_tensor(gradient)], [weight])
    assert np.isnan(np.asarray(weight)).any()


@any_backend
def test_a_learning_rate_schedule_restarts(model):
    schedule = optimizers.schedules.ExponentialDecay(0.05, 2, 0.7)
    compile_model(model, optimizers.Adam(schedule))
    rates = []
    for _ in range(2):
        rates.append(float(model.optimizer.learning_rate))
        train(model, 2)
        rates.append(float(model.optimizer.learning_rate))
        reset_optimizer(model.optimizer, model)
        assert int(model.optimizer.iterations) == 0
    assert rates[:2] == rates[2:] and rates[0] > rates[1]


@any_backend
@pytest.mark.parametrize("wrap", [False, True])
def test_a_learning_rate_that_is_a_function_or_was_set_stays(wrap, model):
    for rate in (lambda: 0.5, 0.5):
        inner = optimizers.SGD(rate, momentum=0.9)
        outer = optimizers.LossScaleOptimizer(inner) if wrap else inner
        compile_model(model, outer)
        train(model, 1)
        if not callable(rate):
            outer.learning_rate = 0.125
        reset_optimizer(outer, model)
        expected = 0.5 if callable(rate) else 0.125
        assert float(outer.learning_rate) == expected
        raw, _ = next(iter(masked_kernels(model).values()))
        assert not slots(outer, raw)["momentum"].any()


@any_backend
def test_a_choice_of_optimizers_by_a_function_is_reset(model):
    if not hasattr(optimizers, "MultiOptimizer"):
        pytest.skip("this Keras has no MultiOptimizer")
    optimizer = optimizers.MultiOptimizer(
        lambda variable: optimizers.SGD(0.1, momentum=0.9)
    )
    compile_model(model, optimizer)
    train(model, 2)
    assert len(optimizer.optimizers) == len(model.trainable_variables)
    reset_optimizer(optimizer, model)
    for variable in optimizer.variables:
        rate = variable.path.endswith("learning_rate")
        assert rate or not np.asarray(variable).any(), variable.path


@any_backend
def test_an_optimizer_is_reset_after_layers_were_frozen(model):
    # Compiled by itself, an optimizer keeps to the weights it was built for.
    optimizer = optimizers.Adam(0.05)
    compile_model(model, optimizer)
    train(model, 2)
    try:
        model.get_layer("first").trainable = False
        reset_optimizer(optimizer, model)
    finally:
        model.get_layer("first").trainable = True
    new = optimizers.Adam(0.05)
    new.build(model.trainable_variables)
    check_equal(optimizer, new)


@any_backend
def test_an_optimizer_of_another_model_is_not_reset(model):
    optimizer = optimizers.SGD(0.1, momentum=0.9)
    reset_optimizer(optimizer, model)
    assert not optimizer.built
    optimizer.build(make_dense(1).trainable_variables)
    for each in (optimizer, optimizers.LossScaleOptimizer(optimizer)):
        if each is not optimizer:
            each.build(make_dense(1).trainable_variables)
        with pytest.raises(ValueError, match="built for weights"):
            reset_optimizer(each, model)


@any_backend
def test_what_has_no_state_has_no_slots():
    assert neutral_slots(None) == neutral_slots(optimizers.Adam()) == {}

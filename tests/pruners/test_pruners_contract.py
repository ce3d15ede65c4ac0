"""The contract of every pruner, one table over the whole registry."""

import functools

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.masks import SCOPES
from tf_lottery.masks import PruningRates
from tf_lottery.masks import target_counts
from tf_lottery.pruners import PRUNERS
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import prune
from tf_lottery.pruners import scores
from tf_lottery.pruners.gradients import generators

layers = keras.layers
# Pruners whose masks depend on the seed; and those whose masks do where the
# model has random layers. The others must not.
SEEDED = {"random"}
TRAINING = {"snip", "iterative_snip", "force", "grasp"}
CALLING = TRAINING | {"fisher", "synflow"}


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """Two rounds have masks on trial between them."""
    for pruner in PRUNERS.values():
        monkeypatch.setattr(pruner, "rounds", min(2, pruner.rounds))


def sequential(last=layers.Identity):
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3),
            last(),
        ]
    )


def functional(last=layers.Identity):
    x = keras.Input((5,))
    y = last()(layers.Dense(5, activation="tanh")(x))
    return keras.Model(x, last()(layers.Dense(3)(layers.add([x, y]))))


def shared(last=layers.Identity):
    x = keras.Input((5,))
    dense = layers.Dense(5, activation="tanh")
    y = layers.BatchNormalization()(dense(layers.Dropout(0.3)(dense(x))))
    return keras.Model(x, last()(layers.Dense(3)(y)))


MODELS = {f.__name__: f for f in (sequential, functional, shared)}
# Of those that need it every kernel is normalised.
NORMALIZED = {"bn_scale"}
# For time: formulas beside those of movement and large_final_same_sign.
ALIKE = {
    "large_final", "small_final", "large_init", "small_init",
    "large_init_large_final", "small_init_small_final", "magnitude_increase",
    "large_final_diff_sign",
}
EVERY = pytest.mark.parametrize(
    "pruner",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE))
        for name in PRUNERS
    ],
)
EACH = pytest.mark.parametrize("model", MODELS)


@functools.lru_cache(maxsize=None)
def make_model(name, copy=0, last=layers.Identity):
    """A masked model that has trained, under a random mask; kept for all."""
    keras.utils.set_random_seed(0)
    model = mask_model(MODELS[name](last))
    rng = np.random.default_rng(1)
    set_mask(
        model,
        {k: rng.random(m.shape) < 0.8 for k, m in get_mask(model).items()},
    )
    x, y = data(model)
    model.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=True)
    model.train_on_batch(x, y)
    return model


def last_of(pruner):
    normalized = pruner in NORMALIZED
    return layers.BatchNormalization if normalized else layers.Identity


def data(model):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(5, *model.input_shape[1:])).astype("float32")
    return x, rng.integers(0, 3, 5)


def loss(y, outputs):
    return keras.losses.sparse_categorical_crossentropy(
        y, outputs, from_logits=True
    )


def make_given(model):
    """All that a criterion may need."""
    x, y = data(model)
    rng = np.random.default_rng(3)
    initial = {
        k: v + rng.normal(size=v.shape) for k, v in get_state(model).items()
    }
    return dict(x=x, y=y, loss=loss, initial=initial)


def make_context(model, keep, seed=0):
    return PruningContext(
        model,
        keep,
        seed,
        collapse="floor",
        # A whole batch and a part of one.
        batch_size=3,
        **make_given(model),
    )


def everything(model):
    return {
        **get_state(model),
        **{f"{k} mask": m for k, m in get_mask(model).items()},
        **{v.path: np.array(np.asarray(v)) for v in model.optimizer.variables},
        "layers": [
            (
                layer.trainable,
                layer.dtype_policy.name,
                getattr(layer, "activation", None),
            )
            for layer in (model, *model.layers)
        ],
    }


def check_same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert np.array_equal(value, other[key]), key


@EVERY
@EACH
@pytest.mark.parametrize("scope", SCOPES)
def test_exact_count_and_subset(pruner, model, scope):
    model = make_model(model, last=last_of(pruner))
    before = get_mask(model)
    keep = target_counts(before, 0.6, scope)
    if scope == "layerwise":
        # The same as uniform, but for a rate of what is left.
        keep = PruningRates(scope, 0.2).keep(before)
    mask = PRUNERS[pruner].find_mask(make_context(model, keep))
    assert mask.is_subset_of(before)
    assert list(mask) == list(before)
    if scope == "global":
        assert mask.kept == keep
    else:
        assert mask.kept_by_path == keep


@EVERY
@EACH
def test_the_model_is_left_as_it_was(pruner, model):
    model = make_model(model, last=last_of(pruner))
    before = everything(model)
    keep = get_mask(model).kept // 2
    PRUNERS[pruner].find_mask(make_context(model, keep))
    check_same(everything(model), before)
    scores(model, pruner, **make_given(model))
    check_same(everything(model), before)


@pytest.mark.parametrize("pruner", [p for p in PRUNERS if p in CALLING])
@EACH
def test_an_error_leaves_the_model_as_it_was(pruner, model, monkeypatch):
    model = make_model(model, last=last_of(pruner))
    before = everything(model)
    context = make_context(model, get_mask(model).kept // 2)
    calls = []
    call = layers.Dense.call

    def count(self, inputs, *args, **kwargs):
        calls.append(inputs)
        if len(calls) == last:
            raise FloatingPointError("in the middle")
        return call(self, inputs, *args, **kwargs)

    monkeypatch.setattr(layers.Dense, "call", count)
    last = None
    PRUNERS[pruner].find_mask(context)
    # In the first round, in one between and in the last.
    for last in (1, len(calls) // 2, len(calls)):
        calls.clear()
        with pytest.raises(FloatingPointError, match="in the middle"):
            PRUNERS[pruner].find_mask(context)
        check_same(everything(model), before)


@EVERY
@EACH
def test_a_pure_function_of_the_seed(pruner, model):
    drops = model != "functional"
    last = last_of(pruner)
    one, two = (make_model(model, copy, last) for copy in (0, 1))
    keep = get_mask(one).kept // 2
    first = PRUNERS[pruner].find_mask(make_context(one, keep, seed=5))
    # Neither the process' generators nor an earlier call matter, nor do the
    # states of the model's own generators.
    keras.utils.set_random_seed(123)
    states = [(v, np.array(v)) for v in generators(one)]
    assert bool(states) == drops
    for variable, state in states:
        variable.assign(state + 1)
    again = PRUNERS[pruner].find_mask(make_context(one, keep, seed=5))
    for variable, state in states:
        variable.assign(state)
    assert again == first
    # Automatic layer names are numbered per process: other paths, same bits.
    twin = PRUNERS[pruner].find_mask(make_context(two, keep, seed=5))
    assert list(map(np.array_equal, twin.values(), first.values())) == (
        [True] * len(first)
    )
    other = PRUNERS[pruner].find_mask(make_context(one, keep, seed=6))
    seeded = SEEDED | (TRAINING if drops else set())
    assert (other != first) == (pruner in seeded)


@EVERY
@EACH
def test_scores_are_finite_and_of_the_kernels_shapes(pruner, model):
    model = make_model(model, last=last_of(pruner))
    found = scores(model, pruner, **make_given(model))
    assert {k: s.shape for k, s in found.items()} == get_mask(model).shapes
    for score in found.values():
        assert score.dtype.kind == "f" and np.isfinite(score).all()


@EVERY
@EACH
def test_prune(pruner, model):
    model = MODELS[model](last_of(pruner))
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            # New ones are all the same: there is nothing to choose by.
            layer.gamma.assign(np.linspace(0.1, 1, layer.gamma.shape[0]))
    given = make_given(model)
    mask = None
    for sparsity in (0.3, 0.55):
        before = mask
        mask = prune(model, sparsity, pruner, **given)
        assert mask.kept == mask.size - round(sparsity * mask.size)
        assert get_mask(model) == mask
        assert before is None or mask.is_subset_of(before)

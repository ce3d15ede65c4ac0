"""The contract of every pruner, one table over the whole registry."""

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

layers = keras.layers
# Pruners whose masks depend on the seed; the others must not.
SEEDED = {"random"}


def sequential():
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def functional():
    x = keras.Input((5,))
    y = layers.Dense(5, activation="tanh")(x)
    return keras.Model(x, layers.Dense(3)(layers.add([x, y])))


def shared():
    x = keras.Input((5,))
    dense = layers.Dense(5, activation="tanh")
    y = layers.BatchNormalization()(dense(layers.Dropout(0.3)(dense(x))))
    return keras.Model(x, layers.Dense(3)(y))


MODELS = {f.__name__: f for f in (sequential, functional, shared)}
EVERY = pytest.mark.parametrize("pruner", list(PRUNERS))
EACH = pytest.mark.parametrize("model", MODELS)


def make_model(name, part=0.8):
    """A masked model that has trained, under a random mask."""
    keras.utils.set_random_seed(0)
    model = mask_model(MODELS[name]())
    rng = np.random.default_rng(1)
    set_mask(
        model,
        {k: rng.random(m.shape) < part for k, m in get_mask(model).items()},
    )
    x, y = data(model)
    model.compile(keras.optimizers.SGD(0.01), loss, run_eagerly=True)
    model.train_on_batch(x, y)
    return model


def data(model):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(8, *model.input_shape[1:])).astype("float32")
    return x, rng.integers(0, 3, 8)


def loss(y, outputs):
    return keras.losses.sparse_categorical_crossentropy(
        y, outputs, from_logits=True
    )


def make_context(model, keep, seed=0):
    x, y = data(model)
    return PruningContext(
        model, keep, seed, x=x, y=y, loss=loss, collapse="floor"
    )


def everything(model):
    return {
        **get_state(model),
        **{f"{k} mask": m for k, m in get_mask(model).items()},
        **{v.path: np.array(np.asarray(v)) for v in model.optimizer.variables},
        "training": [layer.trainable for layer in model.layers],
    }


def check_same(one, other):
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert np.array_equal(value, other[key]), key


@EVERY
@EACH
@pytest.mark.parametrize("scope", SCOPES)
def test_exact_count_and_subset(pruner, model, scope):
    model = make_model(model)
    before = get_mask(model)
    for keep in (
        target_counts(before, 0.6, scope),
        PruningRates(scope, 0.2).keep(before),
    ):
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
    model = make_model(model)
    before = everything(model)
    keep = get_mask(model).kept // 2
    PRUNERS[pruner].find_mask(make_context(model, keep))
    check_same(everything(model), before)
    x, y = data(model)
    scores(model, pruner, x=x, y=y, loss=loss)
    check_same(everything(model), before)


@EVERY
@EACH
def test_a_pure_function_of_the_seed(pruner, model):
    one, two = make_model(model), make_model(model)
    keep = get_mask(one).kept // 2
    first = PRUNERS[pruner].find_mask(make_context(one, keep, seed=5))
    # Neither the process' generators nor an earlier call matter.
    keras.utils.set_random_seed(123)
    again = PRUNERS[pruner].find_mask(make_context(one, keep, seed=5))
    assert again == first
    # Automatic layer names are numbered per process: other paths, same bits.
    twin = PRUNERS[pruner].find_mask(make_context(two, keep, seed=5))
    assert list(map(np.array_equal, twin.values(), first.values())) == (
        [True] * len(first)
    )
    other = PRUNERS[pruner].find_mask(make_context(one, keep, seed=6))
    assert (other != first) == (pruner in SEEDED)


@EVERY
@EACH
def test_scores_are_finite_and_of_the_kernels_shapes(pruner, model):
    model = make_model(model)
    x, y = data(model)
    found = scores(model, pruner, x=x, y=y, loss=loss)
    assert {k: s.shape for k, s in found.items()} == get_mask(model).shapes
    for score in found.values():
        assert score.dtype.kind == "f" and np.isfinite(score).all()


@EVERY
@EACH
def test_prune(pruner, model):
    model = MODELS[model]()
    x, y = data(model)
    mask = None
    for sparsity in (0.3, 0.55):
        before = mask
        mask = prune(model, sparsity, pruner, x=x, y=y, loss=loss)
        assert mask.kept == mask.size - round(sparsity * mask.size)
        assert get_mask(model) == mask
        assert before is None or mask.is_subset_of(before)

"""Dynamic sparse training in `fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery import prune
from tf_lottery.callbacks import DynamicSparseTraining
from tf_lottery.callbacks import GradualPruning
from tf_lottery.layers import get_mask
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.schedules import ConstantSparsity


def rewire(data, method="rigl", **options):
    x, y = data
    options = {"every": 3, "end_step": 12, "x": x, "y": y, **options}
    return DynamicSparseTraining(method, **options)


@pytest.mark.parametrize("method", ["set", "rigl"])
def test_masks_move_at_equal_counts(make, fit, data, method):
    model = make()
    prune(model, 0.5, "random", scope="erk")
    before, seen = get_mask(model), []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(get_mask(self.model))

    callback = rewire(data, method, fraction=0.6)
    fit(model, [callback, Watch()], epochs=3)
    assert callback.rewired == [3, 6, 9]
    assert {tuple(m.kept_by_path.values()) for m in seen} == {
        tuple(before.kept_by_path.values())
    }
    assert len(seen) == 18
    changes = [
        step for step, (a, b) in enumerate(zip(seen, seen[1:]), 1) if a != b
    ]
    assert changes == [3, 6, 9] and seen[2] == before
    for path, keep in get_mask(model).items():
        value = next(v for v in model.variables if v.path == path)
        assert not np.asarray(value)[~keep].any()


def test_the_same_seed_gives_the_same_network(make, fit, data):
    ends = []
    for seed in (0, 0, 1):
        model = make()
        prune(model, 0.5, "random", seed=4)
        fit(model, [rewire(data, "set", seed=seed)], epochs=2)
        ends.append(get_mask(model))
    assert ends[0] == ends[1] != ends[2]


@pytest.mark.parametrize(
    "take",
    [
        lambda a, b: [a, b],
        lambda a, b: {"one": a, "two": b},
        lambda a, b: [tf.constant(a), tf.constant(b)],
    ],
    ids=["list", "named", "tensors"],
)
def test_rigl_draws_from_all_that_a_model_takes(take):
    ends = []
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 200, 4)).astype("float32")
    y = a[:, :1]
    for x in (np.concatenate([a, b], axis=1), take(a, b)):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8,))
        given = inputs
        if not isinstance(x, np.ndarray):
            inputs = [keras.Input((4,), name=n) for n in ("one", "two")]
            given = keras.layers.Concatenate()(inputs)
        outputs = keras.layers.Dense(1)(keras.layers.Dense(6)(given))
        model = mask_model(keras.Model(inputs, outputs))
        model.compile("sgd", "mse", jit_compile=False)
        prune(model, 0.5, "random")
        callback = rewire((x, y), fraction=1.0)
        model.fit(
            x, y, batch_size=20, shuffle=False, verbose=0, callbacks=[callback]
        )
        assert callback.rewired == [3, 6, 9]
        ends.append(list(get_mask(model).values()))
    assert all(map(np.array_equal, *ends))


def test_what_is_refused(make, fit, data):
    x, y = data
    for options, name in (
        (dict(method="x"), "method"),
        (dict(every=0), "every"),
        (dict(every=12), "every"),
        (dict(end_step=1.5), "end_step"),
        (dict(fraction=0), "fraction"),
        (dict(x=None), "x"),
        (dict(y=None), "y"),
    ):
        with pytest.raises(ValueError, match=f"^`{name}` must be"):
            rewire(data, **options)
    rewire(data, "set", x=None, y=None)
    plain = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="`model` must have masks"):
        plain.compile("sgd", "mse")
        plain.fit(x, y, callbacks=[rewire(data)], verbose=0)
    model = make()
    set_mask(model, get_mask(model))
    model.compile("sgd", model.loss, steps_per_execution=2, jit_compile=False)
    with pytest.raises(ValueError, match="`steps_per_execution` must divide"):
        model.fit(x, y, callbacks=[rewire(data)], verbose=0)


def test_a_dense_mask_is_refused_but_where_it_is_pruned_on_the_way(
    make, fit, data
):
    model = make()
    with pytest.raises(ValueError, match="`model` must be pruned: .* 0. Call"):
        fit(model, [rewire(data)])
    gradual = GradualPruning(ConstantSparsity(0.5, frequency=2))
    callback = rewire(data)
    fit(model, [gradual, callback])
    assert callback.rewired == [3]

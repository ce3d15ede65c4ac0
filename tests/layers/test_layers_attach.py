"""Masks on whole models, and off again."""

import re

import keras
import numpy as np
import pytest

from tf_lottery.layers import MaskedKernel
from tf_lottery.layers import apply_masks
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.layers import strip_masks
from tf_lottery.layers import walk

layers = keras.layers
pytestmark = pytest.mark.any_backend


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            layers.Conv2D(3, 3, name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, name="drop"),
            layers.Flatten(),
            layers.Dense(4, name="out"),
        ],
        name="net",
    )


def functional():
    x = keras.Input((4,))
    y = layers.Dense(4, activation="tanh", name="one")(x)
    return keras.Model(x, layers.Dense(2, name="two")(layers.add([x, y])))


def shared():
    a, b = keras.Input((4,)), keras.Input((4,))
    dense = layers.Dense(3, name="both")
    return keras.Model([a, b], layers.subtract([dense(a), dense(b)]))


def several_outputs():
    x = keras.Input((4,))
    y = layers.Dense(3, activation="tanh", name="body")(x)
    return keras.Model(
        x, {n: layers.Dense(2, name=n)(y) for n in ("left", "right")}
    )


def nested():
    def part(name):
        z = keras.Input((4,))
        y = layers.Dense(4, activation="tanh", name="inner")(z)
        y = layers.BatchNormalization(name="bn")(y)
        return keras.Model(z, y, name=name)

    x = keras.Input((4,))
    tail = keras.Sequential(
        [keras.Input((4,)), layers.Dense(2, name="inner")], name="tail"
    )
    return keras.Model(x, tail(part("right")(part("left")(x))))


def nested_twice_shared():
    z = keras.Input((4,))
    part = keras.Model(z, layers.Dense(4, name="inner")(z), name="part")
    x = keras.Input((4,))
    return keras.Model(x, part(layers.ReLU()(part(x))))


MODELS = {
    "sequential": (
        sequential,
        {"net/conv/kernel": (3, 3, 2, 3), "net/out/kernel": (108, 4)},
    ),
    "functional": (functional, {"one/kernel": (4, 4), "two/kernel": (4, 2)}),
    "shared": (shared, {"both/kernel": (4, 3)}),
    "several_outputs": (
        several_outputs,
        {
            "body/kernel": (4, 3),
            "left/kernel": (3, 2),
            "right/kernel": (3, 2),
        },
    ),
    "nested": (
        nested,
        {
            "inner/kernel": (4, 4),
            "inner/kernel#2": (4, 4),
            "tail/inner/kernel": (4, 2),
        },
    ),
    "nested_twice_shared": (nested_twice_shared, {"inner/kernel": (4, 4)}),
}
EACH = pytest.mark.parametrize("name", MODELS)


def build(name):
    """A model whose every variable has a value of its own."""
    model = MODELS[name][0]()
    rng = np.random.default_rng(0)
    for variable in model.weights:
        variable.assign(rng.uniform(0.1, 1.0, variable.shape))
    return model


def run(model, **kwargs):
    rng = np.random.default_rng(1)
    x = [rng.normal(size=(5, *i.shape[1:])) for i in model.inputs]
    y = model(x if len(x) > 1 else x[0], **kwargs)
    return [np.asarray(v) for v in keras.tree.flatten(y)]


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def random_mask(model):
    rng = np.random.default_rng(2)
    return {k: rng.random(m.shape) < 0.5 for k, m in get_mask(model).items()}


@EACH
def test_mask_model(name):
    model = build(name)
    before, classes = get_state(model), [type(p) for p in walk(model)]
    masked = mask_model(model)
    mask = get_mask(masked)
    assert mask.shapes == MODELS[name][1]
    assert mask.kept == mask.size
    assert same(run(masked), run(model))
    assert masked.name == model.name
    found = get_state(masked)
    # Keras numbers seed generators per process.
    assert [re.sub(r"generator_\d+", "generator", k) for k in found] == [
        re.sub(r"generator_\d+", "generator", k) for k in before
    ]
    assert same([*found.values()], [*before.values()])
    # The source is left alone and shares nothing with its copy.
    set_mask(masked, {k: np.zeros(m.shape) for k, m in mask.items()})
    assert [type(p) for p in walk(model)] == classes
    assert not is_masked(model) and is_masked(masked)
    after = get_state(model)
    assert all(np.array_equal(after[k], before[k]) for k in before)


@EACH
def test_in_place(name):
    model, twin = build(name), build(name)
    variables = model.variables
    paths = [v.path for v in variables]
    mask_model(model, in_place=True)
    assert get_mask(model).shapes == MODELS[name][1]
    assert same(run(model), run(twin))
    assert [v.path for v in variables] == paths
    old = {id(v) for v in variables}
    new = [v.name for v in model.variables if id(v) not in old]
    assert new == ["kernel_mask"] * len(MODELS[name][1])
    mask = random_mask(model)
    set_mask(model, mask)
    assert strip_masks(model, in_place=True) is model
    set_state(twin, {
        path: np.where(mask.get(path, True), value, 0)
        for path, value in get_state(twin).items()
    })
    assert same(run(model), run(twin))
    assert [id(v) for v in model.variables] == [id(v) for v in variables]


@EACH
def test_strip_masks(name):
    masked = mask_model(build(name))
    mask = random_mask(masked)
    set_mask(masked, mask)
    stripped = strip_masks(masked)
    assert not any(isinstance(p, MaskedKernel) for p in walk(stripped))
    assert not any(
        type(p).__module__.startswith("tf_lottery") for p in walk(stripped)
    )
    assert same(run(stripped), run(masked))
    assert is_masked(masked)
    state = get_state(stripped)
    for path, keep in mask.items():
        assert not state[path][~keep].any()
        assert state[path][keep].all()
    again = mask_model(stripped)
    set_mask(again, mask)
    assert same(run(again), run(masked))


def test_only_kernels_are_masked():
    masked = mask_model(sequential())
    carriers = [p.name for p in walk(masked) if isinstance(p, MaskedKernel)]
    assert carriers == ["conv", "out"]
    assert type(masked.get_layer("norm")) is layers.BatchNormalization
    assert type(masked.get_layer("drop")) is layers.Dropout
    set_mask(masked, {k: np.zeros(m.shape) for k, m in
                      get_mask(masked).items()})
    assert np.asarray(masked.get_layer("norm").gamma).all()


def test_dropout_continues_where_the_source_was():
    model = build("sequential")
    run(model, training=True)
    masked = mask_model(model)
    assert same(run(masked, training=True), run(model, training=True))


def test_frozen_layers_stay_frozen():
    model = nested()
    model.get_layer("left").trainable = False
    model.get_layer("left").get_layer("bn").trainable = True
    model.get_layer("right").get_layer("bn").trainable = False
    model.get_layer("tail").get_layer("inner").bias.trainable = False
    expected = [v.path for v in model.trainable_variables]
    assert expected == [
        *("bn/gamma", "bn/beta"),
        *("inner/kernel", "inner/bias", "tail/inner/kernel"),
    ]

    def flags(part):
        return [part.trainable, *(p.trainable for p in walk(part))]

    masked = mask_model(model)
    stripped = strip_masks(masked)
    for copy in (masked, stripped):
        assert [v.path for v in copy.trainable_variables] == expected
        assert flags(copy) == flags(model)
    mask_model(model, in_place=True)
    assert [v.path for v in model.trainable_variables] == expected


def test_a_copy_is_not_compiled_and_needs_no_compile_config():
    def own_loss(y, outputs):
        return keras.ops.mean(keras.ops.abs(y - outputs))

    model = functional()
    model.compile("sgd", own_loss, metrics=[own_loss])
    masked = mask_model(model)
    assert not masked.compiled
    assert model.compiled
    masked.compile("sgd", own_loss)
    assert not strip_masks(masked).compiled
    assert masked.compiled


class TestExclude:
    def test_excluded_kernels_are_dense_and_leave_the_count(self):
        masked = mask_model(functional(), exclude="two/*")
        assert get_mask(masked).size == 16
        assert type(masked.get_layer("two")) is layers.Dense

    @pytest.mark.parametrize(
        "pattern", ["out/*", "net/out/kernel", "*/out/*", "out/kernel", "o*"]
    )
    def test_a_sequential_may_leave_its_own_name_out(self, pattern):
        masked = mask_model(sequential(), exclude=[pattern])
        assert list(get_mask(masked)) == ["net/conv/kernel"]

    def test_several_patterns(self):
        masked = mask_model(several_outputs(), exclude=["left/*", "right/*"])
        assert list(get_mask(masked)) == ["body/kernel"]

    def test_the_second_of_two_equal_paths(self):
        masked = mask_model(nested(), exclude="inner/kernel#2")
        assert list(get_mask(masked)) == ["inner/kernel", "tail/inner/kernel"]

    @pytest.mark.parametrize("pattern", ["three/*", "three", "norm/*", "wo/*"])
    def test_a_pattern_must_match(self, pattern):
        with pytest.raises(ValueError, match="`exclude`.*one/kernel") as error:
            mask_model(functional(), exclude=pattern)
        assert repr(pattern) in str(error.value)

    def test_something_must_be_left(self):
        with pytest.raises(ValueError, match="with none, or none left"):
            mask_model(functional(), exclude="*")


class TestSetMask:
    def test_zeroes_raw_weights_even_if_not_finite(self):
        model = mask_model(functional())
        kernel, _ = masked_kernels(model)["two/kernel"]
        value = np.full((4, 2), -1.0)
        value[0] = np.nan, np.inf
        kernel.assign(value)
        keep = np.ones((4, 2), bool)
        keep[0] = False
        set_mask(model, {"one/kernel": np.ones((4, 4)), "two/kernel": keep})
        found = np.asarray(kernel)
        assert not found[0].any() and (found[1:] == -1).all()
        assert np.isfinite(run(model)[0]).all()

    def test_apply_masks_repairs_raw_weights(self):
        model = mask_model(functional())
        mask = random_mask(model)
        set_mask(model, mask)
        kernel, _ = masked_kernels(model)["two/kernel"]
        before = run(model)
        kernel.assign(np.where(mask["two/kernel"], np.asarray(kernel), 7.0))
        assert same(run(model), before)
        stripped = strip_masks(model)
        assert same(run(stripped), before)
        kernel.assign(np.where(mask["two/kernel"], np.asarray(kernel), 7.0))
        apply_masks(model)
        assert not np.asarray(kernel)[~mask["two/kernel"]].any()

    def test_accepts_a_twin_that_was_numbered_anew(self):
        def automatic():
            x = keras.Input((4,))
            return mask_model(keras.Model(x, layers.Dense(2)(x)))

        one, two = automatic(), automatic()
        mask = random_mask(one)
        assert mask.keys() != get_mask(two).keys()
        set_mask(two, mask)
        (found,), (expected,) = get_mask(two).values(), mask.values()
        assert np.array_equal(found, expected)

    @pytest.mark.parametrize(
        "mask, text",
        [
            ({"one/kernel": np.ones((4, 4))}, "missing: two/kernel"),
            (
                {
                    "one/kernel": np.ones((4, 4)),
                    "two/kernel": np.ones((4, 2)),
                    "six/kernel": np.ones((1, 1)),
                },
                "unknown: six/kernel",
            ),
            (
                {"one/kernel": np.ones((4, 4)), "two/kernel": np.ones((2, 4))},
                r"two/kernel \(2, 4\) instead of \(4, 2\)",
            ),
        ],
    )
    def test_refuses_the_mask_of_another_model(self, mask, text):
        model = mask_model(functional())
        before = get_mask(model)
        with pytest.raises(ValueError, match="`mask` must.*" + text) as error:
            set_mask(model, mask)
        assert "\n" not in str(error.value)
        assert get_mask(model) == before

    def test_get_mask_is_a_copy(self):
        model = mask_model(functional())
        mask = get_mask(model)
        set_mask(model, random_mask(model))
        assert mask.kept == mask.size


def test_in_place_after_predict_was_traced():
    model = sequential()
    model.compile("adam", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 8, 8, 2)), rng.normal(size=(6, 4))
    dense = model.predict(x, verbose=0)
    model.fit(x, y, verbose=0)
    mask_model(model, in_place=True)
    mask = random_mask(model)
    set_mask(model, mask)
    # The raw kernels are not 0 by themselves here: only the mask can do it.
    for path, (raw, _) in masked_kernels(model).items():
        raw.assign(np.where(mask[path], np.asarray(raw), 5.0))
    masked = model.predict(x, verbose=0)
    np.testing.assert_allclose(masked, model(x), rtol=1e-4, atol=1e-5)
    assert not np.allclose(masked, dense)
    apply_masks(model)
    model.fit(x, y, verbose=0)
    for path, (raw, _) in masked_kernels(model).items():
        assert not np.asarray(raw)[~mask[path]].any()
        assert np.asarray(raw)[mask[path]].all()


def test_in_place_inner_models_forget_their_traces_too():
    model = nested()
    inner = model.get_layer("left")
    x = np.ones((2, 4), "float32")
    inner.predict(x, verbose=0)
    mask_model(model, in_place=True)
    set_mask(model, {k: np.zeros(m.shape) for k, m in get_mask(model).items()})
    raw, _ = masked_kernels(model)["inner/kernel"]
    raw.assign(np.ones((4, 4)))
    assert not inner.predict(x, verbose=0).any()

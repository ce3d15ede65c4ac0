"""Names, seeds and initialisers: what makes a build reproducible."""

import hashlib
import random
import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.models import MODELS
from tf_lottery.models import build_model
from tf_lottery.models import check_init
from tf_lottery.models import check_model
from tf_lottery.models import register
from tf_lottery.models.initial import redraw_kernels

SHAPE = (8, 8, 1)


def values(model):
    return {v.path: v.numpy() for v in model.weights}


def same(first, second):
    return first.keys() == second.keys() and all(
        np.array_equal(first[path], second[path]) for path in first
    )


def build(seed=3, **kwargs):
    return values(build_model("lenet_300_100", SHAPE, 10, seed=seed, **kwargs))


def test_registry_holds_the_published_models():
    assert set(MODELS) >= {
        "lenet_300_100",
        "lenet_5",
        "conv_2",
        "conv_4",
        "conv_6",
        "conv_2_dropout",
        "conv_4_dropout",
        "conv_6_dropout",
        "resnet_18",
        "resnet_20",
        "resnet_56",
        "vgg_16",
        "vgg_19",
    }


def test_same_seed_same_weights_whatever_was_built_before():
    first = build()
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(4)])
    build_model("conv_2", SHAPE, 10, seed=9)
    random.random()
    tf.random.normal([2])
    assert same(first, build())


def test_other_seed_gives_other_kernels():
    first, second = build(seed=3), build(seed=4)
    for path in first:
        if path.endswith("kernel"):
            assert not np.array_equal(first[path], second[path])


def test_weights_are_the_same_in_another_process():
    code = (
        "import hashlib;"
        "from tf_lottery.models import build_model;"
        f"m = build_model('lenet_300_100', {SHAPE}, 10, seed=3);"
        "print(hashlib.sha256(m.weights[0].numpy().tobytes()).hexdigest())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    here = hashlib.sha256(build()["dense_1/kernel"].tobytes()).hexdigest()
    assert done.stdout.strip() == here


def draws():
    return (
        random.random(),
        np.random.random(),
        float(tf.random.normal([])),
        float(keras.random.normal(())),
    )


def test_callers_random_state_is_untouched():
    keras.utils.set_random_seed(7)
    expected = [draws(), draws()]
    keras.utils.set_random_seed(7)
    first = draws()
    build(seed=11)
    assert [first, draws()] == expected
    assert keras.src.utils.rng_utils.get_random_seed() == 7


def test_callers_layer_names_go_on_counting():
    number = int(keras.layers.Dense(1).name.partition("_")[2] or 0)
    build()
    assert keras.layers.Dense(1).name == f"dense_{number + 1}"


def test_callers_state_is_restored_after_an_error():
    keras.utils.set_random_seed(7)
    expected = random.random()
    keras.utils.set_random_seed(7)
    with pytest.raises(ValueError):
        build_model("lenet_5", SHAPE, 10, seed=1)
    assert random.random() == expected


def test_init_replaces_kernels_with_seeds_of_their_own():
    own = build()
    he = build(init="random_uniform")
    for path, value in he.items():
        if path.endswith("kernel"):
            assert not np.array_equal(value, own[path])
            # Keras' random_uniform is uniform on [-0.05, 0.05].
            assert 0.045 < np.abs(value).max() <= 0.05
        else:
            assert not value.any()
    assert same(he, build(init="random_uniform"))
    other = build(seed=4, init="random_uniform")
    assert not np.array_equal(he["dense_1/kernel"], other["dense_1/kernel"])


def test_init_gives_kernels_of_equal_shape_different_values():
    weights = values(
        build_model("conv_2", (2, 2, 64), 10, seed=0, init="he_normal")
    )
    first, second = weights["conv_1/kernel"], weights["conv_2/kernel"]
    assert first.shape == second.shape
    assert not np.array_equal(first, second)


def test_init_gives_nested_models_of_equal_names_different_values():
    def tower(name):
        x = keras.Input((4,))
        return keras.Model(x, keras.layers.Dense(3, name="fc")(x), name=name)

    x = keras.Input((4,))
    y = keras.layers.Add()([tower("left")(x), tower("right")(x)])
    model = keras.Model(x, y)
    redraw_kernels(model, "he_normal", seed=0)
    first, second = (v for v in model.weights if v.name == "kernel")
    assert first.path == second.path
    assert not np.array_equal(first.numpy(), second.numpy())


def test_init_leaves_vectors_named_kernel_alone():
    class Gate(keras.layers.Layer):
        def build(self, input_shape):
            self.gate = self.add_weight(
                shape=(2,), initializer="ones", name="kernel"
            )

        def call(self, x):
            return x * self.gate

    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2)(Gate()(inputs)))
    redraw_kernels(model, "random_uniform", seed=0)
    gate, kernel = model.weights[:2]
    assert gate.numpy().tolist() == [1.0, 1.0]
    # Keras' random_uniform ends at 0.05.
    assert np.abs(kernel.numpy()).max() <= 0.05


@pytest.mark.parametrize("init", ["he_norml", "zeros", "HeNormal"])
def test_unknown_init_lists_the_names(init):
    pattern = (
        r"^`init` must be None or one of .*he_normal.*\. "
        rf"Received: init='{init}'\. "
    )
    with pytest.raises(ValueError, match=pattern):
        check_init(init)
    with pytest.raises(ValueError, match=pattern):
        build(init=init)


def test_unknown_init_has_a_suggestion():
    with pytest.raises(ValueError, match="Did you mean 'he_normal'"):
        check_init("he_norml")


def test_unknown_model_lists_names_and_suggests_one():
    pattern = (
        r"^`model` must be one of conv_2, .*lenet_300_100.*\. Received: "
        r"model='lenet_300_10'\. Did you mean 'lenet_300_100'\? "
    )
    with pytest.raises(ValueError, match=pattern):
        check_model("lenet_300_10")
    with pytest.raises(ValueError, match=pattern):
        build_model("lenet_300_10", SHAPE, 10, seed=0)


def test_model_name_must_be_a_string():
    with pytest.raises(TypeError, match=r"`model`.*Received: model=3\."):
        check_model(3)


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_seed_out_of_range(seed):
    with pytest.raises(ValueError, match=rf"`seed`.*Received: seed={seed}\."):
        build(seed=seed)


@pytest.mark.parametrize("seed", [None, 1.0, True])
def test_seed_must_be_an_integer(seed):
    with pytest.raises(TypeError, match=rf"`seed`.*Received: seed={seed}\."):
        build(seed=seed)


@pytest.mark.parametrize("name", ["lenet_300_100", "a:b"])
def test_a_name_is_registered_once_and_without_colon(name):
    with pytest.raises(ValueError, match=re.escape(f"Received: name={name!r}")):
        register(name)(lambda input_shape, num_classes: None)
    assert "a:b" not in MODELS


def test_an_outer_name_scope_does_not_enter_the_paths():
    with keras.name_scope("outer"):
        model = build_model("lenet_300_100", (8, 8, 1), 10, seed=0)
        assert keras.layers.Dense(1).name.startswith("dense")
    assert model.trainable_variables[0].path == "dense_1/kernel"


def test_signed_kaiming_constant_is_one_magnitude_with_random_signs():
    from tf_lottery.models.initial import SignedKaimingConstant

    draw = SignedKaimingConstant(seed=3)
    values = np.asarray(draw((3, 3, 8, 50)))
    assert set(np.unique(values)) == {
        np.float32(-((2 / 72) ** 0.5)), np.float32((2 / 72) ** 0.5),
    }
    assert abs((values > 0).mean() - 0.5) < 0.04
    again = SignedKaimingConstant.from_config(draw.get_config())
    assert np.array_equal(np.asarray(again((3, 3, 8, 50))), values)
    other = SignedKaimingConstant(seed=4)
    assert not np.array_equal(np.asarray(other((3, 3, 8, 50))), values)

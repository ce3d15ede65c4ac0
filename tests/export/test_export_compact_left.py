"""Compaction around what it does not know: left, with a note."""

import functools

import keras
import numpy as np
import pytest

from tf_lottery.export.compact import compact

L = keras.layers
RNG = np.random.default_rng(0)


@pytest.fixture
def ends(fill, kill):
    """`layer` between a Dense layer with a constant unit and an output."""
    return functools.partial(_ends, fill, kill)


def _ends(fill, kill, layer, shape=(3,)):
    x = keras.Input(shape)
    y = layer(L.Dense(4, activation="relu", name="a")(x))
    model = fill(keras.Model(x, L.Dense(2, name="b")(y)))
    kill(model.get_layer("a"), 1, 1.0)
    return model


class Scale(L.Layer):
    def __init__(self, size):
        super().__init__(name="own")
        self.size = size

    def call(self, x):
        return x * self.size

    def get_config(self):
        return {}


@pytest.mark.parametrize("layer, shape", [
    # A global, which would be lost in a config.
    (L.Lambda(lambda x: keras.ops.square(x), name="s"), (3,)),
    (L.GRU(3, name="s"), (5, 3)),
    (L.Conv1D(3, 2, padding="causal", name="s"), (5, 3)),
    (lambda x: L.MultiHeadAttention(2, 3, name="s")(x, x), (5, 3)),
    (lambda x: L.BatchNormalization(name="s")(x, training=True), (3,)),
    (lambda x: L.Concatenate(axis=1, name="s")([x, x]), (5, 3)),
    (lambda x: L.Add(name="s")([x, x[:, :1]]), (3,)),
])
def test_other_layers_are_copied_with_a_note(layer, shape, agree, ends):
    model = ends(layer, shape)
    done = compact(model)
    assert done.removed == {} and done.model is not model
    assert any("constant channels before it are left" in note
               for note in done.notes)
    agree(model, done)
    mine = {id(v) for v in model.variables}
    assert not mine & {id(v) for v in done.model.variables}


@pytest.mark.parametrize("layer", [
    L.Rescaling(2.0, offset=1.0), keras.ops.relu, L.Identity(), L.ELU(),
])
def test_constants_pass_through_what_acts_on_single_values(layer, agree, ends):
    model = ends(layer)
    done = compact(model)
    assert done.removed == {"a": (4, 3)} and done.notes == ()
    agree(model, done)


@pytest.mark.parametrize("activation", [L.LeakyReLU(), L.ReLU(6.0)])
@pytest.mark.parametrize("kind", [
    functools.partial(L.Dense, 4, name="s"),
    functools.partial(L.Activation, name="s"),
])
def test_layers_as_activations(kind, activation, agree, ends, kill):
    model = ends(kind(activation=activation))
    if kind.func is L.Dense:
        kill(model.get_layer("s"), 2, -1.0)
    done = compact(model)
    assert done.removed["a"] == (4, 3) and done.notes == ()
    assert done.removed.get("s", (4, 3)) == (4, 3)
    agree(model, done)


@pytest.mark.parametrize("activation, why", [
    (L.Softmax(), None),
    (L.PReLU(), "s: 1 constant channels before it are left, since it has an "
     "activation with weights"),
    (functools.partial(keras.activations.relu, negative_slope=0.1),
     "could not be rebuilt, TypeError: Cannot serialize"),
])
def test_other_activations(activation, why, agree, ends):
    if isinstance(activation, L.Layer):
        activation.build((None, 4))
    model = ends(L.Dense(4, activation=activation, name="s"))
    done = compact(model)
    assert done.removed == ({} if why else {"a": (4, 3)})
    assert [why in note for note in done.notes] == [True] * bool(why)
    agree(model, done)


def test_a_model_that_cannot_be_rebuilt_is_left_whole(ends):
    model = ends(Scale(2))
    done = compact(model)
    assert done.model is model and done.removed == {}
    (note,) = done.notes
    assert "could not be rebuilt, TypeError" in note


def test_a_variable_in_the_graph_leaves_the_model_whole(fill):
    x = keras.Input((3,))
    dense = L.Dense(4, activation="relu", name="a")
    y = dense(x)
    model = fill(keras.Model(x, keras.ops.add(y, dense.bias)))
    done = compact(model)
    assert done.model is model
    assert done.notes[0].endswith(" reads a/bias itself")


def test_several_inputs_of_a_nested_model(agree, fill, kill):
    p, q = keras.Input((3,)), keras.Input((3,))
    inner = keras.Model([p, q], L.Dense(2, name="c")(L.Add()([p, q])))
    x = keras.Input((4,))
    y = L.Dense(3, activation="relu", name="a")(x)
    z = L.Dense(3, activation="relu", name="b")(x)
    model = fill(keras.Model(x, inner([y, z])))
    kill(model.get_layer("a"), 1, 1.0)
    kill(model.get_layer("b"), 1, 2.0)
    done = compact(model)
    assert done.removed == {"a": (3, 2), "b": (3, 2)}
    agree(model, done)


def test_a_nested_model_that_casts_its_input_is_left(agree, fill):
    n = keras.Input((3,), dtype="int32")
    inner = keras.Model(n, L.Rescaling(0.5)(n), name="inner")
    x = keras.Input((3,))
    model = fill(keras.Model(x, L.Dense(2)(inner(x))))
    # The casts cut off what is behind the point.
    agree(model, compact(model), [np.float32([[1.9, -0.7, 2.2]])])


def test_a_shared_dropout_serves_layers_of_two_widths(agree, fill, kill):
    x = keras.Input((4,))
    shared = L.Dropout(0.5)
    y = shared(L.Dense(3, activation="relu", name="a")(x))
    y = shared(L.Dense(3, activation="relu", name="b")(y))
    model = fill(keras.Model(x, L.Dense(1)(y)))
    kill(model.get_layer("a"), 1, 1.0)
    done = compact(model)
    assert done.removed == {"a": (3, 2)}
    agree(model, done)


def test_open_sizes_and_adapted_statistics(agree, kill):
    first = L.Normalization()
    first.adapt(RNG.normal(3, 2, size=(5, 4, 4, 2)))
    x = keras.Input((None, None, 2))
    y = L.Conv2D(5, 3, activation="relu", name="a")(first(x))
    y = L.GlobalAveragePooling2D(keepdims=True)(L.BatchNormalization()(y))
    y = L.Reshape((-1, 5))(y)
    model = keras.Model(x, L.Dense(1)(y))
    kill(model.get_layer("a"), 1, 1.0)
    done = compact(model)
    assert done.removed == {"a": (5, 4)}
    agree(model, done, [RNG.normal(size=(2, 7, 6, 2)).astype("float32")])


def test_layers_and_arguments_may_have_any_name(agree, fill):
    x = keras.Input((6,), name="x")
    y = L.Dense(4, activation="relu", name="take")(inputs=x)
    model = fill(keras.Model(x, L.Dense(2, name="b")(inputs=y)))
    kernel = np.array(model.get_layer("take").kernel)
    kernel[2], kernel[:, 1] = 0, 0
    model.get_layer("take").kernel.assign(kernel)
    done = compact(model)
    assert done.removed == {"take": (4, 3)}
    assert done.notes == (
        "x: 1 channels are never read; the model's inputs stay",
    )
    agree(model, done)

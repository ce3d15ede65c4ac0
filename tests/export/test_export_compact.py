"""Compaction: hand-computed networks, layer by layer, and what is left."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery import mask_model, strip_masks
from tf_lottery.export.compact import compact
from tf_lottery.models import build_model

L = keras.layers
RNG = np.random.default_rng(0)


def test_units_by_hand(agree):
    x = keras.Input((2,), name="x")
    y = L.Dense(4, activation="relu", name="a")(x)
    model = keras.Model(x, L.Dense(2, name="b")(y))
    model.set_weights([
        # Unit 1 is relu(3) = 3, unit 2 relu(-1) = 0, nobody reads unit 3.
        np.array([[1, 0, 0, 5], [2, 0, 0, 6]]), np.array([1, 3, -1, 2]),
        np.array([[1, 2], [10, 20], [7, 7], [0, 0]]), np.array([0.5, 0.25]),
    ])
    before = model.get_weights()
    done = compact(model)
    assert done.removed == {"a": (4, 1)}
    assert done.parameters == (22, 7)
    assert done.notes == ()
    kernel, bias, kernel_2, bias_2 = done.model.get_weights()
    assert kernel.tolist() == [[1], [2]] and bias.tolist() == [1]
    assert kernel_2.tolist() == [[1, 2]]
    assert bias_2.tolist() == [30.5, 60.25]
    assert all(map(np.array_equal, before, model.get_weights()))
    agree(model, done)


def test_a_chain_dies_to_its_end_and_each_layer_keeps_one_unit(agree, fill):
    model = keras.Sequential([
        keras.Input((3,)),
        L.Dense(5, activation="tanh", name="a"),
        L.Dense(4, activation="relu", name="b"),
        L.Dense(2, name="c"),
    ])
    fill(model)
    model.get_layer("b").kernel.assign(np.zeros((5, 4)))
    done = compact(model)
    assert done.removed["a"] == (5, 1) and done.removed["b"] == (4, 1)
    agree(model, done)


def test_what_only_a_cut_off_layer_reads_goes(agree, fill):
    x = keras.Input((3,))
    layers = [
        L.Dense(n, activation=activation, name=name)
        for n, activation, name in [
            (5, "tanh", "a"), (4, "relu", "b"), (3, "exponential", "c"),
            (2, None, "d"),
        ]
    ]
    y = x
    for layer in layers:
        y = layer(y)
    z = L.Dense(3, activation="tanh", name="z")(layers[0].output)
    model = fill(keras.Model(x, L.Add()([y, L.Dense(2, name="e")(z)])))
    model.get_layer("d").kernel.assign(np.zeros((3, 2)))
    model.get_layer("z").kernel.assign(
        np.asarray(model.get_layer("z").kernel) * [[1], [0], [0], [0], [0]]
    )
    # About -5 * (10 + 10 + 10 + 10) + 200 = 0; what is left of it, 150 or
    # more, has no exponential in float32.
    _, b, c, _ = layers
    b.set_weights([np.asarray(b.kernel) / 100, np.full(4, 10.0)])
    c.set_weights([np.full((4, 3), -5.0), np.full(3, 200.0)])
    done = compact(model)
    assert done.removed == {"a": (5, 1), "b": (4, 1), "c": (3, 1)}
    assert compact(done.model).removed == {}
    agree(model, done)


def test_a_bias_is_created_only_where_a_constant_needs_it(agree, fill, kill):
    x = keras.Input((3,))
    y = L.Dense(3, activation="sigmoid", name="a")(x)
    model = fill(keras.Model(x, L.Dense(2, use_bias=False, name="b")(y)))
    kill(model.get_layer("a"), 0, bias=-1)
    done = compact(model)
    assert done.model.get_layer("b").use_bias
    agree(model, done)
    x = keras.Input((3,))
    y = L.Dense(3, activation="relu", name="a")(x)
    model = fill(keras.Model(x, L.Dense(2, use_bias=False, name="b")(y)))
    kill(model.get_layer("a"), 0, bias=-1)
    done = compact(model)
    assert done.removed["a"] == (3, 2)
    assert not done.model.get_layer("b").use_bias


def test_lenet_loses_units(agree, fill):
    model = fill(build_model("lenet_300_100", (28, 28, 1), 10, seed=0), 0.99)
    first = np.asarray(model.get_layer("dense_1").kernel)
    second = np.asarray(model.get_layer("dense_2").kernel)
    last = np.asarray(model.get_layer("output").kernel)
    # Every bias is drawn: what varies and is read, found by reachability.
    one = first.any(0)
    two = (one @ (second != 0) > 0) & last.any(1)
    one &= (second[:, two] != 0).any(1)
    done = compact(model)
    a, b = one.sum(), two.sum()
    assert done.removed == {"dense_1": (300, a), "dense_2": (100, b)}
    # Features stay, read or not: the first kernel has all its rows.
    assert done.parameters == (266610, 785 * a + (a + 1) * b + 10 * b + 10)
    agree(model, done)
    assert done.model.input_shape == (None, 28, 28, 1)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("bias", [2.0, -2.0])
def test_constants_before_a_convolution(
    padding, size, bias, agree, fill, kill
):
    x = keras.Input((5, 5, 2))
    y = L.Conv2D(3, 3, activation="relu", name="a")(x)
    y = L.Conv2D(2, size, padding=padding, strides=2, name="b")(y)
    model = fill(keras.Model(x, y))
    kill(model.get_layer("a"), 1, bias)
    done = compact(model)
    if padding == "same" and size == 3 and bias > 0:
        assert done.removed == {}
        assert done.notes == (
            "b: 1 constant channels before it are left, since it pads with "
            "zeros",
        )
    else:
        assert done.removed == {"a": (3, 2)} and done.notes == ()
    agree(model, done)


@pytest.mark.parametrize("bias", [0.0, 1.0])
def test_zero_padding_keeps_only_a_zero_constant(bias, agree, fill, kill):
    x = keras.Input((4, 4, 2))
    y = L.Conv2D(3, 1, name="a")(x)
    y = L.ZeroPadding2D(1, name="pad")(y)
    model = fill(keras.Model(x, L.Conv2D(2, 3, name="b")(y)))
    kill(model.get_layer("a"), 2, bias)
    done = compact(model)
    assert done.removed == ({} if bias else {"a": (3, 2)})
    assert done.notes == ((
        "pad: 1 constant channels before it are left, since it puts zeros "
        "beside them",
    ) if bias else ())
    agree(model, done)


def test_normalisation_pooling_and_flattening(agree, fill, kill):
    x = keras.Input((8, 8, 3))
    y = L.Conv2D(5, 3, use_bias=False, name="a")(x)
    y = L.BatchNormalization(name="n")(y)
    y = L.Activation("gelu")(y)
    y = L.MaxPooling2D(2)(y)
    y = L.DepthwiseConv2D(2, activation="tanh", name="d")(y)
    y = L.AveragePooling2D(2, padding="same")(y)
    y = L.Dropout(0.5)(y)
    y = L.Flatten()(y)
    model = fill(keras.Model(x, L.Dense(3, name="b")(y)))
    kill(model.get_layer("a"), 1)
    gamma, *rest = model.get_layer("n").get_weights()
    gamma[2] = 0
    model.get_layer("n").set_weights([gamma, *rest])
    kill_depthwise = model.get_layer("d").get_weights()
    kill_depthwise[0][:, :, 3] = 0
    model.get_layer("d").set_weights(kill_depthwise)
    kernel, bias = model.get_layer("b").get_weights()
    kernel[4::5] = 0
    model.get_layer("b").set_weights([kernel, bias])
    done = compact(model)
    assert done.removed == {"a": (5, 1)}
    assert done.model.get_layer("n").gamma.shape == (1,)
    assert done.model.get_layer("d").kernel.shape == (2, 2, 1, 1)
    agree(model, done)


@pytest.fixture
def residual(fill):
    """A function that makes a small residual network."""
    return lambda: _residual(fill)


def _residual(fill):
    x = keras.Input((6, 6, 2))
    y = L.Conv2D(4, 3, padding="same", name="a")(x)
    z = L.Conv2D(4, 1, activation="relu", name="b")(y)
    y = L.ReLU()(L.Add(name="sum")([y, z]))
    y = L.GlobalAveragePooling2D()(y)
    return fill(keras.Model(x, L.Dense(2, name="c")(y)))


def test_a_channel_leaves_a_sum_only_where_all_summands_allow_it(
    agree, kill, residual
):
    model = residual()
    kill(model.get_layer("b"), 0, bias=3)
    done = compact(model)
    assert done.removed == {}
    # Constant in both: 0.5 + relu(3); unread behind the sum, but "b" reads
    # channel 1 of "a".
    kill(model.get_layer("a"), 0, bias=0.5)
    kernel, bias = model.get_layer("c").get_weights()
    kernel[1] = 0
    model.get_layer("c").set_weights([kernel, bias])
    done = compact(model)
    assert done.removed == {"a": (4, 3), "b": (4, 3)}
    agree(model, done)
    kernel, bias = model.get_layer("b").get_weights()
    kernel[:, :, 1] = 0
    model.get_layer("b").set_weights([kernel, bias])
    done = compact(model)
    assert done.removed == {"a": (4, 2), "b": (4, 2)}
    agree(model, done)


def test_concatenation_takes_slices(agree, fill, kill):
    x = keras.Input((4,))
    a = L.Dense(3, activation="relu", name="a")(x)
    b = L.Dense(2, activation="elu", name="b")(x)
    model = fill(keras.Model(x, L.Dense(2)(L.Concatenate()([a, b, a]))))
    kill(model.get_layer("a"), 1, 2.0)
    kill(model.get_layer("b"), 0, -1.0)
    done = compact(model)
    assert done.removed == {"a": (3, 2), "b": (2, 1)}
    agree(model, done)


def test_operators_and_several_ends(agree, fill, kill):
    x, z = keras.Input((4,), name="x"), keras.Input((3,), name="z")
    a = L.Dense(5, activation="relu", name="a")(x)
    b = L.Dense(5, name="b")(z)
    y = L.Dense(2, name="c")(L.ReLU()(a + b))
    model = fill(keras.Model({"x": x, "z": z}, {"y": y, "b": b}))
    kill(model.get_layer("a"), 1, 2.0)
    done = compact(model)
    # "b" is an output: the sum holds on to all of "a".
    assert done.removed == {}
    inputs = {"x": RNG.normal(size=(3, 4)), "z": RNG.normal(size=(3, 3))}
    assert sorted(done.model(inputs)) == ["b", "y"]
    agree(model, done, [inputs])


def test_nested_models_are_laid_open(agree, fill, kill):
    x = keras.Input((6,))
    inner = keras.Sequential(
        [keras.Input((4,)), L.Dense(4, activation="relu", name="a")],
        name="inner",
    )
    y = L.Dense(4, activation="relu", name="a")(x)
    model = fill(keras.Model(x, L.Dense(2, name="out")(inner(y))))
    kill(inner.get_layer("a"), 3, 1.0)
    kill(model.get_layer("a"), 2, 1.0)
    done = compact(model)
    assert done.removed == {"a": (4, 3), "a_1": (4, 3)}
    agree(model, done)


def test_a_layer_called_twice_is_left_with_a_note(agree, fill, kill):
    x = keras.Input((4,))
    a = L.Dense(4, activation="relu", name="a")
    model = fill(keras.Model(x, L.Dense(2, name="b")(a(a(x)))))
    kill(a, 1, 1.0)
    model.get_layer("b").kernel.assign(
        np.asarray(model.get_layer("b").kernel) * [[1], [1], [0], [1]]
    )
    done = compact(model)
    assert done.removed == {}
    assert done.notes == (
        "a: 1 channels that nobody reads are left, since it is called more "
        "than once",
    )
    agree(model, done)


@pytest.mark.parametrize("layer, why", [
    (lambda: L.Softmax(name="s"), "is of an unknown kind"),
    (lambda: L.LayerNormalization(name="s"), "is of an unknown kind"),
    (lambda: L.Dense(4, name="s", activation="softmax"), None),
])
def test_what_mixes_channels_is_left(layer, why, agree, fill, kill):
    x = keras.Input((3,))
    y = layer()(L.Dense(4, activation="relu", name="a")(x))
    model = fill(keras.Model(x, L.Dense(2, name="b")(y)))
    kill(model.get_layer("a"), 1, 1.0)
    kernel, bias = model.get_layer("b").get_weights()
    kernel[2] = 0
    model.get_layer("b").set_weights([kernel, bias])
    done = compact(model)
    if why:
        assert done.removed == {}
        assert done.notes == (
            f"s: 1 constant channels before it are left, since it {why}",
            "s: 1 channels that nobody reads are left, since it "
            f"{why}",
        )
    else:
        assert done.removed == {"a": (4, 3)}
        assert done.notes == (
            "s: 1 channels that nobody reads are left, since it has "
            "activation softmax",
        )
    agree(model, done)


def test_grouped_and_separable_convolutions_are_left(agree, fill, kill):
    x = keras.Input((6, 6, 2))
    y = L.Conv2D(4, 3, activation="relu", name="a")(x)
    y = L.Conv2D(4, 3, groups=2, name="g")(y)
    y = L.SeparableConv2D(4, 2, name="s")(y)
    model = fill(keras.Model(x, L.Conv2D(2, 1, name="b")(y)))
    kill(model.get_layer("a"), 0, 1.0)
    done = compact(model)
    assert done.removed == {}
    assert done.notes == (
        "g: 1 constant channels before it are left, since it is grouped",
    )
    agree(model, done)


def test_channels_first_is_left(agree, fill):
    x = keras.Input((2, 5, 5))
    y = L.ZeroPadding2D(1, data_format="channels_first", name="p")(x)
    y = L.Flatten()(y)
    model = fill(keras.Model(x, L.Dense(2)(y)))
    done = compact(model)
    agree(model, done)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = L.Dense(2)

    def call(self, x):
        return self.dense(x)


def test_a_subclassed_model_is_left():
    model = Own()
    model(np.zeros((1, 3)))
    done = compact(model)
    assert done.model is model and done.removed == {}
    assert done.parameters == (8, 8)
    assert done.notes[0].endswith("is left as it is: Own is no functional "
                                  "model")


def test_errors():
    with pytest.raises(ValueError, match="`model` must be built"):
        compact(keras.Sequential([L.Dense(2)]))
    model = keras.Sequential([keras.Input((3,)), L.Dense(2)])
    masked = mask_model(model)
    with pytest.raises(ValueError, match="`model` must be without masks"):
        compact(masked)
    assert compact(strip_masks(masked)).removed == {}


def test_the_result_is_saved_and_converted(tmp_path, fill):
    model = fill(build_model("lenet_300_100", (8, 8, 1), 3, seed=0), 0.98)
    done = compact(model)
    assert set(done.removed) == {"dense_1", "dense_2"}
    x = RNG.normal(size=(1, 8, 8, 1)).astype("float32")
    y = np.asarray(model(x))
    done.model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(x), y, rtol=1e-5, atol=1e-5)
    done.model.export(tmp_path / "saved", verbose=False)
    saved = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(saved.serve(x), y, rtol=1e-5, atol=1e-5)
    lite = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved"))
    runtime = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = runtime.Interpreter(model_content=lite.convert())
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    out = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(out, y, rtol=1e-5, atol=1e-5)

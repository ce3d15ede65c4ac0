"""A user's own model by import path."""

import importlib
import re
import sys

import numpy as np
import pytest

from tf_lottery.models import build_model
from tf_lottery.models import check_model

SHAPE = (8, 8, 1)

MODULE = '''
import keras

INIT = keras.initializers.HeNormal()
NUMBER = 3


def fixed():
    return keras.Sequential([
        keras.Input((8, 8, 1)),
        keras.layers.Flatten(),
        keras.layers.Dense(4, kernel_initializer=INIT),
        keras.layers.Dense(10),
    ])


def sized(input_shape, num_classes, width=5):
    return keras.Sequential([
        keras.Input(input_shape),
        keras.layers.Flatten(),
        keras.layers.Dense(width),
        keras.layers.Dense(num_classes),
    ])


def defaults(input_shape=(28, 28, 1), num_classes=3):
    return sized(input_shape, num_classes)


def positional(shape, classes):
    return sized(shape, classes)


def other_defaults(width=6, depth=2):
    return sized((8, 8, 1), 10, width)


def three(input_shape, num_classes, width):
    return sized(input_shape, num_classes, width)


def unbuilt():
    return keras.Sequential([keras.layers.Dense(10)])


def nothing():
    return None


def ends(*last):
    model = fixed()
    y = model.outputs[0]
    for function in last:
        y = function(y)
    return keras.Model(model.inputs, y)


def softmax():
    model = fixed()
    model.add(keras.layers.Softmax())
    return model


def activated():
    model = fixed()
    model.layers[-1].activation = keras.activations.softmax
    return model


def by_layer():
    return ends(keras.layers.Dense(10, keras.layers.Softmax()))


def sigmoid():
    return ends(keras.activations.sigmoid)


def operation():
    return ends(keras.ops.softmax)


def function():
    return ends(keras.activations.softmax)


def cast():
    return ends(keras.layers.Softmax(), keras.layers.Activation("linear"))


def moved():
    return ends(
        keras.ops.softmax,
        keras.layers.Reshape((10, 1)),
        keras.layers.Flatten(),
    )


def nested():
    return ends(softmax_of(), keras.layers.Dropout(0.5))


def softmax_of():
    x = keras.Input((10,))
    return keras.Model(x, keras.ops.softmax(x))


def logits():
    return ends(keras.layers.Softmax(), keras.layers.Dense(10), keras.ops.relu)


def recurrent():
    return keras.Sequential([
        keras.Input((8, 8, 1)),
        keras.layers.Reshape((8, 8)),
        keras.layers.LSTM(4),
        keras.layers.Dense(10),
    ])


class Net(keras.Model):
    def __init__(self):
        super().__init__()
        self.out = keras.layers.Dense(10)

    def call(self, x):
        return self.out(keras.ops.reshape(x, (-1, 64)))


def subclassed():
    model = Net()
    model(keras.ops.zeros((1, 8, 8, 1)))
    return model


SHARED = sized((8, 8, 1), 10)


def shared():
    return SHARED
'''


@pytest.fixture(autouse=True)
def module(tmp_path, monkeypatch):
    folder = tmp_path / "lottery_user"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "nets.py").write_text(MODULE)
    (folder / "broken.py").write_text("raise OSError('two\\nlines')\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield
    assert sys.path == before
    for name in [n for n in sys.modules if n.startswith("lottery_user")]:
        del sys.modules[name]


def build(function, shape=SHAPE, classes=10, seed=0, **kwargs):
    return build_model(
        f"lottery_user.nets:{function}", shape, classes, seed=seed, **kwargs
    )


@pytest.mark.parametrize(
    "function", ["sized", "defaults", "positional"]
)
def test_a_function_of_two_arguments_gets_the_data(function):
    model = build(function, (6, 5, 2), 7)
    assert model.input_shape == (None, 6, 5, 2)
    assert model.output_shape == (None, 7)


@pytest.mark.parametrize(("function", "width"), [
    ("fixed", 4),
    ("other_defaults", 6),
])
def test_a_function_without_required_arguments_is_called_bare(function, width):
    assert build(function).layers[1].units == width


def test_paths_and_weights_depend_on_the_seed_alone():
    first, second = build("sized"), build("sized")
    assert [v.path for v in first.weights] == [
        "sequential/dense/kernel",
        "sequential/dense/bias",
        "sequential/dense_1/kernel",
        "sequential/dense_1/bias",
    ]
    assert [v.path for v in first.weights] == [v.path for v in second.weights]
    kernel = first.weights[0].numpy()
    np.testing.assert_array_equal(kernel, second.weights[0].numpy())
    assert not np.array_equal(kernel, build("sized", seed=1).weights[0])


def test_an_initialiser_of_the_module_draws_the_same_in_every_process():
    first = build("fixed").weights[0].numpy()
    # Importing anew stands for another process.
    for name in [n for n in sys.modules if n.startswith("lottery_user")]:
        del sys.modules[name]
    np.testing.assert_array_equal(first, build("fixed").weights[0].numpy())


def test_init_leaves_recurrent_kernels_alone():
    own = {v.path: v.numpy() for v in build("recurrent").weights}
    new = build("recurrent", init="he_normal")
    changed = {
        v.path
        for v in new.weights
        if not np.array_equal(own[v.path], v.numpy())
    }
    assert changed == {
        "sequential/lstm/lstm_cell/kernel",
        "sequential/dense/kernel",
    }


@pytest.mark.parametrize(
    ("name", "kind", "pattern"),
    [
        ("nets:", ValueError, "'package.module:function'"),
        ("a b:c", ValueError, "'package.module:function'"),
        (
            "no_such_module:f",
            ValueError,
            "Importing it failed: ModuleNotFoundError: No module named",
        ),
        (
            "lottery_user.broken:f",
            ValueError,
            "Importing it failed: OSError: two lines",
        ),
        ("lottery_user.nets:fixd", ValueError, "Did you mean 'fixed'"),
        ("lottery_user.nets:qqqq", ValueError, "Correct the name"),
        ("lottery_user.nets:NUMBER", TypeError, "callable.*an? int"),
    ],
)
def test_names_that_cannot_be_found(name, kind, pattern):
    with pytest.raises(kind, match=pattern) as caught:
        check_model(name)
    assert f"Received: model={name!r}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "kind", "pattern"),
    [
        ("three", TypeError, r"arguments are \(input_shape, num_classes"),
        ("nothing", TypeError, "returns a NoneType"),
        ("unbuilt", ValueError, "must return a built model"),
        ("subclassed", ValueError, "'net.*' of class Net is a subclassed"),
        *(
            (name, ValueError, "must give logits.*in a softmax or a sigmoid")
            for name in (
                "softmax", "activated", "by_layer", "sigmoid", "operation",
                "function", "cast", "moved", "nested",
            )
        ),
    ],
)
def test_models_that_cannot_be_used(function, kind, pattern):
    with pytest.raises(kind, match=pattern) as caught:
        build(function)
    received = f"Received: model='lottery_user.nets:{function}'"
    assert received in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_softmax_before_the_last_kernel_is_none_of_the_output():
    assert build("logits").output_shape == (None, 10)


@pytest.mark.parametrize(
    ("shape", "classes"), [((8, 9, 1), 10), ((8, 8), 10), ((8, 8, 1), 9)]
)
def test_a_model_that_does_not_fit_names_both_shapes(shape, classes):
    pattern = re.escape(
        f"`model` must map images of shape {shape} to {classes} logits. "
        "Received: model='lottery_user.nets:fixed', which maps (8, 8, 1) to "
        "(10,)."
    )
    with pytest.raises(ValueError, match=pattern):
        build("fixed", shape, classes)


def test_one_model_returned_twice_is_refused():
    build("shared")
    with pytest.raises(ValueError, match="which returned one model twice"):
        build("shared")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("import sys; sys.exit(0)", r"which raised SystemExit: 0\."),
        ("raise KeyError('boo')", r"which raised KeyError: 'boo'"),
        (
            "return net(keras.layers.Dense(10, name='a b'))",
            r"a layer 'a b'",
        ),
        (
            "return net(keras.layers.Dense(10), dtype='uint8')",
            r"images as floats in \[0, 1\]\. .* whose input is uint8\. Give",
        ),
        (
            "return net(keras.layers.Dense(10, trainable=False))",
            r"all of whose layers are frozen",
        ),
    ],
)
def test_functions_that_give_no_usable_model(
    tmp_path, monkeypatch, body, message
):
    (tmp_path / "unusable.py").write_text(
        "import keras\n"
        "def net(layer, **how):\n"
        "    x = keras.Input((4, 4, 1), **how)\n"
        "    return keras.Sequential([x, keras.layers.Flatten(), layer])\n"
        f"def function():\n    {body}\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "unusable", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match=r"^`model` must .*" + message):
        build_model("unusable:function", (4, 4, 1), 10, seed=0)

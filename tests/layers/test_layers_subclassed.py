"""Models and blocks that say nothing about how their layers are joined."""

import copy

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.layers import strip_masks
from tf_lottery.layers import walk

L = keras.layers
pytestmark = pytest.mark.any_backend
serializable = keras.saving.register_keras_serializable("tests")
X = np.random.default_rng(0).normal(size=(8, 4, 3)).astype("float32")
Y = np.ones((8, 2), "float32")


@serializable
class Net(keras.Model):
    """One layer, a model, a list, a dict, and a list in a dict."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed = L.Dense(3, name="embed")
        self.inner = keras.Sequential([keras.Input((4, 3)), L.LSTM(3)])
        self.stack = [L.Dense(3, activation="tanh", name="low"), L.Dense(3)]
        self.heads = {"a": L.Dense(2, name="a"), "b": [L.Dense(2, name="b")]}

    def call(self, x):
        x = self.inner(self.embed(x))
        for layer in self.stack:
            x = layer(x)
        return self.heads["a"](x) + self.heads["b"][0](x)


@serializable
class Unregistered(L.Layer):
    """Makes its layer in `__init__`, and is not registered as maskable."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = L.Dense(3, name="inner")

    def build(self, input_shape):
        self.inner.build(input_shape)

    def call(self, x):
        return self.inner(x)


@serializable
class Holding(L.Layer):
    """Its config holds its layer, as that of Keras' own wrappers does."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def build(self, input_shape):
        if not self.inner.built:
            self.inner.build(input_shape)

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "inner": inner}

    @classmethod
    def from_config(cls, config):
        inner = keras.saving.deserialize_keras_object(config.pop("inner"))
        return cls(inner, **config)


def subclassed():
    model = Net()
    model(X)
    return model


def functional(block=Unregistered):
    x = keras.Input((4, 3))
    y = L.Flatten()(block(name="block")(x))
    return keras.Model(x, L.Dense(2, name="last")(y))


def held():
    return functional(lambda name: Holding(L.Dense(3, name="in"), name=name))


EITHER = pytest.mark.parametrize("make", [subclassed, functional])


def pruned(model):
    rng = np.random.default_rng(2)
    mask = {k: rng.random(m.shape) < 0.5 for k, m in get_mask(model).items()}
    set_mask(model, mask)
    return mask


def check_pruned(model, mask):
    found = get_mask(model)
    assert found.shapes == {path: keep.shape for path, keep in mask.items()}
    for path, (raw, _) in masked_kernels(model).items():
        assert np.array_equal(found[path], mask[path])
        assert not np.asarray(raw)[~mask[path]].any()


def fit(model):
    model.compile(keras.optimizers.Adam(0.05), "mse")
    before = get_state(model)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    return before, get_state(model)


@EITHER
def test_trained_masked_in_place(make):
    model = make()
    expected = np.asarray(model(X))
    dense = [
        path
        for path, value in get_state(model).items()
        if path.rsplit("/", 1)[-1].endswith("kernel")
    ]
    assert mask_model(model, in_place=True) is model
    assert np.array_equal(model(X), expected)
    assert list(get_mask(model)) == dense
    mask = pruned(model)
    before, after = fit(model)
    check_pruned(model, mask)
    for path, keep in mask.items():
        assert (before[path] != after[path])[keep].any()


def test_a_subclassed_model_is_changed_itself_by_default():
    model = subclassed()
    assert mask_model(model) is model
    assert len(get_mask(model)) == 7
    assert strip_masks(model) is model
    assert not is_masked(model)
    for function in (mask_model, lambda m, **k: strip_masks(
        mask_model(m), **k
    )):
        with pytest.raises(ValueError, match="class Net is a subclassed mod"):
            function(model, in_place=False)


def test_a_functional_model_is_copied_block_and_all():
    model = functional()
    twin = mask_model(model)
    assert twin is not model and not is_masked(model)
    assert list(get_mask(twin)) == ["block/inner/kernel", "last/kernel"]
    mask = pruned(twin)
    stripped = strip_masks(twin)
    check_pruned(twin, mask)
    assert [type(p) for p in walk(stripped)] == [type(p) for p in walk(model)]
    assert np.array_equal(stripped(X), twin(X))


@EITHER
def test_weights_file(make, tmp_path):
    model = mask_model(make(), in_place=True)
    mask = pruned(model)
    fit(model)
    path = tmp_path / "model.weights.h5"
    model.save_weights(path)
    again = mask_model(make(), in_place=True)
    again.load_weights(path)
    assert np.array_equal(again(X), model(X))
    mask = dict(zip(get_mask(again), mask.values()))
    check_pruned(again, mask)
    fit(again)
    check_pruned(again, mask)


@EITHER
def test_what_would_come_back_dense_is_refused(make, tmp_path):
    model = mask_model(make(), in_place=True)
    mask = pruned(model)
    name = "class Net" if make is subclassed else "class Unregistered"
    ways = {
        "file": lambda: model.save(tmp_path / "model.keras"),
        "deepcopy": lambda: copy.deepcopy(model),
        "config": lambda: keras.saving.serialize_keras_object(model),
    }
    if make is functional:
        ways["clone"] = lambda: keras.models.clone_model(model)
    for way in ways.values():
        with pytest.raises(ValueError, match="must not be rebuilt") as error:
            way()
        text = str(error.value)
        assert name in text and "strip_masks" in text and "\n" not in text
    check_pruned(model, mask)


@EITHER
def test_stripped_in_place_it_can_be_saved(make, tmp_path):
    model = mask_model(make(), in_place=True)
    mask = pruned(model)
    expected = np.asarray(model(X))
    assert strip_masks(model, in_place=True) is model
    assert not is_masked(model)
    assert np.array_equal(model(X), expected)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(again(X), expected)
    # And its weights train again, pruned ones too.
    _, after = fit(model)
    assert all(after[path][~keep].any() for path, keep in mask.items())


def test_a_config_that_holds_the_layer_carries_its_mask(tmp_path):
    model = mask_model(held())
    mask = pruned(model)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(again(X), model(X))
    fit(again)
    check_pruned(again, dict(zip(get_mask(again), mask.values())))


def test_a_model_that_was_never_called():
    with pytest.raises(ValueError, match="`model` must be built.*on a batch"):
        mask_model(Net())


def test_a_layer_that_was_never_called():
    class Half(Net):
        def build(self, input_shape):
            self.embed.build(input_shape)

        def call(self, x):
            return self.inner(self.embed(x))

    model = Half()
    model(X)
    text = r"low \(Dense, not built: no call of the model has reached it\)"
    with pytest.raises(ValueError, match=text) as error:
        mask_model(model)
    assert "\n" not in str(error.value)
    assert not is_masked(model)


def test_kernels_of_the_model_itself():
    class Bare(keras.Model):
        def build(self, input_shape):
            self.w = self.add_weight(shape=(3, 2), name="w")
            self.dense = L.Dense(2)
            self.dense.build((None, 2))
            self.built = True

        def call(self, x):
            return self.dense(keras.ops.matmul(x, self.w))

    model = Bare(name="bare")
    model(X)
    with pytest.raises(ValueError, match=r"bare \(Bare, bare/w\)"):
        mask_model(model)
    mask_model(model, exclude="bare/w")
    assert get_mask(model).size == 4


class Backbone(keras.Model):
    """A functional model of a class with a constructor of its own."""

    def __init__(self, units, **kwargs):
        x = keras.Input((4,))
        y = keras.layers.Dense(units, name="first")(x)
        super().__init__(x, keras.layers.Dense(2, name="last")(y), **kwargs)
        self.units = units

    def generate(self):
        return "words"

    def get_config(self):
        return {"units": self.units}


def test_a_functional_class_with_methods_of_its_own_keeps_them(tmp_path):
    model = Backbone(3)
    masked = mask_model(model)
    assert masked is model and masked.generate() == "words"
    # Its config rebuilds it with stock layers.
    with pytest.raises(ValueError, match="must not be rebuilt from its conf"):
        masked.save(tmp_path / "model.keras")
    strip_masks(masked)
    masked.save(tmp_path / "model.keras")

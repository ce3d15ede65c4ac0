"""Models that cannot carry masks are named, never left dense in silence."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import register_layer
from tf_lottery.layers import set_mask
from tf_lottery.layers import strip_masks

layers = keras.layers
pytestmark = pytest.mark.any_backend


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(4)

    def call(self, inputs):
        return self.dense(inputs)


class OwnDense(layers.Dense):
    def call(self, inputs, training=None):
        return super().call(inputs) + 1


class OwnStep(keras.Model):
    def train_step(self, *arguments):
        # JAX hands over its state too, and wants it back.
        *state, _ = arguments
        return ({"answer": 42.0}, *state) if state else {"answer": 42.0}


class OwnInit(keras.Model):
    def __init__(self, width):
        x = keras.Input((4,))
        super().__init__(x, layers.Dense(width, name="one")(x))


class OwnInitAndCall(keras.Model):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs)


class OwnSequential(keras.Sequential):
    def train_step(self, data):
        return {"answer": 42.0}


class PlainSequential(keras.Sequential):
    pass


def refused(model, text, error=ValueError):
    """Both ways of masking refuse with one line that holds `text`."""
    for in_place in (False, True):
        with pytest.raises(error, match=text) as caught:
            mask_model(model, in_place=in_place)
        assert str(caught.value).startswith("`model` must")
        assert "\n" not in str(caught.value)
    if isinstance(model, keras.Model):
        assert not is_masked(model)


def around(layer, shape=(5, 4)):
    """`layer` between dense layers that can be masked."""
    x = keras.Input(shape)
    y = layer(layers.Dense(4, name="first")(x))
    return keras.Model(x, layers.Dense(2, name="last")(y))


@pytest.mark.parametrize("inside", [False, True])
def test_subclassed_models_are_not_copied(inside):
    model = Subclassed()
    model(np.ones((2, 4)))
    if inside:
        x = keras.Input((4,))
        model = keras.Model(x, layers.Dense(2)(model(x)))
    with pytest.raises(ValueError, match="class Subclassed is a subclassed"):
        mask_model(model, in_place=False)
    assert not is_masked(model)
    assert mask_model(model) is model
    assert get_mask(model).size == (24 if inside else 16)


def test_models_without_weights():
    refused(keras.Sequential([layers.Dense(2)], name="late"), "built.*'late'")
    refused(
        keras.Sequential([keras.Input((2,)), layers.ReLU()]), "have a kernel"
    )


def test_masked_models():
    model = mask_model(around(layers.ReLU()))
    for in_place in (None, False, True):
        with pytest.raises(ValueError, match="without masks.*masked already"):
            mask_model(model, in_place=in_place)


def test_dense_models_have_no_mask():
    model = around(layers.ReLU())
    for function in (
        get_mask, strip_masks, lambda m: set_mask(m, {"a/kernel": [[1]]})
    ):
        with pytest.raises(ValueError, match="`model` must have masks"):
            function(model)


class OwnKernel(layers.Layer):
    def build(self, input_shape):
        shape = (input_shape[-1], 3)
        self.w = self.add_weight(shape=shape, name="w")

    def call(self, inputs):
        return keras.ops.matmul(inputs, self.w)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 3)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: OwnDense(3, name="odd"),
        lambda: OwnKernel(name="odd"),
        lambda: layers.TimeDistributed(OwnKernel(name="odd"), name="odd"),
        lambda: layers.SpectralNormalization(layers.Dense(3), name="odd"),
    ],
    ids=["subclass", "own", "own_in_wrapper", "spectral"],
)
def test_layers_with_kernels_out_of_reach(layer):
    refused(around(layer()), r"odd \((OwnDense|OwnKernel|Spectral)[^)]*\)\. ")
    model = mask_model(around(layer()), exclude="odd/*", in_place=True)
    assert list(get_mask(model)) == ["first/kernel", "last/kernel"]


def test_frozen_kernels_are_named_too():
    model = around(OwnKernel(name="odd"))
    model.get_layer("odd").trainable = False
    refused(model, r"odd \(OwnKernel, odd/w\)")


def test_kernels_that_are_no_variables():
    model = around(layers.Dense(3, name="odd"))
    model.get_layer("odd")._kernel = np.ones((4, 3))
    refused(model, r"odd \(Dense, whose `kernel` is no variable\)")


@pytest.mark.parametrize("make", [
    lambda: layers.Dense(3, name="odd"),
    lambda: layers.EinsumDense("abc,cd->abd", (None, 3), name="odd"),
], ids=["dense", "einsum"])
def test_lora(make):
    model = around(make())
    model.get_layer("odd").enable_lora(1)
    refused(model, r"odd \([A-Z][a-zA-Z]+ with LoRA or quantised\)")


# Keras' own remark that input layers cannot be quantised.
@pytest.mark.filterwarnings("ignore:Layer .* does not have a .quantize.")
def test_quantised():
    model = around(layers.ReLU())
    model.quantize("int8")
    refused(model, r"first \(Dense with LoRA or quantised\), last \(Dense")


# That a class of layers cannot be quantised is no reason to go on in silence.
@pytest.mark.filterwarnings("ignore:Layer (Inp|Drop|Soft).* does not have a")
@pytest.mark.parametrize("reloaded", [False, True])
def test_masked_layers_take_neither_lora_nor_quantisation(reloaded, tmp_path):
    x = keras.Input((5, 4))
    y = layers.MultiHeadAttention(2, 3, name="attend")(x, x)
    model = mask_model(keras.Model(x, layers.Dense(2, name="last")(y)))
    if reloaded:
        model.save(tmp_path / "model.keras")
        model = keras.saving.load_model(tmp_path / "model.keras")
    before = [v.path for v in model.variables]
    text = "'last' must be without masks to be {}.*strip_masks"
    with pytest.raises(ValueError, match=text.format("given LoRA")):
        model.get_layer("last").enable_lora(1)
    with pytest.raises(ValueError, match="must be without masks to be quant"):
        model.quantize("int8")
    with pytest.raises(ValueError, match=text.format("quantised")):
        model.get_layer("last").quantize("int8")
    assert [v.path for v in model.variables] == before
    # Masked and stripped again and again, it forgets nothing.
    for _ in range(2):
        strip_masks(model, in_place=True)
        mask_model(model, in_place=True)
    stripped = strip_masks(model, in_place=reloaded)
    stripped.quantize("int8")
    assert stripped.get_layer("last").quantization_mode == "int8"
    assert np.isfinite(stripped(np.ones((2, 5, 4)))).all()


@pytest.mark.parametrize("model", [None, "net", layers.Dense(3), Subclassed])
def test_no_model(model):
    refused(model, "must be a Keras 3 model. Received: model=", TypeError)
    with pytest.raises(TypeError, match="`model` must be a Keras 3 model"):
        strip_masks(model)


def test_a_model_of_the_other_keras():
    tf_keras = pytest.importorskip("tf_keras")
    model = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(4,))])
    refused(model, "Received: model=tf_keras.*not tf_keras", TypeError)


def own_step():
    x = keras.Input((4,))
    return OwnStep(x, layers.Dense(3, name="one")(x))


def test_own_train_step_is_kept():
    model = own_step()
    for copy in (mask_model(model), strip_masks(mask_model(model))):
        assert type(copy) is OwnStep
        copy.compile("sgd", "mse")
        result = copy.train_on_batch(
            np.ones((2, 4)), np.ones((2, 3)), return_dict=True
        )
        assert result == {"answer": 42.0}


def test_a_plain_class_becomes_its_stock_class():
    model = mask_model(OwnInit(3))
    assert get_mask(model).shapes == {"one/kernel": (4, 3)}
    model = PlainSequential([keras.Input((4,)), layers.Dense(3)])
    assert type(mask_model(model)) is keras.Sequential


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("cls, method", [
    (OwnInitAndCall, "call"), (OwnSequential, "train_step")
])
def test_methods_that_a_copy_would_lose(cls, method, inside):
    x = keras.Input((4,))
    if cls is OwnSequential:
        model = cls([x, layers.Dense(3)])
    else:
        model = cls(x, layers.Dense(3)(x))
    part = model
    if inside:
        model = keras.Model(x, layers.Dense(2)(part(x)))
    text = f"class {cls.__name__} defines {method}, which a copy would lose"
    with pytest.raises(ValueError, match=text):
        mask_model(model, in_place=False)
    # In place nothing is lost, and so it is the default.
    assert mask_model(model) is model
    assert type(part) is cls
    with pytest.raises(ValueError, match=text):
        strip_masks(model, in_place=False)
    assert strip_masks(model) is model
    assert type(part) is cls
    assert not is_masked(model)


def test_a_kernel_that_is_used_outside_its_layer():
    ids = keras.Input((4,), dtype="int32")
    embedding = layers.Embedding(5, 3, name="words")
    hidden = embedding(ids)
    # The operation holds the variable itself: no mask would reach it.
    logits = keras.ops.einsum("btd,vd->btv", hidden, embedding.embeddings)
    model = keras.Model(ids, logits)
    for in_place in (False, True):
        with pytest.raises(ValueError, match=r"words/embeddings \(in words, "):
            mask_model(model, in_place=in_place)


class Tied(layers.Dense):
    def __init__(self, units, to=None, **kwargs):
        super().__init__(units, **kwargs)
        self.to = to

    def build(self, input_shape):
        super().build(input_shape)
        if self.to is not None:
            self._untrack_variable(self._kernel)
            self._kernel = self.to._kernel


class Shared(keras.Model):
    def __init__(self):
        super().__init__()
        self.one = Tied(4, name="one")
        self.two = Tied(4, to=self.one, name="two")

    def call(self, x):
        return self.two(self.one(x))


def test_a_kernel_that_two_layers_share():
    register_layer(Tied)
    model = Shared()
    model(np.zeros((1, 4)))
    with pytest.raises(ValueError, match=r"kernel \(in one, two\)"):
        mask_model(model)


class Forgotten(layers.Layer):
    def build(self, input_shape):
        shape = (input_shape[-1], 2)
        self.w = self.add_weight(shape=shape, name="w")
        self.v = self.add_weight(shape=shape, name="v")

    def call(self, x):
        return x @ self.w + x @ self.v


def test_a_kernel_that_registration_forgot():
    register_layer(Forgotten, kernels="w")
    model = keras.Sequential([keras.Input((3,)), Forgotten(name="both")])
    with pytest.raises(ValueError, match=r"registered without .*both/v"):
        mask_model(model)


@pytest.mark.parametrize("kind", ["lambda", "lookup"])
def test_what_a_wrapper_would_lose_in_a_copy_is_refused(kind):
    inner = layers.Lambda(lambda t: t)
    if kind == "lookup":
        inner = layers.IntegerLookup()
        inner.adapt(np.array([5, 6, 7]))
    model = looking_up(inner)
    with pytest.raises(RuntimeError, match="`model` must be .*in_place=True"):
        mask_model(model)
    mask_model(model, in_place=True)


def test_a_lookup_of_a_given_vocabulary_is_copied_inside_a_wrapper():
    model = looking_up(layers.IntegerLookup(vocabulary=[5, 6, 7]))
    copy = mask_model(model).get_layer("each").layer
    assert copy is not model.get_layer("each").layer
    assert copy.get_vocabulary() == [-1, 5, 6, 7]


def looking_up(layer):
    x = keras.Input((1, 1), dtype="int64")
    y = layers.TimeDistributed(layer, name="each")(x)
    y = layers.Flatten()(layers.Embedding(8, 3)(y))
    return keras.Model(x, layers.Dense(2)(y))

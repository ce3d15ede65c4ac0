"""Models that cannot carry masks are named, never left dense in silence."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import add_masks
from tf_lottery.layers import get_mask
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.layers import strip_masks

layers = keras.layers


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
    def train_step(self, data):
        return {"answer": 42.0}


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
    for function in (mask_model, add_masks):
        with pytest.raises(error, match=text) as caught:
            function(model)
        assert str(caught.value).startswith("`model` must")
        assert "\n" not in str(caught.value)


def around(layer, shape=(5, 4)):
    """`layer` between dense layers that can be masked."""
    x = keras.Input(shape)
    y = layer(layers.Dense(4, name="first")(x))
    return keras.Model(x, layers.Dense(2, name="last")(y))


def test_subclassed_models():
    model = Subclassed()
    model(np.ones((2, 4)))
    refused(model, "Sequential or functional.*class Subclassed")
    x = keras.Input((4,))
    inner = keras.Model(x, layers.Dense(2)(Subclassed()(x)))
    refused(inner, "Sequential or functional.*class Subclassed")


def test_models_without_weights():
    refused(keras.Sequential([layers.Dense(2)], name="late"), "built.*'late'")
    refused(
        keras.Sequential([keras.Input((2,)), layers.ReLU()]), "have a kernel"
    )


def test_masked_models():
    model = mask_model(around(layers.ReLU()))
    with pytest.raises(ValueError, match="without masks.*masked already"):
        mask_model(model)


def test_dense_models_have_no_mask():
    model = around(layers.ReLU())
    for function in (
        get_mask, strip_masks, lambda m: set_mask(m, {"a/kernel": [[1]]})
    ):
        with pytest.raises(ValueError, match="`model` must have masks"):
            function(model)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.LSTM(3, return_sequences=True, name="odd"),
        lambda: layers.Bidirectional(
            layers.GRU(3, return_sequences=True), name="odd"
        ),
        lambda: layers.TimeDistributed(layers.Dense(3), name="odd"),
        lambda: layers.TimeDistributed(
            keras.Sequential(
                [keras.Input((4,)), layers.Dense(3)], name="odd"
            ),
            name="odd",
        ),
        lambda: layers.SpectralNormalization(layers.Dense(3), name="odd"),
        lambda: layers.SeparableConv1D(3, 2, name="odd"),
        lambda: layers.Conv1DTranspose(3, 2, name="odd"),
        lambda: OwnDense(3, name="odd"),
    ],
    ids=["lstm", "bidirectional", "time_distributed", "nested_in_wrapper",
         "spectral", "separable", "transpose", "custom"],
)
def test_layers_with_kernels_out_of_reach(layer):
    made = layer()
    refused(around(made), rf"odd \({type(made).__name__}, .*odd/.*Name them")
    model = mask_model(around(layer()), exclude="odd/*")
    assert list(get_mask(model)) == ["first/kernel", "last/kernel"]


def attention():
    x = keras.Input((5, 4))
    y = layers.MultiHeadAttention(2, 3, name="attend")(x, x)
    return keras.Model(x, layers.Dense(2, name="last")(y))


def test_attention():
    text = r"attend \(MultiHeadAttention, attend/"
    refused(attention(), text)
    masked = mask_model(attention(), exclude="attend/*")
    assert list(get_mask(masked)) == ["last/kernel"]
    with pytest.raises(ValueError, match=text):
        mask_model(attention(), exclude="attend/query/*")


def test_embedding():
    x = keras.Input((5,))
    y = layers.Embedding(7, 3, name="embed")(x)
    model = keras.Model(x, layers.Dense(2, name="last")(y))
    refused(model, r"embed \(Embedding, embed/embeddings\)")
    assert list(get_mask(mask_model(model, exclude="embed/*"))) == [
        "last/kernel"
    ]


def test_frozen_kernels_are_named_too():
    model = around(layers.LSTM(3, return_sequences=True, name="odd"))
    model.get_layer("odd").trainable = False
    refused(model, r"odd \(LSTM, odd/lstm_cell/kernel\)")


def test_lora():
    model = around(layers.ReLU())
    model.get_layer("last").enable_lora(1)
    refused(model, r"last \(with LoRA or quantised\)")


# Keras' own remark that input layers cannot be quantised.
@pytest.mark.filterwarnings("ignore:Layer .* does not have a .quantize.")
def test_quantised():
    model = around(layers.ReLU())
    model.quantize("int8")
    refused(model, r"first \(with LoRA or quantised\), last \(with LoRA")


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
    text = f"class {cls.__name__}, which defines {method}."
    with pytest.raises(ValueError, match=text):
        mask_model(model)
    # In place nothing is lost; only the copy without masks is refused.
    add_masks(model)
    assert type(part) is cls
    with pytest.raises(ValueError, match=text):
        strip_masks(model)

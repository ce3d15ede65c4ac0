"""Layers of a user's own: what can be registered, and what masks then do."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import MASKED_LAYERS
from tf_lottery.layers import MaskedKernel
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import register_layer
from tf_lottery.layers import set_mask

L = keras.layers
pytestmark = pytest.mark.any_backend


@keras.saving.register_keras_serializable("tests.kernels")
class Twofold(L.Layer):
    """`tanh(x W) U + b`, of a width that Keras keeps in the config."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, input_shape):
        shape = (input_shape[-1], self.width)
        self.kernel = self.add_weight(shape=shape, name="kernel")
        shape = (self.width, self.width)
        self.recurrent_kernel = self.add_weight(
            shape=shape, name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(self.width,), name="bias")

    def call(self, x):
        hidden = keras.ops.tanh(keras.ops.matmul(x, self.kernel))
        return keras.ops.matmul(hidden, self.recurrent_kernel) + self.bias


register_layer(Twofold, kernels=("kernel", "recurrent_kernel"))
X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
PATHS = ["two/kernel", "two/recurrent_kernel"]


def make_model():
    x = keras.Input((3,))
    return keras.Model(x, Twofold(3, name="two")(x))


def make_mask():
    # Every unit keeps a weight on either side, so all have gradients.
    return dict(zip(PATHS, (np.eye(3) == 0, np.tri(3) == 1)))


def test_the_output_is_that_of_the_formula_with_zeros():
    dense = make_model()
    state = get_state(dense)
    model = mask_model(dense)
    assert list(get_mask(model)) == PATHS
    assert list(get_state(model)) == [*PATHS, "two/bias"]
    mask = make_mask()
    set_mask(model, mask)
    w, u = (np.where(mask[p], state[p], 0) for p in PATHS)
    # NumPy sums a product of float32 matrices in another order.
    np.testing.assert_allclose(
        model(X), np.tanh(X @ w) @ u + state["two/bias"], atol=1e-5
    )


def test_raw_kernels_are_told_apart():
    model = mask_model(make_model())
    layer = model.get_layer("two")
    raws = [raw for raw, _ in masked_kernels(model).values()]
    assert raws[0] is layer.raw_kernel()
    assert raws[1] is layer.raw_kernel("recurrent_kernel")
    assert layer.kernel_names == ("kernel", "recurrent_kernel")
    for name in layer.kernel_names:
        assert layer.mask_of(name) is getattr(layer, f"{name}_mask")


def test_one_kernel_of_two_stays_dense(tmp_path):
    model = mask_model(make_model(), exclude="*/recurrent_kernel")
    layer = model.get_layer("two")
    assert layer.get_config()["dense_kernels"] == ["recurrent_kernel"]
    assert layer.kernel_names == ("kernel",)
    assert layer.mask_of("recurrent_kernel") is None
    assert layer.recurrent_kernel is layer.raw_kernel("recurrent_kernel")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert list(get_mask(again)) == PATHS[:1]
    assert again.get_layer("two").dense_kernels == ("recurrent_kernel",)


def test_arguments_that_keras_keeps_by_itself_stay_in_the_config():
    layer = mask_model(make_model()).get_layer("two")
    stock = make_model().get_layer("two")
    assert stock.get_config()["width"] == 3
    assert layer.get_config() == stock.get_config()


def test_arguments_that_keras_cannot_keep_are_an_error_still():
    @keras.saving.register_keras_serializable("tests.kernels")
    class Odd(Twofold):
        def __init__(self, odd, **kwargs):
            super().__init__(3, **kwargs)

    register_layer(Odd)
    x = keras.Input((3,))
    model = keras.Model(x, Odd(object())(x))
    mask_model(model, in_place=True)
    with pytest.raises(NotImplementedError, match="get_config"):
        model.layers[-1].get_config()


def test_registering_again_changes_nothing():
    before = MASKED_LAYERS[Twofold]
    kernels = ("kernel", "recurrent_kernel")
    assert register_layer(Twofold, kernels=kernels) is Twofold
    assert register_layer(L.Dense) is L.Dense
    assert MASKED_LAYERS[Twofold] is before
    with pytest.raises(ValueError, match="`kernels` must be those registered"):
        register_layer(Twofold, kernels="kernel")


@pytest.mark.parametrize(
    "cls, error, text",
    [
        (Twofold(3), TypeError, "`cls` must be a class of Keras layers"),
        (int, TypeError, "`cls` must be a class of Keras layers"),
        (keras.Sequential, ValueError, "`cls` must be a layer without masks"),
        (MASKED_LAYERS[L.Dense], ValueError, "`cls` must be a layer without"),
    ],
    ids=["instance", "int", "model", "masked"],
)
def test_what_cannot_be_registered(cls, error, text):
    with pytest.raises(error, match=text) as caught:
        register_layer(cls)
    assert "\n" not in str(caught.value)


def test_a_subclass_has_the_kernels_of_its_base():
    class Wider(Twofold):
        pass

    class OwnDense(L.Dense):
        pass

    class OwnLSTM(L.LSTM):
        pass

    for cls in (Wider, OwnDense, OwnLSTM):
        register_layer(cls)
    assert MASKED_LAYERS[Wider].masked_kernels == ("kernel", "recurrent_kernel")
    assert issubclass(MASKED_LAYERS[OwnDense], MaskedKernel)
    assert not issubclass(MASKED_LAYERS[OwnLSTM], MaskedKernel)


def test_a_name_that_is_no_variable():
    class Misnamed(Twofold):
        pass

    register_layer(Misnamed, kernels="weight_matrix")
    x = keras.Input((3,))
    model = keras.Model(x, Misnamed(3, name="two")(x))
    text = r"two \(Misnamed, whose `weight_matrix` is no variable\)"
    with pytest.raises(ValueError, match=text):
        mask_model(model)


def test_a_masked_class_is_used_by_itself():
    cls = MASKED_LAYERS[Twofold]
    model = keras.Sequential([keras.Input((3,)), cls(3, name="two")])
    assert len(get_mask(model)) == 2
    assert np.array_equal(model(X), model.layers[0](X))

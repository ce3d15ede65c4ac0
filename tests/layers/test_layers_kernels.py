"""The mixin on layers of several kernels."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import MASKED_LAYERS
from tf_lottery.layers import MaskedKernel
from tf_lottery.layers import add_masks
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.layers import strip_masks

PACKAGE = "tf_lottery_tests"


@keras.saving.register_keras_serializable(PACKAGE)
class Twofold(keras.layers.Layer):
    """`tanh(x W) U + b`: a kernel W and a recurrent kernel U."""

    def build(self, input_shape):
        width = input_shape[-1]
        self.kernel = self.add_weight(shape=(width, width), name="kernel")
        self.recurrent_kernel = self.add_weight(
            shape=(width, width), name="recurrent_kernel"
        )
        self.bias = self.add_weight(shape=(width,), name="bias")

    def call(self, x):
        hidden = keras.ops.tanh(x @ self.kernel)
        return hidden @ self.recurrent_kernel + self.bias


@keras.saving.register_keras_serializable(PACKAGE)
class MaskedTwofold(MaskedKernel, Twofold):
    masked_kernels = ("kernel", "recurrent_kernel")


X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
PATHS = ["two/kernel", "two/recurrent_kernel"]


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(MASKED_LAYERS, Twofold, MaskedTwofold)


def make_model():
    x = keras.Input((3,))
    return keras.Model(x, Twofold(name="two")(x))


def make_mask():
    # Every unit keeps a weight on either side, so all have gradients.
    return dict(zip(PATHS, (np.eye(3) == 0, np.tri(3) == 1)))


def check_pruned(model, mask):
    layer = model.get_layer("two")
    assert get_mask(model) == get_mask(model).__class__(mask)
    for name in layer.masked_kernels:
        pruned = ~mask[f"two/{name}"]
        assert not np.asarray(layer.raw_kernel(name))[pruned].any()
        assert not np.asarray(getattr(layer, name))[pruned].any()


@pytest.mark.parametrize("in_place", [False, True])
def test_both_kernels_are_masked(in_place, tmp_path):
    dense = make_model()
    expected = np.asarray(dense(X))
    state = get_state(dense)
    model = dense
    if in_place:
        add_masks(model)
    else:
        model = mask_model(dense)
    assert list(get_mask(model)) == PATHS
    assert list(get_state(model)) == [*PATHS, "two/bias"]
    assert np.array_equal(model(X), expected)

    mask = make_mask()
    set_mask(model, mask)
    w, u = (np.where(mask[p], state[p], 0) for p in PATHS)
    # NumPy sums a product of float32 matrices in another order.
    np.testing.assert_allclose(
        model(X), np.tanh(X @ w) @ u + state["two/bias"], atol=1e-5
    )
    model.compile(keras.optimizers.Adam(0.1), "mse")
    for _ in range(3):
        model.train_on_batch(X, X)
        check_pruned(model, mask)

    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert np.array_equal(again(X), model(X))
    before = get_state(again)
    again.train_on_batch(X, X)
    check_pruned(again, mask)
    for path in PATHS:
        assert (get_state(again)[path] != before[path])[mask[path]].all()

    stripped = strip_masks(again)
    assert type(stripped.get_layer("two")) is Twofold
    assert np.array_equal(stripped(X), again(X))


def test_raw_kernels_are_told_apart():
    model = mask_model(make_model())
    layer = model.get_layer("two")
    raws = [raw for raw, _ in masked_kernels(model).values()]
    assert raws[0] is layer.raw_kernel()
    assert raws[1] is layer.raw_kernel("recurrent_kernel")

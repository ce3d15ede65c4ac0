"""FLOPs against numbers done by hand, and what cannot be counted."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery import models
from tf_lottery.analysis import (
    COST_COLUMNS,
    Cost,
    CostMeter,
    KernelUse,
    inference_flops,
    kernel_uses,
    training_flops,
)

L = keras.layers


def build(name, input_shape):
    return models.build_model(name, input_shape, 10, seed=0)


def dense_flops(layer, shape, **options):
    """FLOPs of a model of one layer; a call's inputs are all the same."""
    x = keras.Input(shape, **options)
    return inference_flops(keras.Model(x, layer(x))).dense


def test_lenet_300_100():
    model = build("lenet_300_100", (28, 28, 1))
    macs = 784 * 300 + 300 * 100 + 100 * 10
    assert macs == 266_200
    assert inference_flops(model) == Cost(2 * macs, 2 * macs)
    model = tfl.mask_model(model)
    assert inference_flops(model) == Cost(2 * macs, 2 * macs)
    mask = {path: np.zeros(m.shape, bool)
            for path, m in tfl.get_mask(model).items()}
    mask["dense_1/kernel"][:10, 0] = True
    mask["output/kernel"][0, :3] = True
    state = {v.path: np.array(v) for v in model.weights}
    assert inference_flops(model, mask) == Cost(532_400, 26)
    assert all((state[v.path] == np.array(v)).all() for v in model.weights)
    del mask["dense_2/kernel"]
    assert inference_flops(model, mask) == Cost(532_400, 26 + 60_000)


def test_the_models_own_mask_and_a_kernel_kept_dense():
    model = tfl.mask_model(
        build("lenet_300_100", (28, 28, 1)), exclude="output/*"
    )
    tfl.prune(model, 0.9, scope="layerwise")
    assert inference_flops(model).effective == 2 * (23_520 + 3000 + 1000)


def test_convolutions_count_their_positions():
    # Convolutions of 5 x 5 without padding on 28 x 28, pooled by 2 each.
    macs = 24 * 24 * 25 * 20 + 8 * 8 * 25 * 20 * 50 + 800 * 500 + 500 * 10
    model = tfl.mask_model(build("lenet_5", (28, 28, 1)))
    assert inference_flops(model).dense == 2 * macs
    mask = {path: np.zeros(m.shape, bool)
            for path, m in tfl.get_mask(model).items()}
    for keep in mask.values():
        keep.flat[0] = True
    assert inference_flops(model, mask).effective == 2 * (576 + 64 + 1 + 1)


def resnet_20():
    """Of He et al., with projections where the width changes."""
    def conv(x, filters, size, strides=1):
        x = L.Conv2D(filters, size, strides, "same", use_bias=False)(x)
        return L.BatchNormalization()(x)

    inputs = keras.Input((32, 32, 3))
    x = L.ReLU()(conv(inputs, 16, 3))
    for stage, filters in enumerate((16, 32, 64)):
        for block in range(3):
            strides = 2 if stage and not block else 1
            y = conv(L.ReLU()(conv(x, filters, 3, strides)), filters, 3)
            x = conv(x, filters, 1, strides) if strides == 2 else x
            x = L.ReLU()(x + y)
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, L.Dense(10)(x))


def test_resnet_20_layer_by_layer():
    macs = (
        1024 * 27 * 16                                # 442,368
        + 6 * 1024 * 144 * 16                         # 14,155,776
        + 256 * 144 * 32 + 5 * 256 * 288 * 32         # 12,976,128
        + 64 * 288 * 64 + 5 * 64 * 576 * 64           # 12,976,128
        + 64 * 10
    )
    assert macs == 40_551_040
    projections = 256 * 16 * 32 + 64 * 32 * 64
    assert inference_flops(tfl.mask_model(resnet_20())) == Cost(
        2 * (macs + projections), 2 * (macs + projections)
    )


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (lambda: L.Dense(3), (7, 5), 7 * 15),
        (lambda: L.EinsumDense("...x,xy->...y", output_shape=3), (7, 5), 105),
        (lambda: L.EinsumDense("abc,bcd->abd", output_shape=(7, 4)),
         (7, 5), 7 * 5 * 4),
        (lambda: L.Conv1D(4, 3, strides=2), (9, 2), 4 * 24),
        (lambda: L.Conv2D(4, 3, padding="same"), (5, 6, 2), 30 * 72),
        (lambda: L.Conv2D(4, 3, groups=2), (5, 5, 2), 9 * 9 * 4),
        (lambda: L.Conv3D(2, 2), (3, 3, 3, 1), 8 * 16),
        (lambda: L.DepthwiseConv2D(3, depth_multiplier=2), (5, 5, 2), 9 * 36),
        (lambda: L.SeparableConv2D(4, 3), (5, 5, 2), 9 * (18 + 8)),
        (lambda: L.Conv2DTranspose(4, 3, strides=2), (5, 5, 2), 25 * 72),
        (lambda: L.SimpleRNN(4), (7, 5), 7 * (20 + 16)),
        (lambda: L.LSTM(4), (7, 5), 7 * 4 * (20 + 16)),
        (lambda: L.GRU(4, return_sequences=True), (7, 5), 7 * 3 * 36),
        (lambda: L.RNN([L.LSTMCell(4), L.GRUCell(3)]), (7, 5),
         7 * (4 * 36 + 3 * (12 + 9))),
        (lambda: L.Bidirectional(L.LSTM(4)), (7, 5), 2 * 7 * 4 * 36),
        (lambda: L.TimeDistributed(L.Dense(4)), (7, 5), 7 * 20),
        (lambda: L.ConvLSTM2D(4, 3), (3, 6, 6, 2),
         3 * 16 * (9 * 2 * 16 + 9 * 4 * 16)),
    ],
)
def test_layers_by_hand(layer, shape, macs):
    assert dense_flops(layer(), shape) == 2 * macs
    x = keras.Input(shape)
    model = tfl.mask_model(keras.Model(x, layer()(x)))
    assert inference_flops(model) == Cost(2 * macs, 2 * macs)


def test_channels_first():
    # Of shapes alone: a CPU could not compute it.
    x = keras.Input((2, 5, 6))
    y = L.Conv2D(4, 3, padding="same", data_format="channels_first")(x)
    assert inference_flops(keras.Model(x, y)).dense == 2 * 30 * 72


def test_embeddings_are_looked_up():
    ids = keras.Input((6,), dtype="int32")
    model = keras.Model(ids, L.Dense(2)(L.Embedding(10, 4)(ids)))
    assert inference_flops(model).dense == 2 * 6 * 8
    assert list(kernel_uses(model).values()) == [
        KernelUse(40, 0), KernelUse(8, 6),
    ]


@pytest.mark.skipif(
    not hasattr(L, "ReversibleEmbedding"), reason="Keras before 3.13"
)
def test_a_table_read_in_reverse_is_multiplied():
    ids = keras.Input((6,), dtype="int32")
    table = L.ReversibleEmbedding(10, 4)
    model = keras.Model(ids, table(table(ids), reverse=True))
    assert inference_flops(model).dense == 2 * 6 * 40


def test_attention_counts_its_projections():
    x = keras.Input((7, 5))
    y = L.MultiHeadAttention(num_heads=2, key_dim=3)(x, x)
    model = tfl.mask_model(keras.Model(x, y))
    assert inference_flops(model).dense == 2 * 7 * 4 * (5 * 6)
    tfl.prune(model, 0.5, scope="layerwise")
    assert inference_flops(model).effective == 7 * 4 * (5 * 6)


def test_each_call_of_a_shared_layer_counts():
    x = keras.Input((7, 5))
    shared = L.Dense(5)
    assert inference_flops(keras.Model(x, shared(shared(x)))).dense == 700
    inner = keras.Model(x, L.Dense(5)(x))
    assert inference_flops(keras.Model(x, inner(inner(x)))).dense == 700


def test_a_fixed_batch_counts_per_example():
    x = keras.Input((7, 5), batch_size=4)
    model = keras.Model(x, L.LSTM(4, stateful=True)(x))
    assert inference_flops(model).dense == 2 * 7 * 4 * 36


def test_several_inputs_and_an_activity_loss():
    x = {"a": keras.Input((4,), name="a"), "b": keras.Input((4,), name="b")}
    y = L.Dense(2, activity_regularizer="l2")(x["a"] + x["b"])
    model = keras.Model(x, y)
    assert inference_flops(model).dense == 16
    assert model.losses == []
    assert "call" not in vars(model.layers[-1])


class Repeats(keras.Model):
    """Calls a layer three times, from its own code."""

    def __init__(self, looped=False):
        super().__init__(name="repeats")
        self.inner, self.looped = L.Dense(4, name="inner"), looped

    def call(self, x):
        if self.looped:
            return keras.ops.fori_loop(0, 3, lambda _, y: self.inner(y), x)
        return self.inner(self.inner(self.inner(x)))


class Bypass(keras.Model):
    """Reads a kernel without calling its layer."""

    def __init__(self):
        super().__init__()
        self.inner = L.Dense(4, name="inner")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return x @ self.inner.kernel


class Own(L.Layer):
    """A layer of unknown kind."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 2), name="w")

    def call(self, x):
        return x @ self.w


def called(model):
    model(np.zeros((2, 4), "float32"))
    return model


def test_a_subclassed_model_needs_a_shape():
    model = tfl.mask_model(called(Repeats()))
    assert inference_flops(model, input_shape=(4,)) == Cost(96, 96)
    with pytest.raises(ValueError, match="`input_shape` must be given"):
        inference_flops(model)


def functional(shape, layer):
    x = keras.Input(shape)
    return keras.Model(x, layer(x))


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (lambda: called(Repeats(looped=True)), "'inner'.*inside a loop"),
        (lambda: called(Bypass()), "'inner'.*the model does not call"),
        (lambda: functional((4,), Own(name="own")), "'own'.*of unknown use"),
        (lambda: functional((None, 4), L.Dense(2, name="d")), "'d'.*open"),
        (lambda: functional((None, 4), L.LSTM(2)), "'lstm_cell'.*open"),
        (lambda: functional(
            (None, 4), L.TimeDistributed(L.Dense(2, name="d"))),
         "'d'.*inside a loop"),
    ],
)
def test_what_cannot_be_counted_is_refused(model, text):
    model = model()
    shape = None if getattr(model, "inputs", None) else (4,)
    with pytest.raises(ValueError, match=text):
        inference_flops(model, input_shape=shape)
    said = []
    mask = {"anything": np.ones(3, bool)}
    columns = CostMeter(model, shape, said.append).columns(
        mask, examples=20, batch_size=4
    )
    assert columns == {**dict.fromkeys(COST_COLUMNS), "train_examples": 20}
    assert len(said) == 1 and "\n" not in said[0]


def test_of_a_training_whose_examples_are_not_known_inference_is_priced():
    model = tfl.mask_model(build("lenet_300_100", (28, 28, 1)))
    mask = tfl.get_mask(model)
    assert CostMeter(model).columns(mask, examples=None) == {
        **dict.fromkeys(COST_COLUMNS),
        "inference_flops": 532_400,
        "inference_effective_flops": 532_400,
    }


def test_a_model_that_fails_is_refused_in_one_line():
    model = called(Repeats())
    with pytest.raises(ValueError, match="can be traced") as caught:
        inference_flops(model, input_shape=(5,))
    assert "\n" not in str(caught.value)
    assert "call" not in vars(model.inner)


def test_a_mask_of_another_model_is_refused():
    model = build("lenet_300_100", (28, 28, 1))
    for mask in ({"other": np.ones(3)}, {"output/kernel": np.ones(3)}):
        with pytest.raises(ValueError, match="`mask` must be of the model"):
            inference_flops(model, mask)


def test_training_costs_three_forward_passes():
    assert training_flops(Cost(10, 4), 5) == Cost(150, 60)
    model = tfl.mask_model(build("lenet_300_100", (28, 28, 1)))
    mask = {path: np.arange(m.size) % 2 == 0
            for path, m in tfl.get_mask(model).items()}
    assert CostMeter(model).columns(mask, examples=6000, batch_size=60) == {
        "train_examples": 6000,
        "train_flops": 3 * 532_400 * 6000,
        "train_effective_flops": 3 * 266_200 * 6000,
        "inference_flops": 532_400,
        "inference_effective_flops": 266_200,
    }

"""One case for every layer that carries masks; a test asks for `case`."""

import contextlib
import dataclasses
import typing

import keras
import numpy as np
import pytest

from tf_lottery.layers import MaskedKernel
from tf_lottery.layers import get_mask
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import register_layer
from tf_lottery.layers import set_mask
from tf_lottery.layers import walk

L = keras.layers
serializable = keras.saving.register_keras_serializable("tests")


@serializable
class Twofold(L.Layer):
    """`tanh(x W) U + b`: two kernels under names of its own."""

    def build(self, input_shape):
        width = input_shape[-1]
        self.first = self.add_weight(shape=(width, width), name="first")
        self.second = self.add_weight(shape=(width, width), name="second")
        self.shift = self.add_weight(shape=(width,), name="shift")

    def call(self, x):
        hidden = keras.ops.tanh(keras.ops.matmul(x, self.first))
        return keras.ops.matmul(hidden, self.second) + self.shift


@serializable
class OwnDense(L.Dense):
    def call(self, inputs, training=None):
        return keras.ops.matmul(inputs, self.kernel) * 2 + self.bias


@serializable
class OwnLSTM(L.LSTM):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        return 2 * super().call(sequences, initial_state, mask, training)


@serializable
class Block(L.Layer):
    """Makes its layers in `__init__`; they are built when it is called."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        options = dict(dtype=self.dtype_policy)
        self.up = L.Dense(width, activation="tanh", name="up", **options)
        self.down = L.Dense(2, name="down", **options)

    def call(self, x):
        return self.down(self.up(x))

    def get_config(self):
        return {**super().get_config(), "width": self.width}


@serializable
class BuiltBlock(Block):
    def build(self, input_shape):
        self.up.build(input_shape)
        self.down.build((*input_shape[:-1], self.width))


@serializable
class LateBlock(L.Layer):
    """Makes its layers in `build`; Keras keeps its arguments."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def build(self, input_shape):
        options = dict(dtype=self.dtype_policy)
        self.up = L.Dense(self.width, name="up", **options)
        self.up.build(input_shape)
        self.down = L.Dense(2, name="down", **options)
        self.down.build((*input_shape[:-1], self.width))

    def call(self, x):
        return self.down(keras.ops.tanh(self.up(x)))


register_layer(Twofold, kernels=("first", "second"))
for _cls in (OwnDense, OwnLSTM, Block, BuiltBlock, LateBlock):
    register_layer(_cls)


@contextlib.contextmanager
def _policy(dtype):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@dataclasses.dataclass(frozen=True)
class Case:
    """A model around one layer, and what each test does with it."""

    name: str
    layer: typing.Callable[[], L.Layer]
    shape: tuple
    join: str = "one"
    # A case that runs the same code on smaller arrays.
    like: str = ""
    slow: bool = False

    def dense(self, dtype="float32"):
        """The stock model; every weight has a value of its own."""
        with _policy(dtype):
            kind = "int32" if self.join in ("ids", "reverse") else "float32"
            x, layer = keras.Input(self.shape, dtype=kind), self.layer()
            if self.join == "attention":
                y = layer(x, x)
            elif self.join == "reverse":
                y = layer(layer(x), reverse=True)
            else:
                y = layer(x)
            model = keras.Model(x, L.Flatten(dtype="float32")(y))
        rng = np.random.default_rng(0)
        for variable in model.trainable_variables:
            variable.assign(rng.normal(0, 0.5, variable.shape))
        return model

    def random_mask(self, model):
        """`{path: boolean array}` of about one half; never all of a kernel."""
        rng = np.random.default_rng(2)
        mask = {}
        for path, kernel in get_mask(model).items():
            keep = rng.random(kernel.shape) < 0.5
            keep.flat[:2] = True, False
            mask[path] = keep
        return mask

    def masked(self, **kwargs):
        """The masked model under a random mask, and the mask."""
        model = mask_model(self.dense(**kwargs))
        mask = self.random_mask(model)
        set_mask(model, mask)
        return model, mask

    def inputs(self):
        rng = np.random.default_rng(1)
        shape = (8, *self.shape)
        if self.join in ("ids", "reverse"):
            return rng.integers(0, 7, shape)
        return rng.normal(size=shape).astype("float32")

    def train(self, model, steps=2, optimizer=None, **kwargs):
        y = np.ones((8, *model.output_shape[1:]), "float32")
        if not model.compiled:
            # JAX has every step compiled; without, TensorFlow is faster.
            if keras.backend.backend() == "tensorflow":
                kwargs.setdefault("run_eagerly", not kwargs)
            optimizer = optimizer or keras.optimizers.Adam(0.1)
            model.compile(optimizer, "mse", **kwargs)
        for _ in range(steps):
            model.train_on_batch(self.inputs(), y)

    def raws(self, model):
        return [np.array(raw) for raw, _ in masked_kernels(model).values()]

    def check_pruned(self, model, mask):
        """The masks are there; raw and effective kernels are 0 by them."""
        found = list(get_mask(model).values())
        assert len(found) == len(mask)
        assert all(map(np.array_equal, found, mask.values()))
        effective = [
            np.asarray(getattr(layer, name))
            for layer in walk(model)
            if isinstance(layer, MaskedKernel)
            for name in layer.kernel_names
        ]
        for keep, *kernels in zip(mask.values(), self.raws(model), effective):
            for kernel in kernels:
                assert not kernel[~keep].any()
                assert kernel[keep].any()

    def check_trained(self, model, mask, before):
        """After training: pruned weights are 0, and kernels have moved."""
        self.check_pruned(model, mask)
        for keep, old, new in zip(mask.values(), before, self.raws(model)):
            assert np.isfinite(new).all()
            assert (new != old)[keep].mean() > 0.2

    def __str__(self):
        return self.name


# The default, "orthogonal", cannot be drawn in bfloat16.
R = dict(recurrent_initializer="glorot_uniform")
# Left to the slow tests, for time: one of its kind is always run.
SLOW = dict(slow=True)
CASES = [
    Case(
        "Dense",
        lambda: L.Dense(3, activation="tanh", name="one"),
        (4,),
    ),
    Case(
        "EinsumDense",
        lambda: L.EinsumDense("ab,bc->ac", 3, bias_axes="c", name="one"),
        (4,),
    ),
    Case(
        "Conv1D",
        lambda: L.Conv1D(3, 2, name="one"),
        (6, 2),
        like="Conv2D",
    ),
    Case("Conv2D", lambda: L.Conv2D(3, 2, name="one"), (5, 4, 2)),
    Case(
        "Conv3D",
        lambda: L.Conv3D(2, 2, name="one"),
        (4, 3, 3, 2),
        like="Conv2D",
    ),
    Case(
        "Conv1DTranspose",
        lambda: L.Conv1DTranspose(3, 2, name="one"),
        (6, 2),
        like="Conv2DTranspose",
    ),
    Case(
        "Conv2DTranspose",
        lambda: L.Conv2DTranspose(3, 2, name="one"),
        (5, 4, 2),
    ),
    Case(
        "Conv3DTranspose",
        lambda: L.Conv3DTranspose(2, 2, name="one"),
        (4, 3, 3, 2),
        like="Conv2DTranspose",
    ),
    Case(
        "DepthwiseConv1D",
        lambda: L.DepthwiseConv1D(2, depth_multiplier=2, name="one"),
        (6, 3),
        like="DepthwiseConv2D",
    ),
    Case(
        "DepthwiseConv2D",
        lambda: L.DepthwiseConv2D(2, depth_multiplier=2, name="one"),
        (5, 4, 3),
    ),
    Case(
        "SeparableConv1D",
        lambda: L.SeparableConv1D(3, 2, name="one"),
        (6, 2),
        like="SeparableConv2D",
    ),
    Case(
        "SeparableConv2D",
        lambda: L.SeparableConv2D(3, 2, name="one"),
        (5, 4, 2),
    ),
    Case("Embedding", lambda: L.Embedding(7, 3, name="one"), (5,), "ids"),
    Case("SimpleRNN", lambda: L.SimpleRNN(3, **R, name="one"), (4, 2), **SLOW),
    Case("LSTM", lambda: L.LSTM(3, **R, name="one"), (4, 2)),
    Case(
        "GRU",
        lambda: L.GRU(3, return_sequences=True, **R, name="one"),
        (4, 2),
        **SLOW,
    ),
    Case(
        "ConvLSTM1D",
        lambda: L.ConvLSTM1D(2, 2, **R, name="one"),
        (3, 5, 2),
    ),
    Case(
        "ConvLSTM2D",
        lambda: L.ConvLSTM2D(2, 2, **R, name="one"),
        (2, 4, 3, 2),
        like="ConvLSTM1D",
    ),
    Case(
        "ConvLSTM3D",
        lambda: L.ConvLSTM3D(2, 2, **R, name="one"),
        (2, 3, 3, 2, 2),
        like="ConvLSTM1D",
    ),
    Case(
        "MultiHeadAttention",
        lambda: L.MultiHeadAttention(2, 3, name="one"),
        (4, 6),
        "attention",
    ),
    Case(
        "GroupQueryAttention",
        lambda: L.GroupQueryAttention(3, 4, 2, name="one"),
        (4, 6),
        "attention",
        like="MultiHeadAttention",
    ),
    Case(
        "RNN",
        lambda: L.RNN(L.LSTMCell(3, **R, name="cell"), name="one"),
        (4, 2),
    ),
    Case(
        "RNN of cells",
        lambda: L.RNN(
            [
                L.SimpleRNNCell(3, **R, name="first"),
                L.GRUCell(2, **R, name="second"),
            ],
            name="one",
        ),
        (4, 2),
        like="RNN",
    ),
    Case(
        "Bidirectional",
        lambda: L.Bidirectional(L.LSTM(3, **R, name="part"), name="one"),
        (4, 2),
    ),
    Case(
        "Bidirectional of two",
        lambda: L.Bidirectional(
            L.GRU(3, **R, name="there"),
            backward_layer=L.GRU(3, go_backwards=True, **R, name="back"),
            name="one",
        ),
        (4, 2),
        like="Bidirectional",
    ),
    Case(
        "TimeDistributed",
        lambda: L.TimeDistributed(L.Dense(3, name="part"), name="one"),
        (4, 2),
    ),
    Case(
        "Pipeline",
        lambda: L.Pipeline(
            [L.Dense(3, name="first"), L.ReLU(), L.Dense(2, name="second")],
            name="one",
        ),
        (4,),
    ),
    Case("own kernels", lambda: Twofold(name="one"), (4,)),
    Case("own Dense", lambda: OwnDense(3, name="one"), (4,)),
    Case("own LSTM", lambda: OwnLSTM(3, **R, name="one"), (4, 2)),
    Case("own block", lambda: Block(3, name="one"), (4,)),
    Case("own built block", lambda: BuiltBlock(3, name="one"), (4,)),
    Case("own late block", lambda: LateBlock(3, name="one"), (4,), **SLOW),
]
# Keras has it since 3.13.
if hasattr(L, "ReversibleEmbedding"):
    CASES += [
        Case(
            "ReversibleEmbedding",
            lambda: L.ReversibleEmbedding(7, 3, name="one"),
            (5,),
            "reverse",
        ),
        Case(
            "ReversibleEmbedding of two",
            lambda: L.ReversibleEmbedding(7, 3, tie_weights=False, name="one"),
            (5,),
            "reverse",
            **SLOW,
        ),
    ]


# Keras' own remark on loading such a layer, for the stock one as well.
_WARNS = pytest.mark.filterwarnings("ignore:.build... was called on layer .one")


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        marks = {c.name: pytest.mark.slow for c in CASES if c.like or c.slow}
        marks["own block"] = _WARNS
        everything = keras.backend.backend() == "tensorflow"
        metafunc.parametrize(
            "case",
            [
                pytest.param(case, id=case.name, marks=marks.get(case.name, ()))
                for case in CASES
                if everything or not case.like
            ],
        )
    if "cases" in metafunc.fixturenames:
        metafunc.parametrize("cases", [CASES], ids=["all"])

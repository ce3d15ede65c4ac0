"""SynFlow: hand-computed, conserved, and without a layer collapse."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.masks import Mask
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import get_pruner
from tf_lottery.pruners import prune
from tf_lottery.pruners import scores
from tf_lottery.pruners.synflow import SynFlow

layers = keras.layers


def make_model(activation="relu", use_bias=False):
    x = keras.Input((2,))
    y = layers.Dense(2, activation, use_bias=use_bias, name="one")(x)
    y = layers.Dense(1, activation, use_bias=use_bias, name="two")(y)
    model = keras.Model(x, y)
    kernels = [v for v in model.weights if "kernel" in v.path]
    kernels[0].assign([[1.0, -2], [-3, 4]])
    kernels[1].assign([[-5.0], [6]])
    return model


def assert_scores(found, one, two):
    np.testing.assert_allclose(found["one/kernel"], one, rtol=1e-6)
    np.testing.assert_allclose(found["two/kernel"], two, rtol=1e-6)


# Hidden units 1 + 3 and 2 + 4; R = 5 * 4 + 6 * 6 = 56.
ONE, TWO = [[5, 12], [15, 24]], [[20], [36]]


@pytest.mark.parametrize(
    "activation", ["relu", "linear", "tanh", "softmax", layers.LeakyReLU()]
)
def test_by_hand_whatever_the_activation(activation):
    model = make_model(activation)
    assert_scores(scores(model, "synflow"), ONE, TWO)
    assert model.layers[1].activation is keras.activations.get(activation)


@pytest.mark.parametrize(
    "function",
    [
        layers.ReLU(), layers.PReLU(), layers.Softmax(),
        layers.Activation("tanh"), keras.activations.relu,
        keras.ops.softmax,
    ],
)
def test_functions_after_a_layer_score_as_those_inside_of_it(function):
    x = keras.Input((2,))
    y = layers.Dense(2, use_bias=False, name="one")(x)
    norm = layers.BatchNormalization(epsilon=0.0)
    # Units of less than 0, as after training: 4 - 6 and 6 - 6.
    y = function(norm(y))
    y = layers.Dense(2, use_bias=False, name="two")(y)
    model = keras.Model(x, function(y))
    norm.moving_mean.assign([-6.0, 6])
    model.get_layer("one").kernel.assign([[1.0, -2], [-3, 4]])
    model.get_layer("two").kernel.assign([[-5.0, 0], [6, 0]])
    before = [sorted(vars(one)) for one in model.operations]
    assert_scores(scores(model, "synflow"), ONE, [[10, 0], [0, 0]])
    assert [sorted(vars(one)) for one in model.operations] == before


def test_attention_goes_on_weighing_by_its_softmax():
    x = keras.Input((3, 2))
    # Without dropout it may be a single operation.
    attention = layers.MultiHeadAttention(1, 2, dropout=0.5)
    model = keras.Model(x, layers.ReLU()(attention(x, x)))
    found = scores(model, "synflow")
    # Of equal positions: which of them is looked at does not matter.
    assert not found[attention.query_dense.kernel.path].any()
    assert found[attention.value_dense.kernel.path].all()


def test_biases_are_weights_that_are_not_scored():
    model = make_model(use_bias=True)
    model.layers[1].bias.assign([-1.0, 0])
    # Hidden units 5 and 6.
    assert_scores(scores(model, "synflow"), ONE, [[25], [36]])


def test_of_what_the_mask_leaves():
    model = mask_model(make_model())
    set_mask(
        model, {"one/kernel": [[1, 1], [0, 1]], "two/kernel": [[1], [1]]}
    )
    assert_scores(
        scores(model, "synflow"), [[5, 12], [0, 24]], [[5], [36]]
    )


def test_normalisation_is_by_absolute_moving_statistics():
    x = keras.Input((2,))
    y = layers.Dense(2, use_bias=False, name="one")(x)
    norm = layers.BatchNormalization(epsilon=0.0)
    y = layers.Dropout(0.5)(norm(y))
    model = keras.Model(x, layers.Dense(1, use_bias=False, name="two")(y))
    for layer, weights in zip(
        (model.layers[1], norm, model.layers[-1]),
        (
            [[[1.0, -2], [-3, 4]]],
            # Gamma, beta, mean and variance: 2 (h - 1) / 2 + 3 = h + 2, and h.
            [[-2.0, 1], [-3.0, 0], [-1.0, 0], [4.0, 1]],
            [[[-5.0], [6]]],
        ),
    ):
        layer.set_weights([np.array(w) for w in weights])
    assert_scores(scores(model, "synflow"), ONE, [[30], [36]])


def with_first(layer):
    x = keras.Input((2,))
    y = layers.Dense(2, use_bias=False, name="one")(layer(x))
    model = keras.Model(x, layers.Dense(1, use_bias=False, name="two")(y))
    model.get_layer("one").kernel.assign([[1.0, -2], [-3, 4]])
    model.get_layer("two").kernel.assign([[-5.0], [6]])
    return model


@pytest.mark.parametrize("dtype", [False, True])
@pytest.mark.parametrize(
    "layer",
    [
        layers.LayerNormalization, layers.RMSNormalization,
        layers.UnitNormalization, lambda: layers.GroupNormalization(1),
        lambda: layers.Normalization(mean=[1.0, 2], variance=[4.0, 5]),
        lambda: layers.Normalization(axis=None, mean=1.0, variance=4.0),
        lambda: layers.Rescaling(1.0), lambda: layers.Rescaling([-1.0, 1]),
    ],
)
def test_no_normalisation_takes_the_ones_away(layer, dtype):
    model = with_first(layer())
    before = [sorted(vars(one)) for one in model.operations]
    assert_scores(scores(model, SynFlow(float64=dtype)), ONE, TWO)
    assert [sorted(vars(one)) for one in model.operations] == before


def test_of_a_normalisation_scale_and_offset_are_left():
    # Inputs of 2 * 1 + 1 and 1 * 1 + 0.
    for layer in (layers.LayerNormalization(), layers.GroupNormalization(2)):
        model = with_first(layer)
        layer.set_weights([np.array([-2.0, 1]), np.array([-1.0, 0])])
        assert_scores(
            scores(model, "synflow"), [[15, 36], [15, 24]], [[30], [60]]
        )
    # Over several axes, and with an offset that would take the ones away.
    x = keras.Input((2, 1))
    layer = layers.LayerNormalization(axis=[1, 2])
    y = layers.Flatten()(layers.Rescaling(1.0, offset=-1.0)(layer(x)))
    model = keras.Model(x, layers.Dense(1, use_bias=False, name="one")(y))
    layer.set_weights([np.array([[2.0], [1]]), np.array([[1.0], [0]])])
    model.get_layer("one").kernel.assign([[1.0], [-1]])
    found = scores(model, "synflow")["one/kernel"]
    np.testing.assert_allclose(found, [[4], [2]])


def test_a_model_without_flow_is_refused():
    model = make_model()
    model.weights[-1].assign([[0.0], [0]])
    with pytest.raises(ValueError, match="`criterion` must.*synaptic flow"):
        prune(model, 0.5, "synflow", scope="uniform")
    # What pruning cut through may be scored.
    model = mask_model(make_model())
    set_mask(
        model, {"one/kernel": [[1, 0], [1, 0]], "two/kernel": [[0], [1]]}
    )
    found = scores(model, "synflow")
    assert not any(score.any() for score in found.values())


def convolutional():
    """Bias-free, with normalisation as it is at first, and a shortcut."""
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, use_bias=False, activation="relu", name="a")(x)
    z = layers.Conv2D(4, 3, use_bias=False, padding="same", name="b")(y)
    z = layers.ReLU()(layers.BatchNormalization(epsilon=0.0)(z))
    z = layers.Conv2D(4, 3, use_bias=False, padding="same", name="c")(z)
    y = layers.AveragePooling2D(2)(layers.add([y, z]))
    y = layers.Flatten()(y)
    return keras.Model(x, layers.Dense(5, use_bias=False, name="d")(y))


def test_conservation():
    keras.utils.set_random_seed(0)
    model = mask_model(
        keras.Sequential(
            [keras.Input((6,))]
            + [layers.Dense(8, "relu", use_bias=False) for _ in range(4)]
        )
    )
    set_mask(
        model,
        {
            path: np.random.default_rng(0).random(mask.shape) < 0.7
            for path, mask in get_mask(model).items()
        },
    )
    found = list(scores(model, SynFlow(float64=True)).values())
    assert {score.dtype.name for score in found} == {"float64"}
    for before, after in zip(found, found[1:]):
        np.testing.assert_allclose(before.sum(0), after.sum(1), rtol=1e-12)
    totals = [score.sum() for score in found]
    np.testing.assert_allclose(totals, totals[0], rtol=1e-12)
    single = scores(model, SynFlow()).values()
    for one, two in zip(single, found):
        assert one.dtype.name == "float32"
        np.testing.assert_allclose(one, two, rtol=1e-5)


def test_conservation_in_a_network_with_convolutions():
    keras.utils.set_random_seed(0)
    found = scores(convolutional(), SynFlow(float64=True))
    a, b, c, d = (found[f"{name}/kernel"] for name in "abcd")
    # All of the flow passes through a and d; through the shortcut or b and c.
    np.testing.assert_allclose(a.sum(), d.sum(), rtol=1e-6)
    np.testing.assert_allclose(b.sum(), c.sum(), rtol=1e-6)
    assert b.sum() < a.sum()
    # Between two convolutions it is conserved per channel.
    np.testing.assert_allclose(
        b.sum((0, 1, 2)), c.sum((0, 1, 3)), rtol=1e-6
    )


def deep(depth=45):
    model = keras.Sequential(
        [keras.Input((4,))]
        + [layers.Dense(4, "relu", use_bias=False) for _ in range(depth)]
    )
    for variable in model.weights:
        variable.assign(np.full((4, 4), 2.0))
    return mask_model(model)


def test_overflow_in_float32():
    # R = 4 * 8^45 = 2^137, above 2^128.
    found = list(scores(deep(), "synflow").values())
    for score in found:
        np.testing.assert_allclose(score, 2.0**133, rtol=1e-12)
    model = deep()
    assert prune(model, 0.5, SynFlow(rounds=2), "uniform").kept == 360
    for raw, _ in masked_kernels(model).values():
        raw.assign(np.full(raw.shape, 1e30))
    with pytest.raises(ValueError, match="`model` must have finite weights"):
        scores(model, "synflow")


def test_no_layer_is_emptied_before_the_network_is():
    keras.utils.set_random_seed(0)

    def build():
        return keras.Sequential(
            [keras.Input((20,))]
            + [
                layers.Dense(units, "relu", use_bias=False)
                for units in (40, 5, 40, 10)
            ]
        )

    model = build()
    # One path of a weight in each layer is left.
    mask = prune(model, 1 - 4 / 1600, "synflow")
    assert list(mask.kept_by_path.values()) == [1, 1, 1, 1]
    assert scores(model, "synflow")
    for one, two in zip(mask.values(), list(mask.values())[1:]):
        assert np.array_equal(one.any(0), two.any(1))
    for criterion in ("magnitude", SynFlow(rounds=1)):
        with pytest.raises(ValueError, match="would keep no weight"):
            prune(build(), 1 - 4 / 1600, criterion)


def test_no_data_are_looked_at():
    model = mask_model(make_model())
    context = PruningContext(
        model, 3, x=np.full((1, 2), np.nan), loss=lambda y, outputs: 1 / 0
    )
    assert get_pruner("synflow").find_mask(context).kept == 3


class Own(keras.Model):
    def __init__(self):
        super().__init__(name="own")
        self.dense = layers.Dense(3, activation="tanh", name="one")

    def call(self, inputs):
        return self.dense(inputs["a"])


def test_a_subclassed_model_takes_its_shape_from_x():
    model = Own()
    model({"a": np.ones((1, 2))})
    with pytest.raises(ValueError, match="`x` must be given.*shape is open"):
        scores(model, "synflow")
    model.dense.kernel.assign([[1.0, -2, 3], [4, -5, 6]])
    found = scores(model, "synflow", x={"a": np.zeros((7, 2))})
    np.testing.assert_allclose(found["own/one/kernel"], [[1, 2, 3], [4, 5, 6]])


def test_an_open_shape_is_taken_from_x():
    x = keras.Input((None, None, 1))
    y = layers.Conv2D(1, 2, use_bias=False, name="one")(x)
    model = keras.Model(x, y)
    model.weights[0].assign(np.ones((2, 2, 1, 1)))
    with pytest.raises(ValueError, match="`x` must be given.*shape is open"):
        scores(model, "synflow")
    found = scores(model, "synflow", x=np.zeros((5, 3, 4, 1)))
    assert found["one/kernel"].ravel().tolist() == [6, 6, 6, 6]


def test_several_inputs():
    a, b = keras.Input((2,), name="a"), keras.Input((3,), name="b")
    model = keras.Model({"a": a, "b": b}, layers.Dense(1)(
        layers.concatenate([a, b])
    ))
    (found,) = scores(model, "synflow").values()
    np.testing.assert_allclose(found, np.abs(model.weights[0]))


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_token_ids_are_refused(dtype):
    x = keras.Input((4,), dtype=dtype)
    y = layers.Flatten()(layers.Embedding(5, 2)(x))
    model = keras.Model(x, layers.Dense(1)(y))
    with pytest.raises(ValueError, match="`model` must take real numbers"):
        scores(model, "synflow")


def test_mixed_precision_scores_in_float32():
    model = mask_model(make_model())
    for layer in model.layers:
        layer.dtype_policy = "mixed_bfloat16"
    assert_scores(scores(model, "synflow"), ONE, TWO)
    assert model.layers[1].dtype_policy.name == "mixed_bfloat16"


def test_ties_and_registration():
    model = make_model()
    for variable in model.weights:
        variable.assign(np.ones(variable.shape))
    mask = prune(model, 0.5, SynFlow(rounds=1), scope="uniform")
    assert mask == Mask(
        {"one/kernel": [[1, 1], [0, 0]], "two/kernel": [[1], [0]]}
    )
    assert get_pruner("synflow").rounds == 100
    assert get_pruner("synflow").needs == ()

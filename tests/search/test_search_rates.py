"""Which kernel is pruned at which rate."""

import keras
import pytest

from tf_lottery import Mask
from tf_lottery import PruningRates
from tf_lottery import find_tickets
from tf_lottery import mask_model
from tf_lottery.models import build_model
from tf_lottery.search import pruning_rates
from tf_lottery.search.rates import output_layers

Dense, Conv = keras.layers.Dense, keras.layers.Conv2D
FULL, CONV, OUT = 0.4, 0.3, 0.1


def rates_of(model, **how):
    """`{layer name: rate}` with a rate of its own for each kind."""
    how = how or dict(
        prune_rate=FULL, conv_prune_rate=CONV, output_prune_rate=OUT
    )
    rates = pruning_rates(model, **how).by_path
    return {path.split("/")[-2]: rate for path, rate in rates.items()}


def dense_net(*after, between=()):
    return mask_model(
        keras.Sequential(
            [
                keras.Input((6,)),
                Dense(5, name="hidden"),
                *between,
                Dense(4, name="out"),
                *after,
            ]
        )
    )


EXPECTED = {"hidden": FULL, "out": OUT}


def nested(*layers):
    return keras.Sequential([keras.Input((4,)), *layers])


@pytest.mark.parametrize(
    "after",
    [
        lambda: (),
        lambda: (keras.layers.Activation("softmax"),),
        lambda: (keras.layers.Softmax(), keras.layers.Reshape((2, 2))),
        lambda: (keras.layers.Dropout(0.1), keras.layers.LeakyReLU()),
        lambda: (keras.layers.BatchNormalization(), keras.layers.ReLU()),
        lambda: (keras.layers.PReLU(),),
        lambda: (nested(keras.layers.ReLU(), keras.layers.Softmax()),),
        lambda: (nested(nested(keras.layers.Softmax())),),
    ],
    ids="nothing activation softmax dropout norm prelu nested twice".split(),
)
def test_layers_without_kernels_may_follow_the_output(after):
    assert rates_of(dense_net(*after())) == EXPECTED


def test_defaults():
    model = build_model("lenet_300_100", (28, 28, 1), 10, seed=0)
    rates = rates_of(mask_model(model), prune_rate=0.2)
    assert rates == {"dense_1": 0.2, "dense_2": 0.2, "output": 0.1}


def test_convolutions_have_a_rate_of_their_own():
    model = mask_model(build_model("conv_2", (8, 8, 1), 10, seed=0))
    assert rates_of(model) == {
        "conv_1": CONV,
        "conv_2": CONV,
        "dense_1": FULL,
        "dense_2": FULL,
        "output": OUT,
    }
    only_given = pruning_rates(model, prune_rate=0.5, conv_prune_rate=0.25)
    assert sorted(only_given.by_path.values()) == [0.25] * 3 + [0.5] * 2


def test_a_convolution_before_pooling_is_the_output():
    model = mask_model(
        keras.Sequential(
            [
                keras.Input((6, 6, 2)),
                keras.layers.DepthwiseConv2D(3, name="depth"),
                Conv(5, 3, name="conv"),
                Conv(4, 1, name="out"),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Softmax(),
            ]
        )
    )
    assert rates_of(model) == {"depth": CONV, "conv": CONV, "out": OUT}


def test_every_output_of_several():
    inputs = keras.Input((6,))
    x = Dense(5, name="hidden")(inputs)
    outputs = [Dense(4, name="one")(x), keras.layers.ReLU()(x)]
    outputs += [keras.layers.Softmax()(Dense(2, name="two")(x))]
    model = mask_model(keras.Model(inputs, outputs))
    assert rates_of(model) == {"hidden": OUT, "one": OUT, "two": OUT}


def test_summed_branches_are_both_outputs():
    inputs = keras.Input((6,))
    x = Dense(5, name="hidden")(inputs)
    added = Dense(4, name="one")(x) + Dense(4, name="two")(x)
    model = mask_model(keras.Model(inputs, keras.layers.ReLU()(added)))
    assert rates_of(model) == {"hidden": FULL, "one": OUT, "two": OUT}


def test_the_output_inside_a_nested_model():
    head = nested(Dense(5, name="inner"), Dense(4, name="out"))
    model = keras.Sequential(
        [keras.Input((6,)), Dense(4, name="hidden"), head]
    )
    assert rates_of(mask_model(model)) == {
        "hidden": FULL,
        "inner": FULL,
        "out": OUT,
    }


def test_the_right_input_of_a_nested_model_is_followed():
    """Of its two inputs one reaches the output that is used."""
    a, b = keras.Input((4,)), keras.Input((4,))
    inner = keras.Model([a, b], [Dense(2)(a), keras.layers.ReLU()(b)])
    inputs = keras.Input((6,))
    left = Dense(4, name="left")(inputs)
    right = Dense(4, name="right")(inputs)
    model = mask_model(keras.Model(inputs, inner([left, right])[1]))
    found = [layer.name for layer in output_layers(model)]
    assert found == ["right"]


def test_a_shared_layer_is_found_once():
    inputs = keras.Input((4,))
    shared = Dense(4, name="shared")
    model = keras.Model(inputs, [shared(inputs), shared(shared(inputs))])
    model = mask_model(model)
    assert [layer.name for layer in output_layers(model)] == ["shared"]
    assert rates_of(model) == {"shared": OUT}


def test_an_excluded_output_passes_its_rate_to_nobody():
    model = keras.Sequential(
        [keras.Input((6,)), Dense(5, name="hidden"), Dense(4, name="out")]
    )
    masked = mask_model(model, exclude="out/*")
    assert output_layers(masked) == []
    assert rates_of(masked) == {"hidden": FULL}


@pytest.mark.parametrize("scope", ["uniform", "global", "erk"])
def test_other_scopes_have_one_rate(scope):
    model = dense_net()
    rates = pruning_rates(
        model, prune_rate=0.5, output_prune_rate=0.1, scope=scope
    )
    assert (rates.scope, rates.rate) == (scope, 0.5)


def test_counts_of_the_paper():
    """Conv-2 at level 11 is the paper's P_m = 8.8 %, its best speed-up."""
    # The kernels of a 32 x 32 x 3 network, without building its 4.3 M weights.
    shapes = {
        "conv_1": (3, 3, 3, 64),
        "conv_2": (3, 3, 64, 64),
        "dense_1": (16384, 256),
        "dense_2": (256, 256),
        "output": (256, 10),
    }
    model = mask_model(build_model("conv_2", (8, 8, 1), 10, seed=0))
    small = pruning_rates(model, prune_rate=0.2, conv_prune_rate=0.1)
    by_path = {k.split("/")[-2]: v for k, v in small.by_path.items()}
    plan = PruningRates("layerwise", 0.2, by_path).plan(Mask.ones(shapes), 14)
    size = sum(plan[0].values())
    assert round(100 * sum(plan[11].values()) / size, 1) == 8.8
    assert round(100 * sum(plan[14].values()) / size, 1) == 4.6


def test_output_rate_reaches_the_search():
    """Half the rate is half the weights gone, not just an entry in a dict."""
    model = dense_net(keras.layers.BatchNormalization())
    search = find_tickets(
        model, lambda model, **how: None, levels=1, prune_rate=0.4
    )
    kept = [ticket.mask.kept_by_path for ticket in search][1]
    assert sorted(kept.values()) == [16, 18]  # 20 - 4 and 30 - 12


def test_an_activation_with_weights_is_walked_through():
    x = keras.Input((6, 6, 1))
    y = keras.layers.Conv2D(4, 3, name="last")(x)
    y = keras.layers.GlobalAveragePooling2D()(keras.layers.PReLU()(y))
    model = mask_model(keras.Model(x, y))
    assert [layer.name for layer in output_layers(model)] == ["last"]

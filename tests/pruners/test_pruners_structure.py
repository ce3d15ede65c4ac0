"""Every criterion can be asked for a structure."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.layers import named_variables
from tf_lottery.layers import masked_kernels
from tf_lottery.pruners import PRUNERS
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import prune
from tf_lottery.pruners import scores

layers = keras.layers
KERNEL = [[-4.0, 1], [3, 2], [2, -3], [1, 4]]


def make_model():
    """A Dense layer of 4 x 2 and one of 2 x 1."""
    x = keras.Input((4,))
    y = layers.Dense(2, name="one")(x)
    model = keras.Model(x, layers.Dense(1, name="two")(y))
    for variable, value in zip(model.weights, (KERNEL, [9, 9], [[5], [-6]])):
        variable.assign(value)
    return model


def convolutions():
    return keras.Sequential(
        [
            keras.Input((6, 6, 4)),
            layers.Conv2D(6, 3),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


def kept(mask):
    return [m.astype(int).tolist() for m in mask.values()]


class Magnitude(Pruner):
    """As the registered one, through the method that pruners inherit."""

    def scores(self, context):
        return {k: np.abs(w) for k, w in context.kernels.items()}


CRITERIA = pytest.mark.parametrize("criterion", ["magnitude", Magnitude()])


@CRITERIA
@pytest.mark.parametrize(
    "structure, sparsity, expected",
    [
        # A group of two inputs keeps both.
        ("2:4", None, ([[1, 0], [1, 0], [0, 1], [0, 1]], [[1], [1]])),
        ("1:4", None, ([[1, 0], [0, 0], [0, 0], [0, 1]], [[0], [1]])),
        # 5 of 10: 11 of the second layer, then 7 and 7 of the first's pairs.
        ("2x1", 0.5, ([[1, 0], [1, 0], [0, 0], [0, 0]], [[1], [1]])),
        ("2x1", 0.4, ([[1, 0], [1, 0], [0, 1], [0, 1]], [[1], [1]])),
        # 11 and two of 10, of which the first is kept.
        ("channel", 0.4, ([[1, 0]] * 4, [[1], [1]])),
        (None, 0.5, ([[1, 0], [1, 0], [0, 0], [0, 1]], [[1], [1]])),
    ],
)
def test_prune_by_hand(criterion, structure, sparsity, expected):
    model = make_model()
    mask = prune(model, sparsity, criterion, structure=structure)
    assert kept(mask) == list(expected)
    assert get_mask(model) == mask
    for path, (raw, _) in masked_kernels(model).items():
        assert not np.asarray(raw)[~mask[path]].any()


@pytest.mark.parametrize("sparsity", [None, 0.5, 0.498])
def test_groups_fix_the_sparsity(sparsity):
    model = make_model()
    assert prune(model, sparsity, structure="2:4").kept == 6


@pytest.mark.parametrize("sparsity", [0.4, 0.75, 50, float("nan"), "half"])
def test_another_sparsity_than_that_of_the_groups(sparsity):
    model = make_model()
    text = r"^`sparsity` must be 0.5 for structure 2:4. Received: sparsity="
    with pytest.raises(ValueError, match=text):
        prune(model, sparsity, structure="2:4")
    assert not is_masked(model)


def test_a_third_is_written_in_two_decimals():
    assert prune(make_model(), 0.67, structure="1:3").kept == 5


@pytest.mark.parametrize("structure", [None, "1x4", "channel"])
def test_blocks_need_a_sparsity(structure):
    model = make_model()
    with pytest.raises(ValueError, match="^`sparsity` must be in .*=None"):
        prune(model, structure=structure)
    assert not is_masked(model)


def test_an_unknown_structure_leaves_the_model_alone():
    model = make_model()
    with pytest.raises(ValueError, match="^`structure` must be N:M"):
        prune(model, 0.5, structure="4:2")
    assert not is_masked(model)


@pytest.mark.parametrize(
    "criterion",
    [
        pytest.param(
            name, marks=[pytest.mark.slow] * name.startswith(("large", "small"))
        )
        for name in sorted(PRUNERS)
    ],
)
@pytest.mark.parametrize(
    "structure",
    [
        "2:4", "channel",
        *(pytest.param(x, marks=pytest.mark.slow) for x in ("1x2", "3x2")),
    ],
)
def test_every_criterion(criterion, structure):
    keras.utils.set_random_seed(0)
    model = convolutions()
    if criterion == "bn_scale":
        # Every kernel must be normalised.
        model = keras.Sequential(
            [model, keras.layers.BatchNormalization()]
        )
    rng = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.gamma.assign(rng.normal(size=layer.gamma.shape))
    data = dict(
        x=rng.normal(size=(4, 6, 6, 4)).astype("float32"),
        y=rng.integers(0, 5, 4),
        loss=lambda y, outputs: keras.losses.sparse_categorical_crossentropy(
            y, outputs, from_logits=True
        ),
    )
    sparsity = None if structure == "2:4" else 0.5
    initial = {
        path: np.asarray(value) + rng.normal(size=value.shape)
        for path, value in named_variables(model).items()
    }
    mask = prune(
        model, sparsity, criterion, structure=structure, collapse="floor",
        initial=initial, **data,
    )
    conv, dense = mask.values()
    if structure == "2:4":
        groups = conv.reshape(9, 4, 6).sum(axis=1)
        assert (groups == 2).all()
        assert (dense.reshape(24, 4, 5).sum(axis=1) == 2).all()
    else:
        # Less than the largest block is missing.
        most = {"1x2": 2, "3x2": 6, "channel": 96}[structure]
        half = mask.size - round(0.5 * mask.size)
        assert half - most < mask.kept <= half
    # A criterion's model stays nested when it is pruned further.
    after = prune(
        model, 0.8, criterion, structure="1x2", collapse="floor",
        initial=initial, **data,
    )
    assert after.is_subset_of(mask)


def test_groups_of_the_largest_scores_hold_the_best():
    model = convolutions()
    found = scores(model, "magnitude")
    mask = prune(model, structure="1:4")
    for path, score in found.items():
        groups = score.reshape(-1, 4, score.shape[-1])
        best = groups == groups.max(axis=1, keepdims=True)
        assert np.array_equal(mask[path].reshape(groups.shape), best)

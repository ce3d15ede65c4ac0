"""Whole channels with what reads them, at the asked counts."""

import keras
import numpy as np
import pytest

from tf_lottery import mask_model
from tf_lottery.graph import effective_mask
from tf_lottery.layers import get_mask
from tf_lottery.masks import target_counts
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import get_pruner
from tf_lottery.search.channels import find_mask

L = keras.layers


def chain(*units):
    keras.utils.set_random_seed(0)
    x = y = keras.Input((10,))
    for i, size in enumerate(units):
        y = L.Dense(size, name=f"d{i}")(y)
    return mask_model(keras.Model(x, y))


def found(model, sparsity, scope="global", structure="channel", **how):
    keep = target_counts(get_mask(model), sparsity, scope, structure)
    context = PruningContext(
        model, keep=keep, structure=structure, seed=1, **how
    )
    pruner = get_pruner(how.pop("criterion", "magnitude"))
    return find_mask(pruner, context, sparsity, scope)


@pytest.mark.parametrize("scope", ["global", "uniform", "erk"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.6, 0.8])
def test_the_target_is_met_within_a_channel(scope, sparsity):
    model = chain(20, 20, 20)
    mask = found(model, sparsity, scope, collapse="floor")
    most = mask.size - round(sparsity * mask.size)
    # A channel of each kernel may go at once where each has its own count.
    channel = (20 + 20) * (1 if scope == "global" else 3)
    assert most - channel <= mask.kept <= most
    assert mask == effective_mask(model, mask)
    # Nothing on the model has changed.
    assert get_mask(model).density == 1


def test_by_hand():
    """Of 3 units the least loses its 10 inputs and its one output."""
    model = chain(3, 1)
    kernel = np.ones((10, 3)) * [3, 1, 2]
    model.get_layer("d0").set_weights(
        [kernel, np.zeros(3), np.ones_like(kernel)]
    )
    # The last kernel's one channel is worth 90: it stays.
    head = [np.full((3, 1), 30.0), np.zeros(1), np.ones((3, 1))]
    model.get_layer("d1").set_weights(head)
    mask = found(model, 0.33)
    assert mask["d0/kernel"].all(axis=0).tolist() == [True, False, True]
    assert mask["d1/kernel"].ravel().tolist() == [True, False, True]
    assert mask.kept == 22


def test_what_the_target_alone_would_empty_need_not_be():
    """By their own weights A and B fill the count, and the head goes."""
    model = chain(3, 1)
    kernel = np.ones((10, 3)) * [3, 1, 2]
    # Channels of 30, 20, 10; the head's three weights are worth 15.
    layers = model.get_layer("d0"), model.get_layer("d1")
    layers[0].set_weights([kernel, np.zeros(3), np.ones_like(kernel)])
    head = [np.full((3, 1), 5.0), np.zeros(1), np.ones((3, 1))]
    layers[1].set_weights(head)
    mask = found(model, 1 / 3)
    assert mask.kept == 22 and mask["d1/kernel"].sum() == 2


def test_other_structures_are_the_pruners():
    model = chain(20, 20)
    mask = found(model, 0.5, structure="1x4")
    assert mask != effective_mask(model, mask) or mask.kept == 300
    assert mask.kept == 300


def test_what_is_emptied_is_refused():
    model = chain(20, 1)
    with pytest.raises(ValueError, match="^`collapse` must be"):
        found(model, 0.99)
    assert found(model, 0.99, collapse="allow").kept <= 2

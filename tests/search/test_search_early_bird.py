"""Early-Bird tickets: when the mask has settled, and what is pruned then."""

import keras
import numpy as np
import pytest

from tf_lottery import mask_model
from tf_lottery import strip_masks
from tf_lottery.export.compact import compact
from tf_lottery.graph import effective_mask
from tf_lottery.layers import get_mask
from tf_lottery.masks import Mask
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import get_pruner
from tf_lottery.search import EarlyBird
from tf_lottery.search import mask_distance

L = keras.layers


class Scripted(Pruner):
    """Scores by a permutation, one for every step."""

    def __init__(self, *orders):
        self.orders = list(orders)

    def scores(self, context):
        order = np.array(self.orders.pop(0), "float64")
        return {path: order.reshape(w.shape) for path, w in
                context.kernels.items()}


def line(units=4):
    x = keras.Input((1,))
    return mask_model(keras.Model(x, L.Dense(units, name="d")(x)))


A, B = [4, 3, 2, 1], [1, 2, 3, 4]


def bird(*orders, sparsity=0.5, **options):
    options = {"every": 2, "end_step": 20, "window": 3, **options}
    return EarlyBird(Scripted(*orders), sparsity, **options)


def walk(change, model, optimizer):
    """Takes the steps of a training; returns those it was called at."""
    steps, step = [], 0
    while (due := change.next(step)) is not None and due <= 20:
        change(model, optimizer, due)
        steps.append(due)
        step = due + 1
    return steps


def test_it_prunes_when_the_masks_agree_and_not_before():
    model, optimizer = line(), keras.optimizers.SGD(0.25)
    change = bird(A, B, B, A, A, A, A)
    # Masks of steps 8, 10 and 12 are the first three alike.
    assert walk(change, model, optimizer) == [2, 4, 6, 8, 10, 12]
    assert change.metrics == {
        "emergence_step": 12,
        "emergence_distance": 0.0,
        "emergence_learning_rate": 0.25,
    }
    assert get_mask(model)["d/kernel"].tolist() == [[True, True, False, False]]


def test_a_large_enough_tolerance_takes_the_first_window():
    model = line()
    # Half of what two of them keep is the same.
    change = bird(A, [4, 1, 3, 2], A, tolerance=0.5)
    assert walk(change, model, keras.optimizers.SGD()) == [2, 4, 6]
    assert change.distance == 0.5


def test_at_the_end_it_prunes_in_any_case():
    model = line()
    change = bird(A, B, A, B, end_step=7)
    assert walk(change, model, keras.optimizers.SGD()) == [2, 4, 6, 7]
    assert change.emerged == 7 and change.distance == 1.0
    alone = bird(A, end_step=2)
    alone(line(), keras.optimizers.SGD(), 2)
    # One mask is compared with none.
    assert alone.emerged == 2 and alone.distance is None
    assert get_mask(model).kept == 2


@pytest.mark.parametrize("cut", range(1, 6))
def test_it_goes_on_from_its_state(cut):
    orders = [A, B, B, A, A, A]
    model, optimizer = line(), keras.optimizers.SGD()
    whole = bird(*orders)
    walk(whole, model, optimizer)
    model = line()
    first = bird(*orders)
    for step in range(2, 2 * cut + 1, 2):
        first(model, optimizer, step)
    second = bird(*orders[cut:])
    second.restore(first.state(), model)
    for step in range(2 * cut + 2, 13, 2):
        second(model, optimizer, step)
    assert second.metrics == whole.metrics
    assert second.next(13) is None
    again = bird()
    again.restore(second.state(), model)
    assert again.metrics == whole.metrics and again.next(13) is None


def test_slots_are_cleared_and_a_second_training_is_taken_up():
    model = line()
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)
    slot = next(v for v in optimizer.variables if v.shape == (1, 4))
    slot.assign([[1.0, 1.0, 1.0, 1.0]])
    bird(A, end_step=2)(model, optimizer, 2)
    assert np.asarray(slot).tolist() == [[1, 1, 0, 0]]
    mask = get_mask(model)
    # Pruned already, and by more than another is to prune.
    again = EarlyBird(Scripted(A), 0.25, every=1, end_step=1)
    again(model, optimizer, 1)
    assert get_mask(model) == mask


def test_a_look_at_an_empty_mask_neither_ends_training_nor_agrees():
    def looks(collapse):
        change = bird(
            A, A, A, A, sparsity=0.99, end_step=8, collapse=collapse
        )
        model = line()
        for step in (2, 4, 6):
            change(model, keras.optimizers.SGD(), step)
        assert change.emerged is None and get_mask(model).density == 1
        return change, model

    change, model = looks("stop")
    with pytest.raises(ValueError, match="^`collapse` must be"):
        change(model, keras.optimizers.SGD(), 8)
    change, model = looks("allow")
    change(model, keras.optimizers.SGD(), 8)
    assert get_mask(model).kept == 0


def test_distances_by_hand():
    one = Mask({"k": [[1, 1, 1, 0]], "l": [[1, 0]]})
    other = Mask({"k": [[1, 1, 0, 1]], "l": [[1, 0]]})
    # Two of six channels differ; one of four kept weights is another.
    assert mask_distance(one, other, "channel") == pytest.approx(2 / 6)
    assert mask_distance(one, other) == pytest.approx(1 / 4)
    assert mask_distance(one, one) == 0
    # Sparse masks that share nothing are as far apart as can be.
    apart = [np.eye(1, 100, i, dtype=bool) for i in (0, 1)]
    assert mask_distance(*(Mask({"k": m}) for m in apart)) == 1


def test_of_channels_one_weight_is_enough_to_keep_them():
    one = Mask({"k": [[1, 0], [0, 0]]})
    other = Mask({"k": [[0, 0], [1, 0]]})
    assert mask_distance(one, other, "channel") == 0
    assert mask_distance(one, other) == 1


def test_a_ticket_of_channels_is_shrunk_to_equal_outputs():
    keras.utils.set_random_seed(1)
    x = keras.Input((8, 8, 3))
    y = L.Conv2D(6, 3, padding="same", use_bias=False, name="one")(x)
    y = L.ReLU()(L.BatchNormalization(name="bn_one")(y))
    y = L.Conv2D(5, 3, padding="same", use_bias=False, name="two")(y)
    y = L.ReLU()(L.BatchNormalization(name="bn_two")(y))
    y = L.Dense(4, name="out")(L.GlobalAveragePooling2D()(y))
    model = keras.Model(x, y)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            # A beta of its own: what is pruned would not be 0 otherwise.
            for v in layer.weights:
                v.assign(rng.uniform(0.2, 1, v.shape))
    model = mask_model(model, exclude="out/*")
    change = EarlyBird(
        get_pruner("bn_scale"), 0.4, structure="channel", every=1, end_step=1
    )
    change(model, keras.optimizers.SGD(), 1)
    mask = get_mask(model)
    alive = mask["one/kernel"].any(axis=(0, 1, 2))
    assert 0 < alive.sum() < 6
    # At most the asked weights, by less than a channel with what reads it.
    most = mask.size - round(0.4 * mask.size)
    assert most - 9 * (3 + 5 + 6) < mask.kept <= most
    # What reads a pruned channel is pruned with it.
    assert not mask["two/kernel"][:, :, ~alive].any()
    assert mask == effective_mask(model)
    small = compact(strip_masks(model)).model
    sizes = [v.shape for v in small.trainable_variables if "kernel" in v.path]
    assert sizes[0][-1] == alive.sum() == sizes[1][-2]
    batch = rng.normal(size=(4, 8, 8, 3)).astype("float32")
    assert np.allclose(small(batch), model(batch), atol=2e-6)


@pytest.mark.parametrize(
    "options, name",
    [({"window": 1}, "window"), ({"tolerance": 1}, "tolerance")],
)
def test_what_is_refused(options, name):
    with pytest.raises(ValueError, match=f"^`{name}` must be"):
        bird(**options)

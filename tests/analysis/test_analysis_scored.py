"""Controls whose masks a criterion chooses, each by one thing gone wrong."""

import dataclasses

import keras
import numpy as np
import pytest

from tf_lottery import Ticket
from tf_lottery import checks
from tf_lottery.analysis import CONTROLS
from tf_lottery.analysis import SCORED
from tf_lottery.analysis import check_controls
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.pruners import PRUNERS
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext

N, CLASSES = 600, 4
RNG = np.random.default_rng(0)
# Every value once, so that it says where it came from.
X = RNG.permutation(N * 18).reshape(N, 3, 3, 2).astype("float32")
Y = np.arange(N, dtype=np.int32) % CLASSES
CORRUPTED = ("random_labels", "random_pixels")


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3, 3, 2))
    x = keras.layers.Flatten()(inputs)
    x = keras.layers.Dense(8, activation="tanh", name="hidden")(x)
    outputs = keras.layers.Dense(CLASSES, name="out")(x)
    return mask_model(keras.Model(inputs, outputs))


def loss(y, outputs):
    return keras.losses.sparse_categorical_crossentropy(
        y, outputs, from_logits=True
    )


def make_context(model, keep, **how):
    state = get_state(model)
    how = {"x": X[:40] / X.max(), "y": Y[:40], **how}
    return PruningContext(
        model, keep, seed=4, initial=state, loss=loss, **how
    )


def make_ticket(model, pruner, context):
    mask = pruner.find_mask(context)
    weights = {
        k: np.where(mask[k], v, 0) if k in mask else v
        for k, v in get_state(model).items()
    }
    return Ticket(mask, rewind=weights, trained=weights, level=1)


class Spy(Pruner):
    """Says what it was given, and scores at random."""

    needs = ("x", "y")

    def find_mask(self, context):
        self.seen = context
        return super().find_mask(context)

    def scores(self, context):
        return PRUNERS["random"].scores(context)


def spied(name, model, seed=5, **how):
    spy = Spy()
    context = make_context(model, 40, x=X, y=Y, **how)
    ticket = make_ticket(model, PRUNERS["random"], context)
    SCORED[name](ticket, spy, context, seed)
    return spy.seen


@pytest.mark.parametrize("keep", [40, 88, 140])
@pytest.mark.parametrize("criterion", ["snip", "grasp", "magnitude", "random"])
def test_inverted_has_the_counts_and_least_in_common(criterion, keep, model):
    pruner, context = PRUNERS[criterion], make_context(model, keep)
    ticket = make_ticket(model, pruner, context)
    found = SCORED["inverted"](ticket, pruner, context, 5)
    assert found.kept_by_path == ticket.mask.kept_by_path
    assert list(found) == list(ticket.mask)
    for path, keep in ticket.mask.items():
        shared = int((keep & found[path]).sum())
        assert shared == max(0, 2 * int(keep.sum()) - keep.size)


def test_inverted_of_rounds_has_the_counts(model, monkeypatch):
    pruner = PRUNERS["synflow"]
    monkeypatch.setattr(pruner, "rounds", 5)
    context = make_context(model, 60)
    ticket = make_ticket(model, pruner, context)
    found = SCORED["inverted"](ticket, pruner, context, 5)
    assert found.kept_by_path == ticket.mask.kept_by_path
    assert found != ticket.mask and get_mask(model).kept == 176


def test_inverted_keeps_an_empty_kernel_empty(model):
    keep = {"hidden/kernel": 9, "out/kernel": 0}
    context = make_context(model, keep, collapse="allow")
    ticket = make_ticket(model, PRUNERS["magnitude"], context)
    for collapse in ("stop", "allow"):
        found = SCORED["inverted"](
            ticket, PRUNERS["magnitude"],
            dataclasses.replace(context, collapse=collapse), 5,
        )
        assert found.kept_by_path == keep


@pytest.mark.parametrize("criterion", ["snip", "grasp", "fisher"])
@pytest.mark.parametrize("name", CORRUPTED)
def test_another_choice_that_the_seed_determines(name, criterion, model):
    pruner, context = PRUNERS[criterion], make_context(model, 60)
    ticket = make_ticket(model, pruner, context)
    one, again, other = (
        SCORED[name](ticket, pruner, context, seed) for seed in (5, 5, 6)
    )
    assert one == again
    assert one != ticket.mask and one != other
    assert one.kept == other.kept == ticket.mask.kept == 60


@pytest.mark.parametrize("name", CORRUPTED)
def test_counts_by_kernel_are_the_searches(name, model):
    keep = {"hidden/kernel": 50, "out/kernel": 7}
    context = make_context(model, keep)
    ticket = make_ticket(model, PRUNERS["snip"], context)
    found = SCORED[name](ticket, PRUNERS["snip"], context, 5)
    assert found.kept_by_path == keep


def test_labels_are_drawn_anew(model):
    seen = spied("random_labels", model)
    assert seen.x is X
    assert seen.y.dtype == Y.dtype and seen.y.shape == Y.shape
    # Binomial(600, 1/4): mean 150, deviation 10.6; five deviations.
    for label in range(CLASSES):
        assert abs(int((seen.y == label).sum()) - 150) < 53
    # As independent of the true ones.
    assert abs(int((seen.y == Y).sum()) - 150) < 53
    other = spied("random_labels", model, seed=6)
    assert abs(int((seen.y == other.y).sum()) - 150) < 53
    assert np.array_equal(Y, np.arange(N) % CLASSES)


def test_labels_are_of_the_classes_there(model):
    spy, context = Spy(), make_context(model, 40, x=X[:50], y=Y[:50] * 7 + 2)
    ticket = make_ticket(model, PRUNERS["random"], context)
    SCORED["random_labels"](ticket, spy, context, 5)
    assert set(spy.seen.y.tolist()) == {2, 9, 16, 23}


def test_pixels_change_their_places(model):
    before = X.copy()
    seen = spied("random_pixels", model)
    assert np.array_equal(X, before)
    assert seen.y is Y and seen.x.dtype == X.dtype
    places = []
    for image, found in zip(X, seen.x):
        one, other = image.reshape(9, 2), found.reshape(9, 2)
        where = {tuple(pixel): i for i, pixel in enumerate(one)}
        # The channels of a pixel have stayed together.
        places.append([where[tuple(pixel)] for pixel in other])
        assert sorted(places[-1]) == list(range(9))
    # Of 9! permutations 600 random ones are seldom alike (0.4 pairs).
    assert len({tuple(p) for p in places}) > N - 5
    # Binomial(600, 1/9): mean 66.7, deviation 7.7; five deviations.
    for place in range(9):
        count = np.bincount([p[place] for p in places], minlength=9)
        assert np.abs(count - N / 9).max() < 39


@pytest.mark.parametrize("name", CORRUPTED)
def test_only_the_data_are_others(name, model):
    seen = spied(name, model, collapse="floor")
    plain = make_context(model, 40, x=X, y=Y, collapse="floor")
    for field in ("model", "keep", "seed", "loss", "collapse", "structure"):
        assert getattr(seen, field) == getattr(plain, field)


@pytest.mark.parametrize("name", CORRUPTED)
def test_a_control_may_be_cut(name, model):
    """The ticket was not to be; what a control is like is a result."""
    assert spied(name, model, collapse="stop").collapse == "allow"


def test_names():
    assert set(SCORED) == {"inverted", *CORRUPTED} == set(checks._SCORED)
    assert not set(SCORED) & set(CONTROLS)
    check_controls(("inverted",), "magnitude")
    check_controls(tuple(SCORED), "snip")


@pytest.mark.parametrize("name", CORRUPTED)
def test_criteria_that_look_at_no_data_are_refused(name):
    for criterion, pruner in PRUNERS.items():
        if "x" in pruner.needs:
            check_controls((name,), criterion)
            continue
        with pytest.raises(ValueError) as error:
            check_controls(("reinit", name), criterion)
        assert str(error.value) == (
            f"`branches` must be without {name} for criterion {criterion}, "
            f"which looks at no such data. Received: branches={name}. It "
            "would repeat main; use a criterion such as snip."
        )

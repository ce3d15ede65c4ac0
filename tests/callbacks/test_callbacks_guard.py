"""MaskGuard finds what it says it finds, with the kernel's name."""

import keras
import numpy as np
import pytest

from tf_lottery import prune
from tf_lottery.callbacks import DynamicSparseTraining
from tf_lottery.callbacks import MaskGuard
from tf_lottery.layers import get_mask
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import neutral_slots
from tf_lottery.layers import set_mask

pytestmark = pytest.mark.any_backend
NO_MUON = not hasattr(keras.optimizers, "Muon")


@pytest.fixture(scope="module")
def trained(make, fit):
    model = make()
    fit(model)
    prune(model, 0.5)
    return model, get_mask(model), [np.array(v) for v in model.variables]


@pytest.fixture
def model(trained):
    """A pruned model with momenta, and a guard that found it whole."""
    model, mask, values = trained
    for variable, value in zip(model.variables, values):
        variable.assign(value)
    set_mask(model, mask)
    return model


def first_pruned(model):
    raw, mask = masked_kernels(model)["a/kernel"]
    return raw, mask, tuple(np.argwhere(np.asarray(mask) == 0)[0])


def put(variable, index, value):
    array = np.array(variable)
    array[index] = value
    variable.assign(array)


def raw_weight(model):
    raw, _, index = first_pruned(model)
    put(raw, index, 0.5)


def slot(model):
    raw, _, index = first_pruned(model)
    put(neutral_slots(model.optimizer)[id(raw)][1][0], index, 0.5)


def grown(model):
    _, mask, index = first_pruned(model)
    put(mask, index, 1)


def between(model):
    _, mask, index = first_pruned(model)
    put(mask, index, 0.5)


def not_a_number(model):
    raw, mask, _ = first_pruned(model)
    put(raw, tuple(np.argwhere(np.asarray(mask))[0]), np.nan)


def infinite(model):
    raw, _, index = first_pruned(model)
    put(raw, index, -np.inf)


BROKEN = {
    raw_weight: "Pruned weights must be 0. Received: 1 of a/kernel that",
    slot: "state of pruned weights must be neutral. Received: 1 of a/kernel "
    "in ",
    grown: "Masks must only shrink. Received: a/kernel.",
    between: "Masks must hold zeros and ones. Received: the mask of a/kernel",
    not_a_number: "Kernels must be finite. Received: 1 of a/kernel that",
    infinite: "Kernels must be finite. Received: 1 of a/kernel that",
}


@pytest.mark.parametrize("break_it", BROKEN, ids=lambda f: f.__name__)
def test_a_broken_invariant_is_named(model, break_it):
    guard = MaskGuard()
    guard.check(model)
    guard.check(model, model.optimizer)
    break_it(model)
    with pytest.raises(RuntimeError) as error:
        guard.check(model)
    assert BROKEN[break_it] in str(error.value)
    finite = "finite" in BROKEN[break_it]
    advice = (
        "Train at a lower rate."
        if finite
        else "Call set_mask after assigning weights."
    )
    assert str(error.value).endswith(advice)
    if break_it is slot:
        # Another optimizer's state is not looked at.
        MaskGuard().check(model, keras.optimizers.SGD())


def test_it_stops_fit_at_the_batch_of_its_turn(model, fit):
    begun = []

    class Breaks(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            begun.append(batch)
            if batch == 1:
                raw_weight(self.model)

    for every, last in ((1, 1), (2, 1), (4, 3), (9, 5)):
        begun.clear()
        set_mask(model, get_mask(model))
        with pytest.raises(RuntimeError, match="Pruned weights must be 0"):
            fit(model, [MaskGuard(every), Breaks()])
        # What was broken before step 1 is found at the next turn, or at the
        # end of the epoch.
        assert begun[-1] == last


def test_a_mask_may_shrink_and_a_new_fit_may_begin_with_any(model, fit):
    guard = MaskGuard()
    guard.check(model)
    prune(model, 0.75)
    guard.check(model)
    grown(model)
    with pytest.raises(RuntimeError, match="only shrink"):
        guard.check(model)
    fit(model, guard)


def test_a_mask_may_grow_where_it_is_rewired(model, fit):
    guard, rewire = MaskGuard(), DynamicSparseTraining(
        "set", every=2, end_step=99
    )
    before = get_mask(model)
    fit(model, [guard, rewire])
    assert not get_mask(model).is_subset_of(before)
    raw_weight(model)
    with pytest.raises(RuntimeError, match="Pruned weights must be 0"):
        guard.check(model)


@pytest.mark.skipif(NO_MUON, reason="this Keras has no Muon")
def test_muon_moves_raw_weights_and_is_let_be(make, fit):
    model = make(keras.optimizers.Muon(0.01))
    prune(model, 0.5)
    guard = MaskGuard()
    fit(model, guard)
    moved = [
        (np.asarray(raw)[np.asarray(mask) == 0] != 0).any()
        for raw, mask in masked_kernels(model).values()
    ]
    assert any(moved)
    not_a_number(model)
    with pytest.raises(RuntimeError, match="finite"):
        guard.check(model)


def test_arguments_and_plain_models(fit):
    with pytest.raises(ValueError, match="every=0. 1 checks"):
        MaskGuard(0)
    x = keras.Input((6,))
    plain = keras.Model(x, keras.layers.Dense(3)(x))
    plain.compile(
        "sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    with pytest.raises(ValueError, match="trained with MaskGuard"):
        fit(plain, MaskGuard())

"""What controls of an experiment are made from."""

import types

import keras
import numpy as np
import pytest

from tf_lottery.assembly import make_control
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.models import clean_names
from tf_lottery.tickets import Key
from tf_lottery.tickets import Ticket

KERNEL = "out/kernel"
PLAN = types.SimpleNamespace(config=None, mask_by=None)


@pytest.fixture(scope="module")
def noise():
    """`noise(branch, level, seed)`: what a control adds, by its scale."""
    with clean_names():
        x = keras.Input((30,))
        y = keras.layers.Dense(20, name="out")(x)
        model = mask_model(keras.Model(x, y))
    weights = get_state(model)
    dense = Ticket(get_mask(model), weights, weights)

    def added(branch, level=2, seed=7):
        control = make_control(
            PLAN, model, Key(0, branch, level), dense, dense,
            lambda purpose: model, dict, seed=seed,
        )
        scale = float(branch.removeprefix("noise_"))
        return (control.weights[KERNEL] - weights[KERNEL]) / scale

    return added


def test_noises_of_all_scales_are_one_noise(noise):
    """So that results at two scales differ by the scale alone."""
    half, one, three = map(noise, ("noise_0.5", "noise_1", "noise_3"))
    assert np.abs(one).min() > 0
    np.testing.assert_allclose(half, one, atol=1e-6)
    np.testing.assert_allclose(three, one, atol=1e-6)


def test_noises_of_levels_and_replicates_are_others(noise):
    one = noise("noise_1")
    for other in (noise("noise_1", level=3), noise("noise_1", seed=8)):
        shared = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        # Of 600 pairs a correlation is known to 0.04.
        assert abs(shared) < 0.2

"""Controls that disturb a ticket's initial values, and nothing else."""

import numpy as np
import pytest

from tf_lottery import Mask
from tf_lottery import Ticket
from tf_lottery.analysis import CONTROLS

PATHS = ("hidden/kernel", "same/kernel")
NOISE = {"noise_0.5": 0.5, "noise_1": 1.0, "noise_3": 3.0}


def state(stream, size=0.2):
    rng = np.random.default_rng(stream)
    kernels = {k: rng.normal(size=(40, 50), scale=size) for k in PATHS}
    weights = {**kernels, "hidden/bias": rng.normal(size=50)}
    return {k: v.astype("float32") for k, v in weights.items()}


THETA, FRESH = state(1), state(2)


@pytest.fixture(scope="module")
def ticket():
    rng = np.random.default_rng(0)
    mask = Mask({k: rng.random((40, 50)) < 0.4 for k in PATHS})
    kept = {k: v * mask[k] if k in mask else v for k, v in THETA.items()}
    return Ticket(mask, rewind=kept, trained=kept, level=3)


def control(name, ticket, seed=5):
    return CONTROLS[name](ticket, THETA, FRESH, seed)


@pytest.mark.parametrize("name", ["resample", *NOISE])
def test_all_else_is_as_at_the_rewind_step(name, ticket):
    before = {k: v.copy() for k, v in THETA.items()}
    found = control(name, ticket)
    assert found.mask is ticket.mask
    assert list(found.weights) == list(THETA)
    assert found.weights["hidden/bias"] is THETA["hidden/bias"]
    for path, keep in ticket.mask.items():
        value = found.weights[path]
        assert value.dtype == np.float32
        assert np.array_equal(value[~keep], THETA[path][~keep])
    assert all(np.array_equal(before[k], v) for k, v in THETA.items())


def test_resampled_values_are_the_tickets_own(ticket):
    """Those of a kernel that are kept: neither pruned ones, nor another's."""
    found = control("resample", ticket).weights
    for path, keep in ticket.mask.items():
        kept, drawn = THETA[path][keep], found[path][keep]
        assert set(drawn) <= set(kept)
        # With replacement: 1 - 1/e of them are drawn, deviation 0.011 of 800.
        assert abs(len(set(drawn)) / len(kept) - 0.632) < 0.055
        # In their own place by chance alone: one of them on the mean.
        assert np.count_nonzero(drawn == kept) < 8


def test_kernels_are_disturbed_unalike(ticket):
    """Also where masks and weights are the same."""
    first = PATHS[0]
    mask = Mask({k: ticket.mask[first] for k in PATHS})
    theta = {k: THETA[first] for k in PATHS}
    kept = {k: v * mask[k] for k, v in theta.items()}
    twin = Ticket(mask, rewind=kept, trained=kept, level=1)
    for name in ("resample", "noise_1"):
        one, two = CONTROLS[name](twin, theta, theta, 5).weights.values()
        keep = mask[first]
        assert np.count_nonzero(one[keep] == two[keep]) < 8


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_as_wide_as_said(name, ticket):
    """In deviations of the whole kernel, not of the survivors."""
    found = control(name, ticket).weights
    for path, keep in ticket.mask.items():
        noise = (found[path] - THETA[path])[keep].astype("float64")
        size = NOISE[name] * THETA[path].astype("float64").std()
        # Of 800 draws the deviation is known to 2.5 %; five of these.
        assert abs(noise.std() / size - 1) < 0.125
        assert abs(noise.mean()) < 5 * size / noise.size**0.5
        # Independent of the weights: a correlation of 5 / sqrt(n) by chance.
        shared = np.corrcoef(noise, THETA[path][keep])[0, 1]
        assert abs(shared) < 5 / noise.size**0.5


def test_noise_is_in_the_kernels_own_deviation():
    """A kernel ten times as wide gets ten times the noise."""
    theta = {"a": THETA[PATHS[0]], "b": 10 * THETA[PATHS[0]]}
    dense = Ticket(
        Mask.ones({"a": (40, 50), "b": (40, 50)}), rewind=theta, trained=theta
    )
    found = CONTROLS["noise_1"](dense, theta, theta, 0).weights
    wide, narrow = ((found[k] - theta[k]).std() for k in "ba")
    # Each is known to 1.6 %.
    assert 8.5 < wide / narrow < 11.5


def test_noise_of_one_seed_differs_in_size_alone(ticket):
    one, three = (
        (control(name, ticket).weights[PATHS[0]] - THETA[PATHS[0]])
        for name in ("noise_1", "noise_3")
    )
    # Rounded twice to float32, at values of about 1.
    assert np.allclose(3 * one, three, atol=1e-6)


@pytest.mark.parametrize("name", ["resample", *NOISE])
def test_kernels_without_survivors_stay(name):
    theta = {"a": np.ones((3, 4), "float32")}
    mask = Mask({"a": np.zeros((3, 4), bool)})
    zeros = {"a": np.zeros((3, 4), "float32")}
    empty = Ticket(mask, rewind=zeros, trained=zeros, level=1)
    found = CONTROLS[name](empty, theta, theta, 0).weights["a"]
    assert np.array_equal(found, theta["a"])

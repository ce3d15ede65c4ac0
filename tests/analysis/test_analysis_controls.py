"""Controls that are controls: one thing changed, the others as they were."""

import numpy as np
import pytest

from tf_lottery import Mask
from tf_lottery import Ticket
from tf_lottery.analysis import CONTROLS
from tf_lottery.analysis import REWOUND
from tf_lottery.analysis import check_controls
from tf_lottery.analysis import permuted

SHAPES = {
    "hidden/kernel": (40, 50),
    "same/kernel": (40, 50),
    "out/kernel": (9,),
}


def state(stream):
    rng = np.random.default_rng(stream)
    shapes = {**SHAPES, "hidden/bias": (50,)}
    return {k: rng.normal(size=s).astype("float32") for k, s in shapes.items()}


@pytest.fixture(scope="module")
def mask():
    """800, 500 and 3 weights kept, clustered as a ticket's are."""
    flat = {"hidden/kernel": 800, "same/kernel": 500, "out/kernel": 3}
    return Mask(
        {
            path: (np.arange(np.prod(shape)) < flat[path]).reshape(shape)
            for path, shape in SHAPES.items()
        }
    )


@pytest.fixture(scope="module")
def ticket(mask):
    weights = state(0)
    for path, keep in mask.items():
        weights[path][~keep] = 0
    return Ticket(mask, rewind=weights, trained=weights, level=3)


THETA, FRESH = state(1), state(2)


def control(name, ticket, seed=5):
    return CONTROLS[name](ticket, THETA, FRESH, seed)


def overlap(one, other, path="hidden/kernel"):
    return int(np.count_nonzero(one[path] & other[path]))


# Overlap of two random masks of m and n of N positions is hypergeometric: mean
# m * n / N, variance m n (N - m) (N - n) / (N^2 (N - 1)).
def check_chance(found, m, n, size):
    mean = m * n / size
    variance = mean * (size - m) * (size - n) / size / (size - 1)
    # Five deviations: 6e-7 by chance, and the seeds are fixed.
    assert abs(found - mean) < 5 * variance**0.5
    assert found < min(m, n)


@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_equal_counts_in_every_kernel(name, ticket):
    found = control(name, ticket).mask
    assert found.kept_by_path == ticket.mask.kept_by_path
    assert found.shapes == ticket.mask.shapes
    assert list(found) == list(ticket.mask)


@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_deterministic_in_the_seed(name, ticket):
    one, again, other = (control(name, ticket, seed) for seed in (5, 5, 6))
    assert one.mask == again.mask
    moves = name in ("shuffle_mask", "random_mask")
    assert (one.mask != other.mask) is moves


@pytest.mark.parametrize("name", ["shuffle_mask", "random_mask"])
def test_moved_masks_meet_the_ticket_by_chance(name, ticket):
    found = control(name, ticket).mask
    for path, m in (("hidden/kernel", 800), ("same/kernel", 500)):
        check_chance(overlap(found, ticket.mask, path), m, m, 2000)
    one, other = found, control(name, ticket, seed=6).mask
    check_chance(overlap(one, other), 800, 800, 2000)


@pytest.mark.parametrize("name", ["reinit", "rewound"])
def test_kept_masks_are_the_tickets(name, ticket):
    assert control(name, ticket).mask == ticket.mask


@pytest.mark.parametrize(
    "name, weights",
    [
        ("reinit", FRESH),
        ("random_mask", FRESH),
        ("shuffle_mask", THETA),
        ("rewound", THETA),
    ],
)
def test_weights(name, weights, ticket):
    """The whole state, with values at positions that the ticket prunes."""
    found = control(name, ticket).weights
    assert found.keys() == weights.keys()
    assert all(np.array_equal(found[k], weights[k]) for k in weights)
    moved = control(name, ticket).mask["hidden/kernel"]
    assert np.all(found["hidden/kernel"][moved])


def test_the_ticket_is_left_alone(ticket):
    before = {k: m.copy() for k, m in ticket.mask.items()}
    for name in CONTROLS:
        control(name, ticket)
    assert all(np.array_equal(before[k], m) for k, m in ticket.mask.items())


def test_kernels_of_one_size_are_permuted_unalike(mask):
    same = Mask({k: mask["hidden/kernel"] for k in ("a", "b")})
    found = permuted(same, 5)
    check_chance(int((found["a"] & found["b"]).sum()), 800, 800, 2000)


def test_positions_are_uniform(mask):
    """Every position is as likely as any other, first and last included."""
    count = np.zeros(9)
    for seed in range(900):
        count += permuted(mask, seed)["out/kernel"]
    # Each is binomial(900, 1/3): mean 300, deviation 14.1; 4.3 deviations.
    assert np.abs(count - 300).max() < 61
    assert count.sum() == 2700


def test_a_dense_and_an_empty_kernel_stay_so():
    mask = Mask({"a": np.ones((3, 4), bool), "b": np.zeros((3, 4), bool)})
    assert permuted(mask, 1) == mask


def test_names(ticket):
    assert set(CONTROLS) == {"reinit", "shuffle_mask", "random_mask", "rewound"}
    # Those of theta go on from step k; fresh weights start at step 0.
    assert set(REWOUND) == {"shuffle_mask", "rewound"}
    for name in CONTROLS:
        weights = control(name, ticket).weights
        assert (weights is THETA) is (name in REWOUND)
    check_controls(("reinit", "shuffle_mask"))
    check_controls(())
    with pytest.raises(ValueError) as error:
        check_controls(("reinit", "shuffle"))
    assert str(error.value) == (
        "`branches` must be among reinit, shuffle_mask, random_mask, rewound. "
        "Received: branches='shuffle'. Separate several by commas."
    )

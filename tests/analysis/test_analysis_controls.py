"""Controls that are controls: one thing changed, the others as they were."""

import numpy as np
import pytest

from tf_lottery import Mask
from tf_lottery import Ticket
from tf_lottery.analysis import CONTROLS
from tf_lottery.analysis import REWOUND
from tf_lottery.analysis import SCORED
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


TOTAL_ONLY = ("random_uniform", "random_erk")
MOVED = ("shuffle_mask", "random_mask", *TOTAL_ONLY)
CONSTANT = ("constant_sign", "constant_random_sign")
NOISE = ("noise_0.5", "noise_1", "noise_3")


@pytest.mark.parametrize("name", sorted(set(CONTROLS) - set(TOTAL_ONLY)))
def test_equal_counts_in_every_kernel(name, ticket):
    found = control(name, ticket).mask
    assert found.kept_by_path == ticket.mask.kept_by_path
    assert found.shapes == ticket.mask.shapes
    assert list(found) == list(ticket.mask)


@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_deterministic_in_the_seed(name, ticket):
    one, again, other = (control(name, ticket, seed) for seed in (5, 5, 6))
    assert one.mask == again.mask
    assert (one.mask != other.mask) is (name in MOVED)
    for path, value in one.weights.items():
        assert np.array_equal(value, again.weights[path])
    same = np.array_equal(
        one.weights["hidden/kernel"], other.weights["hidden/kernel"]
    )
    drawn = {"constant_random_sign", "resample", *NOISE}
    assert same is (name not in drawn)


@pytest.mark.parametrize("name", MOVED)
def test_moved_masks_meet_the_ticket_by_chance(name, ticket):
    found = control(name, ticket).mask
    counts = found.kept_by_path
    for path, m in (("hidden/kernel", 800), ("same/kernel", 500)):
        n = counts[path]
        check_chance(overlap(found, ticket.mask, path), m, n, 2000)
    one, other = found, control(name, ticket, seed=6).mask
    n = counts["hidden/kernel"]
    check_chance(overlap(one, other), n, n, 2000)


@pytest.mark.parametrize(
    "name, counts",
    [
        # 1303 in 2000 : 2000 : 9 is 650.04, 650.04 and 2.93.
        ("random_uniform", (650, 650, 3)),
        # In 90 : 90 : 9, where 9 is all that the last has: 62 and more.
        ("random_erk", (647, 647, 9)),
    ],
)
def test_only_the_total_in_common(name, counts, ticket):
    found = control(name, ticket)
    assert tuple(found.mask.kept_by_path.values()) == counts
    assert found.mask.kept == ticket.mask.kept == 1303
    assert list(found.mask) == list(ticket.mask)
    assert found.weights is FRESH


@pytest.mark.parametrize("name", TOTAL_ONLY)
def test_no_kernel_is_emptied_where_the_total_is_enough(name, ticket):
    def of(*kept):
        mask = Mask(
            {k: (np.arange(np.prod(s)) < n).reshape(s)
             for (k, s), n in zip(SHAPES.items(), kept)}
        )
        zeros = {k: np.zeros(s) for k, s in SHAPES.items()}
        few = Ticket(mask, rewind=zeros, trained=zeros, level=3)
        return tuple(control(name, few).mask.kept_by_path.values())

    assert of(4, 0, 0) == (1, 2, 1)
    assert of(3, 0, 0) == (1, 1, 1)
    assert sum(of(2, 0, 0)) == 2 and sum(of(0, 0, 0)) == 0


@pytest.mark.parametrize("name", CONSTANT)
def test_constants(name, ticket):
    found = control(name, ticket)
    assert found.mask == ticket.mask
    assert list(found.weights) == list(THETA)
    for path in SHAPES:
        kernel = found.weights[path]
        assert kernel.dtype == np.float32 and kernel.shape == SHAPES[path]
        size = np.float32(np.std(THETA[path].astype("float64")))
        assert np.array_equal(np.abs(kernel), np.full(SHAPES[path], size))
    # What is not pruned is the ticket's network's.
    assert found.weights["hidden/bias"] is THETA["hidden/bias"]


def test_signs_are_those_of_the_ticket():
    """A weight of exactly 0 counts as positive, so that it is not lost."""
    mask = Mask({"a": [[1, 1, 0, 1]]})
    theta = {"a": np.array([[-3.0, 0.0, 1.0, 2.0]], "float32")}
    kept = {"a": theta["a"] * mask["a"]}
    ticket = Ticket(mask, rewind=kept, trained=kept, level=1)
    found = CONTROLS["constant_sign"](ticket, theta, theta, 0).weights["a"]
    # The mean is 0 and the mean square 3.5.
    assert found.tolist() == (
        np.float32(3.5**0.5) * np.float32([[-1, 1, 1, 1]])
    ).tolist()


def test_random_signs_are_independent(ticket):
    found = control("constant_random_sign", ticket).weights
    one, two = (found[k] > 0 for k in ("hidden/kernel", "same/kernel"))
    # Binomial(2000, 1/2): mean 1000, deviation 22.4; five deviations.
    for agree in (one, one == two, one == (THETA["hidden/kernel"] > 0)):
        assert abs(int(agree.sum()) - 1000) < 112


@pytest.mark.parametrize("name", ["reinit", "rewound", "reorder"])
def test_kept_masks_are_the_tickets(name, ticket):
    assert control(name, ticket).mask == ticket.mask


@pytest.mark.parametrize(
    "name, weights",
    [
        ("reinit", FRESH),
        ("random_mask", FRESH),
        ("shuffle_mask", THETA),
        ("rewound", THETA),
        ("reorder", THETA),
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
    assert set(CONTROLS) == {
        "reinit", "shuffle_mask", "random_mask", "rewound", "reorder",
        *TOTAL_ONLY, *CONSTANT, "resample", *NOISE,
    }
    # Those of theta go on from step k, disturbed or not; others start at 0.
    assert set(REWOUND) == {
        "shuffle_mask", "rewound", "reorder", *NOISE, *SCORED
    }
    for name in set(CONTROLS) - set(NOISE):
        weights = control(name, ticket).weights
        assert (weights is THETA) is (name in REWOUND)
    check_controls(("reinit", "shuffle_mask"))
    check_controls(())
    with pytest.raises(ValueError) as error:
        check_controls(("reinit", "shuffle"))
    assert str(error.value) == (
        "`branches` must be among reinit, shuffle_mask, random_mask, "
        "random_uniform, random_erk, constant_sign, constant_random_sign, "
        "rewound, reorder, resample, noise_0.5, noise_1, noise_3, inverted, "
        "random_labels, random_pixels. Received: branches='shuffle'. Separate "
        "several by commas."
    )

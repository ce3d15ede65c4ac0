"""A trained layer inside a wide random one."""

import sys

import numpy as np
import pytest

from tf_lottery.theory import smallest_reaching
from tf_lottery.theory import weight_candidates
from tf_lottery.theory import wide_layer

SHAPE = (5, 3)
# Rounding of the float32 kernels, a share of the largest weight.
FLOAT32 = 1e-6


@pytest.fixture(name="kernel")
def make_kernel():
    kernel = 3 * np.random.default_rng(0).normal(size=SHAPE)
    kernel[1] = 0.0
    return kernel.astype(np.float32)


CASES = [
    {"eta": 0.1}, {"eta": 0.01}, {"eta": 0.02, "epsilon": 0.04},
    {"eta": 0.05, "epsilon": 0.01, "nonnegative": True, "seed": 3},
]


@pytest.mark.parametrize("options", CASES)
def test_it_computes_what_the_layer_does(kernel, options):
    wide = wide_layer(kernel, **options)
    scale = np.abs(kernel).max()
    assert wide.scale == scale
    assert 0 < wide.largest_error <= options["eta"] + FLOAT32
    x = np.random.default_rng(1).uniform(-2, 2, (50, 5)).astype(np.float32)
    if options.get("nonnegative"):
        x = np.abs(x)
    bias = np.float32([1, -2, 3])
    y = wide.build_model(bias).predict(x, verbose=0)
    bound = 5 * wide.largest_error * scale * np.abs(x).max()
    assert np.abs(y - (x @ kernel + bias)).max() <= bound + 1e-4
    same = wide.build_model().predict(x, verbose=0)
    np.testing.assert_allclose(same + bias, y, atol=1e-4)
    by_hand = np.maximum(x @ wide.first, 0) @ wide.second
    np.testing.assert_allclose(by_hand, same, atol=1e-4)


def test_negative_inputs_need_the_second_half(kernel):
    wide = wide_layer(kernel, eta=0.05, nonnegative=True)
    assert not wide.build_model().predict(-np.ones((1, 5)), verbose=0).any()


@pytest.mark.parametrize("options", CASES)
def test_masks_kernels_and_perturbations(kernel, options):
    wide = wide_layer(kernel, **options)
    halves = 1 if options.get("nonnegative") else 2
    n = wide.candidates.max()
    assert wide.candidates.shape == (halves, *SHAPE)
    assert wide.width == halves * 5 * n
    assert wide.first.shape == wide.first_mask.shape == (5, wide.width)
    assert wide.second.shape == wide.second_mask.shape == (wide.width, 3)
    for kernels in (wide.first, wide.second, wide.first_initial,
                    wide.second_initial):
        assert kernels.dtype == np.float32
    assert not wide.first[~wide.first_mask].any()
    assert not wide.second[~wide.second_mask].any()
    # One weight of each hidden unit is kept, and is as drawn.
    assert (wide.first_mask.sum(axis=0) == 1).all()
    kept = wide.first_mask
    assert (wide.first[kept] == wide.first_initial[kept]).all()
    assert set(np.unique(wide.first_initial)) == {-1.0, 1.0}
    blocks = wide.first.reshape(5, 5, halves, n)
    for j in range(5):
        assert (blocks[j, j, 0] == 1).all()
        assert (blocks[j, j, 1:] == -1).all()
    moved = (wide.second - wide.second_initial)[wide.second_mask]
    limit = options.get("epsilon", 0.0)
    assert np.abs(moved).max() <= (limit + FLOAT32) * wide.scale
    assert limit == 0.0 or np.abs(moved).max() > 0.5 * limit * wide.scale
    assert np.abs(wide.second_initial).max() <= wide.scale
    assert np.abs(wide.second_initial).max() > 0.9 * wide.scale


@pytest.mark.parametrize("options", CASES)
def test_each_weight_is_a_subset_of_its_first_candidates(kernel, options):
    wide = wide_layer(kernel, **options)
    halves, n = len(wide.candidates), wide.candidates.max()
    scaled = kernel / wide.scale
    drawn = wide.second_initial.reshape(5, halves, n, 3) / wide.scale
    second = wide.second.reshape(5, halves, n, 3) / wide.scale
    mask = wide.second_mask.reshape(5, halves, n, 3)
    worst = 0.0
    for half, sign in enumerate((1, -1)[:halves]):
        for j in range(5):
            for i in range(3):
                took = wide.candidates[half, j, i]
                error = abs(second[j, half, :, i].sum() - sign * scaled[j, i])
                assert error <= options["eta"] + FLOAT32
                worst = max(worst, error)
                assert not mask[j, half, took:, i].any()
                # The last of them is needed.
                fewer = smallest_reaching(
                    drawn[j, half, :, i], [sign * scaled[j, i]],
                    eta=options["eta"], epsilon=options.get("epsilon", 0.0),
                )
                assert fewer == took
    assert wide.largest_error == pytest.approx(worst, abs=FLOAT32)
    assert not wide.candidates[:, 1].any() and not mask[1].any()


def test_counting_alone_agrees(kernel):
    seen = []
    for options in CASES:
        counted = weight_candidates(kernel, **options, advance=seen.append)
        assert (counted == wide_layer(kernel, **options).candidates).all()
    assert seen == [1] * 5 * len(CASES)


@pytest.mark.parametrize("seed", range(3))
def test_perturbation_makes_it_narrower(kernel, seed):
    last = None
    for epsilon in (0.0, 0.01, 0.05, 0.2):
        took = weight_candidates(kernel, eta=0.01, epsilon=epsilon, seed=seed)
        if last is not None:
            assert (took <= last).all() and took.sum() < last.sum()
        last = took


def test_seeds_and_scale(kernel):
    one, same = (wide_layer(kernel, eta=0.05, seed=4) for _ in range(2))
    other = wide_layer(kernel, eta=0.05, seed=5)
    scaled = wide_layer(8 * kernel, eta=0.05, seed=4)
    assert (one.second == same.second).all()
    assert (one.first_initial == same.first_initial).all()
    assert (one.second[0] != other.second[0]).any()
    np.testing.assert_array_equal(8 * one.second, scaled.second)
    assert scaled.largest_error == pytest.approx(one.largest_error)


def test_the_limit_of_candidates_changes_no_draw(kernel):
    one = wide_layer(kernel, eta=0.1)
    n = int(one.candidates.max())
    other = wide_layer(kernel, eta=0.1, max_candidates=n)
    np.testing.assert_array_equal(one.second, other.second)
    message = rf"`eta` must be larger, .*max_candidates={n - 1}, with which"
    with pytest.raises(ValueError, match=message):
        wide_layer(kernel, eta=0.1, max_candidates=n - 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kernel": np.zeros((2, 2))}, "`kernel` must not be all zero"),
        ({"kernel": np.ones(3)}, r"`kernel` must be a matrix .*shape=\(3,\)"),
        ({"kernel": np.ones((0, 3))}, "`kernel` must be a matrix"),
        ({"kernel": [[1.0, np.nan]]}, "`kernel` must be finite numbers"),
        ({"eta": 1.0}, "`eta` must be below 1"),
        ({"eta": 0.0}, "`eta` must be finite and positive"),
        ({"epsilon": -1}, "`epsilon` must be finite and 0 or more"),
        ({"max_candidates": 41}, r"`max_candidates` must be .* \[1, 40\]"),
    ],
)
def test_bad_arguments(values, message):
    good = {"kernel": np.ones((2, 2)), "eta": 0.1}
    with pytest.raises(ValueError, match=message):
        wide_layer(**{**good, **values})


def test_too_many_weights_are_refused(monkeypatch):
    # The function has its module's name.
    module = sys.modules["tf_lottery.theory.wide_layer"]
    monkeypatch.setattr(module, "_MOST_WEIGHTS", 10)
    with pytest.raises(ValueError, match="`kernel` must have fewer inputs"):
        wide_layer(np.ones((2, 2)), eta=0.1)


def test_a_bias_of_another_shape(kernel):
    with pytest.raises(ValueError, match=r"`bias` must have shape \(3,\)"):
        wide_layer(kernel, eta=0.1).build_model(np.zeros(4))

"""The keep-th largest score, against a sort."""

import numpy as np
import pytest

from tf_lottery.masks import cutoff as module
from tf_lottery.masks.cutoff import cutoff, has_nan


def wanted(parts, keep):
    alive = np.concatenate([scores[keep] for scores, keep in parts])
    return np.sort(alive)[::-1][keep - 1]


def part(scores, density=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return np.asarray(scores), rng.random(len(scores)) < density


@pytest.mark.parametrize("keep, value", [(1, 7.0), (2, 5.0), (3, 5.0), (4, 2)])
def test_by_hand(keep, value):
    parts = [
        (np.array([5.0, 9.0, 2.0]), np.array([True, False, True])),
        (np.array([7.0, 5.0]), np.array([True, True])),
    ]
    assert cutoff(parts, keep) == value


KINDS = {
    "normal": lambda rng, n: rng.normal(size=n).astype("float32"),
    "float64": lambda rng, n: rng.normal(size=n),
    "float16": lambda rng, n: rng.normal(size=n).astype("float16"),
    "few values": lambda rng, n: rng.integers(0, 3, n).astype("float32"),
    "one value": lambda rng, n: np.full(n, 2.5, "float32"),
    "integers": lambda rng, n: rng.integers(-9, 9, n),
    "ascending": lambda rng, n: np.arange(n, dtype="float32"),
    "infinite": lambda rng, n: rng.choice([-np.inf, 0.0, np.inf], n),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("density", [1.0, 0.3])
def test_it_is_what_a_sort_finds(kind, density, monkeypatch):
    # Several chunks, and a sample of a part of them.
    monkeypatch.setattr(module, "_CHUNK", 1000)
    monkeypatch.setattr(module, "_SAMPLE", 500)
    rng = np.random.default_rng(0)
    parts = [part(KINDS[kind](rng, n), density, n) for n in (1, 4500, 1, 2500)]
    total = sum(int(alive.sum()) for _, alive in parts)
    for keep in (1, 2, total // 10, total // 2, total - 1, total):
        assert cutoff(parts, keep) == wanted(parts, keep)


@pytest.mark.parametrize("spoilt", [-1.0, 1.0])
def test_a_bracket_that_misses_costs_time_only(spoilt, monkeypatch):
    monkeypatch.setattr(module, "_SAMPLE", 100)
    rng = np.random.default_rng(0)
    scores = rng.normal(size=10_000)
    # The sample is every hundredth score: let it say nothing of the rest.
    scores[::100] = 100 * spoilt
    parts = [part(scores)]
    low, high = module._bracket(parts, 5000)
    assert low == high == 100 * spoilt
    assert cutoff(parts, 5000) == wanted(parts, 5000)


def test_a_sample_that_meets_nobody_alive(monkeypatch):
    monkeypatch.setattr(module, "_SAMPLE", 10)
    scores = np.arange(1000.0)
    alive = np.zeros(1000, bool)
    alive[[3, 501, 777]] = True
    assert cutoff([(scores, alive)], 2) == 501


def test_only_scores_that_count_may_not_be_nan(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 2)
    scores = np.array([1.0, 2.0, 3.0, np.nan, 5.0])
    assert has_nan([(np.ones(3), np.ones(3, bool)), (scores, scores != 2)])
    assert not has_nan([(scores, scores == scores)])

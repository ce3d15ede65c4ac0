"""The best of many scores, against a sort."""

import importlib

import numpy as np
import pytest

from tf_lottery.masks.top import top

module = importlib.import_module("tf_lottery.masks.top")


def wanted(parts, keep):
    """The best by a stable sort: equal scores in their order."""
    scores = np.concatenate([scores for scores, _ in parts])
    alive = np.flatnonzero(np.concatenate([alive for _, alive in parts]))
    # Descending without a minus sign, which unsigned numbers have none of.
    order = np.argsort(scores[alive][::-1], kind="stable")[::-1]
    result = np.zeros(scores.size, bool)
    result[alive[::-1][order[:keep]]] = True
    return result.tolist()


def found(parts, keep):
    results = top(parts, keep)
    assert [r.shape for r in results] == [s.shape for s, _ in parts]
    return np.concatenate(results).tolist()


def part(scores, density=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return np.asarray(scores), rng.random(len(scores)) < density


@pytest.mark.parametrize(
    "keep, marks",
    [(0, "000 00"), (1, "000 10"), (2, "100 10"), (3, "100 11"), (4, "101 11")],
)
def test_by_hand(keep, marks):
    parts = [
        (np.array([5.0, 9.0, 2.0]), np.array([True, False, True])),
        (np.array([7.0, 5.0]), np.array([True, True])),
    ]
    expected = [c == "1" for c in marks if c != " "]
    assert found(parts, keep) == wanted(parts, keep) == expected


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
    # Several chunks and pieces in threads, and a sample of a part of them.
    for name, value in (("_CHUNK", 300), ("_PIECE", 1000), ("_SAMPLE", 500)):
        monkeypatch.setattr(module, name, value)
    rng = np.random.default_rng(0)
    parts = [part(KINDS[kind](rng, n), density, n) for n in (1, 4500, 1, 2500)]
    total = sum(int(alive.sum()) for _, alive in parts)
    for keep in (0, 1, 2, total // 10, total // 2, total - 1, total):
        assert found(parts, keep) == wanted(parts, keep)


@pytest.mark.parametrize("spoilt", [-1.0, 1.0])
def test_a_bracket_that_misses_costs_time_only(spoilt, monkeypatch):
    monkeypatch.setattr(module, "_SAMPLE", 100)
    rng = np.random.default_rng(0)
    scores = rng.normal(size=10_000)
    # The sample is every 101st score: let it say nothing of the rest.
    scores[::101] = 100 * spoilt
    parts = [part(scores)]
    low, high = module._bracket(parts, 10_000, 5000, np.asarray)
    assert low == high == 100 * spoilt
    assert found(parts, 5000) == wanted(parts, 5000)


def test_a_sample_that_meets_nobody_alive(monkeypatch):
    monkeypatch.setattr(module, "_SAMPLE", 10)
    scores = np.arange(1000.0)
    alive = np.zeros(1000, bool)
    alive[[3, 501, 777]] = True
    assert np.flatnonzero(top([(scores, alive)], 2)[0]).tolist() == [501, 777]


@pytest.mark.parametrize("keep", [0, 1, 4])
def test_only_scores_that_count_may_not_be_nan(keep, monkeypatch):
    monkeypatch.setattr(module, "_CHUNK", 2)
    scores = np.array([1.0, 2.0, 3.0, np.nan, 5.0])
    whole = (np.ones(3), np.ones(3, bool))
    with pytest.raises(FloatingPointError):
        top([whole, (scores, scores != 2)], keep)
    parts = [(scores, scores == scores)]
    assert np.count_nonzero(top(parts, keep)[0]) == keep


def test_scores_may_be_a_function_of_the_values(monkeypatch):
    monkeypatch.setattr(module, "_SAMPLE", 50)
    values = np.random.default_rng(0).normal(size=2000)
    alive = values < 1.5
    marks = top([(values, alive)], 700, np.abs)
    assert marks[0].tolist() == wanted([(np.abs(values), alive)], 700)

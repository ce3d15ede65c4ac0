"""The area between two curves, by hand."""

import math

import pytest

from tf_lottery.analysis import area_between, areas
from tf_lottery.metric import PERPLEXITY, Metric

REWARD = Metric("reward")
DENSITIES = {1: 0.8, 2: 0.4, 3: 0.2, 4: 0.1, 5: 0.025}


def rows(advantages, metric=REWARD, replicate=0, control="random_mask"):
    """Tickets of 10, and a control that is worse by as much as is given."""
    return [
        {
            "replicate": replicate, "branch": branch, "level": level,
            "density": DENSITIES[level], metric.test: value,
        }
        for level, advantage in advantages.items()
        for branch, value in (("main", 10.0), (control, 10.0 - advantage))
    ]


def test_by_hand():
    found = area_between(rows({2: 99.0, 3: 1.0, 4: 3.0, 5: -1.0}),
                         "random_mask", metric=REWARD)
    # log2: 1 from level 3 to 4, 2 from level 4 to 5.
    assert found.by_replicate == {
        0: pytest.approx((2.0 * 1 + 1.0 * 2) / 3)
    }
    assert (found.levels, found.densities) == ((3, 4, 5), (0.2, 0.025))


def test_the_range_of_densities_can_be_chosen():
    given = rows({2: 99.0, 3: 1.0, 4: 3.0})
    found = area_between(given, "random_mask", metric=REWARD,
                         most_density=0.4)
    assert found.by_replicate[0] == pytest.approx((50.0 + 2.0) / 2)


def test_replicates_are_paired_and_counted():
    given = [
        row
        for n, values in enumerate([(1, 3), (2, 2), (-1, -1)])
        for row in rows(dict(zip((3, 4), values)), replicate=n)
    ]
    found = area_between(given, "random_mask", metric=REWARD)
    assert list(found.by_replicate.values()) == pytest.approx([2, 2, -1])
    assert (found.above, found.paired.mean) == (2, pytest.approx(1))
    # Without a level it is another curve.
    whole = area_between(given[:-1], "random_mask", metric=REWARD)
    assert set(whole.by_replicate) == {0, 1}


def test_replicates_of_other_levels_are_not_taken_together():
    given = rows({3: 1.0, 4: 1.0}) + rows({4: 5.0, 5: 5.0}, replicate=1)
    assert area_between(given, "random_mask", metric=REWARD) is None
    given += rows({3: 2.0, 4: 2.0, 5: 2.0}, replicate=2)
    found = area_between(given, "random_mask", metric=REWARD)
    assert found.by_replicate == {2: pytest.approx(2.0)}


def test_less_perplexity_is_better():
    given = [
        {"replicate": 0, "branch": b, "level": n, "density": DENSITIES[n],
         "test_perplexity": p}
        for n in (3, 4) for b, p in (("main", 5.0), ("random_mask", 10.0))
    ]
    found = area_between(given, "random_mask", metric=PERPLEXITY)
    assert found.by_replicate == {0: pytest.approx(math.log(2))}


@pytest.mark.parametrize(
    "given",
    [[], rows({3: 1.0}), rows({1: 1.0, 2: 1.0}),
     rows({3: 1.0, 4: 1.0}, control="reinit"),
     rows({3: math.nan, 4: 1.0})],
)
def test_where_there_is_nothing_to_go_between(given):
    assert area_between(given, "random_mask", metric=REWARD) is None


def test_what_it_says():
    given = rows({3: 2.0, 4: 2.0}) + rows({3: 4.0, 4: 4.0}, replicate=1)
    (found,) = areas(given, REWARD)
    # One-sided 95 % bound of two values with sd sqrt(2): t is 6.314.
    assert found.text(REWARD) == (
        "From 20.0 to 10.0 % of the weights ticket - random_mask is +3.00, at "
        "least -3.31 in the mean over the curve (along the logarithm of "
        "density), above 0 in 2 of 2 replicates."
    )


def test_controls_of_the_verdict_have_one_each():
    given = rows({3: 2.0, 4: 2.0}) + [
        {**row, "branch": name}
        for name in ("reinit", "resample")
        for row in rows({3: 1.0, 4: 1.0}) if row["branch"] != "main"
    ]
    found = areas(given, REWARD)
    assert [one.control for one in found] == ["reinit", "random_mask"]


def test_the_tickets_are_those_of_the_verdict():
    trained_on = rows({3: 5.0, 4: 5.0})
    reset = [
        {**one, "branch": "rewound", REWARD.test: 8.0}
        for one in trained_on if one["branch"] == "main"
    ]
    (found,) = areas(trained_on + reset, REWARD, retrain="continue")
    assert found.by_replicate == {0: pytest.approx(3.0)}
    (found,) = areas(trained_on + reset, REWARD, method="rigl")
    assert found.by_replicate == {0: pytest.approx(3.0)}
    for how in ({"retrain": "fine_tune"}, {"method": "rigl"},
                {"method": "edge_popup"}):
        assert areas(trained_on, REWARD, **how) == []

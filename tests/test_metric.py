"""Metrics: direction, unit, words, and what is refused."""

import json
import math

import numpy as np
import pytest

from tf_lottery import report
from tf_lottery.fingerprint import identity
from tf_lottery.metric import ACCURACY, PERPLEXITY, Metric

REWARD = Metric("reward", margin=5.0)
COST = Metric("total_cost", higher_is_better=False)
SPEED = Metric("speed", ratio=True, margin=0.1)
METRICS = [ACCURACY, PERPLEXITY, REWARD, COST, SPEED]
BY_NAME = pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)


@BY_NAME
def test_more_advantage_is_better(metric):
    better, worse = (0.5, 0.25) if metric.higher_is_better else (0.25, 0.5)
    assert metric.advantage(better, worse) > 0
    assert metric.advantage(worse, better) == -metric.advantage(better, worse)
    assert metric.advantage(0.5, 0.5) == 0


@pytest.mark.parametrize(
    "metric, one, other, advantage, told, formula",
    [
        (ACCURACY, 0.5, 0.25, 0.25, "+25.00 pp", "a - b"),
        (PERPLEXITY, 4.0, 8.0, math.log(2), "+100.00 %", "b / a - 1"),
        (PERPLEXITY, 8.0, 4.0, -math.log(2), "-50.00 %", "b / a - 1"),
        (REWARD, 10.0, 12.5, -2.5, "-2.50", "a - b"),
        (COST, 10.0, 12.5, 2.5, "+2.50", "b - a"),
        (SPEED, 3.0, 2.0, math.log(1.5), "+50.00 %", "a / b - 1"),
    ],
)
def test_advantages_by_hand(metric, one, other, advantage, told, formula):
    found = metric.advantage(one, other)
    assert found == pytest.approx(advantage, abs=1e-12)
    assert metric.signed(found) == told
    assert metric.comparison("a", "b") == formula


@BY_NAME
def test_a_network_worse_by_the_margin_is_at_the_threshold(metric):
    dense = 20.0
    worse = dense * (1 + metric.margin) if metric.ratio else (
        dense + metric.margin
    )
    if metric.higher_is_better:
        worse = 2 * dense - worse if not metric.ratio else (
            dense / (1 + metric.margin)
        )
    assert metric.advantage(worse, dense) == pytest.approx(
        metric.threshold(metric.margin)
    )


def test_what_is_no_positive_number_has_no_ratio():
    assert math.isnan(PERPLEXITY.advantage(0.0, 1.0))
    assert math.isnan(PERPLEXITY.advantage(1.0, -1.0))
    assert math.isnan(PERPLEXITY.advantage(math.inf, math.inf))
    assert math.isnan(ACCURACY.advantage(math.nan, 0.5))


def test_names_and_values_for_people():
    assert ACCURACY.axis == "test accuracy (%)"
    assert COST.axis == "test total cost"
    assert (COST.column("val"), COST.test) == (
        "val_total_cost", "test_total_cost",
    )
    assert COST.early_stop == "early_stop_test_total_cost"
    assert (ACCURACY.text(0.5), REWARD.text(-3.25)) == ("50.00 %", "-3.25")


def test_small_values_have_digits():
    assert (COST.text(0.001234), COST.text(-0.05)) == ("0.00123", "-0.05")
    assert (COST.text(0.0), COST.text(0.1)) == ("0.00", "0.100")
    assert (COST.signed(0.00056), COST.signed(-2.0)) == ("+0.00056", "-2.00")
    # Units have a size of their own.
    assert (ACCURACY.signed(2e-5), SPEED.signed(2e-5)) == (
        "+0.00 pp", "+0.00 %",
    )
    assert (SPEED.text(0.001), ACCURACY.text(0.00001)) == ("0.001", "0.00 %")
    assert (COST.text(math.nan), COST.text(math.inf)) == ("nan", "inf")


@BY_NAME
def test_json_gives_it_back(metric):
    assert Metric.from_json(json.loads(json.dumps(metric.to_json()))) == metric


def test_tickets_have_it_without_a_margin():
    told = identity({"metric": PERPLEXITY.to_json()})["metric"]
    assert told["margin"] is None
    assert Metric.from_json(told) == Metric(
        "perplexity", higher_is_better=False, ratio=True
    )


def test_runs_without_one_are_judged_by_accuracy():
    assert Metric.from_json(None) is ACCURACY


def test_no_name_makes_a_column_of_something_else():
    others = {
        column for column in report.COLUMNS if "accuracy" not in column
    } | {"step", "split"}
    for column in others:
        name = column
        for split in ("train_", "val_", "test_", "early_stop_test_"):
            name = name.removeprefix(split)
        if name != column or name in ("step", "split"):
            with pytest.raises(ValueError, match="another one than"):
                Metric(name)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "two words"}, "`name` must be an ASCII identifier"),
        ({"name": "gr\u00f6\u00dfe"}, "`name` must be an ASCII identifier"),
        ({"name": 3}, "`name` must be an ASCII identifier"),
        ({"name": "loss"}, "another one than 'loss'"),
        ({"name": "a", "margin": -0.1}, "`margin` must be a number from 0"),
        ({"name": "a", "margin": math.nan}, "`margin` must be a number"),
        ({"name": "a", "margin": math.inf}, "`margin` must be a number"),
        (
            {"name": "a", "percent": True, "margin": 1.5},
            "`margin` must be a number from 0 to 1",
        ),
        ({"name": "a", "percent": True, "ratio": True}, "`ratio` must be"),
        ("reward", "`metric` must have the entries of a Metric"),
        ({"nmae": "a"}, "`metric` must have the entries of a Metric"),
    ],
)
def test_what_is_no_metric_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Metric.from_json(arguments)


@pytest.mark.parametrize("name", ["higher_is_better", "percent", "ratio"])
def test_a_direction_is_true_or_false(name):
    # "no" is true to Python, and tickets would be judged the wrong way.
    with pytest.raises(TypeError, match=f"`{name}` must be True or False"):
        Metric("cost", **{name: "no"})


def test_a_margin_is_a_number():
    with pytest.raises(ValueError, match="`margin` must .* margin='5%'"):
        Metric("cost", margin="5%")
    # config.json has it.
    assert type(Metric("cost", margin=np.float32(5)).margin) is float

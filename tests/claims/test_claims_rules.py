"""Whether runs agree with a claim, by hand."""

import math
import pathlib
import types

import numpy as np
import pytest

from tf_lottery import Mask
from tf_lottery import Ticket
from tf_lottery.claims import POINTS
from tf_lottery.claims import RATIO
from tf_lottery.claims import Claim
from tf_lottery.claims import Part
from tf_lottery.claims import Sample
from tf_lottery.claims import judge
from tf_lottery.claims.measures import Network
from tf_lottery.claims.measures import better
from tf_lottery.claims.measures import moved
from tf_lottery.claims.measures import outward
from tf_lottery.claims.measures import reaches
from tf_lottery.claims.measures import sooner
from tf_lottery.page import Run
from tf_lottery.results import Results


def part(values, low=-math.inf, high=math.inf, floor=0.0):
    sample = Sample(dict(enumerate(values)), floor)
    return Part("a part", lambda runs: sample, POINTS, low, high)


def agreement(*parts, every=True):
    return judge(Claim("a claim", "so much", parts, every), {}).agreement


# Three values of mean 2 and standard deviation 1: one-sided bounds are
# 2 -+ 2.920 / sqrt(3) = 0.314 and 3.686.
SPREAD = (1.0, 2.0, 3.0)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"low": 0.31}, "agrees"),
        ({"low": 0.32}, "undecided"),
        ({"low": 3.68}, "undecided"),
        ({"low": 3.69}, "disagrees"),
        ({"high": 3.69}, "agrees"),
        ({"high": 0.32}, "undecided"),
        ({"high": 0.31}, "disagrees"),
        ({"low": 0.31, "high": 3.69}, "agrees"),
        ({"low": 0.31, "high": 3.68}, "undecided"),
        # Of two bounds either may be left: p is doubled.
        ({"low": 3.69, "high": 9.0}, "undecided"),
        ({"low": 4.50, "high": 9.0}, "disagrees"),
    ],
)
def test_a_part_is_held_against_its_bounds(bounds, expected):
    assert agreement(part(SPREAD, **bounds)) == expected


def test_every_part_must_hold_and_one_that_fails_is_enough():
    good, bad = part(SPREAD, low=0.31), part(SPREAD, high=0.31)
    far = part(SPREAD, high=-9)
    assert agreement(good, good) == "agrees"
    # p = 0.0498, twice.
    assert agreement(good, bad) == "undecided"
    assert agreement(good, far) == "disagrees"


def test_some_part_must_hold_or_all_must_fail():
    good, bad = part(SPREAD, low=0.31), part(SPREAD, high=0.31)
    far = part(SPREAD, low=-9)
    assert agreement(good, bad, every=False) == "undecided"
    assert agreement(far, bad, every=False) == "agrees"
    assert agreement(bad, bad, every=False) == "disagrees"


@pytest.mark.parametrize("every", [True, False])
def test_what_the_data_cannot_decide(every):
    assert agreement(part([]), every=every) == "not run"
    assert agreement(part([5.0], low=0), every=every) == "undecided"
    # Equal values prove nothing without a least spread.
    assert agreement(part([5.0, 5.0], low=0), every=every) == "undecided"
    told = agreement(part([5.0, 5.0], low=0, floor=0.1), every=every)
    assert told == "agrees"


def test_a_part_that_was_not_run():
    good, none = part(SPREAD, low=0), part([], low=0)
    assert agreement(good, none) == "undecided"
    assert agreement(part(SPREAD, low=9), none) == "disagrees"
    assert agreement(part(SPREAD, low=-9), none, every=False) == "agrees"
    assert agreement(part(SPREAD, low=9), none, every=False) == "undecided"


@pytest.mark.parametrize("every", [True, False])
def test_at_most_one_claim_in_twenty_is_wrongly_judged(every):
    """At the bounds themselves, where an error is likeliest."""
    rng = np.random.default_rng(0)
    told = {"agrees": 0, "disagrees": 0, "undecided": 0}
    for values in rng.normal(size=(2000, 3, 4)):
        told[agreement(*(part(v, low=0) for v in values), every=every)] += 1
    # Of 2,000 at 5 % it is 100, and 129 with three standard deviations.
    assert max(told["agrees"], told["disagrees"]) < 129
    assert min(told["agrees"] + told["disagrees"], 2000) > 20


def row(replicate, level, density, branch="main", **values):
    return {
        "replicate": replicate, "branch": branch, "level": level,
        "density": density, "early_stop_censored": False, **values,
    }


def run_of(*rows):
    return {"a": types.SimpleNamespace(rows=list(rows))}


def test_a_network_is_the_level_of_its_density():
    runs = run_of(
        row(0, 0, 1.0), row(0, 7, 0.21089), row(0, 8, 0.1687),
        row(0, 7, 0.21089, "reinit"), row(1, 7, 0.2), row(1, 8, 0.2151),
    )

    def level(*names):
        found = Network("a", *names).rows(runs)
        return {k: v["level"] for k, v in found.items()}

    assert level() == {0: 0}
    # Of the second replicate level 7 is more than 5 % off.
    assert level(21.1) == {0: 7, 1: 8}
    assert level(21.1, "reinit") == {0: 7}
    assert level(18.5) == {}
    assert str(Network("a", 21.1, "reinit")) == "a reinit 21.1 %"


def test_accuracies_are_compared_within_replicates():
    name = "early_stop_test_accuracy"
    runs = run_of(
        row(0, 0, 1.0, **{name: 0.97}), row(0, 1, 0.5, **{name: 0.99}),
        row(1, 0, 1.0, **{name: 0.95}), row(1, 1, 0.5, **{name: 0.94}),
        row(2, 1, 0.5, **{name: 0.90}), row(3, 0, 1.0, **{name: 0.90}),
        row(4, 0, 1.0, **{name: math.nan}), row(4, 1, 0.5, **{name: 0.9}),
    )
    found = better(Network("a", 50), Network("a"), low=0.01)
    sample = found.measure(runs)
    assert sample.values == pytest.approx({0: 0.02, 1: -0.01})
    assert sample.floor == pytest.approx(0.01) and sample.left_out == 1
    assert (found.label, found.unit, found.low) == ("a 50 %", POINTS, 0.01)


def test_early_stops_are_compared_as_ratios():
    def stop(replicate, level, density, step, censored=False):
        return {
            **row(replicate, level, density), "early_stop_step": step,
            "early_stop_censored": censored,
        }

    runs = run_of(
        stop(0, 0, 1.0, 800), stop(0, 1, 0.5, 400),
        stop(1, 0, 1.0, 900, censored=True), stop(1, 1, 0.5, 300),
    )
    found = sooner(Network("a", 50), Network("a"), high=0.5)
    sample = found.measure(runs)
    assert sample.values == pytest.approx({0: math.log(0.5)})
    assert sample.left_out == 1 and sample.floor == 100 / 400
    assert (found.unit, found.low, found.high) == (
        RATIO, -math.inf, pytest.approx(math.log(0.5))
    )


def test_training_accuracy_is_held_against_a_number():
    runs = run_of(*(
        row(k, 0, 1.0, train_accuracy=x) for k, x in enumerate((0.998, 0.999))
    ))
    sample = reaches(Network("a"), low=0.995).measure(runs)
    assert sample.values == {0: 0.998, 1: 0.999}
    assert sample.floor == pytest.approx(0.001)


KEEP = [True, True, True, False, False, False]
# Kept: 2, 1, 0.5 far, of which the first grows alone; the others 1, 0.25, 0.
INITIAL = [1.0, -1.0, 0.5, 0.5, -0.5, 0.25]
TRAINED = [3.0, 0.0, 0.0, 1.5, -0.25, 0.25]


def as_kernels(values, kind="float32"):
    return {"k": np.array(values, kind), "l": np.array(values[::-1], kind)}


@pytest.fixture
def tickets(tmp_path):
    """`tickets(trained, keep)`: a run with one replicate of each."""

    def make(*replicates):
        rows = []
        for n, (trained, keep) in enumerate(replicates):
            for level, kept in ((0, [True] * len(keep)), (2, keep)):
                mask = Mask(as_kernels(kept, bool))
                weights = [
                    {k: np.where(mask[k], v, 0) for k, v in part.items()}
                    for part in map(as_kernels, (INITIAL, trained))
                ]
                Ticket(mask, *weights, level).save(
                    tmp_path / f"replicate_{n}/main/level_{level:02}/ticket"
                )
                rows.append(row(n, level, 0.5 if level else 1.0))
        results = Results(rows, str(tmp_path))
        return {"a": Run(str(tmp_path), "a", {}, results)}

    return make


def test_how_far_and_where_to_weights_move(tickets):
    runs = tickets((TRAINED, KEEP))
    far = moved("a", 50, "k").measure(runs)
    assert math.exp(far.values[0]) == pytest.approx(3.5 / 1.25)
    share = outward("a", 50, "k").measure(runs)
    assert share.values == {0: pytest.approx(1 / 3)}
    assert far.left_out == share.left_out == 0


def test_weights_that_are_no_numbers_are_left_out(tickets):
    """As everywhere else: they do not make the whole value one."""
    trained = [math.inf, *TRAINED[1:4], math.nan, TRAINED[5]]
    runs = tickets((trained, KEEP))
    (far,) = moved("a", 50, "k").measure(runs).values.values()
    assert math.exp(far) == pytest.approx((1.5 / 2) / (1 / 2))
    assert outward("a", 50, "k").measure(runs).values == {0: 0.0}


def test_replicates_without_a_value_are_counted(tickets):
    runs = tickets(
        # None of those that are kept has moved; none of the others.
        ([*INITIAL[:3], *TRAINED[3:]], KEEP),
        ([*TRAINED[:3], *INITIAL[3:]], KEEP),
        (TRAINED, [False] * 6),
        (TRAINED, KEEP),
    )
    far = moved("a", 50, "k").measure(runs)
    assert (list(far.values), far.left_out) == ([3], 3)
    share = outward("a", 50, "k").measure(runs)
    assert (list(share.values), share.left_out) == ([0, 1, 3], 1)


@pytest.mark.parametrize("level", [0, 2])
def test_a_damaged_ticket_leaves_its_replicate_out(tickets, level):
    runs = tickets((TRAINED, KEEP), (TRAINED, KEEP))
    folder = pathlib.Path(runs["a"].path) / "replicate_0/main"
    (folder / f"level_0{level}/ticket/ticket.json").write_text("{")
    claim = Claim("a claim", "far", [moved("a", 50, k) for k in "kl"])
    outcome = judge(claim, runs)
    assert [(list(s.values), s.left_out) for s in outcome.samples] == [
        ([1], 1)
    ] * 2
    assert outcome.agreement == "undecided"


def test_a_ticket_is_read_once_for_all_kernels(tickets, monkeypatch):
    runs, read = tickets((TRAINED, KEEP), (TRAINED, KEEP)), []
    load = Run.ticket
    monkeypatch.setattr(
        Run, "ticket", lambda run, key: read.append(key) or load(run, key)
    )
    for kernel in "kl":
        for make in (moved, outward):
            assert len(make("a", 50, kernel).measure(runs).values) == 2
    assert len(read) == len(set(read)) == 4

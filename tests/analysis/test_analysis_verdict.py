"""The verdict on made-up runs, against rules worked out by hand."""

import csv
import inspect
import io
import math

import pytest

from tf_lottery import Config
from tf_lottery.metric import ACCURACY
from tf_lottery.analysis import VERDICT_COLUMNS, judge

DENSITY = {0: 1.0, 1: 0.5, 2: 0.2, 3: 0.1}
# In steps of 1 / 1000, with a sum of zero and a standard deviation of 1.
SPREAD = (-1, 0, 1)


def rows_of(branch, level, accuracies, steps=None, censored=()):
    steps = steps or [1000] * len(accuracies)
    return [
        {
            "replicate": i, "branch": branch, "level": level,
            "density": DENSITY[level], "test_accuracy": accuracy,
            "early_stop_step": steps[i], "early_stop_censored": i in censored,
        }
        for i, accuracy in enumerate(accuracies)
        if accuracy is not None
    ]


def around(mean, spread=SPREAD, unit=0.001):
    return [mean + unit * value for value in spread]


def dense(count=3):
    return rows_of("main", 0, [0.95] * count)


def one(found, level=2):
    (found,) = (v for v in found.levels if v.level == level)
    return found


# t(0.95, 2) / sqrt(3) = 1.686, so a bound is 0.17 pp from a mean of sd 0.1.
@pytest.mark.parametrize(
    ("gain", "verdict"),
    [
        (0.0, "matching"), (-0.0003, "matching"), (-0.0004, "undecided"),
        (-0.0036, "undecided"), (-0.0037, "no ticket"), (-0.02, "no ticket"),
    ],
)
def test_matching_and_no_ticket_by_hand(gain, verdict):
    found = judge([*dense(), *rows_of("main", 2, around(0.95 + gain))])
    level = found.primary
    assert (level.level, level.verdict) == (2, verdict)
    paired = level.comparisons["dense"].paired
    assert paired.lower == pytest.approx(gain - 0.001686, abs=1e-6)
    assert paired.upper == pytest.approx(gain + 0.001686, abs=1e-6)


@pytest.mark.parametrize(
    ("reinit", "verdict"),
    [(0.0018, "winning"), (0.0016, "matching"), (-0.01, "matching")],
)
def test_winning_is_matching_and_above_reinit(reinit, verdict):
    rows = [
        *dense(), *rows_of("main", 2, around(0.96)),
        # The difference has the spread: the control's own is not looked at.
        *rows_of("reinit", 2, [0.96 - reinit] * 3),
    ]
    level = one(judge(rows))
    assert level.verdict == verdict
    assert level.shown("reinit") is (verdict == "winning")
    assert level.shown("shuffle_mask") is None


def test_above_reinit_and_below_dense_is_no_ticket():
    rows = [
        *dense(), *rows_of("main", 2, around(0.90)),
        *rows_of("reinit", 2, [0.8] * 3),
    ]
    level = one(judge(rows))
    assert level.verdict == "no ticket" and level.shown("reinit")


def test_the_pairs_and_not_the_means_decide():
    # Replicates differ by 5 pp, within each the ticket gains 0.3 or 0.4.
    base = [0.85, 0.90, 0.95]
    rows = [
        *rows_of("main", 0, base),
        *rows_of("main", 2, [0.853, 0.904, 0.953]),
        *rows_of("reinit", 2, [0.851, 0.901, 0.951]),
    ]
    assert one(judge(rows)).verdict == "winning"
    # The same means of other pairs.
    rows[3:6] = rows_of("main", 2, [0.953, 0.904, 0.853])
    assert one(judge(rows)).verdict == "undecided"


def test_structure_matters_or_is_not_shown():
    rows = [
        *dense(), *rows_of("main", 2, around(0.95)),
        *rows_of("shuffle_mask", 2, [0.94] * 3),
        *rows_of("random_mask", 2, [0.9495] * 3),
    ]
    found = judge(rows)
    level = found.primary
    assert level.shown("shuffle_mask") is True
    assert level.shown("random_mask") is False
    text = found.text()
    assert "shuffle_mask +1.00 pp (at least +0.83): the structure" in text
    assert "random_mask +0.05 pp (at least -0.12), not shown to be" in text
    assert "No reinit control has finished here" in text


def test_one_replicate_decides_nothing():
    rows = [
        *dense(1), *rows_of("main", 2, [0.99]), *rows_of("main", 3, [0.1]),
        *rows_of("reinit", 2, [0.5]),
    ]
    found = judge(rows)
    assert [v.verdict for v in found.levels] == ["undecided"] * 2
    assert found.primary.more_replicates is None
    assert found.headline == (
        "Verdict: undecided at level 2, 20.0 % of the weights, with one "
        "replicate."
    )
    assert "One replicate has no spread, so nothing is decided" in found.text()
    assert "shown" not in found.text().replace("not shown", "")


def test_replicates_that_agree_to_the_last_image_prove_nothing():
    rows = [*dense(2), *rows_of("main", 2, [0.96] * 2)]
    # A step of 1 pp: the bound is 6.314 / sqrt(2) of it away.
    found = judge(rows)
    assert found.step == pytest.approx(0.01)
    assert found.primary.verdict == "undecided"
    assert found.primary.comparisons["dense"].paired.sd == found.step
    assert "vary by no more than a step of accuracy, 1.00 pp" in found.text()
    # With a finer test set, which other networks show, it does decide.
    finer = rows_of("main", 3, [0.5, 0.5001])
    assert judge([*rows, *finer]).primary.verdict == "matching"
    # All networks alike: no step is known.
    found = judge([*dense(3), *rows_of("main", 2, [0.95] * 3)])
    level = found.primary
    assert level.verdict == "undecided" and level.more_replicates is None
    assert level.comparisons["dense"].paired.lower is None


def test_unpaired_replicates_are_left_out_and_said():
    rows = [
        *dense(4), *rows_of("main", 2, [*around(0.96), None]),
        *rows_of("reinit", 2, [0.9, None, 0.9, 0.9]),
        *rows_of("main", 3, [None, None, None, None, 0.96]),
    ]
    found = judge(rows)
    assert [v.level for v in found.levels] == [2]
    comparisons = found.primary.comparisons
    assert comparisons["dense"].paired.pairs == 3
    assert comparisons["dense"].left_out == 1
    assert comparisons["reinit"].paired.pairs == 2
    assert comparisons["reinit"].left_out == 2
    assert "Over 3 replicates" in found.text()
    assert "Left out, as not paired: 1." in found.text()
    assert "2 pairs" in found.text()


def test_what_is_no_number_is_left_out():
    rows = [*dense(4), *rows_of("main", 2, [*around(0.96), math.nan])]
    level = one(judge(rows))
    assert level.verdict == "matching"
    assert level.comparisons["dense"].left_out == 1
    flat = judge(rows).rows()[0]
    assert not any(v != v for v in flat.values())


def test_the_primary_level_is_the_nearest_density():
    rows = [
        *dense(),
        *(r for n in (1, 2, 3) for r in rows_of("main", n, around(0.96))),
    ]
    nearest = {
        d: judge(rows, density=d).primary.level
        for d in (0.2, 0.0, 1.0, 0.34, 0.36, 0.15)
    }
    # Of two as near, the denser.
    assert nearest == {0.2: 2, 0.0: 3, 1.0: 1, 0.34: 2, 0.36: 1, 0.15: 2}
    assert "--verdict_density=0.34" in judge(rows, density=0.34).text()
    # Where there are reinit controls, of the levels that have one.
    rows += rows_of("reinit", 1, [0.9] * 3)
    found = judge(rows)
    assert found.primary.level == 1
    assert "Of the levels with a reinit control" in found.text()


def test_other_levels_are_corrected_by_holm():
    rows = [
        *dense(), *rows_of("main", 2, around(0.9500)),
        *rows_of("main", 1, around(0.9500)),
        *rows_of("main", 3, around(0.9515)),
    ]
    found = judge(rows)
    raw = {
        v.level: v.comparisons["dense"].paired.p_above(-0.002)
        for v in found.levels
    }
    # t = 0.2 sqrt(3) / 0.1 = 3.46, and 6.06.
    assert raw[1] == raw[2] == pytest.approx(0.0371, abs=1e-4)
    assert raw[3] == pytest.approx(0.0131, abs=1e-4)
    used = {v.level: v.comparisons["dense"].p_above for v in found.levels}
    assert used == pytest.approx({1: raw[1], 2: raw[2], 3: 2 * raw[3]})
    assert [v.verdict for v in found.levels] == ["matching"] * 3
    # A second that is weak costs the other its claim.
    rows[-3:] = rows_of("main", 3, around(0.9502))
    found = judge(rows)
    assert one(found, 3).verdict == one(found, 1).verdict == "undecided"
    assert found.primary.verdict == "matching"
    assert "(Holm): all undecided." in found.text()


def test_early_stopping_by_hand():
    rows = [
        *rows_of("main", 0, [0.95] * 3, [1000, 2000, 4000]),
        *rows_of("main", 2, around(0.95), [500, 1000, 1500]),
    ]
    found = judge(rows)
    stop = found.primary.comparisons["early_stop"]
    # log 1/2 twice, and log 3/8.
    assert math.exp(stop.paired.mean) == pytest.approx((3 / 32) ** (1 / 3))
    # Observed 0.17; a step of 500 steps between evaluations, in 500, is 1.
    assert stop.paired.sd == 1.0 and not stop.below
    assert "0.45 times dense's step (at most 2.45), not shown" in found.text()
    # Evaluated more often.
    finer = rows_of("reinit", 3, [0.9], [499])
    found = judge([*rows, *finer])
    stop = found.primary.comparisons["early_stop"]
    assert stop.paired.sd == pytest.approx(math.log(4 / 3) / math.sqrt(3))
    assert stop.below and "sooner" in found.text()
    assert "not shown to be sooner" not in found.text()


def test_censored_minima_are_left_out_and_counted():
    rows = [
        *rows_of("main", 0, [0.95] * 4, [1000, 3000, 1000, 0], censored=[1]),
        *rows_of("main", 2, around(0.95, (-1, 0, 1, 0)),
                 [500, 600, 3000, 500], censored=[2]),
    ]
    found = judge(rows)
    stop = found.primary.comparisons["early_stop"]
    # Replicates 1 and 2 are censored, and 0 has no logarithm.
    assert (stop.paired.pairs, stop.left_out) == (1, 3)
    assert stop.paired.mean == pytest.approx(math.log(0.5))
    assert stop.paired.lower is None and not stop.below
    assert "3 of 4 pairs left out" in found.text()
    rows[0]["early_stop_censored"] = True
    assert "Early stopping can not be compared: 4 of 4" in judge(rows).text()


def test_how_many_more_replicates():
    rows = [*dense(), *rows_of("main", 2, around(0.9490))]
    found = judge(rows)
    # 0.1 above the margin at sd 0.1: 2.353 / 2 > 1 > 2.132 / sqrt(5).
    assert found.primary.more_replicates == 2
    assert (
        "Should means and spread stay as they are, 2 more replicates would "
        "decide it (--replicates=5)."
    ) in found.text()
    rows[3:] = rows_of("main", 2, around(0.9480))
    found = judge(rows)
    assert found.primary.more_replicates == math.inf
    assert "it takes more than 100 more replicates to decide it." in (
        found.text()
    )
    rows[3:] = rows_of("main", 2, around(0.96))
    rows += rows_of("reinit", 2, [0.959] * 3)
    assert "2 more replicates would decide whether it is winning" in (
        judge(rows).text()
    )
    # The control is above: more of it would show nothing.
    rows[-3:] = rows_of("reinit", 2, [0.961] * 3)
    assert judge(rows).primary.more_replicates is None


def test_levels_that_share_an_error_need_more_replicates():
    rows = [
        *dense(),
        *(row for n in (1, 2, 3) for row in rows_of("main", n, around(0.949))),
    ]
    found = judge(rows)
    assert found.primary.more_replicates == 2
    # Half of 5 % for each of two: 2.571 / sqrt(6) > 1 > 2.447 / sqrt(7).
    assert one(found, 1).more_replicates == one(found, 3).more_replicates == 4


def full():
    return [
        *dense(), *rows_of("main", 2, around(0.96)),
        *rows_of("reinit", 2, [0.9] * 3), *rows_of("rewound", 2, around(0.93)),
    ]


@pytest.mark.parametrize("method", ["edge_popup", "supermask", "perturbed"])
def test_tickets_that_are_not_trained_match_at_most(method):
    found = judge(full(), method=method)
    assert found.tickets == "main" and not found.trained_alone
    assert found.primary.verdict == "matching"
    assert set(found.primary.comparisons) == {"dense"}
    assert "none is called winning" in found.text()
    assert "--branches=reinit" not in found.text()


@pytest.mark.parametrize("retrain", ["lr_rewind", "fine_tune"])
def test_networks_that_are_not_rewound_match_at_most(retrain):
    found = judge(full(), retrain=retrain)
    assert found.primary.verdict == "matching" and not found.trained_alone


def test_what_was_reset_is_judged_in_its_stead():
    for how in ({"retrain": "continue"}, {"method": "gradual"}):
        found = judge(full(), **how)
        assert found.tickets == "rewound" and found.trained_alone
        assert found.primary.verdict == "no ticket"
        assert found.primary.shown("reinit")
    without = full()[:9]
    assert judge(without, retrain="continue").levels == ()
    found = judge(without, method="gradual")
    assert found.tickets == "main" and found.primary.verdict == "matching"


def test_nothing_to_judge():
    for rows in ([], dense(), rows_of("main", 2, around(0.9))):
        found = judge(rows)
        assert found.levels == () and found.primary is None
        assert found.rows() == []
        assert found.text() == found.headline == (
            "Verdict: none, as no ticket and its dense network have finished."
        )


def test_other_branches_and_the_order_do_not_matter():
    rows = full()
    more = [*rows, *rows_of("mine", 2, [0.1] * 3)[:2],
            *rows_of("constant_sign", 2, [0.97] * 3)]
    assert judge(more[::-1]).rows() == judge(rows).rows()
    assert judge(iter(rows)).primary.verdict == "winning"


def test_rows_are_plain_and_the_same_at_each_level():
    rows = [*full(), *rows_of("main", 3, around(0.5))]
    flat = judge(rows).rows()
    assert tuple(flat[0]) == tuple(flat[1]) == VERDICT_COLUMNS
    assert [r["verdict"] for r in flat] == ["winning", "no ticket"]
    assert [r["primary"] for r in flat] == [True, False]
    assert flat[0]["dense_difference"] == pytest.approx(0.01)
    assert flat[0]["reinit_lower"] == pytest.approx(0.058314, abs=1e-5)
    assert flat[0]["early_stop_ratio"] == 1.0
    assert flat[1]["reinit_pairs"] == 0 and flat[1]["reinit_lower"] is None
    text = io.StringIO()
    writer = csv.DictWriter(text, flat[0])
    writer.writerows(flat)
    assert "nan" not in text.getvalue()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"density": 1.5}, r"`density` must be a fraction in \[0, 1\]\. Rec"),
        ({"density": math.nan}, "`density` must be a fraction"),
        ({"margin": -0.1}, "`margin` must be a number from 0 to 1"),
        ({"margin": 2}, r"margin=2\. It says how much worse does not matter"),
    ],
)
def test_what_is_no_fraction_is_refused(how, message):
    with pytest.raises(ValueError, match=message):
        judge(full(), **how)


def test_the_defaults_are_those_of_the_flags():
    default = inspect.signature(judge).parameters
    assert default["density"].default == Config().verdict_density
    assert default["margin"].default == Config().verdict_margin
    assert judge(full()).margin == ACCURACY.margin


def test_a_row_twice_is_refused():
    with pytest.raises(ValueError, match="replicate 0 main level 0 twice"):
        judge([*dense(), *dense()])

"""Statistics, terminal table and sentence, against values done by hand."""

import re

import pytest

from tf_lottery.metric import density_percent
from tf_lottery.report import (
    finding,
    summarize,
    text_table,
)
from tf_lottery.report.summary import branch_order, median_step

# Kept of 1000 weights at each level.
KEPT = {0: 1000, 1: 800, 2: 640, 3: 512, 4: 410}


def row(level, accuracy, step=1000, *, replicate=0, branch="main",
        censored=False, early=0.5):
    kept = KEPT[level]
    return {
        "replicate": replicate, "branch": branch, "level": level,
        "density": kept / 1000, "sparsity": 1 - kept / 1000,
        "kept_weights": kept, "prunable_weights": 1000,
        "test_accuracy": accuracy, "test_loss": 0.1, "val_accuracy": 0.9,
        "val_loss": 0.1, "train_accuracy": 1.0, "early_stop_step": step,
        "early_stop_test_accuracy": early, "early_stop_censored": censored,
        "train_steps": 3000, "train_seconds": 1.0,
    }


def replicates(level, accuracies, steps=(1000, 1000, 1000), **options):
    return [
        row(level, accuracy, step, replicate=index, **options)
        for index, (accuracy, step) in enumerate(zip(accuracies, steps))
    ]


def test_density_percent():
    assert [density_percent(d) for d in (1.0, 0.13493, 0.01, 0.00456)] == [
        "100.0", "13.5", "1.0", "0.46",
    ]


def test_summarize_by_hand():
    rows = replicates(2, (0.25, 0.5, 0.75), (100, 400, 200))
    rows[1]["early_stop_censored"] = True
    for one, early in zip(rows, (0.125, 0.25, 0.375)):
        one["early_stop_test_accuracy"] = early
    assert summarize(rows) == [{
        "branch": "main", "level": 2, "density": 0.64, "kept_weights": 640,
        "prunable_weights": 1000, "replicates": 3,
        "test_accuracy_mean": 0.5, "test_accuracy_min": 0.25,
        "test_accuracy_max": 0.75, "early_stop_test_accuracy_mean": 0.25,
        "early_stop_test_accuracy_min": 0.125,
        "early_stop_test_accuracy_max": 0.375,
        "early_stop_step_median": 200.0, "early_stop_step_min": 100,
        "early_stop_step_max": 400, "early_stop_censored": 1,
        "early_stop_is_bound": False,
    }]


def test_summarize_order_and_missing_rows():
    rows = [
        row(1, 0.5, branch="reinit"), row(1, 0.5, branch="a"),
        row(2, 0.5), row(0, 0.5), row(0, 0.7, replicate=1),
    ]
    assert [
        (e["branch"], e["level"], e["replicates"]) for e in summarize(rows)
    ] == [("main", 0, 2), ("main", 2, 1), ("a", 1, 1), ("reinit", 1, 1)]
    assert branch_order("main") < branch_order("a") < branch_order("b")


@pytest.mark.parametrize(
    ("steps", "censored", "expected"),
    [
        ((100, 300, 200), (0, 0, 0), (200.0, False)),
        ((100, 300, 300), (0, 1, 1), (300.0, True)),
        ((100, 200, 300), (0, 0, 1), (200.0, False)),
        # Of two, the mean: the censored one moves it.
        ((100, 300), (0, 1), (200.0, True)),
        ((300,), (1,), (300.0, True)),
    ],
)
def test_median_step(steps, censored, expected):
    rows = [
        row(0, 0.5, step, censored=bool(flag))
        for step, flag in zip(steps, censored)
    ]
    assert median_step(rows) == expected


def test_table_one_replicate_exact():
    rows = [
        row(0, 0.9812, 1500), row(1, 0.98, 3000, censored=True),
        row(1, 0.97, branch="reinit"), row(2, 0.9, 900),
    ]
    assert text_table(rows).splitlines() == [
        "level  weights %  kept weights  test accuracy %  early stop step"
        "  reinit",
        "-" * 72,
        "    0      100.0         1,000  98.12                      1,500",
        "    1       80.0           800  98.00                   >= 3,000"
        "   97.00",
        "    2       64.0           640  90.00                        900",
        ">= : validation loss was still falling at the last evaluation.",
    ]


def test_table_replicates_show_range_and_missing_ones():
    rows = [
        *replicates(0, (0.98, 0.97, 0.99)), *replicates(1, (0.98, 0.96)),
        row(2, 0.95), row(1, 0.9, branch="reinit"),
    ]
    lines = text_table(rows).splitlines()
    assert "98.00 (97.00-99.00)" in lines[2]
    assert "97.00 (96.00-98.00)" in lines[3]
    assert "95.00  " in lines[4] and "(" not in lines[4]
    assert lines[5:] == [
        "Only 2 of 3 replicates: main level 1.",
        "Only 1 of 3 replicates: main level 2.",
        "Only 1 of 3 replicates: reinit level 1.",
    ]


def test_table_level_of_a_control_alone():
    lines = text_table([row(1, 0.9, branch="reinit")]).splitlines()
    assert re.fullmatch(r" +1 +80\.0 +800 +90\.00", lines[2])


def test_table_fits_100_columns_with_the_longest_controls():
    rows = [
        one
        for branch in ("main", "random_uniform", "shuffle_mask_2")
        for level in (0, 1, 2)
        for one in replicates(
            level, (0.98, 0.97, 0.99), (30000, 40000, 50000), branch=branch,
            censored=True,
        )
    ]
    for one in rows:
        one["kept_weights"] *= 12345
    lines = text_table(rows).splitlines()
    assert max(map(len, lines)) == 100
    assert all(line.isascii() and line.isprintable() for line in lines)


def test_table_of_nothing():
    assert text_table([]) == "Nothing finished yet."


def test_finding_winner_with_reinit_in_full():
    rows = [
        *replicates(0, (0.98, 0.981, 0.982), (1500, 1500, 1500)),
        *replicates(1, (0.982, 0.983, 0.984)),
        *replicates(2, (0.983, 0.983, 0.983), (1000, 1200, 1400)),
        *replicates(3, (0.97, 0.97, 0.97)),
        *replicates(2, (0.976, 0.976, 0.977), branch="reinit"),
    ]
    assert finding(rows) == (
        "By the means the sparsest level that reaches dense: level 2 keeps "
        "64.0 % of the weights (640 of 1,000) at test accuracy 98.30 %, dense "
        "98.10 % (+0.20 pp, mean of 3 replicates); the same mask with fresh "
        "weights (reinit) reaches 97.63 %. Its validation loss is lowest at "
        "step 1,200, dense at step 1,500 (1.25x sooner)."
    )


def test_finding_tie_counts_as_a_winner():
    # The same means from other replicates, in float32.
    import numpy as np

    rows = [
        *replicates(0, (0.97, 0.98, 0.99)),
        *replicates(1, [float(np.float32(a)) for a in (0.99, 0.97, 0.98)]),
        *replicates(2, (0.97, 0.98, 0.9899)),
    ]
    text = finding(rows)
    assert "reaches dense: level 1 keeps" in text
    assert "98.00 %, dense 98.00 % (equal, mean of 3 replicates)" in text


def test_finding_of_one_replicate():
    text = finding([row(0, 0.98), row(1, 0.98)])
    assert "(equal, one replicate)" in text
    assert text.endswith("dense at step 1,000 (the same).")


def test_finding_doubts():
    rows = [
        *replicates(0, (0.98, 0.98, 0.98)),
        *replicates(1, (0.97, 0.97, 0.97)),
        *replicates(2, (0.99, 0.99, 0.99)),
        *replicates(3, (0.979, 0.979, 0.99)),
    ]
    assert (
        "although 1 of the 2 denser levels falls below dense and 2 of 3 "
        "replicates are below dense here."
    ) in finding(rows)
    assert "although" not in finding(rows[:3] + rows[6:9])


def test_finding_none_gives_the_closest():
    rows = [row(0, 0.98), row(1, 0.95), row(2, 0.975), row(3, 0.90)]
    text = finding(rows)
    assert text.startswith(
        "By the means none of the 3 finished levels reaches dense; the "
        "closest, level 2 keeps 64.0 % of the weights "
        "(640 of 1,000) at test accuracy 97.50 %, dense 98.00 % (-0.50 pp, "
        "one replicate). "
    )


def test_finding_closest_of_ties_is_the_sparsest():
    rows = [row(0, 0.98), row(1, 0.97), row(3, 0.97), row(2, 0.97)]
    assert "the closest, level 3 keeps" in finding(rows)


def test_finding_only_one_level_falls_short():
    assert finding([row(0, 0.98), row(1, 0.97)]).startswith(
        "By the means the one finished level falls short of dense: level 1 "
        "keeps"
    )


def test_finding_half_finished_compares_the_same_replicates():
    # Against all dense networks (mean 97 %) level 1 would win.
    rows = [
        row(0, 0.98), row(0, 0.96, replicate=1), row(1, 0.975),
    ]
    text = finding(rows)
    assert text.startswith("By the means the one finished level falls short")
    assert "97.50 %, dense 98.00 % (-0.50 pp, only 1 of 2 replicates" in text


def test_finding_missing_levels():
    assert "reaches dense: level 4 keeps 41.0 %" in finding(
        [row(4, 0.99), row(0, 0.98)]
    )
    assert finding([row(0, 0.98), row(0, 0.96, replicate=1)]) == (
        "Only the dense network (level 0) has finished: test accuracy "
        "97.00 % (mean of 2 replicates); there is no ticket to compare with "
        "it yet."
    )
    assert finding([row(1, 0.98)]) == (
        "No dense network (level 0) has finished, so there is nothing to "
        "compare with yet."
    )
    # Level 1 is of a replicate whose dense network is missing.
    assert finding([row(0, 0.98), row(1, 0.99, replicate=1)]).startswith(
        "Only the dense network"
    )
    assert finding([]) == "Nothing finished yet."


@pytest.mark.parametrize("control", [0.99, 0.995])
def test_finding_control_as_good_as_the_ticket(control):
    rows = [row(0, 0.98), row(1, 0.99), row(1, control, branch="reinit")]
    assert (
        f"(reinit) reaches {100 * control:.2f} %, as good or better, so it "
        "explains the result as well."
    ) in finding(rows)


def test_finding_control_is_compared_on_its_own_replicates():
    # Below the ticket's mean (97 %), above the ticket of its replicate.
    rows = [
        *replicates(0, (0.90, 0.90)), *replicates(1, (0.96, 0.98)),
        row(1, 0.965, branch="reinit"),
    ]
    assert (
        "reaches 96.50 % (1 of 2 replicates), as good or better"
    ) in finding(rows)


def test_finding_the_ticket_is_no_control_of_itself():
    rows = [row(0, 0.98), row(1, 0.99), row(1, 0.8, branch="reinit"),
            row(1, 0.995, branch="reorder")]
    text = finding(rows)
    assert "(reinit) reaches 80.00 %" in text and "reorder" not in text


def test_finding_of_what_was_pruned_inside_a_training():
    rows = [row(0, 0.98), row(1, 0.99), row(1, 0.8, branch="reinit")]
    assert "reinit" not in finding(rows, method="gradual")
    rows.append(row(1, 0.985, branch="rewound"))
    text = finding(rows, method="gradual")
    assert text.startswith("Reset once, at the end: By the means")
    assert "98.50 %, dense 98.00 %" in text
    assert "(reinit) reaches 80.00 %." in text


def test_finding_controls_at_other_levels_are_not_quoted():
    rows = [row(0, 0.98), row(1, 0.99), row(2, 0.9),
            row(2, 0.8, branch="reinit")]
    assert "no control has finished at this level (--branch_levels" in finding(
        rows
    )
    # The verdict asks for some.
    assert "control" not in finding(rows[:3])


def test_finding_control_of_another_replicate_is_not_quoted():
    rows = [row(0, 0.98), row(1, 0.99),
            row(1, 0.8, branch="reinit", replicate=1)]
    assert "no control has finished at this level" in finding(rows)


def test_finding_several_controls_reinit_first():
    rows = [row(0, 0.98), row(1, 0.99), row(1, 0.8, branch="random_mask"),
            row(1, 0.9, branch="reinit"), row(1, 0.7, branch="mine")]
    assert (
        "(reinit) reaches 90.00 %; mine reaches 70.00 %; a random mask with "
        "fresh weights (random_mask) reaches 80.00 %."
    ) in finding(rows)


@pytest.mark.parametrize(
    ("ticket", "dense", "expected"),
    [
        ((1200, 0), (1500, 0), "dense at step 1,500 (1.25x sooner)"),
        ((1500, 0), (1500, 0), "dense at step 1,500 (the same)"),
        ((1600, 0), (1500, 0), "dense at step 1,500 (later than dense)"),
        ((1200, 0), (3000, 1),
         "dense was still falling at step 3,000 (at least 2.50x sooner)"),
        ((3000, 1), (1500, 0),
         "Its validation loss was still falling at step 3,000, dense is "
         "lowest at step 1,500 (later than dense)"),
        ((3000, 1), (3000, 1), "Early stopping can not be compared"),
        ((0, 0), (1500, 0), "lowest at step 0, dense at step 1,500."),
    ],
)
def test_finding_early_stop(ticket, dense, expected):
    rows = [
        row(0, 0.98, dense[0], censored=bool(dense[1])),
        row(1, 0.98, ticket[0], censored=bool(ticket[1])),
    ]
    assert expected in finding(rows)


def test_finding_is_one_line_whatever_the_order():
    rows = [*replicates(0, (0.98, 0.97)), *replicates(1, (0.98, 0.98)),
            *replicates(2, (0.97, 0.97))]
    assert finding(rows) == finding(rows[::-1])
    assert "\n" not in finding(rows)


def test_finding_after_continued_training_judges_what_was_reset():
    rows = [
        row(0, 0.95),
        row(1, 0.99),
        row(1, 0.90, branch="rewound"),
    ]
    text = finding(rows, "continue")
    assert text.startswith("Reset once, at the end: By the means the one")
    assert "falls short of dense" in text
    assert "90.00 %" in text and "99.00 %" not in text
    rows[2] = row(1, 0.96, branch="rewound")
    text = finding(rows, "continue")
    assert "level that reaches dense" in text and "rewound" not in text


@pytest.mark.parametrize("retrain", ["lr_rewind", "fine_tune"])
def test_finding_without_rewinding_speaks_of_no_ticket(retrain):
    rows = [row(0, 0.95), row(1, 0.99)]
    text = finding(rows, retrain)
    assert "icket" not in text
    assert "were not rewound" in text
    rows[1] = row(1, 0.90)
    text = finding(rows, retrain)
    assert "falls short of dense" in text and "icket" not in text

"""The cost table, exact."""

from tf_lottery.analysis import with_search_costs
from tf_lottery.report import text_table
from tf_lottery.report.costs import cost_lines


def row(level, replicate=0, **changes):
    kept = 1000 // 2**level
    return {
        "replicate": replicate, "branch": "main", "level": level,
        "density": kept / 1000, "kept_weights": kept,
        "prunable_weights": 1000, "test_accuracy": 0.5,
        "early_stop_test_accuracy": 0.5, "early_stop_step": 10,
        "early_stop_censored": False, "train_steps": 10,
        "train_seconds": 2.0, "train_examples": 40,
        "train_flops": 240_000, "train_effective_flops": 240 * kept,
        "inference_flops": 2000, "inference_effective_flops": 2 * kept,
        **changes,
    }


NOTE = [
    "Search: all trainings it took, in multiples of the dense training. "
    "FLOPs: of kept weights.",
    "Pays after: inferences whose saving is the search's cost beyond one "
    "dense training.",
]


def test_cost_table_exact():
    rows = with_search_costs([row(0), row(1), row(2)])
    assert cost_lines(rows) == [
        "level  weights %  search steps  search FLOPs  search time"
        "  FLOPs per inference  pays after",
        "-" * 90,
        "    0      100.0        1.00 x        1.00 x       1.00 x"
        "              100.0 %",
        "    1       50.0        2.00 x        1.50 x       2.00 x"
        "               50.0 %         120",
        "    2       25.0        3.00 x        1.75 x       3.00 x"
        "               25.0 %         120",
        *NOTE,
    ]
    assert all(len(line) <= 100 for line in cost_lines(rows))


def test_it_is_the_mean_over_replicates_that_know():
    rows = with_search_costs([
        row(0), row(0, 1), row(1), row(1, 1, train_steps=20), row(2, 1),
        row(1, 2),
    ])
    lines = cost_lines(rows)
    assert "2.50 x" in lines[3]
    assert lines[4].split()[2] == "4.00"


def test_unknown_flops_have_no_column():
    blank = dict.fromkeys(("train_flops", "train_effective_flops"))
    rows = with_search_costs([row(0, **blank), row(1, **blank)])
    assert cost_lines(rows) == [
        "level  weights %  search steps  search time  FLOPs per inference",
        "-" * 64,
        "    0      100.0        1.00 x       1.00 x              100.0 %",
        "    1       50.0        2.00 x       2.00 x               50.0 %",
        NOTE[0],
    ]
    blank |= dict.fromkeys(("inference_flops", "inference_effective_flops"))
    rows = with_search_costs([row(0, **blank), row(1, **blank)])
    assert cost_lines(rows)[3:] == [
        "    1       50.0        2.00 x       2.00 x",
        NOTE[0].removesuffix(" FLOPs: of kept weights."),
    ]
    # Of one replicate they are known.
    rows = with_search_costs(
        [row(0, **blank), row(1, **blank), row(0, 1), row(2, 1)]
    )
    assert cost_lines(rows)[3].split() == [
        "1", "50.0", "2.00", "x", "2.00", "x",
    ]


def test_it_stands_below_the_results():
    rows = [row(0), row(1)]
    alone = text_table(rows)
    assert "search" not in alone
    rows = with_search_costs(rows)
    assert text_table(rows).splitlines() == [
        *alone.splitlines(), "", *cost_lines(rows),
    ]


def test_no_costs_no_table():
    assert cost_lines([]) == []
    assert cost_lines([row(0), row(1)]) == []
    assert cost_lines(with_search_costs([row(1)])) == []

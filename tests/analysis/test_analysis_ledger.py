"""Sums over a search and break-even, done by hand."""

import pytest

from tf_lottery.analysis import SEARCH_COLUMNS, with_search_costs


def row(level, branch="main", replicate=0, **changes):
    # A dense network of 100 FLOPs; a level keeps half of the one before.
    left = 100 // 2**level
    return {
        "replicate": replicate, "branch": branch, "level": level,
        "train_steps": 10 if level == 0 else 8, "train_seconds": 0.1,
        "train_examples": 40 if level == 0 else 32,
        "train_flops": 12_000 if level == 0 else 9600,
        "train_effective_flops": {0: 12_000, 1: 4800, 2: 2400}[level],
        "inference_flops": 100, "inference_effective_flops": left,
        **changes,
    }


def costs(rows, method="imp"):
    return [
        tuple(found[name] for name in SEARCH_COLUMNS)
        for found in with_search_costs(rows, method)
    ]


def test_sums_and_break_even_by_hand():
    assert SEARCH_COLUMNS == (
        "search_steps", "search_examples", "search_flops",
        "search_effective_flops", "search_seconds", "break_even_examples",
    )
    assert costs([row(0), row(1), row(2)]) == [
        (10, 40, 12_000, 12_000, 0.1, None),
        # 4,800 beyond the dense training, 50 saved per inference.
        (18, 72, 21_600, 16_800, 0.2, 96),
        (26, 104, 31_200, 19_200, 0.3, 96),  # 7,200 / 75
    ]


def test_break_even_is_rounded_up_and_exact():
    rows = [row(0), row(1, train_effective_flops=4801)]
    assert costs(rows)[1][-1] == 97
    rows = [row(0), row(1, train_effective_flops=50 * (2**60 + 1))]
    assert costs(rows)[1][-1] == 2**60 + 1


@pytest.mark.parametrize("left", [100, 101, None])
def test_nothing_saved_never_pays(left):
    rows = [row(0), row(1, inference_effective_flops=left)]
    assert costs(rows)[1][-1] is None
    assert costs(rows)[1][0] == 18


def test_a_control_costs_the_search_of_its_mask_and_its_own_training():
    control = row(2, "reinit", train_steps=10, train_effective_flops=3000)
    found = costs([control, row(0), row(1), row(2)])[0]
    assert found == (28, 104, 31_200, 19_800, 0.3, 104)


@pytest.mark.parametrize("method, steps", [
    # With the ticket's training, in which its mask was found.
    ("gradual", 18), ("edge_popup", 18),
    # One mask of the dense network's training, and of two steps of it.
    ("one_shot", 20), ("at_init", 12),
])
def test_a_control_costs_what_found_its_mask(method, steps):
    control = row(1, "reinit", train_steps=10)
    assert costs([control, row(0), row(1)], method)[0][0] == steps


def test_a_ticket_found_by_less_than_a_dense_training_pays_at_once():
    assert costs([row(0), row(1)], "at_init")[1][-1] == 0


def test_a_given_ticket_has_no_search_but_its_dense_network_a_training():
    dense, ticket = costs([row(0), row(1)], "transfer")
    assert dense[:4] == (10, 40, 12_000, 12_000) and ticket == (None,) * 6


def test_replicates_do_not_mix():
    rows = [row(0), row(0, replicate=1, train_steps=1), row(1, replicate=1)]
    assert [found[0] for found in costs(rows)] == [10, 1, 9]


def test_a_missing_level_leaves_what_needs_it_empty():
    assert costs([row(0), row(2)])[1] == (None,) * 6
    assert costs([row(1, "reinit")]) == [(None,) * 6]


def test_rows_without_the_columns():
    old = [
        {k: v for k, v in row(level).items() if k not in (
            "train_examples", "train_flops", "train_effective_flops",
            "inference_flops", "inference_effective_flops")}
        for level in (0, 1)
    ]
    assert costs(old)[1] == (18, None, None, None, 0.2, None)
    # An old row at level 0 and newer ones above it.
    assert costs([old[0], row(1)])[1] == (18, None, None, None, 0.2, None)
    # FLOPs that were not counted.
    rows = [row(n, train_flops=None, train_effective_flops=None)
            for n in (0, 1)]
    assert costs(rows)[1] == (18, 72, None, None, 0.2, None)


def test_rows_are_copied_in_order_and_can_be_done_again():
    rows = [row(1), row(0)]
    before = [dict(one) for one in rows]
    found = with_search_costs(rows)
    assert rows == before
    assert [one["level"] for one in found] == [1, 0]
    assert with_search_costs(found) == found


def test_a_mask_found_at_step_k_costs_the_dense_steps_before():
    # Two of the dense network's ten steps, then eight of the ticket's.
    control = row(1, "reinit", train_steps=10)
    found = costs([row(0), row(1), control], "at_init")
    assert found[1] == (10, 40, 12_000, 4800 + 2400, 0.12, 0)
    assert found[2][0] == 12
    whole = row(1, train_steps=10)
    assert costs([row(0), whole], "at_init")[1][0] == 10
    assert costs([row(0), row(1, train_steps=None)], "at_init")[1][0] is None

"""Cells of the matrix of transfer, by hand."""

import pytest

from tf_lottery.analysis import corrected_cells
from tf_lottery.analysis import transfer_cell
from tf_lottery.analysis import transfer_columns
from tf_lottery.analysis.student import student_quantile


def rows(differences, level=2, density=0.2, branch="random_mask"):
    return [
        {"replicate": r, "branch": name, "level": level, "density": density,
         "test_accuracy": accuracy}
        for r, d in enumerate(differences)
        for name, accuracy in (("main", 0.9), (branch, 0.9 - d))
    ]


DENSE = [
    {"replicate": r, "branch": "main", "level": 0, "density": 1.0,
     "test_accuracy": 0.95}
    for r in range(3)
]


def test_a_cell_is_paired_over_replicates():
    cell = transfer_cell(DENSE + rows([0.01, 0.02, 0.03]), 0.2)
    assert cell["difference"] == pytest.approx(0.02)
    half = student_quantile(0.95, 2) * 0.01 / 3 ** 0.5
    assert cell["lower"] == pytest.approx(0.02 - half)
    assert cell["upper"] == pytest.approx(0.02 + half)
    assert (cell["level"], cell["replicates"]) == (2, 3)
    assert cell["random_accuracy"] == pytest.approx(0.88)
    assert cell["dense_accuracy"] == pytest.approx(0.95)
    assert (cell["p_above"] < 0.05) == (cell["lower"] > 0)
    assert {*cell, "source", "target", "own", "run_dir"} == set(
        transfer_columns()
    )


def test_the_nearest_level_with_both_branches_is_taken():
    some = rows([0.1], level=1, density=0.3) + rows([0.2], 3, 0.08)
    some += rows([0.3], level=2, density=0.2, branch="reinit")
    assert transfer_cell(some, 0.2)["level"] == 1
    assert transfer_cell(some, 0.1)["level"] == 3
    # Of two as near the denser.
    assert transfer_cell(some, 0.19)["level"] == 1
    cell = transfer_cell(some, 0.1)
    assert cell["p_above"] is cell["lower"] is None
    assert transfer_cell(DENSE, 0.2) is None


def test_only_replicates_of_both_count():
    some = rows([0.1, 0.2])
    del some[-1]
    cell = transfer_cell(some, 0.2)
    assert cell["replicates"] == 1
    assert cell["difference"] == pytest.approx(0.1)


def test_an_accuracy_that_is_not_known_is_left_out():
    some = rows([0.1, 0.2])
    some[-1] = {**some[-1], "test_accuracy": float("nan")}
    cell = transfer_cell(some, 0.2)
    assert (cell["replicates"], cell["p_above"]) == (1, None)
    assert cell["difference"] == pytest.approx(0.1)
    some = [{**row, "test_accuracy": float("nan")} for row in some]
    assert transfer_cell(some, 0.2) is None


def test_transferred_cells_are_one_family():
    cells = [
        {"own": own, "p_above": p}
        for own, p in [(True, 0.04), (False, 0.02), (False, 0.04),
                       (False, None)]
    ]
    found = [cell["p_above"] for cell in corrected_cells(cells)]
    assert found == [0.04, 0.04, 0.04, None]
    assert cells[1]["p_above"] == 0.02

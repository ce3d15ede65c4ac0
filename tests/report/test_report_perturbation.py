"""Table, sentence and figure of strong tickets against epsilon."""

import csv
import io

import pytest

from tf_lottery.report import perturbation_csv
from tf_lottery.report import perturbation_figure
from tf_lottery.report import perturbation_finding
from tf_lottery.report import perturbation_table

DENSITY = 1.0, 0.75, 0.25
# Accuracies by epsilon, then level, then replicate.
FOUND = {
    0.0: [(0.1, 0.1), (0.50, 0.60), (0.70, 0.52)],
    0.01: [(0.8, 0.8), (0.70, 0.80), (0.60, 0.60)],
    0.1: [(0.9, 0.9), (0.90, 0.88), (0.80, 0.70)],
}


@pytest.fixture(name="rows")
def make_rows():
    return [
        {
            "epsilon": epsilon, "replicate": replicate, "branch": branch,
            "level": level, "density": DENSITY[level], "kept_weights": 7,
            "test_accuracy": accuracy if branch == "main" else 0.99,
            "val_accuracy": 0.5, "train_accuracy": 0.6, "train_steps": 3,
            "other": 1,
        }
        for epsilon, levels in FOUND.items()
        for level, values in enumerate(levels)
        for replicate, accuracy in enumerate(values)
        for branch in ("main", "reinit")
    ]


def test_the_table(rows):
    lines = perturbation_table(rows, "sigma").splitlines()
    assert lines[0] == "test accuracy %, mean of 2 replicate(s)"
    assert [line.split() for line in lines[3:6]] == [
        ["before", "masking", "10.00", "80.00", "90.00"],
        ["75.0", "55.00", "75.00*", "89.00*"],
        ["25.0", "61.00*", "60.00", "75.00"],
    ]
    assert "epsilon (standard deviations)  0" in lines[1]
    assert perturbation_table([]) == "Nothing finished yet."


def test_a_cell_that_is_not_finished_is_blank(rows):
    some = [r for r in rows if (r["epsilon"], r["level"]) != (0.01, 2)]
    line = perturbation_table(some).splitlines()[5]
    assert line.split() == ["25.0", "61.00*", "75.00"]
    assert "(" not in line


def test_the_finding(rows):
    assert perturbation_finding(rows) == (
        "From one epsilon to the next accuracy never falls at 1 of 2 "
        "densities. Best accuracy goes from 61.00 to 89.00 % and never falls; "
        "the best density goes from 25.0 to 75.0 % and never falls."
    )
    turned = [{**r, "epsilon": -r["epsilon"]} for r in rows]
    said = perturbation_finding(turned)
    assert "0 of 2 densities" in said and "89.00 to 61.00" in said
    assert said.count("sometimes falls") == 2
    one = [r for r in rows if r["epsilon"] == 0]
    assert perturbation_finding(one).startswith("Two values of epsilon")


def test_the_csv_has_the_tickets(rows):
    found = list(csv.DictReader(io.StringIO(perturbation_csv(rows))))
    assert len(found) == 18 and "other" not in found[0]
    assert found[0]["epsilon"] == "0.0" and found[-1]["level"] == "2"


def test_the_figure(rows):
    left, right = perturbation_figure(rows, title="A title").axes
    before, best, first, second = left.lines
    assert list(before.get_ydata()) == pytest.approx([10, 80, 90])
    assert list(best.get_ydata()) == pytest.approx([61, 75, 89])
    assert list(first.get_ydata()) == pytest.approx([70, 70, 90])
    assert list(second.get_ydata()) == pytest.approx([60, 80, 88])
    assert list(right.lines[0].get_ydata()) == [25, 75, 75]
    assert list(right.lines[2].get_ydata()) == [75, 75, 75]
    assert list(right.lines[0].get_xdata()) == [0, 1, 2]
    ticks = [label.get_text() for label in left.get_xticklabels()]
    assert ticks == ["0", "0.01", "0.1"]
    # Chance, before masking, is far below what is compared.
    assert left.get_ylim()[0] == pytest.approx(61 - 28)
    assert left.texts[0].get_text() == "1 before masking below 33 %"
    one = [r for r in rows if r["replicate"] == 0]
    assert len(perturbation_figure(one, title="").axes[0].lines) == 2
    with pytest.raises(ValueError, match="must have a masked network"):
        perturbation_figure([r for r in rows if not r["level"]], title="")


def test_means_are_of_the_replicates_that_all_have(rows):
    """Without them one epsilon's mean would be of luckier networks."""
    some = [r for r in rows if r["epsilon"] == 0 or r["replicate"] == 0]
    lines = perturbation_table(some).splitlines()
    assert lines[0] == "test accuracy %, mean of 1 replicate(s)"
    assert lines[4].split() == ["75.0", "50.00", "70.00*", "90.00*"]
    apart = [r for r in rows if (r["epsilon"] == 0) == r["replicate"]]
    assert "55.00" not in perturbation_table(apart)
    assert "60.00" in perturbation_table(apart)

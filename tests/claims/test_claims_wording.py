"""Claims as text, Markdown and rows."""

import math
import types

import pytest

from tf_lottery import Config
from tf_lottery.claims import CLAIM_COLUMNS
from tf_lottery.claims import POINTS
from tf_lottery.claims import RATIO
from tf_lottery.claims import SHARE
from tf_lottery.claims import Claim
from tf_lottery.claims import Part
from tf_lottery.claims import Sample
from tf_lottery.claims import claim_rows
from tf_lottery.claims import judge
from tf_lottery.claims import markdown
from tf_lottery.claims import renewed
from tf_lottery.claims import text


def part(label, unit, values, left_out=0, **bounds):
    sample = Sample(dict(enumerate(values)), 0.0, left_out)
    return Part(label, lambda runs: sample, unit, **bounds)


LOGS = [math.log(x) for x in (0.25, 0.5, 1.0)]
CLAIMS = (
    Claim("Sooner", "half", [part("5 %", RATIO, LOGS, 1, high=0.0)], note="N."),
    Claim(
        "Back", "as dense",
        [
            part("a", POINTS, [0.01, 0.012, 0.011], low=-0.002, high=0.002),
            part("b", POINTS, [0.0], low=-0.002, high=0.002),
        ],
    ),
    Claim(
        "Full", "100 %",
        [
            *(part(n, SHARE, [0.9, k], low=0.5) for k, n in enumerate("wxyz")),
            part("v", SHARE, [], low=0.5),
        ],
        every=False,
    ),
    Claim("None", "-", [part("c", POINTS, [], low=0.0)]),
    Claim(
        "Two rules", "-",
        [part("c", POINTS, [], low=0.0), part("d", POINTS, [], high=0.001)],
    ),
)
OUTCOMES = [judge(claim, {}) for claim in CLAIMS]


def test_a_page_part_has_a_line_per_claim():
    rows = [
        {"replicate": 0, "branch": "main", "level": n} for n in (0, 1, 2, 9)
    ]
    made = markdown(
        "A heading", OUTCOMES, "the command",
        {"a": Config(levels=4, train_steps="8it")},
        {"a": types.SimpleNamespace(rows=rows)},
    )
    lines = made.splitlines()
    assert lines[:5] == [
        "## A heading", "", "    the command", "",
        "`a`: 3 of 5 trainings of 8it.",
    ]
    assert lines[8:] == [
        "| Sooner. N. | half | 5 %: 0.50x (0.25x to 1.00x) | 3, 1 left out | "
        "undecided | below 1.00x |",
        "| Back | as dense | a: +1.10 pp (+1.00 pp to +1.20 pp); b: +0.00 pp "
        "| 1 to 3 | **disagrees** | each from -0.20 pp to +0.20 pp |",
        "| Full | 100 % | w: 45.0 % (0.0 % to 90.0 %) to z: 195.0 % (90.0 % to "
        "300.0 %) (of 4) | 0 to 2 | undecided | some above 50.0 % |",
        "| None | - | - | 0 | not run | above +0.00 pp |",
        "| Two rules | - | - | 0 | not run | c: above +0.00 pp; d: below "
        "+0.10 pp |",
    ]
    # A cell more or less would break the table.
    assert {line.count("|") for line in lines[6:]} == {7}


def test_a_terminal_sees_what_is_undecided():
    told = text(OUTCOMES[:2]).splitlines()
    assert told[0] == "UNDECIDED: Sooner."
    assert told[1].strip() == (
        "paper: half; ours: 5 %: 0.50x (0.25x to 1.00x); n = 3, 1 left out"
    )
    assert told[3] == "DISAGREES: Back."


def test_rows_have_ratios_and_bounds():
    first, second, third, *_ = claim_rows("f", OUTCOMES, "the command")
    found = dict(zip(CLAIM_COLUMNS, first, strict=True))
    # log 2 = 0.693 is the standard deviation, t / sqrt(3) = 1.686.
    far = math.exp(1.686 * math.log(2))
    assert found == {
        "figure": "f", "claim": "Sooner", "paper": "half",
        "agreement": "undecided", "part": "5 %", "unit": "ratio",
        "replicates": 3, "left_out": 1, "mean": pytest.approx(0.5),
        "min": pytest.approx(0.25), "max": 1.0,
        "lower": pytest.approx(0.5 / far, rel=1e-3),
        "upper": pytest.approx(0.5 * far, rel=1e-3),
        "above": None, "below": 1.0, "command": "the command",
    }
    alone = dict(zip(CLAIM_COLUMNS, third, strict=True))
    assert (alone["mean"], alone["lower"], alone["below"]) == (0, None, 0.002)


def test_a_part_of_a_page_is_renewed_in_its_place():
    page = renewed("# T\n", "a", "one")
    page = renewed(page, "b", "two")
    assert page == (
        "# T\n\n<!-- figure a -->\none\n<!-- end of a -->\n\n"
        "<!-- figure b -->\ntwo\n<!-- end of b -->\n"
    )
    again = renewed(page, "a", "new")
    assert again == page.replace("one", "new")
    assert renewed("", "a", "x").startswith("<!-- figure a -->")


@pytest.mark.parametrize(
    "page",
    [
        "<!-- figure a -->", "<!-- end of a -->",
        "<!-- end of a --><!-- figure a -->",
        2 * "<!-- figure a --><!-- end of a -->",
    ],
)
def test_a_damaged_page_is_not_guessed_at(page):
    with pytest.raises(ValueError, match="`page` must have <!-- figure a"):
        renewed(page, "a", "x")

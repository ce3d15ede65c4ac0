"""Table, sentence and figure of the matrix of transfer."""

import pytest

from tf_lottery.report import save_figure
from tf_lottery.report import transfer_figure
from tf_lottery.report import transfer_finding
from tf_lottery.report import transfer_table


def cell(source, target, difference, p=0.3, spread=0.01, **more):
    return {
        "source": source, "target": target, "own": source == target,
        "level": 3, "density": 0.2, "replicates": 3,
        "difference": difference, "p_above": p,
        "lower": None if spread is None else difference - spread,
        "upper": None if spread is None else difference + spread, **more,
    }


CELLS = [
    cell("a", "a", 0.03, 0.01), cell("a", "b", 0.02, 0.001),
    cell("b", "a", -0.01), cell("b", "b", 0.01),
]


def test_the_finding_counts_transferred_tickets_alone():
    text = transfer_finding(CELLS)
    assert text.startswith("Of 2 transferred tickets 1 is above")
    assert "1 of them shown to be; on average by +0.50 pp" in text
    assert "found by +2.00 pp" in text and "too few" not in text
    alone = [cell("a", "b", 0.01, None, None)]
    assert "Replicates are too few" in transfer_finding(alone)
    assert transfer_finding(CELLS[:1]).startswith("Nothing has been trans")


def test_the_table_has_every_cell():
    lines = transfer_table([*CELLS, cell("a", "c", 0.5, None, None)])
    head, first, second = lines.splitlines()[:3]
    assert head.split()[-3:] == ["a", "b", "c"]
    assert "[+3.00* (+2.00, +4.00)]  +2.00* (+1.00, +3.00)" in first
    assert first.endswith("+50.00") and second.endswith("(+0.00, +2.00)]")
    assert transfer_table([]) == "Nothing finished yet."


def test_the_figure_writes_each_number_and_frames_the_diagonal(tmp_path):
    figure = transfer_figure(CELLS, title="lenet")
    axes = figure.axes[0]
    texts = [text.get_text() for text in axes.texts]
    assert texts[0] == "+3.00*\n(+2.00, +4.00)" and len(texts) == 4
    frames = [p for p in axes.patches if p.get_gid() == "own"]
    assert [frame.get_xy() for frame in frames] == [
        pytest.approx((-0.47, -0.47)), pytest.approx((0.53, 0.53))
    ]
    assert axes.get_xlabel() == "trained on"
    assert axes.images[0].get_clim() == (-3.0, 3.0)
    save_figure(figure, tmp_path / "transfer.png")
    assert (tmp_path / "transfer.png").stat().st_size > 1e4

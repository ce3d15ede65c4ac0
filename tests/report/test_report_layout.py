"""A layout that is solved once, and does not move when files are saved."""

import io

import matplotlib
import pytest
from matplotlib.figure import Figure

from tf_lottery.report.layout import solve_layout


def drawing(layout):
    figure = Figure(figsize=(3, 2), layout=layout)
    figure.subplots().set_ylabel("two\nlines")
    return figure


@pytest.mark.parametrize("layout", ["constrained", "tight", "none", None])
def test_a_file_is_one_drawing_and_moves_nothing(layout, monkeypatch):
    figure = drawing(layout)
    before = figure.axes[0].get_position().bounds
    solve_layout(figure)
    solve_layout(figure)
    solved = figure.axes[0].get_position().bounds
    assert (solved != before) == (layout in ("constrained", "tight"))
    drawn = []
    real = Figure.draw
    monkeypatch.setattr(
        Figure, "draw", lambda self, r: (drawn.append(r), real(self, r))
    )
    for form in ("png", "svg", "pdf"):
        figure.savefig(io.BytesIO(), format=form)
    assert len(drawn) == 3
    assert figure.axes[0].get_position().bounds == solved


def test_settings_of_matplotlib_bring_no_layout_back():
    figure = drawing("constrained")
    with matplotlib.rc_context({"figure.autolayout": True}):
        solve_layout(figure)
    assert figure.get_layout_engine() is None

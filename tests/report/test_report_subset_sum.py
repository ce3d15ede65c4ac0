"""The figure, the table and the file of a sweep."""

import csv
import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tf_lottery.report import aligned
from tf_lottery.report import save_figure
from tf_lottery.report import subset_sum_figure
from tf_lottery.report import subset_sum_table
from tf_lottery.report import write_points
from tf_lottery.theory import Point


def point(eta, ratio, candidates, *, distribution="uniform", never=0):
    return Point(
        distribution, eta, ratio, eta * ratio, 20, 0.9, 50, candidates,
        fewest=3, median=4, never=never, order=30.25, bound=2,
    )


@pytest.fixture(name="points")
def make_points():
    return [
        point(eta, ratio, 20 - 3 * ratio - int(50 * eta), distribution=name)
        for name in ("uniform", "product")
        for eta in (0.1, 0.02)
        for ratio in (4, 0, 2)
    ]


def lines(axes, gid):
    return [line for line in axes.lines if line.get_gid() == gid]


def test_lines_are_the_points_in_order_of_their_ratio(points):
    figure = subset_sum_figure(points, title="A title")
    assert figure.get_suptitle() == "A title"
    left, right = figure.axes
    assert left.get_title() == "uniform on [-1, 1]"
    assert right.get_title() == "product of two uniforms"
    for axes in (left, right):
        drawn = lines(axes, "measured")
        for line, numbers in zip(drawn, ([15, 9, 3], [19, 13, 7])):
            np.testing.assert_array_equal(line.get_xdata(), [0, 2, 4])
            np.testing.assert_array_equal(line.get_ydata(), numbers)
        for line in lines(axes, "bound"):
            np.testing.assert_array_equal(line.get_ydata(), [2, 2, 2])
        assert len(drawn) == len(lines(axes, "bound")) == 2
        assert axes.get_xlabel() == "epsilon / eta"
        assert [t.get_text() for t in axes.get_xticklabels()] == [
            "0", "2", "4",
        ]
    assert left.get_ylabel() == "candidates n"
    # The theorem is about uniform candidates.
    for line in lines(left, "order"):
        np.testing.assert_array_equal(line.get_ydata(), [30.25] * 3)
    assert len(lines(left, "order")) == 2 and not lines(right, "order")
    assert left.get_ylim() == right.get_ylim() and left.get_ylim()[1] > 30.25
    assert left.get_ylim()[0] == 0


def test_lines_differ_in_more_than_colour():
    points = [point(0.1 / k, r, 9) for k in range(1, 8) for r in (0, 1)]
    drawn = lines(subset_sum_figure(points, title="t").axes[0], "measured")
    assert len({line.get_marker() for line in drawn}) == 7
    assert len({to_hex(line.get_color()) for line in drawn}) == 7
    sizes = [line.get_markersize() for line in drawn]
    assert sizes == sorted(sizes, reverse=True)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_legend_says_what_is_drawn_and_covers_nothing(points):
    figure = subset_sum_figure(points, title="t")
    assert legend(figure) == [
        "eta = 0.1", "eta = 0.02", "90 % of 20 draws cover",
        "counting bound: none can cover below",
        "theorem, up to a constant (C = 1)",
    ]
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert all(not box.overlaps(axes.bbox) for axes in figure.axes)
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
    alone = subset_sum_figure([p for p in points
                               if p.distribution == "product"], title="t")
    assert legend(alone)[-1] == "counting bound: none can cover below"


def test_what_was_not_reached_is_marked_and_no_number():
    points = [point(0.1, 0, None, never=5), point(0.1, 1, 9),
              point(0.02, 0, None, never=20)]
    points = [dataclasses.replace(p, bound=None) if p.eta == 0.02 else p
              for p in points]
    figure = subset_sum_figure(points, title="t")
    axes = figure.axes[0]
    assert np.isnan(lines(axes, "measured")[0].get_ydata()[0])
    assert np.isnan(lines(axes, "bound")[1].get_ydata()[0])
    marks = lines(axes, "never")
    heights = [mark.get_ydata()[0] for mark in marks]
    assert [mark.get_xdata()[0] for mark in marks] == [0, 0]
    assert heights[0] == axes.get_ylim()[1] > heights[1]
    assert legend(figure)[-1] == "more than 50"


def test_labels_of_ticks_do_not_touch():
    points = [point(0.1, r, 9) for r in (0, 0.01, 0.1, 0.2, 1, 2, 2.05)]
    points += [dataclasses.replace(p, distribution=name) for p in points
               for name in ("normal", "product")]
    figure = subset_sum_figure(points, title="t")
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [t.get_window_extent() for t in axes.get_xticklabels()]
        assert all(a.x1 < b.x0 for a, b in zip(boxes, boxes[1:]))
        assert len(boxes) == 4


def test_one_point_can_be_drawn_and_bytes_are_equal(points, tmp_path):
    for name, some in (("one", points[:1]), ("a", points), ("b", points)):
        figure = subset_sum_figure(some, title="t")
        save_figure(figure, tmp_path / f"{name}.png")
    data = (tmp_path / "a.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert data == (tmp_path / "b.png").read_bytes()


def test_no_points_are_refused():
    with pytest.raises(ValueError, match="`points` must have at least one"):
        subset_sum_figure([], title="t")


def test_table_by_hand():
    points = [
        point(0.1, 0.5, 12),
        point(0.01, 0, None, distribution="normal", never=3),
    ]
    points[1] = dataclasses.replace(points[1], bound=None)
    assert subset_sum_table(points).splitlines() == [
        "distribution   eta  epsilon/eta     n  median  fewest    never  "
        "order  bound",
        "uniform        0.1          0.5    12       4       3        0   "
        "30.2      2",
        "normal        0.01            0  > 50       4       3  3 of 20   "
        "   -   none",
    ]


def test_columns_are_aligned():
    assert aligned([["", "x"], ["ab", ""]]) == "    x\nab"


def test_file_has_every_field(tmp_path):
    path = tmp_path / "new" / "a.csv"
    write_points([point(0.1, 1 / 3, None), point(0.1, 1, 7)], path)
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [f.name for f in dataclasses.fields(Point)]
    assert float(rows[0]["ratio"]) == 1 / 3
    assert [row["candidates"] for row in rows] == ["", "7"]
    assert b"\r" not in path.read_bytes()

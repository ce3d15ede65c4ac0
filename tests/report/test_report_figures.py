"""The figure, checked through its matplotlib objects."""

import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tf_lottery.report import accuracy_figure, save_figure

DENSITY = {
    level: (265200 * 0.8**level + 1000 * 0.9**level) / 266200
    for level in range(31)
}


def row(level, accuracy, step=1000, *, replicate=0, branch="main",
        censored=False, density=None):
    density = DENSITY[level] if density is None else density
    return {
        "replicate": replicate, "branch": branch, "level": level,
        "density": density, "sparsity": 1 - density,
        "kept_weights": round(266200 * density), "prunable_weights": 266200,
        "test_accuracy": accuracy, "test_loss": 0.1, "val_accuracy": 0.9,
        "val_loss": 0.1, "train_accuracy": 1.0, "early_stop_step": step,
        "early_stop_test_accuracy": 0.5, "early_stop_censored": censored,
        "train_steps": 3000, "train_seconds": 1.0,
    }


def lines(axes, label):
    (line,) = [one for one in axes.lines if one.get_label() == label]
    return line


@pytest.fixture(name="rows")
def make_rows():
    rows = []
    for replicate, shift in enumerate((0.0, 0.003, -0.003)):
        for level in range(16):
            rows.append(row(
                level, 0.98 - 0.0005 * level + shift, 1000 + 10 * level
                + 100 * replicate, replicate=replicate,
            ))
        for branch in ("reinit", "shuffle_mask", "random_mask"):
            for level in (3, 7, 11):
                rows.append(row(
                    level, 0.96 + shift, 2000, replicate=replicate,
                    branch=branch,
                ))
    return rows


def test_means_medians_and_band(rows):
    figure = accuracy_figure(rows, title="A title")
    left, right = figure.axes
    assert figure.get_suptitle() == "A title"
    percents = [100 * DENSITY[level] for level in range(16)]
    ticket = lines(left, "ticket")
    np.testing.assert_allclose(ticket.get_xdata(), percents)
    np.testing.assert_allclose(
        ticket.get_ydata(), [98 - 0.05 * level for level in range(16)]
    )
    np.testing.assert_allclose(
        lines(right, "ticket").get_ydata(),
        [1100 + 10 * level for level in range(16)],
    )
    for axes, low, high in ((left, 97.7, 98.3), (right, 1000, 1200)):
        (band,) = [c for c in axes.collections if c.get_gid() is None
                   and type(c).__name__ == "FillBetweenPolyCollection"]
        corners = band.get_paths()[0].vertices
        at_dense = corners[np.isclose(corners[:, 0], 100.0), 1]
        assert at_dense.min() == pytest.approx(low)
        assert at_dense.max() == pytest.approx(high)


def test_controls_have_error_bars_of_min_and_max(rows):
    left = accuracy_figure(rows, title="t").axes[0]
    bars = [c for c in left.collections
            if type(c).__name__ == "LineCollection"]
    assert len(bars) == 3
    for bar in bars:
        for segment, level in zip(bar.get_segments(), (3, 7, 11)):
            np.testing.assert_allclose(segment[:, 0], 100 * DENSITY[level])
            np.testing.assert_allclose(segment[:, 1], [95.7, 96.3])


def test_axis_is_log_from_dense_to_sparse(rows):
    for axes in accuracy_figure(rows, title="t").axes:
        assert axes.get_xscale() == "log"
        start, end = axes.get_xlim()
        assert start > 100 > 100 * DENSITY[15] > end
        assert axes.get_xlabel() == "weights remaining (%)"


def test_ticks_are_at_levels_as_in_the_paper(rows):
    left = accuracy_figure(rows, title="t").axes[0]
    assert [label.get_text() for label in left.get_xticklabels()] == [
        "100", "51.3", "26.3", "13.5", "7.0", "3.6",
    ]
    np.testing.assert_allclose(
        left.get_xticks(minor=True),
        # matplotlib leaves out the minor ticks that have a label.
        [100 * DENSITY[level] for level in range(16)
         if level not in (0, 3, 6, 9, 12, 15)],
    )


@pytest.mark.parametrize("levels", [1, 2, 3, 5, 8, 12, 16, 21, 31])
def test_tick_labels_do_not_overlap_and_end_at_the_sparsest(levels):
    figure = accuracy_figure(
        [row(level, 0.9) for level in range(levels)], title="t"
    )
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [label.get_window_extent()
                 for label in axes.get_xticklabels() if label.get_text()]
        assert all(a.x1 + 3 < b.x0 for a, b in zip(boxes, boxes[1:]))
        minor = axes.get_xticklabels(minor=True)
        assert {label.get_text() for label in minor} <= {""}
        assert boxes[-1].x1 <= figure.bbox.x1
        assert min(axes.get_xticks()) == pytest.approx(
            100 * DENSITY[levels - 1])


def test_sparsest_tick_replaces_one_too_near():
    rows = [row(level, 0.9, density=density)
            for level, density in enumerate((1.0, 0.5, 0.26, 0.25))]
    left = accuracy_figure(rows, title="t").axes[0]
    assert [label.get_text() for label in left.get_xticklabels()] == [
        "100", "50.0", "25.0",
    ]


def test_axes_are_named_and_plain(rows):
    left, right = accuracy_figure(rows, title="t").axes
    assert left.get_ylabel() == "test accuracy (%)"
    assert right.get_ylabel() == "step of minimum validation loss"
    for axes in (left, right):
        assert not axes.spines["top"].get_visible()
        assert axes.get_axisbelow() is True
        assert axes.yaxis.get_gridlines()[0].get_visible()
        assert not axes.xaxis.get_gridlines()[0].get_visible()
        assert axes.get_xticklabels()[0].get_fontsize() == 9


def test_steps_are_readable_numbers():
    figure = accuracy_figure([row(0, 0.9, 20000)], title="t")
    figure.draw_without_rendering()
    labels = [one.get_text() for one in figure.axes[1].get_yticklabels()]
    assert "20,000" in labels
    figure = accuracy_figure([row(0, 0.9, 1)], title="t")
    figure.draw_without_rendering()
    labels = [one.get_text() for one in figure.axes[1].get_yticklabels()]
    assert len(labels) == len(set(labels))


def test_branches_differ_in_colour_marker_and_dashes(rows):
    rows += [row(3, 0.95, branch=name) for name in ("mine", "yours")]
    left = accuracy_figure(rows, title="t").axes[0]
    names = ("ticket", "reinit", "shuffle_mask", "random_mask", "mine",
             "yours")
    drawn = [lines(left, name) for name in names]
    assert len({to_hex(line.get_color()) for line in drawn}) == 6
    assert len({line.get_marker() for line in drawn}) == 6
    # The dash patterns, which get_linestyle does not tell apart.
    assert len({str(line._unscaled_dash_pattern) for line in drawn}) == 6


def test_styles_do_not_depend_on_which_branches_are_present(rows):
    alone = [one for one in rows if one["branch"] in ("main", "reinit")]
    colors = [
        lines(accuracy_figure(some, title="t").axes[0], "reinit").get_color()
        for some in (rows, alone)
    ]
    assert colors == ["#D55E00", "#D55E00"]


def test_dense_reference_lines(rows):
    left, right = accuracy_figure(rows, title="t").axes
    for axes, value in ((left, 98.0), (right, 1100.0)):
        (line,) = [one for one in axes.lines
                   if list(one.get_xdata()) == [0, 1]]
        assert line.get_ydata() == pytest.approx([value, value])
        assert line.get_linewidth() < 1.0


def test_no_reference_line_without_a_dense_row():
    figure = accuracy_figure([row(1, 0.9)], title="t")
    assert [len(axes.lines) for axes in figure.axes] == [1, 1]
    assert "dense network" not in legend_texts(figure)


def legend_texts(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_legend_names_everything_and_covers_no_data(rows):
    figure = accuracy_figure(rows, title="t")
    assert legend_texts(figure) == [
        "ticket", "dense network", "random_mask", "reinit", "shuffle_mask",
        "min to max of 3 replicates",
    ]
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert all(not box.overlaps(axes.bbox) for axes in figure.axes)
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1


def test_fonts_are_legible_at_900_pixels(rows):
    figure = accuracy_figure(rows, title="t")
    assert figure.get_size_inches()[0] * 100 == 900
    texts = [*figure.legends[0].get_texts()]
    for axes in figure.axes:
        texts += [axes.xaxis.label, axes.yaxis.label, *axes.texts,
                  *axes.get_xticklabels(), *axes.get_yticklabels()]
    assert min(text.get_fontsize() for text in texts) >= 9


def test_censored_points_are_hollow_on_the_right_only():
    rows = [row(0, 0.9, 1000), row(1, 0.9, 3000, censored=True),
            row(2, 0.9, 900)]
    figure = accuracy_figure(rows, title="t")
    left, right = figure.axes
    hollow = [line for line in right.lines
              if line.get_markerfacecolor() == "white"]
    assert len(hollow) == 1
    np.testing.assert_allclose(hollow[0].get_xdata(), [100 * DENSITY[1]])
    np.testing.assert_allclose(hollow[0].get_ydata(), [3000])
    assert hollow[0].get_zorder() > lines(right, "ticket").get_zorder()
    assert not [line for line in left.lines
                if line.get_markerfacecolor() == "white"]
    assert legend_texts(figure)[-1] == "lower bound (loss still falling)"


def test_median_below_the_censored_replicate_is_solid():
    rows = [row(1, 0.9, step, replicate=index, censored=step == 3000)
            for index, step in enumerate((1000, 1100, 3000))]
    figure = accuracy_figure(rows, title="t")
    assert all(line.get_markerfacecolor() != "white"
               for line in figure.axes[1].lines)


def test_collapsed_control_does_not_set_the_limits(rows):
    for one in rows:
        if one["branch"] == "random_mask" and one["level"] == 11:
            one["test_accuracy"] = 0.1135
    left = accuracy_figure(rows, title="t").axes[0]
    bottom, top = left.get_ylim()
    assert 94 < bottom < 95.7 and 98.3 < top < 99
    (note,) = left.texts
    assert note.get_text() == f"1 point below {bottom:.1f} % cut off"
    (mark,) = [line for line in left.lines
               if line.get_gid() == "hidden-point"]
    assert mark.get_xdata() == pytest.approx([100 * DENSITY[11]])
    assert mark.get_ydata() == pytest.approx([bottom])
    assert to_hex(mark.get_color()) == "#cc79a7"


def test_all_points_are_shown_when_none_is_far(rows):
    left = accuracy_figure(rows, title="t").axes[0]
    assert left.get_ylim()[0] < 95.7 and not left.texts


def test_collapse_of_the_sparsest_tickets_is_cut():
    rows = [row(level, 0.98 if level < 14 else 0.11)
            for level in range(16)]
    left = accuracy_figure(rows, title="t").axes[0]
    assert left.get_ylim()[0] > 97
    assert left.texts[0].get_text().startswith("2 points below")


def test_control_a_little_below_is_not_cut():
    # Tickets at 98 %: 3 points of range, cut only beyond twice that.
    rows = [row(level, 0.98) for level in range(4)]
    for accuracy, cut in ((0.93, 0), (0.91, 1)):
        control = row(3, accuracy, branch="reinit")
        left = accuracy_figure([*rows, control], title="t").axes[0]
        assert len(left.texts) == cut


def test_ordinary_decay_is_not_cut():
    rows = [row(level, 0.98 - 0.05 * level) for level in range(16)]
    left = accuracy_figure(rows, title="t").axes[0]
    assert left.get_ylim()[0] < 100 * (0.98 - 0.75) and not left.texts


@pytest.mark.parametrize(
    "rows",
    [
        [row(0, 0.98)],
        [row(0, 1.0, 0)],
        [row(2, 0.98, branch="reinit")],
        [row(0, 0.98), row(1, float("nan"))],
        [row(0, float("nan"))],
        [row(0, 0.98), row(1, 0.97), row(0, 0.97, replicate=1)],
        [row(0, 0.98), row(1, 0.1, density=0.0)],
    ],
)
def test_small_and_odd_runs_can_be_saved(rows, tmp_path):
    figure = accuracy_figure(rows, title="t")
    save_figure(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    low, high = figure.axes[1].get_ylim()
    assert low == 0 and high > low


def test_single_replicate_has_no_range_in_the_legend():
    figure = accuracy_figure([row(0, 0.98), row(1, 0.97)], title="t")
    assert legend_texts(figure) == ["ticket", "dense network"]


def test_density_zero_is_left_out():
    figure = accuracy_figure(
        [row(0, 0.98), row(1, 0.1, density=0.0)], title="t"
    )
    assert list(lines(figure.axes[0], "ticket").get_xdata()) == [100.0]


def test_no_rows_is_refused():
    with pytest.raises(ValueError, match="`rows` must have at least one"):
        accuracy_figure([], title="t")


def test_png_is_deterministic_and_has_no_metadata(rows, tmp_path):
    figure = accuracy_figure(rows, title="t")
    save_figure(figure, tmp_path / "new" / "a.png")
    save_figure(figure, tmp_path / "b.png")
    save_figure(accuracy_figure(rows[::-1], title="t"), tmp_path / "c.png")
    first = (tmp_path / "new" / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    assert first == (tmp_path / "c.png").read_bytes()
    assert b"Software" not in first and b"tEXt" not in first
    assert sorted(os.listdir(tmp_path)) == ["b.png", "c.png", "new"]


def test_layout_is_solved_once(rows, tmp_path):
    figure = accuracy_figure([one for one in rows if one["level"] < 9],
                             title="t")
    before = [axes.get_position().bounds for axes in figure.axes]
    save_figure(figure, tmp_path / "a.png")
    assert [axes.get_position().bounds for axes in figure.axes] == before


def test_only_png_is_accepted(tmp_path):
    figure = accuracy_figure([row(0, 0.98)], title="t")
    with pytest.raises(ValueError, match=r"`path` must end in \.png"):
        save_figure(figure, tmp_path / "a.svg")


def test_importing_and_drawing_leave_no_global_state(tmp_path):
    code = (
        "import sys, tf_lottery.report as report\n"
        "heavy = {'matplotlib', 'tqdm', 'tensorflow'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "from test_report_figures import row\n"
        "report.accuracy_figure([row(0, 0.9)], title='t')\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    here = os.path.dirname(os.path.abspath(__file__))
    root = os.path.dirname(os.path.dirname(here))
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{here}"},
    )
    # The package's own __init__ may import TensorFlow; this room does not.
    loaded = result.stdout.splitlines()[0]
    assert "matplotlib" not in loaded and "tqdm" not in loaded
    assert result.stdout.splitlines()[1] == "False"

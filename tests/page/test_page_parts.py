"""What is drawn and tabled: hand-computed numbers of tiny runs."""

import numpy as np
import pytest

from tf_lottery.page.curves import (
    _thinned,
    accuracy,
    early_stop,
    learning_curves,
    some_levels,
)
from tf_lottery.page.drawing import figure_files, inline_svg, spread
from tf_lottery.page.html import cell_text
from tf_lottery.page.layers import first_layer, layer_density
from tf_lottery.page.reading import read_run, read_runs
from tf_lottery.page.settings import configuration, costs
from tf_lottery.page.style import style_sheet
from tf_lottery.page.verdict import ruling, verdict


@pytest.fixture(scope="module")
def run(plain):
    return read_run(str(plain))


def column(table, name):
    return [row[list(table.columns).index(name)] for row in table.rows]


def test_one_pixel_in_two_is_read_by_all_the_weights(run):
    section = first_layer([run])
    # Level 1 has lost the last pixel, level 2 the lower row.
    one, two = section.figures[0].drawn.axes[:2]
    np.testing.assert_allclose(
        one.images[0].get_array(), [[4 / 3, 4 / 3], [4 / 3, 0]]
    )
    np.testing.assert_allclose(two.images[0].get_array(), [[2, 2], [0, 0]])
    assert one.get_title() == "level 1, 83.3 %"
    assert "multiples of the mean" in section.text[0]


def test_a_convolution_shows_its_kernels_apart(make):
    section = first_layer([read_run(str(make(convolution=True)))])
    picture = np.ma.filled(
        section.figures[0].drawn.axes[1].images[0].get_array(), np.nan
    )
    kernel = [[1, 1], [0, 0]]
    np.testing.assert_array_equal(picture[:2, :2], kernel)
    np.testing.assert_array_equal(picture[3:, :2], kernel)
    assert np.isnan(picture[2]).all() and np.isnan(picture[:, 2]).all()
    # Three kernels in two rows.
    assert np.isnan(picture[3:, 3:]).all()


def test_density_of_each_kernel_by_level(run):
    (table,) = layer_density([run]).tables
    assert [tuple(row) for row in table.rows] == [
        (0, "a/kernel", 1.0, 12), (0, "b/kernel", 1.0, 6),
        (1, "a/kernel", 0.75, 12), (1, "b/kernel", 1.0, 6),
        (2, "a/kernel", 0.5, 12), (2, "b/kernel", 1.0, 6),
    ]


def test_many_kernels_are_a_map(monkeypatch, run):
    monkeypatch.setattr("tf_lottery.page.layers._MOST_LINES", 1)
    (figure,) = layer_density([run]).figures
    picture = figure.drawn.axes[0].images[0].get_array()
    np.testing.assert_allclose(picture, [[100, 75, 50], [100, 100, 100]])


def test_a_run_of_one_level_has_no_density_by_level(make):
    run = read_run(str(make(done=1)))
    assert layer_density([run]) is None and first_layer([run]) is None


def test_learning_curves_are_means_over_replicates(run):
    section = learning_curves([run])
    (table,) = section.tables
    rows = [row for row in table.rows if row[:2] == (
        "test", "level 0, 100.0 %"
    )]
    assert [row[2] for row in rows] == [0, 20, 40]
    assert rows[2][3:] == pytest.approx((0.901, 0.9, 0.902))
    assert rows[0][3:] == pytest.approx((0.801, 0.8, 0.802))
    assert [f.name for f in section.figures] == [
        "learning_validation", "learning_test",
    ]


def test_many_evaluations_are_drawn_as_few_points():
    curve = [(10 * n, n, n - 1, n + 1) for n in range(120)]
    thinned = _thinned(curve)
    assert len(thinned) == 60
    assert thinned[:2] == [(10, 0.5, -1, 2), (30, 2.5, 1, 4)]
    assert _thinned(curve[:60]) == curve[:60]


def test_levels_that_are_drawn_include_the_verdict_s(make):
    run = read_run(str(make(levels=3, verdict_density=0.75, branches=())))
    # Densities 5/6, 2/3, 1/2.
    assert some_levels(run, 3) == [0, 1, 3]


def test_accuracy_and_early_stop_have_controls(run):
    (table,) = accuracy([run]).tables
    assert column(table, "branch") == ["main"] * 3 + ["reinit"] * 2
    assert column(table, "test_accuracy_min")[0] == pytest.approx(0.9)
    (table,) = early_stop([run]).tables
    assert set(column(table, "early_stop_step_median")) == {20}


def test_without_results_there_is_nothing_to_draw(make):
    run = read_run(str(make(done=0)))
    for maker in (accuracy, early_stop, learning_curves, first_layer, costs):
        assert maker([run]) is None
    assert verdict([run]).figures == []
    assert ruling(run).word == "no verdict"


def test_each_run_has_its_margin_in_the_figure(make):
    runs = [
        read_run(str(make(str(margin), verdict_margin=margin)))
        for margin in (0.01, 0.05)
    ]
    (marks,) = verdict(runs).figures[0].drawn.axes[0].collections
    # The first run is the upper line.
    assert [line[0].tolist() for line in marks.get_segments()] == [
        [-1.0, 0.65], [-5.0, -0.35],
    ]
    # A dense network alone has no line, and so no margin.
    begun = read_run(str(make("begun", done=1, verdict_margin=0.05)))
    for some in (runs[:1], [runs[0], begun]):
        axes = verdict(some).figures[0].drawn.axes[0]
        assert axes.lines[1].get_label() == "margin, -1 pp"


@pytest.mark.parametrize(
    "gains, word",
    [
        ({"main": 0.02, "reinit": -0.02}, "winning"),
        ({"main": 0.02, "reinit": 0.02}, "matching"),
        ({"main": -0.05, "reinit": 0.0}, "no ticket"),
        ({"main": -0.002, "reinit": 0.0}, "undecided"),
    ],
)
def test_the_word_is_the_verdict(make, gains, word):
    run = read_run(str(make(gains=gains)))
    assert ruling(run).word == run.results.verdict().primary.verdict == word
    (table,) = verdict([run]).tables
    assert column(table, "level") == [1, 2]
    difference = 100 * (gains["main"] + 0.0005 / 3)
    assert column(table, "ticket_minus_dense_pp") == pytest.approx(
        [difference] * 2
    )


def test_costs_are_multiples_of_the_dense_training(run):
    (table,) = costs([run]).tables
    assert column(table, "search_steps_ratio") == [1, 2, 3]
    assert column(table, "inference_share") == pytest.approx([0.8] * 3)


def test_settings_that_differ_come_first(run, make):
    changed, same, versions = configuration([run]).tables
    found = {row[0]: row[1:] for row in changed.rows}
    assert found["branches"] == ["reinit", "none"]
    assert found["levels"] == ["2", "15"]
    assert not set(found) & {row[0] for row in same.rows}
    assert {"dataset", "epsilon"} <= {row[0] for row in same.rows}
    packages = {row[0]: row[1:] for row in versions.rows}
    assert packages["numpy"] == [np.__version__, np.__version__]
    runs, _ = read_runs([run.path, str(make("b", seed=4))])
    changed, *_ = configuration(runs).tables
    assert changed.columns == ["setting", "seed 0", "seed 4", "default"]
    assert ["seed", "0", "4", "0"] in changed.rows


@pytest.mark.parametrize(
    "column, value, text",
    [
        ("density", 0.0045, "0.45 %"),
        ("test_accuracy_mean", 0.98765, "98.77 %"),
        ("x_pp", -0.5, "\N{MINUS SIGN}0.50"),
        ("steps", 12345, "12,345"),
        ("steps", np.int64(5), "5"),
        ("flag", True, "yes"),
        ("loss", float("nan"), "nan"),
        ("seconds", 12345.6, "12,346"),
        ("name", "a", "a"),
        ("x", None, "\N{EN DASH}"),
    ],
)
def test_values_are_shown_as_people_read_them(column, value, text):
    assert cell_text(column, value) == text


def test_pictures_take_the_page_s_colours_and_leave_no_free_id():
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(2, 2))
    axes = drawn.subplots()
    axes.plot([0, 1], [0, 1], color="#0072B2", gid="twice")
    axes.axhline(0.5, color="0.9", gid="twice")
    text = inline_svg("one", figure_files("one", drawn, ["svg"])["svg"], "d")
    assert 'id="twice"' not in text and 'id="one-' in text
    assert "var(--blue)" in text and "var(--t9)" in text
    assert "#000000" not in text and "#0072" not in text
    assert 'aria-labelledby="d"' in text and "<metadata" not in text
    sheet = style_sheet()
    for name in {"--blue", *(f"--t{n}" for n in range(11))}:
        assert sheet.count(f"{name}:") == 2


def contrast(one, two):
    def luminance(color):
        parts = (int(color[n : n + 2], 16) / 255 for n in (1, 3, 5))
        linear = [
            v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4
            for v in parts
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted(map(luminance, (one, two)))
    return (high + 0.05) / (low + 0.05)


def test_text_has_contrast_in_light_and_dark():
    import re

    parts = style_sheet().split("@media (prefers-color-scheme: dark)")
    for part in parts[:1] + [parts[1].split("}}")[0]]:
        colors = dict(re.findall(r"--(\w+):(#\w{6})", part))
        for name in ("ink", "soft", "link", "good", "fair", "bad", "open"):
            for paper in ("paper", "wash"):
                assert contrast(colors[name], colors[paper]) >= 4.5, name
        assert contrast(colors["blue"], colors["paper"]) >= 3


def test_some_of_many_keep_the_ends():
    assert spread(range(16), 4) == [0, 5, 10, 15]
    assert spread([3], 4) == [3]

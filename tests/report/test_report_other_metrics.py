"""Tables, sentences and figures by other metrics than accuracy."""

import math

import pytest

from tf_lottery import report
from tf_lottery.analysis import judge
from tf_lottery.analysis import transfer_cell
from tf_lottery.analysis import transfer_columns
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import PERPLEXITY
from tf_lottery.metric import REWARD
from tf_lottery.metric import Metric
from tf_lottery.results import Results

COST = Metric("cost", higher_is_better=False)
KEPT = {0: 1000, 1: 800, 2: 640}


def row(metric, level, value, *, replicate=0, branch="main", step=None):
    return dict.fromkeys(report.columns(metric)) | {
        "replicate": replicate, "branch": branch, "level": level,
        "density": KEPT[level] / 1000, "sparsity": 1 - KEPT[level] / 1000,
        "kept_weights": KEPT[level], "prunable_weights": 1000,
        metric.test: value, "early_stop_step": step,
        "early_stop_censored": None if step is None else False,
        "train_steps": 10, "train_seconds": 1.0,
    }


def pair(metric, level, one, two, **more):
    return [
        row(metric, level, value, replicate=i, **more)
        for i, value in enumerate((one, two))
    ]


def test_the_summary_has_the_metrics_name_and_none_for_what_is_not_known():
    (entry,) = report.summarize(pair(PERPLEXITY, 1, 4.0, 6.0), PERPLEXITY)
    assert (
        entry["test_perplexity_mean"], entry["test_perplexity_min"],
        entry["test_perplexity_max"],
    ) == (5.0, 4.0, 6.0)
    for name in ("step_median", "step_min", "step_max", "censored",
                 "is_bound", "test_perplexity_mean"):
        assert entry[f"early_stop_{name}"] is None
    rows = pair(PERPLEXITY, 1, 4.0, 6.0)
    rows[1] |= {"early_stop_step": 7, "early_stop_censored": True}
    (entry,) = report.summarize(rows, PERPLEXITY)
    assert entry["early_stop_step_median"] == 7.0
    assert entry["early_stop_censored"] == 1 and entry["early_stop_is_bound"]


def test_the_table_drops_the_column_that_nobody_told():
    rows = [
        *pair(REWARD, 0, -200.0, -150.0), *pair(REWARD, 1, 90.0, 100.0),
        *pair(REWARD, 1, 5.0, 10.0, branch="reinit"),
    ]
    assert report.text_table(rows, REWARD).splitlines() == [
        "level  weights %  kept weights  test reward                   reinit",
        "-" * 68,
        "    0      100.0         1,000  -175.00 (-200.00 to -150.00)",
        "    1       80.0           800  95.00 (90.00-100.00)"
        "            7.50",
    ]
    rows[0] |= {"early_stop_step": 1234, "early_stop_censored": False}
    lines = report.text_table(rows, REWARD).splitlines()
    assert lines[0].split()[-4:] == ["early", "stop", "step", "reinit"]
    assert lines[2].endswith(" 1,234") and lines[3].split()[-1] == "7.50"


def test_less_perplexity_reaches_dense():
    rows = [
        *pair(PERPLEXITY, 0, 10.0, 10.0), *pair(PERPLEXITY, 1, 10.0, 11.0),
        *pair(PERPLEXITY, 2, 9.0, 10.2),
        *pair(PERPLEXITY, 2, 9.5, 9.9, branch="reinit"),
        *pair(PERPLEXITY, 2, 9.0, 9.8, branch="shuffle_mask"),
    ]
    assert report.finding(rows, metric=PERPLEXITY) == (
        "By the means the sparsest level that reaches dense: level 2 keeps "
        "64.0 % of the weights (640 of 1,000) at test perplexity 9.60, dense "
        "10.00 (better by 4.17 %, mean of 2 replicates), although the one "
        "denser level falls short of dense and 1 of 2 replicates is worse "
        "than dense here; the same mask with fresh weights (reinit) reaches "
        "9.70; the mask shuffled within layers (shuffle_mask) reaches 9.40, "
        "as good or better, so it explains the result as well."
    )
    assert "none of the 2 finished levels reaches dense; the closest, level 1" \
        in report.finding(
            [*rows[:4], *pair(PERPLEXITY, 2, 12.0, 12.0)], metric=PERPLEXITY
        )


def test_a_cost_is_worse_where_a_reward_is_better():
    def found(metric):
        rows = [row(metric, 0, 2.0), row(metric, 1, 3.5)]
        return report.finding(rows, metric=metric)

    assert "level that reaches dense" in found(REWARD)
    assert "reward 3.50, dense 2.00 (+1.50, one replicate)." in found(REWARD)
    assert "falls short of dense" in found(COST)
    assert "cost 3.50, dense 2.00 (worse by 1.50, one repl" in found(COST)
    alone = report.finding([row(COST, 0, 2.0)], metric=COST)
    assert "has finished: test cost 2.00 (one replicate);" in alone


def test_small_values_are_not_equal_for_being_small():
    rows = [row(COST, 0, 2e-9), row(COST, 1, 8e-9)]
    assert "dense 2e-09 (worse by 6e-09, one rep" in report.finding(
        rows, metric=COST
    )
    # Two float32 of one number are.
    rows = [row(COST, 0, 20.0), row(COST, 1, 20.000001)]
    assert "(equal, one replicate)" in report.finding(rows, metric=COST)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_network_that_has_diverged_reaches_nothing(value, tmp_path):
    rows = [row(PERPLEXITY, 0, 9.0), row(PERPLEXITY, 1, value)]
    text = report.finding(rows, metric=PERPLEXITY)
    assert "falls short of dense" in text and "(beyond comparison, one" in text
    rows.append(row(PERPLEXITY, 2, 12.0))
    assert "the closest, level 2" in report.finding(rows, metric=PERPLEXITY)
    rows += pair(PERPLEXITY, 2, 11.0, value, branch="reinit")
    rows += pair(PERPLEXITY, 1, 9.0, value, branch="shuffle_mask")
    figure = report.accuracy_figure(rows, title="", metric=PERPLEXITY)
    report.save_figure(figure, tmp_path / "a.png")
    assert all(map(math.isfinite, figure.axes[0].get_ylim()))


def test_early_stopping_is_told_of_those_that_know_it():
    rows = [row(COST, 0, 2.0, step=30), row(COST, 1, 1.0, step=10)]
    text = report.finding(rows, metric=COST)
    assert text.endswith("lowest at step 10, dense at step 30 (3.00x sooner).")
    rows[0] |= {"early_stop_step": None, "early_stop_censored": None}
    assert "alidation loss" not in report.finding(rows, metric=COST)


def test_the_axis_of_a_cost_is_cut_off_at_its_upper_end():
    rows = [
        row(PERPLEXITY, 0, 10.0), row(PERPLEXITY, 1, 9.5),
        row(PERPLEXITY, 2, 9.8), row(PERPLEXITY, 2, 80.0, branch="reinit"),
    ]
    (axes,) = report.accuracy_figure(
        rows, title="", metric=PERPLEXITY
    ).axes
    assert axes.get_ylabel() == "test perplexity"
    low, high = axes.get_ylim()
    assert low < 9.5 and 10.0 < high < 11.0
    (mark,) = [line for line in axes.lines if line.get_gid() == "hidden-point"]
    assert mark.get_marker() == "^" and mark.get_ydata()[0] == high
    (note,) = [text for text in axes.texts if text.get_gid() == "hidden-note"]
    assert note.get_text() == f"1 point above {high:.1f} cut off"


def test_where_all_tickets_are_at_0_nothing_is_cut_off():
    rows = [row(REWARD, 0, 0.0), row(REWARD, 1, 0.0),
            row(REWARD, 1, -5.0, branch="reinit")]
    (axes,) = report.accuracy_figure(rows, title="", metric=REWARD).axes
    assert axes.get_ylim()[0] < -5.0


def test_a_reward_that_is_far_off_is_cut_off_below():
    rows = [row(REWARD, 0, 100.0), row(REWARD, 1, 98.0),
            row(REWARD, 2, 99.0), row(REWARD, 2, -60.0, branch="reinit")]
    (axes,) = report.accuracy_figure(rows, title="", metric=REWARD).axes
    low, high = axes.get_ylim()
    assert 90.0 < low < 98.0 and 100.0 < high < 101.0
    # An agent that has learned nothing is to be seen.
    rows[3]["test_reward"] = 1.0
    (axes,) = report.accuracy_figure(rows, title="", metric=REWARD).axes
    assert axes.get_ylim()[0] < 1.0


def test_the_panel_of_early_stopping_is_there_where_a_row_has_it():
    rows = [row(REWARD, 0, 1.0), row(REWARD, 1, 2.0, step=4)]
    figure = report.accuracy_figure(rows, title="", metric=REWARD)
    assert len(figure.axes) == 2
    (line,) = [one for one in figure.axes[1].lines if len(one.get_xdata()) == 1]
    assert list(line.get_ydata()) == [4.0]
    figure = report.accuracy_figure(rows[:1], title="", metric=REWARD)
    assert len(figure.axes) == 1
    with pytest.raises(ValueError, match="`rows` must have an early-stop st"):
        report.accuracy_figure(
            rows[:1], title="", metric=REWARD, panels=["early_stop"]
        )


def test_the_report_of_a_run_has_the_metrics_name(tmp_path):
    rows = [row(REWARD, 0, 1.0), row(REWARD, 1, 2.0)]
    results = Results(rows, str(tmp_path), metric=REWARD)
    text = results.write_report("A title")
    assert (tmp_path / "report" / "reward.png").is_file()
    assert not (tmp_path / "report" / "accuracy.png").exists()
    assert "test reward" in text and results.finding() in text
    assert "ticket - dense is +1.00 (margin 0.00)" in results.verdict().text()


def test_an_evaluation_is_read_without_what_it_did_not_measure(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("step,split,loss,reward\n1,test,,2.5\n2,validation,0.5,\n")
    assert report.read_evaluations(path) == [
        {"step": 1, "split": "test", "reward": 2.5},
        {"step": 2, "split": "validation", "loss": 0.5},
    ]


def test_a_transferred_ticket_is_compared_by_its_metric():
    rows = [
        row(PERPLEXITY, 1, value, replicate=i, branch=branch)
        for branch, values in (("main", (8.0, 8.0)),
                               ("random_mask", (10.0, 10.0)))
        for i, value in enumerate(values)
    ]
    cell = transfer_cell(rows, 0.8, PERPLEXITY)
    assert set(cell) < set(transfer_columns(PERPLEXITY))
    assert (cell["ticket_perplexity"], cell["random_perplexity"]) == (8, 10)
    assert cell["difference"] == pytest.approx(0.25)
    cells = [cell | {"source": "a", "target": "b", "own": False}]
    assert "+25.00" in report.transfer_table(cells, PERPLEXITY)
    found = report.transfer_finding(cells, PERPLEXITY)
    assert "1 is better than random tickets" in found
    assert "on average by +25.00 %. " in found
    figure = report.transfer_figure(cells, title="t", metric=PERPLEXITY)
    assert figure.axes[1].get_ylabel() == "random ticket / ticket - 1 (%)"
    cells[0] |= {"difference": 0.25, "lower": None}
    assert "+0.250\n" in report.transfer_table(cells, REWARD)
    assert "by +0.250. " in report.transfer_finding(cells, REWARD)
    assert "+25.00 pp" in report.transfer_finding(cells, ACCURACY)


def test_what_is_small_is_shown_all_the_same():
    rows = [
        row(COST, level, value / 1000, replicate=i, branch=branch)
        for level, branch, values in (
            (0, "main", (4.0, 5.0)), (1, "main", (2.0, 2.5)),
            (1, "random_mask", (3.0, 3.5)),
        )
        for i, value in enumerate(values)
    ]
    table = report.text_table(rows, COST)
    assert "0.0045 (0.004-0.005)" in table and table.count("0.00325") == 1
    told = judge(rows, metric=COST, margin=0.001).text()
    assert "dense - ticket is +0.00225 (95 % bounds +1.78e-05 and +0.0" in told
    assert "margin 0.001)" in told
    assert "random_mask - ticket +0.001 (at least" in told
    cell = transfer_cell(rows, 0.8, COST)
    cells = [cell | {"source": "a", "target": "b", "own": False}]
    assert "+0.001" in report.transfer_table(cells, COST)
    assert "by +0.001. " in report.transfer_finding(cells, COST)

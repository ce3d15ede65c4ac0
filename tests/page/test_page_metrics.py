"""Pages of runs that are judged by perplexity, or by a reward."""

import csv
import dataclasses
import json
import math
import re

import numpy as np
import pytest

from tf_lottery import page
from tf_lottery.metric import PERPLEXITY
from tf_lottery.metric import Metric
from tf_lottery.page.curves import accuracy
from tf_lottery.page.curves import early_stop
from tf_lottery.page.curves import learning_curves
from tf_lottery.page.generalisation import generalisation
from tf_lottery.page.html import cell_text
from tf_lottery.page.layers import first_layer
from tf_lottery.page.layers import layer_density
from tf_lottery.page.reading import read_run
from tf_lottery.page.reading import read_runs
from tf_lottery.page.run import by_metric
from tf_lottery.page.run import listed
from tf_lottery.page.settings import configuration
from tf_lottery.page.settings import costs
from tf_lottery.page.verdict import ruling
from tf_lottery.page.verdict import verdict

REWARD = Metric("reward", margin=5.0)


@pytest.fixture
def text(make):
    return read_run(str(make("text", metric=PERPLEXITY, model="lstm_lm")))


@pytest.fixture
def reward(make):
    return read_run(str(make("rl", metric=REWARD, told=False, model="mlp")))


def names(section):
    return [one.name for one in (*section.figures, *section.tables)]


def test_the_metric_is_that_of_config_json(text, reward):
    assert (text.metric, reward.metric) == (PERPLEXITY, REWARD)
    assert not text.notices and not reward.notices
    assert reward.rows[0]["val_reward"] is None


# Accuracies are 0.02 apart, perplexities their exponential with a factor 2.
def test_the_ruling_on_perplexity_by_hand(text):
    found = ruling(text)
    assert found.word == "winning" and found.measured.startswith("test perpl")
    facts = dict(found.facts)
    gain = 100 * math.expm1(2 * (0.02 + 0.0005 / 3))
    assert facts["dense / ticket \N{MINUS SIGN} 1"].startswith(
        f"+{gain:.2f} % [+3.94, "
    )
    assert facts["margin"] == "\N{MINUS SIGN}0.99 %"
    section = verdict([text])
    (table,) = section.tables
    assert "reinit_gain_lower_percent" in table.columns
    place = list(table.columns).index("dense_gain_percent")
    assert table.rows[0][place] == pytest.approx(gain)
    axes = section.figures[0].drawn.axes[0]
    assert axes.get_xlabel() == "test perplexity, other / ticket - 1 (%)"
    assert axes.lines[1].get_xdata()[0] == pytest.approx(-100 / 101)
    assert axes.lines[1].get_label() == "margin, -0.99 %"
    # Dense is the upper line.
    assert axes.lines[-1].get_xdata()[0] == pytest.approx(gain)


def test_the_ruling_on_a_reward_by_hand(reward):
    facts = dict(ruling(reward).facts)
    assert facts["ticket \N{MINUS SIGN} dense"] == "+2.02 [+1.93, +2.10]"
    assert facts["margin"] == "\N{MINUS SIGN}5.00"
    section = verdict([reward])
    assert "reinit_gain_lower" in section.tables[0].columns
    axes = section.figures[0].drawn.axes[0]
    assert axes.get_xlabel() == "test reward, ticket - other"
    assert "Early stop" not in " ".join(section.text)


def test_what_nobody_told_has_no_section(reward, text):
    assert early_stop([reward]) is None and generalisation([reward]) is None
    assert names(early_stop([text, reward])) == ["early_stop_by_density"] * 2
    (curves,) = learning_curves([reward]).figures
    assert curves.name == "learning_test"
    assert len(generalisation([reward, text]).figures[0].drawn.axes) == 1


def test_costs_that_nobody_told_have_no_column(reward):
    (table,) = costs([reward]).tables
    assert "search_flops_ratio" in table.columns
    for row in reward.rows:
        row |= {"search_effective_flops": None, "break_even_examples": None}
    (table,) = costs([reward]).tables
    assert table.columns == [
        "level", "density", "search_steps_ratio", "search_time_ratio",
        "inference_share",
    ]
    assert {len(row) for row in table.rows} == {5}


def test_early_stopping_alone_is_shown_without_the_gap(make):
    run = read_run(str(make("rl", metric=REWARD)))
    rows = [{**row, "train_reward": None} for row in run.rows]
    results = dataclasses.replace(run.results, rows=rows)
    section = generalisation([dataclasses.replace(run, results=results)])
    assert names(section) == ["speed", "generalisation"]
    assert "gap" not in section.tables[0].columns
    assert "train_reward" not in section.tables[0].columns
    assert "gap" not in " ".join(section.text)
    assert "stop earlier than dense" in " ".join(section.text)


def test_perplexity_generalises_by_a_ratio(text):
    section = generalisation([text])
    told = " ".join(section.text)
    assert "The best mean test perplexity, 8.65, is at 66.7 %" in told
    assert "better than dense by 4.12 % (the sparsest" in told
    assert "the gap is test / train - 1. Occam's hill: with fewer weights " \
        "test perplexity gets better" in told
    (table,) = section.tables
    place = list(table.columns).index("gap_low")
    assert table.rows[0][place] == pytest.approx(math.expm1(2 * 0.098))
    assert "gap is 17.08 % there and 21.90 %" in told
    axes = section.figures[1].drawn.axes[0]
    assert axes.get_ylabel() == "perplexity, test / train - 1 (%)"
    assert section.figures[0].drawn.axes[0].get_ylabel() == "perplexity"


def test_learning_curves_are_of_the_metric(text):
    section = learning_curves([text])
    (table,) = section.tables
    assert table.columns[3] == "perplexity"
    (row,) = [r for r in table.rows
              if r[:3] == ("test", "level 0, 100.0 %", 40)]
    values = [math.exp(4 - 2 * (0.9 + 0.001 * n)) for n in range(3)]
    np.testing.assert_allclose(
        row[3:], [np.mean(values), values[2], values[0]]
    )
    assert section.text[0].startswith("Perplexity during training")
    assert "may be cut off above." in section.text[0]
    axes = section.figures[0].drawn.axes[0]
    assert axes.get_ylabel() == "validation perplexity"
    assert axes.get_ylim()[1] < 10


def test_values_that_are_no_number_leave_curves_whole(make):
    folder = make("text", metric=PERPLEXITY)
    for path in folder.rglob("level_*/metrics.csv"):
        path.write_text("step,split,perplexity\n0,test,inf\n5,warm up,2.0\n"
                        "9,test,3.0\n")
    section = learning_curves([read_run(str(folder))])
    assert [one.name for one in section.figures] == [
        "learning_test", "learning_warm_up",
    ]
    assert {row[2] for row in section.tables[0].rows} == {5, 9}


def test_what_is_measured_once_has_no_curve(make):
    folder = make("text", metric=PERPLEXITY)
    for path in folder.rglob("level_*/metrics.csv"):
        path.write_text("step,split,perplexity\n0,test,5.0\n9,test,3.0\n"
                        "9,train,2.0\n")
    section = learning_curves([read_run(str(folder))])
    assert [one.name for one in section.figures] == ["learning_test"]
    assert {row[0] for row in section.tables[0].rows} == {"test", "train"}


def test_no_image_of_what_sees_none(text, reward):
    assert first_layer([text]) is None and first_layer([reward]) is None
    assert layer_density([text, reward]) is not None


def test_runs_of_two_metrics_are_shown_apart(make, text, reward, tmp_path,
                                             undrawn, parse):
    more = read_run(str(make("more", metric=PERPLEXITY)))
    runs = read_runs([run.path for run in (text, reward, more)])[0]
    first, second = by_metric(runs)
    assert [len(first), len(second)] == [2, 1]
    section = accuracy(runs)
    assert section.title == "Perplexity and reward against density"
    assert names(section) == ["perplexity_by_density", "reward_by_density"] * 2
    values = section.tables[1].rows
    assert {row[0] for row in values} == {second[0].label}
    assert [len(f.drawn.axes[0].get_legend_handles_labels()[0])
            for f in section.figures] == [2, 1]
    found = verdict(runs)
    assert [len(table.rows) for table in found.tables] == [2, 1]
    assert names(found) == ["verdict", "verdict_2", "verdicts", "verdicts_2"]
    page.write(runs, tmp_path / "out")
    text = parse(tmp_path / "out" / "index.html").text
    assert (
        "The runs are judged by different metrics (perplexity and reward): "
        "their values cannot be compared with each other."
    ) in text
    assert (
        "of test perplexity (above 0 the ticket is better) and test reward. In"
    ) in text


def test_one_metric_with_two_margins_is_one(make):
    runs = [
        read_run(str(make(name, metric=Metric("reward", margin=margin))))
        for name, margin in (("a", 1.0), ("b", 2.0))
    ]
    assert len(by_metric(runs)) == 1
    assert listed(["reward", "reward"]) == "reward"


@pytest.mark.parametrize("metric", [PERPLEXITY, REWARD], ids=["text", "rl"])
def test_the_whole_page_has_no_word_of_accuracy(make, parse, undrawn, metric,
                                                monkeypatch):
    monkeypatch.setattr("tf_lottery.page.writing.SECTIONS", page.SECTIONS)
    folder = make("run", metric=metric, told=metric is PERPLEXITY)
    page.write([folder])
    told = parse(folder / "report" / "index.html").text
    for word in ("ccurac", " pp", "ixel", "image", "cannot be shown", "nan"):
        assert word not in told, re.search(f".{{60}}{word}.{{20}}", told)
    assert f"{metric.words.capitalize()} against density" in told


def test_a_figure_of_the_page_leaves_that_of_the_run(make, undrawn):
    folder = make("run", metric=Metric("speed"))

    speed = folder / "report" / "speed.png"
    speed.parent.mkdir()
    speed.write_bytes(b"the run's own")
    page.write([folder], makers=[generalisation])
    assert speed.read_bytes() == b"the run's own"
    assert (folder / "report" / "speed_of_page.png").is_file()


def test_a_metric_that_is_none_is_a_notice(make):
    folder = make("run", metric=REWARD)
    values = json.loads((folder / "config.json").read_text())
    for metric in ({"nom": 1}, 3, {"name": "loss"}):
        (folder / "config.json").write_text(
            json.dumps({**values, "metric": metric})
        )
        run = read_run(str(folder))
        assert run.rows == [] and run.settings is None
        assert "no metric that can be understood" in " ".join(run.notices)
    (folder / "config.json").unlink()
    run = read_run(str(folder))
    assert run.rows == []
    assert "have no test_accuracy: what networks are judged" in " ".join(
        run.notices
    )


def test_cells_of_a_table_are_in_the_metrics_unit():
    rate = Metric("success_rate", percent=True)
    assert cell_text("test_success_rate_mean", 0.5, rate) == "50.00 %"
    assert cell_text("gap", 0.25, rate) == "25.00 %"
    assert cell_text("test_reward", -7.0, REWARD) == "\N{MINUS SIGN}7.00"
    assert cell_text("test_reward_min", 7, REWARD) == "7.00"
    assert cell_text("gap", 0.25, REWARD) == "0.25"
    assert cell_text("gap", 0.25, PERPLEXITY) == "25.00 %"
    # A name may be a word of another column.
    assert cell_text("early_stop_step_min", 1.5, Metric("stop")) == "1.5"
    assert cell_text("dense_gain_lower", 1.5) == "+1.50"
    assert cell_text("dense_gain_lower", 0.0015) == "+0.0015"
    assert cell_text("dense_gain_upper_percent", 0.001) == "+0.00"


def test_what_a_task_decides_is_no_setting(reward):
    values = {"task": {"name": "cart", "settings": {}}, "levels": 2}
    task = dataclasses.replace(reward, config=values)
    changed, same, _ = configuration([task]).tables
    assert {row[0] for row in (*changed.rows, *same.rows)} == set(values)
    # Beside a run that uses them they are there.
    tables = configuration([task, reward]).tables
    assert "batch_size" in {row[0] for row in tables[1].rows}


def test_csv_files_have_every_digit(make, undrawn):
    folder = make("text", metric=PERPLEXITY)
    page.write([folder])
    with open(folder / "report" / "perplexity_by_density.csv") as file:
        (first, *_) = csv.DictReader(file)
    values = [math.exp(4 - 2 * (0.9 + 0.001 * n)) for n in range(3)]
    assert float(first["test_perplexity_mean"]) == pytest.approx(
        np.mean(values), rel=1e-12
    )

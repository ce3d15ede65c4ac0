"""Tasks of the user's own: any network, any training function."""

import dataclasses
import json
import os
import re
import signal

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery import layers
from tf_lottery.page import read_runs

COST = tfl.Metric("cost", higher_is_better=False)
UNTOLD = (
    "test_loss", "val_cost", "val_loss", "train_cost", "early_stop_step",
    "early_stop_test_cost", "early_stop_censored", "train_examples",
    "train_flops",
)


def build(seed):
    inputs = keras.Input((4,))
    hidden = keras.layers.Dense(5, activation="relu", name="hidden")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2, name="out")(hidden))


class Training:
    """Moves every weight by a number of its level; remembers its calls."""

    def __init__(self, **more):
        self.calls, self.starts, self.more = [], [], more

    def __call__(self, model, *, level, seed, start_step, **rewind):
        self.calls.append((level, start_step, seed, sorted(rewind)))
        self.starts.append(layers.get_state(model))
        for step in range(start_step, 4):
            for weight in model.trainable_variables:
                weight.assign(weight + 0.01 * (level + 1))
            if rewind and step + 1 == rewind["at_rewind_step"][0]:
                rewind["at_rewind_step"][1]()
        # The mean makes replicates differ, whose weights do.
        cost = level + sum(float(np.mean(w)) for w in model.weights) / 100
        return {"test_cost": cost, **self.more}


def task(training=None, **changes):
    values = dict(
        name="toy", build=build, train=training or Training(), metric=COST,
        train_steps=4,
    )
    return tfl.Task(**{**values, **changes})


@pytest.fixture
def run(tmp_path):
    def run(*arguments, build=build, made=None, **changes):
        values = dict(
            levels=2, quiet=True, report=False, output_dir=str(tmp_path),
        )
        made = made or task(*arguments, build=build)
        return tfl.run(task=made, **{**values, **changes})

    return run


def test_levels_replicates_and_controls_have_rows(run):
    training = Training()
    results = run(training, replicates=2, branches="reinit,random_mask")
    assert [
        (r["replicate"], r["branch"], r["level"], r["train_steps"])
        for r in results.rows
    ] == [
        (n, branch, level, 4)
        for n in (0, 1)
        for branch, levels in (
            ("main", (0, 1, 2)), ("random_mask", (1, 2)), ("reinit", (1, 2)),
        )
        for level in levels
    ]
    assert [r["kept_weights"] for r in results.rows[:3]] == [30, 25, 21]
    assert results.metric == COST
    assert all(row[name] is None for row in results.rows for name in UNTOLD)
    assert results.rows[0]["inference_flops"] == 60
    again = tfl.load_results(results.run_dir)
    assert again == results


def test_every_level_starts_from_the_rewind_weights_and_stays_masked(run):
    training = Training()
    results = run(training, rewind="2it")
    assert [call[:2] for call in training.calls] == [(0, 0), (1, 2), (2, 2)]
    assert [call[3] for call in training.calls] == [
        ["at_rewind_step"], [], [],
    ]
    first = training.starts[0]
    for level in (1, 2):
        folder = os.path.join(
            results.run_dir, f"replicate_0/main/level_0{level}/ticket"
        )
        ticket = tfl.Ticket.load(folder)
        for path, keep in ticket.mask.items():
            # Two steps of 0.01 at level 0 lead to the rewind point.
            expected = (first[path] + 0.01 + 0.01) * keep
            np.testing.assert_allclose(
                training.starts[level][path], expected, rtol=1e-6
            )
            # The function moves pruned weights too: it is undone.
            assert not ticket.trained[path][~keep].any()
            assert ticket.trained[path][keep].all()


def test_a_long_task_rewinds_to_a_late_step(run):
    def train(model, *, start_step, at_rewind_step=None, **how):
        if at_rewind_step is not None:
            starts.append(at_rewind_step[0])
            at_rewind_step[1]()
        starts.append(start_step)
        return {"test_cost": 1.0}

    starts = []
    # Beyond what training on data takes by default.
    made = dataclasses.replace(task(train), train_steps=10_000)
    run(train, made=made, levels=1, rewind="4000it")
    assert starts == [4000, 0, 4000]


def test_a_run_goes_on_where_it_was_cut_off(run):
    class Cut(Training):
        def __call__(self, model, *, level, **how):
            if level == 2:
                raise KeyboardInterrupt
            return super().__call__(model, level=level, **how)

    with pytest.raises(KeyboardInterrupt):
        run(Cut())
    rest = Training()
    results = run(rest)
    assert [call[0] for call in rest.calls] == [2]
    none = Training()
    assert run(none).rows == results.rows and not none.calls


def test_a_signal_ends_the_training_under_way_at_once(run):
    reached = []

    class Stopped(Training):
        def __call__(self, model, *, level, **how):
            reached.append(level)
            if level == 1:
                signal.raise_signal(signal.SIGINT)
                reached.append("beyond")
            return super().__call__(model, level=level, **how)

    with pytest.raises(KeyboardInterrupt):
        run(Stopped())
    assert reached == [0, 1]
    assert len(run(Training()).rows) == 3


def test_replicates_start_from_weights_of_their_own(run):
    training = Training()
    run(training, levels=0, replicates=2)
    one, two = (start["hidden/kernel"] for start in training.starts)
    assert (one != two).all()


def test_what_identifies_a_run(run):
    folders = {
        os.path.basename(run(levels=0).run_dir),
        os.path.basename(run(levels=0, seed=1).run_dir),
    }
    folders |= {
        os.path.basename(
            tfl.run(
                task=task(**changes), levels=0, quiet=True, report=False,
                output_dir=os.path.dirname(run(levels=0).run_dir),
            ).run_dir
        )
        for changes in (
            {"settings": {"rate": 0.1}}, {"name": "other"},
            {"train_steps": 5}, {"metric": tfl.Metric("cost")},
            # As without: what a verdict needs is not trained.
            {"metric": dataclasses.replace(COST, margin=1.0)},
        )
    }
    assert len(folders) == 6
    assert sum(f.startswith("toy-functional-imp-") for f in folders) == 5


def test_settings_with_numbers_for_keys_are_gone_on_with(run, tmp_path):
    sizes = {"units": {2: 8, 10: 16}, "mixed": {2: 8, "x": 16}}
    toy = task(settings=sizes)
    sizes["units"][3] = 4
    assert toy.settings == {
        "units": {"2": 8, "10": 16}, "mixed": {"2": 8, "x": 16},
    }
    for levels in (0, 1):
        results = tfl.run(
            task=toy, levels=levels, quiet=True, report=False,
            output_prune_rate=0.2, output_dir=tmp_path,
        )
    assert len(results.rows) == 2


def test_config_json_tells_the_task_and_nothing_that_is_not_so(run):
    results = run(levels=0)
    with open(os.path.join(results.run_dir, "config.json")) as file:
        values = json.load(file)
    assert values["task"] == {"name": "toy", "train_steps": 4, "settings": {}}
    assert tfl.Metric.from_json(values["metric"]) == COST
    assert (values["dataset"], values["train_steps"]) == ("toy", "4it")
    for name in ("optimizer", "learning_rate", "validation_size", "batch_size"):
        assert name not in values


def test_evaluations_become_metrics_and_an_early_stop(run):
    evaluations = [
        {"step": step, "split": split, "loss": loss, "cost": 10 * loss}
        for step, loss in ((1, 3.0), (2, np.float32(1.0)), (3, 2.0))
        for split in ("validation", "test")
    ]
    evaluations.append({"step": 3, "split": "train", "entropy": 0.5})
    results = run(
        Training(evaluations=evaluations, val_cost=7.0, train_examples=8),
        levels=0,
    )
    (row,) = results.rows
    assert (row["early_stop_step"], row["early_stop_test_cost"]) == (2, 10.0)
    assert row["early_stop_censored"] is False
    assert (row["val_cost"], row["train_examples"]) == (7.0, 8)
    assert row["train_flops"] == 3 * 60 * 8
    found = results.metrics()
    assert len(found) == 13 and found[-1]["metric"] == "entropy"
    assert (found[-1]["split"], found[-1]["value"]) == ("train", 0.5)


def test_what_a_training_need_not_tell_may_be_none(run):
    results = run(
        Training(
            val_cost=None, train_steps=None, train_examples=np.int64(8),
            test_loss=np.float32(0.5), evaluations=None,
        ),
        levels=0,
    )
    (row,) = results.rows
    assert (row["val_cost"], row["train_steps"]) == (None, 4)
    assert (row["train_examples"], row["test_loss"]) == (8, 0.5)


def test_a_loss_that_is_not_a_number_is_not_the_least(run):
    evaluations = [
        {"step": step, "split": split, "loss": loss, "cost": step}
        for step, loss in ((1, float("nan")), (2, 1.0), (3, 2.0))
        for split in ("validation", "test")
    ]
    (row,) = run(Training(evaluations=evaluations), levels=0).rows
    assert row["early_stop_step"] == 2


def test_a_structure_is_of_the_pruning_and_not_of_the_task(run):
    results = run(
        method="one_shot", target_sparsity=0.5, structure="2:4",
        exclude="out/*",
    )
    assert [row["kept_weights"] for row in results.rows] == [20, 10]
    ticket = tfl.Ticket.load(
        os.path.join(results.run_dir, "replicate_0/main/level_01/ticket")
    )
    assert (ticket.mask["hidden/kernel"].sum(axis=0) == 2).all()


def test_what_the_search_knows_a_training_does_not_change(run):
    told = dict(level=7, replicate=9, density=2.0, kept_weights=1, branch="x")
    assert [
        (r["replicate"], r["branch"], r["level"], r["kept_weights"])
        for r in run(Training(**told)).rows
    ] == [(0, "main", 0, 30), (0, "main", 1, 25), (0, "main", 2, 21)]


def test_one_shot_and_at_init(run):
    for method, trained in (("one_shot", [0, 1, 2]), ("at_init", [0, 1, 2])):
        training = Training()
        results = run(
            training, method=method, target_sparsity="0.5,0.8", scope="global"
        )
        assert [call[0] for call in training.calls] == trained
        assert [r["kept_weights"] for r in results.rows] == [30, 15, 6]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"optimizer": "sgd"}, "`optimizer` must be left out for a task"),
        ({"dataset": "mnist"}, "`dataset` must be left out for a task"),
        ({"train_steps": 9}, "`train_steps` must be left out for a task"),
        ({"connectivity": True}, "`connectivity` must be left out"),
        ({"instability_steps": "0it"}, "`instability_steps` must be left"),
        ({"rewind": "auto"}, "`rewind` must be a step for a task"),
        ({"retrain": "fine_tune"}, "`retrain` must be another than fine_tu"),
        ({"rewind": "4it"}, "`rewind` must be before the 4 steps of training"),
        ({"criterion": "snip"}, "`criterion` must be .*snip"),
        (
            {"method": "gradual", "target_sparsity": 0.5},
            "`method` must be one of imp, one_shot, at_init, dense",
        ),
    ],
)
def test_what_the_task_decides_is_refused_before_anything(
    run, tmp_path, changes, message
):
    training = Training()
    with pytest.raises(ValueError, match=message):
        run(training, **changes)
    assert not training.calls and not os.listdir(tmp_path)


class Subclassed(keras.Model):
    def __init__(self, units):
        super().__init__(name="own")
        self.hidden = keras.layers.Dense(units, name="hidden")
        self.out = keras.layers.Dense(2, name="out")
        self(np.zeros((1, 4)))

    def call(self, x):
        return self.out(self.hidden(x))


def test_a_subclassed_network(run):
    how = dict(scope="global", branches="reinit")
    results = run(build=lambda seed: Subclassed(5), **how)
    assert [r["kept_weights"] for r in results.rows[:3]] == [30, 24, 19]
    other = run(build=lambda seed: Subclassed(6), **how)
    assert other.rows[0]["kept_weights"] == 36
    assert other.run_dir != results.run_dir


def test_plan_trains_nothing(run, capsys):
    training = Training()
    run(training, plan=True, quiet=False)
    told = capsys.readouterr().out
    assert re.search("3 trainings in 1 replicate.*12 steps", told)
    assert not training.calls


def test_its_page_can_be_read(run):
    results = run()
    (found,), problems = read_runs([results.run_dir])
    assert not problems and not found.notices
    assert found.results.metric == COST

"""The command's switches, in runs of a second each."""

import csv
import json

import numpy as np
import pytest

import tf_lottery as tfl


@pytest.fixture
def go(command, flags, tmp_path):
    """Runs in `tmp_path/runs`; returns the outcome and the run directory."""

    def run(*more):
        done = command(*flags, f"--output_dir={tmp_path / 'runs'}", *more)
        assert done.status == 0, done.err
        (folder,) = (tmp_path / "runs").iterdir()
        return done, folder

    return run


def load(folder, level, branch="main"):
    return tfl.Ticket.load(
        folder / "replicate_0" / branch / f"level_{level:02d}" / "ticket"
    )


def steps_of(folder, level, branch="main"):
    path = folder / "replicate_0" / branch / f"level_{level:02d}"
    with open(path / "metrics.csv", newline="") as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_plan_runs_and_writes_nothing(command, flags, tmp_path):
    done = command(
        *flags, "--plan", f"--output_dir={tmp_path / 'runs'}",
        "--branches=reinit",
    )
    assert (done.status, done.err) == (0, "")
    for cells in (
        ["0", "50,200", "100.00%", "19,200", "30,000", "1,000"],
        ["1", "40,260", "80.20%", "15,360", "24,000", "900"],
        ["2", "32,298", "64.34%", "12,288", "19,200", "810"],
    ):
        assert cells in [line.split() for line in done.out.splitlines()]
    assert "5 trainings in 1 replicate(s), 300 steps" in done.out
    assert "0 finished training(s) would be reused; 300 steps" in done.out
    assert not list(tmp_path.iterdir())


def test_plan_tells_what_would_be_reused(command, flags, whole):
    before = {p: p.stat().st_mtime_ns for p in whole.path.rglob("*")}
    done = command(
        *flags, "--plan", f"--output_dir={whole.path.parent}", "--levels=3",
        "--branches=reinit",
    )
    assert "5 finished training(s) would be reused; 120 steps" in done.out
    assert f"Run directory: {whole.path}\n" in done.out
    assert {p: p.stat().st_mtime_ns for p in whole.path.rglob("*")} == before


def test_quiet_prints_nothing_and_the_log_has_all(go, tmp_path):
    done, folder = go("--quiet", f"--log_file={tmp_path / 'log.txt'}")
    assert (done.out, done.err) == ("", "")
    log = (tmp_path / "log.txt").read_text("utf-8")
    for level in range(3):
        assert f"replicate 0 main level {level}: " in log
    assert tfl.load_results(folder).finding() in log
    assert all(line[:2] == "20" and line[10] == "T" for line in
               log.splitlines())


def test_a_log_is_appended_to(go, tmp_path):
    log = tmp_path / "log.txt"
    log.write_text("before\n")
    go("--levels=0", f"--log_file={log}")
    assert log.read_text("utf-8").startswith("before\n20")


def test_dense_trains_the_whole_network_only(go):
    _, folder = go("--method=dense")
    assert "-dense-" in folder.name
    (row,) = tfl.load_results(folder).rows
    assert (row["level"], row["kept_weights"]) == (0, 50_200)


def test_augmentation_changes_the_training_alone(go, whole):
    _, folder = go("--levels=0", "--augment=flip_crop")
    mine, plain = load(folder, 0), load(whole.path, 0)
    path = "dense_1/kernel"
    np.testing.assert_array_equal(mine.rewind[path], plain.rewind[path])
    assert (mine.trained[path] != plain.trained[path]).any()
    rows = [tfl.load_results(f).rows[0] for f in (folder, whole.path)]
    # Before training, the images evaluated on are those of the plain run.
    names = [f / "replicate_0/main/level_00/metrics.csv"
             for f in (folder, whole.path)]
    first = [name.read_text("utf-8").splitlines()[1:3] for name in names]
    assert first[0] == first[1]
    assert rows[0]["test_loss"] != rows[1]["test_loss"]


def test_rewind_goes_back_to_the_step(go, whole):
    _, folder = go(
        "--rewind=30it", "--branches=shuffle_mask,reinit",
        "--branch_levels=1",
    )
    tickets = [load(folder, level) for level in range(3)]
    assert steps_of(folder, 0)[0] == 0 and 30 not in steps_of(folder, 0)
    for level in (1, 2):
        # The evaluations of steps 40 and 60 are those after step 30.
        assert steps_of(folder, level) == [40, 40, 60, 60, 60]
        for path, keep in tickets[level].mask.items():
            np.testing.assert_array_equal(
                tickets[level].rewind[path][keep],
                tickets[0].rewind[path][keep],
            )
    assert steps_of(folder, 1, "shuffle_mask")[0] == 40
    assert steps_of(folder, 1, "reinit")[0] == 0
    rows = {
        (r["branch"], r["level"]): r for r in tfl.load_results(folder).rows
    }
    assert rows["main", 0]["train_steps"] == 60
    assert rows["main", 1]["train_steps"] == 30
    assert rows["reinit", 1]["train_steps"] == 60
    # Step 30 is neither the start nor the end, and the start is unchanged.
    initial = load(whole.path, 0)
    for name in ("rewind", "trained"):
        assert (
            tickets[0].rewind["dense_1/kernel"]
            != getattr(initial, name)["dense_1/kernel"]
        ).any()
    np.testing.assert_array_equal(
        tickets[0].trained["dense_1/kernel"],
        initial.trained["dense_1/kernel"],
    )


@pytest.mark.parametrize(
    ("retrain", "steps"),
    [("lr_rewind", 30), ("fine_tune", 30), ("continue", 60)],
)
def test_retrain(go, retrain, steps):
    _, folder = go(
        f"--retrain={retrain}", "--rewind=30it", "--levels=1",
        "--lr_schedule=step:40it:0.01",
    )
    rows = tfl.load_results(folder).rows
    assert [(r["branch"], r["level"], r["train_steps"]) for r in rows] == [
        ("main", 0, 60), ("main", 1, steps),
    ] + ([("rewound", 1, 30)] if retrain == "continue" else [])
    before, after = load(folder, 0), load(folder, 1)
    path = "dense_1/kernel"
    keep = after.mask[path]

    def distance(weights):
        return np.abs(after.trained[path] - weights)[keep].mean()

    # From the trained weights on, and not from the rewound ones.
    assert distance(before.trained[path]) < distance(before.rewind[path])
    moved = distance(before.trained[path])
    # 30 steps at the last learning rate, 1e-2 of the first, move little.
    assert (moved < 1e-3) == (retrain == "fine_tune")
    if retrain == "continue":
        control = load(folder, 1, "rewound")
        assert control.mask == after.mask
        np.testing.assert_array_equal(
            control.rewind[path][keep], before.rewind[path][keep]
        )


def test_export_of_the_last_level(go):
    done, folder = go("--export=last", "--levels=1")
    assert [p.parent.name for p in folder.rglob("saved_model")] == ["level_01"]
    model = folder / "replicate_0" / "main" / "level_01" / "saved_model"
    assert (model / "saved_model.pb").is_file()
    assert f"SavedModel: {model}" in done.err
    done, _ = go("--export=0,1", "--levels=1")
    assert done.err.count("SavedModel: ") == 1
    assert len(list(folder.rglob("saved_model"))) == 2


def test_initial_weights_are_where_the_network_starts(
    command, flags, tmp_path, whole
):
    source = whole.path / "replicate_0" / "main" / "level_00" / "ticket"
    start = tfl.Ticket.load(source)
    done = command(
        *flags, "--seed=99", "--levels=1", f"--initial_weights={source}",
        f"--output_dir={tmp_path}",
    )
    assert done.status == 0, done.err
    (folder,) = tmp_path.iterdir()
    for path, value in start.rewind.items():
        np.testing.assert_array_equal(load(folder, 0).rewind[path], value)
    values = json.loads((folder / "config.json").read_text("utf-8"))
    assert values["inputs"] == {"initial_weights": start.digest()}
    # The same weights from another place are the same experiment.
    start.save(tmp_path / "moved")
    done = command(
        *flags, "--seed=99", "--levels=1", f"--output_dir={tmp_path}",
        f"--initial_weights={tmp_path / 'moved'}",
    )
    assert "2 of 2 trainings are finished and reused" in done.err


def test_initial_weights_of_another_model_are_refused(
    command, tmp_path, whole
):
    source = whole.path / "replicate_0" / "main" / "level_00" / "ticket"
    done = command(
        "--model=conv_2", f"--initial_weights={source}",
        f"--output_dir={tmp_path / 'runs'}",
    )
    assert done.status == 1 and not list(tmp_path.iterdir())
    (line,) = done.err.splitlines()
    assert "must have one array per variable" in line


def test_exclude_and_global_scope(go):
    _, folder = go("--exclude=output/*", "--scope=global", "--levels=1")
    dense, ticket = load(folder, 0), load(folder, 1)
    assert list(dense.mask) == ["dense_1/kernel", "dense_2/kernel"]
    assert (dense.mask.kept, ticket.mask.kept) == (49_200, 39_360)
    model = ticket.build_model(weights="trained")
    assert tfl.get_mask(model) == ticket.mask


def test_bfloat16_and_floor(go):
    _, folder = go(
        "--mixed_precision=mixed_bfloat16", "--collapse=floor",
        "--prune_rate=0.999", "--output_prune_rate=0.99", "--levels=2",
    )
    kept = load(folder, 2).mask.kept_by_path
    assert kept == {
        "dense_1/kernel": 1, "dense_2/kernel": 1, "output/kernel": 1,
    }
    assert load(folder, 2).rewind["output/kernel"].dtype == np.float32


def test_two_replicas(go):
    done, folder = go("--strategy=mirrored", "--levels=1")
    rows = tfl.load_results(folder).rows
    assert [row["kept_weights"] for row in rows] == [50_200, 40_260]
    assert min(row["test_accuracy"] for row in rows) > 0.5

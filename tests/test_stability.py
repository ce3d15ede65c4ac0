"""Instability analysis by command, and the rewind step that it chooses."""

import csv
import json
import os
import pathlib
import re

import pytest

import tf_lottery as tfl
from tf_lottery import analysis
from tf_lottery import forks
from tf_lottery import page
from tf_lottery import report
from tf_lottery.fingerprint import fingerprint
from tf_lottery.forks import fork_key
from tf_lottery.page.connectivity import connectivity
from tf_lottery.page.settings import configuration
from tf_lottery.stability import Instability

FLAGS = (
    "--train_steps=40it", "--eval_every=20it", "--jit=off",
    "--optimizer=sgd", "--learning_rate=0.1", "--batch_size=75",
)


@pytest.fixture
def untrained(monkeypatch):
    """Fails where a network is trained."""

    def refuse(self, *what):
        raise AssertionError("it trains")

    monkeypatch.setattr(forks.ForkTrainer, "finish", refuse)


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_the_command_tells_barriers_and_writes_lines(
    command, tmp_path, monkeypatch
):
    flags = [*FLAGS, f"--output_dir={tmp_path}"]
    asked = [*flags, "--instability_steps=10it,0it", "--method=imp"]
    plan = command(*asked, "--plan", "--replicates=2")
    # Per replicate 40 steps, 40 from step 0 on and 30 from step 10 on.
    assert plan.status == 0 and "220 optimizer steps to do" in plan.out
    assert not list(tmp_path.iterdir())
    done = command(*asked)
    assert done.status == 0, done.err
    (folder,) = tmp_path.iterdir()
    assert folder.name.startswith("digits-lenet_300_100-instability-")
    assert re.search(r"instability +10 +0 +100.0", done.out)
    points = read(folder / "report" / "connectivity.csv")
    assert len(points) == 2 * 3 * 30
    assert {(r["replicate"], r["step"], r["split"]) for r in points} == {
        ("0", k, split) for k in ("0", "10")
        for split in ("test", "train", "validation")
    }
    barriers = read(folder / "report" / "barriers.csv")
    for row in barriers:
        errors = [
            float(r["error"]) for r in points
            if (r["step"], r["split"]) == (row["step"], "test")
        ]
        barrier = max(errors) - (errors[0] + errors[-1]) / 2
        assert float(row["barrier_test"]) == pytest.approx(barrier)
    assert (folder / "report" / "instability.png").stat().st_size > 1e4
    monkeypatch.setattr(forks.ForkTrainer, "_train", None)
    again = command(*asked, "--branches=reinit", "--prune_rate=0.5")
    assert again.status == 0 and again.out == done.out
    altered = folder / "report" / "connectivity.csv"
    altered.write_text(altered.read_text()[:-90])
    # Lines are evaluated again, from the tickets there are.
    mended = command(*asked)
    assert "truncated or altered" in mended.err
    assert mended.out == done.out
    assert read(altered) == points


def drawn(run_dir):
    """Its page, with all parts whatever other tests leave out."""
    path = page.write([run_dir], makers=page.SECTIONS)
    return pathlib.Path(path).read_text()


def test_its_page_has_its_lines_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tf_lottery.page.writing.figure_files",
        lambda name, figure, forms: dict.fromkeys(forms, b"<svg></svg>"),
    )
    run = tfl.Config(
        output_dir=str(tmp_path), jit="off", eval_every=20, train_steps=20,
        optimizer="sgd", quiet=True,
    )
    found = tfl.instability(run, steps=[0])
    lines = [f"{found.run_dir}/report/{name}.csv" for name in
             ("connectivity", "barriers")]
    before = [*map(read, lines)]
    choice = {
        "chosen": 0, "barrier": 0.01, "stable": True, "stable_below": 0.02,
        "split": "validation", "replicate": 0, "analysis": "x",
        "candidates": [{"step": 0, "barrier": 0.01}],
    }
    report.write_choice(f"{found.run_dir}/report", choice)
    told = drawn(found.run_dir)
    assert re.findall("<h2[^>]*>(.*?)</h2>", told) == [
        "Linear mode connectivity"
    ]
    assert "lenet_300_100 on digits, instability" in told
    assert "Please note" not in told and 'class="ruling"' not in told
    assert "Dense networks that part in data order at step k" in told
    assert "step 0 is the first that is stable" in told
    assert [*map(read, lines)] == before
    # Beside a run with tickets it adds a line to one part alone.
    both = tfl.run(run, levels=0)
    report.write_choice(
        f"{both.run_dir}/report", {**choice, "replicate": 5}
    )
    path = page.write(
        [both.run_dir, found.run_dir], tmp_path / "both",
        makers=(connectivity, configuration),
    )
    told = pathlib.Path(path).read_text()
    assert told.count('class="ruling"') == 1
    assert "in replicate 0. Tried" in told and "in replicate 5." in told
    assert "differ from their defaults" in told and "at step k" in told
    os.remove(lines[1])
    pathlib.Path(f"{both.run_dir}/report/rewind.json").write_text("{}")
    told = pathlib.Path(
        page.write([both.run_dir], tmp_path, makers=(configuration,))
    ).read_text()
    assert "rewind.json, which is truncated or altered" in told
    told = drawn(found.run_dir)
    assert "No line has finished yet" in told


@pytest.mark.parametrize(
    "flags, error",
    [
        (["--instability_steps=40it"], "`instability_steps` must be before"),
        (["--instability_steps=x"], "`instability_steps` must be a number"),
        (
            ["--instability_steps=0it", "--strategy=multi_worker"],
            "`strategy` must be of one machine",
        ),
        (["--rewind=auto", "--method=rigl", "--target_sparsity=0.5"],
         "Received: rewind=auto"),
        (["--rewind=none"], "`rewind` must be a number of steps or epochs"),
        # Found before hours of training for the step.
        (["--rewind=auto", "--criterion=x"], "`criterion` must be"),
    ],
)
def test_errors_are_one_line(flags, error, command, tmp_path, untrained):
    done = command(*FLAGS, *flags, f"--output_dir={tmp_path}")
    assert done.status == 1 and error in done.err
    assert "Traceback" not in done.err and not list(tmp_path.iterdir())


def test_auto_is_the_run_of_the_step_that_it_chooses(command, tmp_path):
    flags = [*FLAGS, "--levels=0", f"--output_dir={tmp_path}"]
    plan = command(*flags, "--rewind=auto", "--plan")
    assert plan.status == 0 and not list(tmp_path.iterdir())
    assert "steps 0, 1, 2, 4, 8" in plan.out and "when it is known" in plan.out
    done = command(*flags, "--rewind=auto")
    assert done.status == 0, done.err
    chosen = int(re.search(r"rewind=auto: .*step (\d)", done.err)[1])
    # One step after the other, until one is stable.
    assert sorted(p.name for p in tmp_path.glob("*/*/fork_*")) == [
        f"fork_{k:06d}" for k in (0, 1, 2, 4, 8) if k <= chosen
    ]
    (folder,) = tmp_path.glob("*-imp-*")
    explicit = command(*flags, f"--rewind={chosen}it")
    assert "1 of 1 trainings are finished and reused" in explicit.err
    # From what is on disk, and for more replicates the same step.
    again = command(*flags, "--rewind=auto", "--replicates=2", "--plan")
    assert re.search(rf"rewind=auto: .*step {chosen}", again.err)
    assert str(folder) in again.out


@pytest.mark.parametrize("trained_before", [False, True])
def test_auto_trains_the_first_network_once(
    monkeypatch, tmp_path, trained_before
):
    config = tfl.Config(
        train_steps=40, jit="off", output_dir=str(tmp_path), eval_every=20,
        optimizer="sgd",
    )
    if trained_before:
        tfl.instability(config, steps=[39], quiet=True)
    trained, counted, totals = [], [], []
    real = forks.ForkTrainer._train_main

    def noted(self, replicate, keep, whole):
        trained.append((list(keep), whole))
        real(self, replicate, keep, whole)

    class Progress:
        line = result = status = staticmethod(lambda text: None)
        start = totals.append
        advance = counted.append

    monkeypatch.setattr(forks.ForkTrainer, "_train_main", noted)
    monkeypatch.setattr(
        Instability, "_barrier", lambda self, replicate, k: None
        if self._forks.digest(fork_key(replicate, k)) is None
        else 0.01 if k == 4 else 0.1,
    )
    # The lines are not evaluated.
    monkeypatch.setattr(Instability, "_write", lambda self, results: "")
    found = Instability(config, None, Progress)
    assert found.choose()["chosen"] == 4
    assert trained == [([0, 1, 2, 4, 8], not trained_before)]
    # All but the copy of step 8, of which nothing is left.
    assert sum(counted) == totals[0] - 32
    assert sorted(p.name for p in tmp_path.glob("*/*/fork_*")) == [
        f"fork_{k:06d}" for k in (0, 1, 2, 4, 39) if k < 5 or trained_before
    ]
    assert not [*tmp_path.rglob("checkpoint.npz")]


def test_where_none_is_stable_the_last_is_taken_and_told(
    monkeypatch, tmp_path
):
    config = tfl.Config(
        train_steps=40, jit="off", output_dir=str(tmp_path), eval_every=20
    )
    told = []

    class Progress:
        line = told.append

    found = Instability(config, None, Progress)
    assert found.steps == [0, 1, 2, 4, 8]
    file = f"{found.run_dir}/report/rewind.json"
    monkeypatch.setattr(found, "_barrier", lambda replicate, k: 0.1 - k / 1e3)
    choice = found.choose()
    assert (choice["chosen"], choice["stable"]) == (8, False)
    assert choice["barrier"] == pytest.approx(0.092)
    assert "no step is stable" in told[0] and "8 (9.20%)" in told[0]
    assert "a later --rewind" in told[0]
    assert json.loads(pathlib.Path(file).read_text()) == choice
    monkeypatch.setattr(found, "_barrier", lambda replicate, k: 0.05 / (k + 1))
    choice = found.choose()
    assert (choice["chosen"], choice["stable"]) == (2, True)
    assert [c["step"] for c in choice["candidates"]] == [0, 1, 2]
    monkeypatch.setattr(
        found, "_barrier", lambda replicate, k: None if k > 1 else 0.1
    )
    assert found.choice() is None


def test_the_step_is_chosen_by_validation(monkeypatch, tmp_path, command):
    # Barriers of test alone would have it elsewhere.
    real = analysis.Connectivity.barrier
    monkeypatch.setattr(
        analysis.Connectivity, "barrier",
        lambda line, split="test": real(line, split)
        if split != "test" else 0.5,
    )
    monkeypatch.setattr(
        report, "read_lines", lambda folder: ([], [])
    )
    flags = [*FLAGS, "--levels=0", f"--output_dir={tmp_path}"]
    done = command(*flags, "--rewind=auto")
    assert done.status == 0, done.err
    (one,), (other,) = (
        tmp_path.glob(f"*-{kind}-*/report/rewind.json")
        for kind in ("instability", "imp")
    )
    choice = json.loads(one.read_text())
    assert json.loads(other.read_text()) == choice
    assert choice["split"] == "validation" and choice["barrier"] < 0.5
    rows = read(one.parent / "barriers.csv")
    assert [c["barrier"] for c in choice["candidates"]] == [
        float(row["barrier_validation"]) for row in rows
    ]
    assert {row["barrier_test"] for row in rows} == {"0.5"}


def test_the_fingerprint_is_that_of_what_is_trained(tmp_path):
    class Quiet:
        line = print

    def name(**changes):
        config = tfl.Config(output_dir=str(tmp_path), **changes)
        return Instability(config, None, Quiet).run_dir

    assert name() == name(prune_rate=0.5, rewind="5it", replicates=4)
    assert len({name(), name(seed=1), name(learning_rate=0.5)}) == 3


def test_fingerprints_of_experiments_do_not_know_of_it():
    values = tfl.Config().to_json()
    assert not {"connectivity", "instability_steps"} & set(values)
    on = tfl.Config(connectivity=True, instability_steps="0it").to_json()
    assert fingerprint(on) == fingerprint(values)
    assert tfl.Config(rewind="auto").rewind is None


def test_tables_and_choices_have_one_bound_of_stability():
    # report is read without TensorFlow, which analysis loads.
    assert report.connectivity._STABLE == analysis.STABLE_BELOW

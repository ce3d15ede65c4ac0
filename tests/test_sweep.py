"""Several values of epsilon from one command."""

import csv
import json

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery import report
from tf_lottery.metric import PERPLEXITY

FLAGS = (
    "--method=perturbed", "--epsilon=0,0.02", "--target_sparsity=0.5,0.8",
    "--train_steps=60it", "--score_steps=30it", "--eval_every=30it",
    "--scope=uniform", "--init=kaiming_normal", "--jit=off",
)


def test_a_table_and_a_figure_over_all_epsilons(command, tmp_path):
    flags = [*FLAGS, f"--output_dir={tmp_path}"]
    plan = command(*flags, "--plan")
    assert plan.status == 0 and plan.out.count("3 trainings in 1 rep") == 2
    assert "120 steps" in plan.out
    assert not list(tmp_path.iterdir())
    done = command(*flags)
    assert done.status == 0, done.err
    assert "epsilon 0.02 (2 of 2)" in done.err
    assert "before masking" in done.out and "* the best density" in done.out
    (table,) = tmp_path.glob("*/perturbation.csv")
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["epsilon"], r["replicate"], r["level"]) for r in rows] == [
        (e, "0", n) for e in ("0.0", "0.02") for n in "012"
    ]
    assert [int(r["kept_weights"]) for r in rows[:3]] == [50200, 25100, 10040]
    assert [int(r["train_steps"]) for r in rows[:3]] == [60, 30, 30]
    assert (table.parent / "report" / "perturbation.png").stat().st_size > 1e4
    text = (table.parent / "perturbation.txt").read_text()
    assert text.strip() in done.out
    runs = {
        tuple(json.loads(path.read_text())["epsilon"]): path.parent
        for path in tmp_path.glob("*/config.json")
    }
    assert set(runs) == {(0.0,), (0.02,), (0.0, 0.02)}
    assert runs[0.0, 0.02] == table.parent
    for (epsilon,), run in ((k, v) for k, v in runs.items() if len(k) == 1):
        for level in (0, 1, 2):
            ticket = tfl.Ticket.load(
                run / f"replicate_0/main/level_{level:02d}/ticket"
            )
            for path, keep in ticket.mask.items():
                far = np.float64(ticket.trained[path]) - ticket.rewind[path]
                assert (np.abs(far) <= epsilon).all()
                assert np.abs(far).max() > 0.9 * epsilon or not epsilon
                assert np.count_nonzero(ticket.trained[path][~keep]) == 0
    with pytest.raises(ValueError, match="of several values of epsilon"):
        tfl.load_results(table.parent)
    assert len(tfl.load_results(runs[(0.0,)]).rows) == 3
    again = command(*flags)
    assert again.err.count("3 of 3 trainings are finished and reused") == 2
    assert again.out == done.out


def test_the_same_from_python(tmp_path):
    results = tfl.run(
        method="perturbed", epsilon=(0.0, 0.5), target_sparsity=(0.5,),
        train_steps=20, quiet=True, output_dir=str(tmp_path),
        mask_by="criterion", scope="global", jit="off",
    )
    assert [r["epsilon"] for r in results.rows] == [0.0, 0.0, 0.5, 0.5]
    assert "before masking" in results.table()
    assert results.finding().startswith("From one epsilon to the next")


def test_all_are_checked_before_one_is_trained(command, tmp_path):
    done = command(
        *FLAGS, "--model=nothing", f"--output_dir={tmp_path}"
    )
    assert done.status == 1 and "`model` must be" in done.err
    assert not list(tmp_path.iterdir())


def test_several_epsilons_are_refused_where_there_is_no_accuracy(monkeypatch):
    class Checked:
        identity = {"metric": PERPLEXITY.to_json()}

    monkeypatch.setattr(
        "tf_lottery.sweep.Experiment", lambda *arguments: Checked()
    )
    with pytest.raises(ValueError, match="judged by perplexity. Received: ep"):
        tfl.run(
            method="perturbed", epsilon=(0.0, 0.1), target_sparsity=(0.5,),
            quiet=True,
        )


def test_the_search_for_a_rewind_step_reports_where_the_run_does(
    monkeypatch, capsys
):
    class Searched:
        def __init__(self, config, model, progress):
            progress.start(1)
            self._progress = progress

        def choice(self):
            return None

        def tell_plan(self):
            self._progress.result("told")

    monkeypatch.setattr("tf_lottery.sweep.Instability", Searched)
    monkeypatch.setattr("tf_lottery.sweep.Experiment", lambda *arguments: None)
    progress = report.Progress(quiet=True)
    tfl.run(rewind="auto", plan=True, progress=progress)
    assert capsys.readouterr() == ("", "")
    # It has been counted apart.
    progress.start(1)

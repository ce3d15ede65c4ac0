"""A whole run through the binary: its files, counts and text."""

import csv
import dataclasses
import json
import sys

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.fingerprint import fingerprint
from tf_lottery.work import DataWork

COLUMNS = [
    "replicate", "branch", "level", "density", "sparsity", "kept_weights",
    "prunable_weights", "test_accuracy", "test_loss", "val_accuracy",
    "val_loss", "train_accuracy", "early_stop_step",
    "early_stop_test_accuracy", "early_stop_censored", "train_steps",
    "train_seconds", "train_examples", "train_flops", "train_effective_flops",
    "inference_flops", "inference_effective_flops", "search_steps",
    "search_examples", "search_flops", "search_effective_flops",
    "search_seconds", "break_even_examples", "effective_density",
]
COUNTS = [50_200, 40_260, 32_298]
# Kernels of 64 x 300, 300 x 100 and 100 x 10 at 20, 20 and 10 % per round.
BY_KERNEL = [
    (19_200, 30_000, 1000), (15_360, 24_000, 900), (12_288, 19_200, 810),
]


def tickets(run_dir, branch="main"):
    folders = sorted((run_dir / "replicate_0" / branch).iterdir())
    return [tfl.Ticket.load(folder / "ticket") for folder in folders]


def test_results_have_the_contracts_columns_and_counts(whole):
    with open(whole.path / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == COLUMNS
    assert [(r["branch"], int(r["level"])) for r in rows] == [
        ("main", 0), ("main", 1), ("main", 2), ("reinit", 1), ("reinit", 2),
    ]
    for row in rows:
        kept = COUNTS[int(row["level"])]
        assert int(row["kept_weights"]) == kept
        assert int(row["prunable_weights"]) == 50_200
        assert float(row["density"]) == kept / 50_200
        assert float(row["sparsity"]) == pytest.approx(1 - kept / 50_200)
        assert int(row["train_steps"]) == 60
        least = 0.99 if row["branch"] == "main" else 0.95
        assert least <= float(row["effective_density"]) / (kept / 50_200) <= 1
        assert 0.5 < float(row["test_accuracy"]) < 1
        assert float(row["train_seconds"]) > 0
        assert int(row["early_stop_step"]) in (0, 20, 40, 60)


def test_costs_by_hand(whole):
    # 60 steps of 60 examples; 2 FLOPs a weight, three passes in training.
    rows = {
        (r["branch"], r["level"]): r for r in tfl.load_results(whole.path).rows
    }
    examples, dense = 60 * 60, 2 * 50_200
    search = 0
    for level, kept in enumerate(COUNTS):
        main = rows["main", level]
        assert main["train_examples"] == examples
        assert main["inference_flops"] == dense
        assert main["inference_effective_flops"] == 2 * kept
        assert main["train_flops"] == 3 * dense * examples
        assert main["train_effective_flops"] == 3 * 2 * kept * examples
        search += main["train_effective_flops"]
        assert main["search_effective_flops"] == search
        assert main["search_flops"] == (level + 1) * 3 * dense * examples
        assert main["search_steps"] == (level + 1) * 60
        if level:
            # 3 * 3,600 examples trained at level 1, each saving 9,940 of
            # 50,200 weights: after 3 * 3,600 * 40,260 / 9,940 inferences.
            extra, saved = search - 3 * dense * examples, dense - 2 * kept
            assert main["break_even_examples"] == -(-extra // saved)
            control = rows["reinit", level]
            assert control["search_effective_flops"] == search
    assert rows["main", 0]["break_even_examples"] is None
    assert rows["main", 1]["break_even_examples"] == 43_744


def test_results_agree_with_metrics(whole):
    for row in tfl.load_results(whole.path).rows:
        level = whole.path / "replicate_0" / row["branch"]
        level = level / f"level_{row['level']:02d}"
        with open(level / "metrics.csv", newline="") as file:
            found = list(csv.DictReader(file))
        assert list(found[0]) == ["step", "split", "loss", "accuracy"]
        assert [(int(r["step"]), r["split"]) for r in found] == [
            (step, split)
            for step in (0, 20, 40, 60)
            for split in ("validation", "test")
        ] + [(60, "train")]
        validation = [r for r in found if r["split"] == "validation"]
        best = min(validation, key=lambda r: float(r["loss"]))
        assert row["early_stop_step"] == int(best["step"])
        last = {r["split"]: r for r in found}
        assert row["test_accuracy"] == float(last["test"]["accuracy"])
        assert row["val_loss"] == float(last["validation"]["loss"])
        assert row["train_accuracy"] == float(last["train"]["accuracy"])


def test_the_run_directory_is_the_contracts(whole):
    values = json.loads((whole.path / "config.json").read_text("utf-8"))
    assert whole.path.name == (
        f"digits-lenet_300_100-imp-{fingerprint(values)[:16]}"
    )
    assert values["output_prune_rate"] == 0.1 and values["seed"] == 7
    levels = {"main": ["level_00", "level_01", "level_02"],
              "reinit": ["level_01", "level_02"]}
    assert sorted(p.name for p in whole.path.iterdir()) == [
        "config.json", "replicate_0", "report", "results.csv",
    ]
    for branch, names in levels.items():
        folder = whole.path / "replicate_0" / branch
        assert sorted(p.name for p in folder.iterdir()) == names
        for name in names:
            assert sorted(
                str(p.relative_to(folder / name))
                for p in (folder / name).rglob("*") if p.is_file()
            ) == [
                "level.json", "metrics.csv", "ticket/mask.npz",
                "ticket/rewind.npz", "ticket/ticket.json",
                "ticket/trained.npz",
            ]
    assert list((whole.path / "report").glob("*.png"))


def test_tickets_are_nested_and_rewound(whole):
    found = tickets(whole.path)
    assert [t.level for t in found] == [0, 1, 2]
    for ticket, counts in zip(found, BY_KERNEL):
        assert tuple(ticket.mask.kept_by_path.values()) == counts
        assert ticket.verify() == []
        for path, keep in ticket.mask.items():
            assert not ticket.trained[path][~keep].any()
            np.testing.assert_array_equal(
                ticket.rewind[path][keep], found[0].rewind[path][keep]
            )
            assert (ticket.rewind[path] != ticket.trained[path])[keep].any()
        assert not np.any(ticket.rewind["dense_1/bias"])
    for before, after in zip(found, found[1:]):
        assert after.mask.is_subset_of(before.mask)
        # The lowest of the trained magnitudes went.
        for path, keep in after.mask.items():
            size = np.abs(before.trained[path])
            gone = before.mask[path] & ~keep
            assert size[gone].max() <= size[keep].min()


def test_reinit_has_the_ticket_mask_and_fresh_weights(whole):
    main, fresh = tickets(whole.path)[1:], tickets(whole.path, "reinit")
    for ticket, control in zip(main, fresh, strict=True):
        assert control.mask == ticket.mask
        assert control.config["branch"] == "reinit"
        path = "dense_1/kernel"
        keep = ticket.mask[path]
        a, b = ticket.rewind[path][keep], control.rewind[path][keep]
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.05
        # Glorot normal, where the ticket kept what had grown large.
        assert b.std() == pytest.approx(np.sqrt(2 / 364), rel=0.03)
    first, second = (c.rewind["dense_2/kernel"] for c in fresh)
    keep = fresh[1].mask["dense_2/kernel"]
    assert (first != second)[keep].all()


def test_the_trained_network_has_the_accuracy_of_its_row(whole):
    from tf_lottery import data

    test = data.load("digits").test
    for ticket, row in zip(
        tickets(whole.path), tfl.load_results(whole.path).rows
    ):
        model = ticket.build_model(masked=False, weights="trained")
        x = test.x.astype("float32") * ticket.config["input_scale"]
        right = np.argmax(model(x), -1) == test.y
        assert right.mean() == pytest.approx(row["test_accuracy"])


def test_what_is_printed_can_be_told_again(whole):
    text = whole.out + whole.err
    results = tfl.load_results(str(whole.path))
    assert results.table() in text and results.finding() in text
    for level, kept in enumerate(COUNTS):
        assert f"replicate 0 main level {level}: {kept:,} weights" in text
    assert "Traceback" not in text and "Warning" not in text


def test_a_run_ends_in_its_verdict(whole):
    verdict = tfl.load_results(whole.path).verdict()
    assert f"\n\n{verdict.text()}\n\n" in whole.out
    assert verdict.headline.startswith("Verdict: undecided at level 2, ")
    path = whole.path / "report" / "verdict.csv"
    assert f"Verdict: {path}\n" in whole.out
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row, same in zip(rows, verdict.rows(), strict=True):
        assert row == {
            k: "" if v is None else str(v) for k, v in same.items()
        }
    assert [row["primary"] for row in rows] == ["False", "True"]


def test_what_is_declared_is_kept_with_the_run(command, flags, copied):
    before = tfl.load_results(copied)
    done = command(
        *flags, "--branches=reinit", f"--output_dir={copied.parent}",
        "--verdict_density=0.75", "--verdict_margin=0.03",
    )
    assert "5 of 5 trainings are finished and reused." in done.out + done.err
    assert "Verdict: undecided at level 1, 80.2 % of the weights" in done.out
    results = tfl.load_results(copied)
    assert (results.verdict_density, results.verdict_margin) == (0.75, 0.03)
    assert results.verdict().text() in done.out
    assert results.rows == before.rows
    again = results.verdict(
        density=before.verdict_density, margin=before.metric.margin
    )
    assert again == before.verdict()


def test_a_run_without_tickets_has_a_finding_alone(command, flags, tmp_path):
    done = command(*flags, "--levels=0", f"--output_dir={tmp_path}")
    assert "Only the dense network (level 0) has finished" in done.out
    assert "Verdict: none" not in done.out


def test_load_results_of_no_run(tmp_path):
    with pytest.raises(ValueError, match="`run_dir` must .* which has none"):
        tfl.load_results(tmp_path)


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"method": "x"}', '{"metric": 3}']
)
def test_load_results_without_a_config_that_is_one(text, tmp_path):
    (tmp_path / "results.csv").write_text("")
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="`run_dir` must have a config.json"):
        tfl.load_results(tmp_path)


def test_another_seed_gives_another_ticket(whole, tmp_path, flags):
    config = dict(f[2:].split("=") for f in flags if "=" in f)
    config.update(
        seed=8, levels=0, output_dir=str(tmp_path), quiet=True, report=False
    )
    results = tfl.run(tfl.Config(**config))
    one = tickets(whole.path)[0]
    (two,) = tickets(tmp_path / results.run_dir)
    assert (one.rewind["dense_1/kernel"] != two.rewind["dense_1/kernel"]).all()


def test_plan_in_python_changes_nothing(tmp_path, capsys):
    results = tfl.run(
        levels=1, train_steps=5, plan=True, output_dir=str(tmp_path)
    )
    assert results.rows == [] and not list(tmp_path.iterdir())
    assert "40,260" in capsys.readouterr().out


def test_an_edited_model_is_another_experiment(tmp_path, monkeypatch):
    from tf_lottery.experiment import Experiment
    from tf_lottery.report import Progress

    monkeypatch.chdir(tmp_path)
    config = tfl.Config(model="edited_model:tiny", levels=1)
    code = (
        "import keras\n"
        "def tiny():\n"
        "    x = keras.Input((8, 8, 1))\n"
        "    y = keras.layers.Flatten()(x)\n"
        "    y = keras.layers.Dense(4, activation='ACTIVATION')(y)\n"
        "    return keras.Model(x, keras.layers.Dense(10)(y))\n"
    )
    folders = []
    for activation in ("relu", "tanh", "relu"):
        monkeypatch.delitem(sys.modules, "edited_model", raising=False)
        # A new name each time would be another flag: the same file is edited.
        file = tmp_path / "edited_model.py"
        file.write_text(code.replace("ACTIVATION", activation))
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        folders.append(Experiment(config, Progress(quiet=True)).run_dir)
    assert folders[0] == folders[2] != folders[1]


@pytest.mark.parametrize(
    "first, layer, same",
    [
        ("keras.utils.set_random_seed(4)", "", "all"),
        # A generator of the seed beside weights of none.
        ("how['kernel_initializer'] = seeded", "", "all"),
        ("pass", ", kernel_initializer=seeded", "dense/kernel"),
        ("pass", "", ""),
    ],
)
def test_a_models_weights_are_drawn_by_the_seed(
    first, layer, same, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "seeded_model", raising=False)
    (tmp_path / "seeded_model.py").write_text(
        "import keras\n"
        "def tiny(input_shape, num_classes):\n"
        "    how, seeded = {}, keras.initializers.GlorotUniform(seed=0)\n"
        f"    {first}\n"
        "    x = keras.Input(input_shape)\n"
        "    y = keras.layers.Flatten()(x)\n"
        f"    y = keras.layers.Dense(4, **how{layer})(y)\n"
        "    y = keras.layers.Dropout(0.5)(y)\n"
        "    y = keras.layers.BatchNormalization()(y)\n"
        "    y = keras.layers.Dense(num_classes, **how)(y)\n"
        "    return keras.Model(x, y)\n"
    )
    config = tfl.Config(
        model="seeded_model:tiny", levels=1, branches="reinit", replicates=2,
        output_dir=str(tmp_path / "runs"),
    )
    if same == "all":
        with pytest.raises(ValueError, match="without reinit, which need .*`m"):
            tfl.run(config, plan=True, quiet=True)
        found = DataWork(dataclasses.replace(config, branches=()).resolved())
        assert found.notes[-1].startswith("All replicates start alike, as `m")
    else:
        notes = DataWork(config.resolved()).notes
        assert [n for n in notes if "alike" in n] == [
            f"`model` gives the same {path} for every seed: replicates and "
            "controls start alike there." for path in filter(None, [same])
        ]

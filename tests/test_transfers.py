"""Tickets trained on other data: one run, and a matrix from one command."""

import csv
import json
import shutil
import types

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.cli.transfer import main
from tf_lottery.config import Config
from tf_lottery.experiment import Experiment
from tf_lottery.provenance import check_transferred
from tf_lottery.results import Results
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import read_source

FLAGS = (
    "--levels=1", "--train_steps=20it", "--eval_every=10it", "--jit=off",
    "--replicates=2",
)
TICKET = "replicate_0/main/level_01/ticket"


def run_matrix(capfd, folder, *flags):
    capfd.readouterr()
    status = main([
        "transfer.py", "--datasets=digits:0-4,digits", *FLAGS,
        f"--output_dir={folder}", *flags,
    ])
    return types.SimpleNamespace(status=status, **capfd.readouterr()._asdict())


@pytest.fixture(scope="module", name="made")
def make_once(tmp_path_factory):
    return types.SimpleNamespace(
        folder=tmp_path_factory.mktemp("matrix"), done=None
    )


@pytest.fixture
def matrix(made, capfd):
    """The command's folder and what it said: run once for this module."""
    if made.done is None:
        made.done = run_matrix(capfd, made.folder)
    return made


def runs_of(folder):
    """`{(dataset, method): run directory}`"""
    found = {}
    for path in folder.glob("*/config.json"):
        values = json.loads(path.read_text())
        found[values["dataset"], values["method"]] = path.parent
    return found


def test_a_plan_of_a_matrix_trains_nothing(capfd, tmp_path):
    plan = run_matrix(capfd, tmp_path, "--plan")
    assert plan.status == 0, plan.err
    assert "digits:0-4 -> digits: 6 trainings of tickets that are not" in (
        plan.out
    )
    assert not list(tmp_path.iterdir())


def test_a_matrix_from_one_command(matrix, capfd):
    done = matrix.done
    assert done.status == 0, done.err
    assert "digits -> digits:0-4 (4 of 4)" in done.err
    assert "New for these classes: output/bias, output/kernel" in done.err
    assert "is cut to" not in done.err
    assert "Of 2 transferred tickets" in done.out
    (table,) = matrix.folder.glob("*/transfer.csv")
    with open(table, newline="") as file:
        cells = list(csv.DictReader(file))
    names = ["digits:0-4", "digits"]
    assert [(c["source"], c["target"]) for c in cells] == [
        (a, b) for a in names for b in names
    ]
    assert [c["own"] for c in cells] == ["True", "False", "False", "True"]
    for cell in cells:
        rows = {
            (r["branch"], r["replicate"]): r["test_accuracy"]
            for r in tfl.load_results(cell["run_dir"]).rows if r["level"] == 1
        }
        differences = [
            rows["main", n] - rows["random_mask", n] for n in (0, 1)
        ]
        assert float(cell["difference"]) == pytest.approx(np.mean(differences))
    assert (table.parent / "report" / "transfer.png").stat().st_size > 1e4
    with pytest.raises(ValueError, match="of several runs of tickets"):
        tfl.load_results(table.parent)
    plan = run_matrix(capfd, matrix.folder, "--plan")
    assert plan.out.count("6 finished training(s) would be reused; 0") == 4


def test_a_transferred_ticket_says_where_it_is_from(matrix):
    runs = runs_of(matrix.folder)
    source, target = runs["digits:0-4", "imp"], runs["digits", "transfer"]
    before = tfl.Ticket.load(source / TICKET)
    ticket = tfl.Ticket.load(target / TICKET)
    origin = dict(ticket.config["transferred_from"])
    assert len(origin.pop("sha256")) == 64
    assert origin == {
        "dataset": "digits:0-4", "model": "lenet_300_100", "method": "imp",
        "optimizer": "adam", "seed": 0, "replicate": 0, "level": 1,
    }
    for path, keep in ticket.mask.items():
        if path == "output/kernel":
            # 500 weights of which 450 are kept, and 1,000.
            assert keep.shape == (100, 10) and keep.sum() == 900
        else:
            assert np.array_equal(keep, before.mask[path])
            assert np.array_equal(ticket.rewind[path], before.rewind[path])
    dense = tfl.Ticket.load(target / TICKET.replace("01", "00"))
    kept = np.where(
        ticket.mask["output/kernel"], dense.rewind["output/kernel"], 0
    )
    assert np.array_equal(ticket.rewind["output/kernel"], kept)
    # What the search cost is not known there.
    rows = tfl.load_results(target).rows
    assert {r["search_steps"] for r in rows if r["level"] == 1} == {None}


def test_no_array_is_read_to_see_whether_the_source_is_the_same(
    matrix, monkeypatch
):
    """A matrix looks at every transfer twice before it trains."""
    runs = runs_of(matrix.folder)
    monkeypatch.setattr("tf_lottery.tickets.store.Ticket.load", None)
    source = read_source(str(runs["digits:0-4", "imp"]))
    store = RunDirectory(str(runs["digits", "transfer"]))
    keys = [Key(n, "main", level) for n in (0, 1) for level in (0, 1)]
    check_transferred(store, keys, source)
    with pytest.raises(ValueError, match="is another by now"):
        check_transferred(
            store, keys, read_source(str(runs["digits", "imp"]))
        )


def test_a_source_offers_all_its_levels_after_a_rerun_with_fewer(
    matrix, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(runs_of(matrix.folder)["digits", "imp"], run)
    config = json.loads((run / "config.json").read_text())
    assert config["levels"] == 1
    (run / "config.json").write_text(json.dumps({**config, "levels": 0}))
    assert read_source(str(run)).levels == 1


def test_where_the_source_lies_does_not_matter_but_what_it_is(
    matrix, command, tmp_path
):
    runs = runs_of(matrix.folder)
    moved = tmp_path / "moved"
    shutil.copytree(runs["digits:0-4", "imp"], moved)
    flags = [*FLAGS, f"--ticket={moved}", f"--output_dir={matrix.folder}"]
    plan = command(*flags, "--branches=random_mask", "--plan")
    assert "6 finished training(s) would be reused" in plan.out, plan.err
    shutil.rmtree(moved / TICKET)
    shutil.copytree(moved / TICKET.replace("replicate_0", "replicate_1"),
                    moved / TICKET)
    other = command(*flags, "--plan")
    assert "whose replicate 0 level 1 is another by now" in other.err
    shutil.rmtree(moved / TICKET)
    gone = command(*flags, "--plan")
    assert gone.status == 1 and "has no replicate 0 level 1" in gone.err
    few = command(*flags, "--levels=0", "--plan")
    assert few.status == 0 and "2 trainings in 2 rep" in few.out


def test_one_ticket_is_level_1(matrix, command, tmp_path):
    runs = runs_of(matrix.folder)
    done = command(
        *FLAGS[1:], "--dataset=digits:5-9", "--optimizer=sgd",
        f"--ticket={runs['digits:0-4', 'imp'] / TICKET}",
        f"--output_dir={tmp_path}",
    )
    assert done.status == 0, done.err
    assert "All replicates start from this one ticket" in done.err
    assert "levels=15 is cut to 1, the levels that these" in done.err
    assert "New for these classes" not in done.err
    (run,) = tmp_path.iterdir()
    source = tfl.Ticket.load(runs["digits:0-4", "imp"] / TICKET)
    for n in (0, 1):
        path = run / TICKET.replace("replicate_0", f"replicate_{n}")
        assert tfl.Ticket.load(path).digest() == source.digest()
    assert len(tfl.load_results(run).rows) == 4
    many = command(
        "--levels=2", f"--ticket={runs['digits:0-4', 'imp'] / TICKET}",
        f"--output_dir={tmp_path}",
    )
    assert "`levels` must be at most 1" in many.err


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--datasets=digits"], "at least two different settings"),
        (["--datasets=digits,digits"], "at least two different settings"),
        (["--optimizers=adam,adam:1.2e-3"], "at least two different settings"),
        (["--optimizers=sgd:fast,adam"], "names with a learning rate"),
        (["--optimizers=sgd,nothing"], "`optimizer` must be"),
        (["--datasets=digits:0-4,digits:5-12"], "of the classes 0 to 9"),
        (["--method=dense"], "`method` must be one of imp, one_shot"),
        (["--ticket=somewhere"], "and leave ticket out"),
        (["--levels=0"], "`levels` must be at least 1"),
        (["--instability_steps=0it"], "`instability_steps` must be left out"),
        (["--rewind=auto", "--datasets=digits,digits:5-12"],
         "of the classes 0 to 9"),
    ],
)
def test_all_is_checked_before_one_is_trained(flags, text, capfd, tmp_path):
    status = main([
        "transfer.py", *flags, f"--output_dir={tmp_path}", *FLAGS[1:],
    ])
    assert status == 1 and text in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("known", [True, False])
def test_each_source_is_rewound_to_a_step_of_its_own(
    known, monkeypatch, tmp_path
):
    """What is found for one data set says nothing of another."""
    steps = {"digits:0-4": {"chosen": 2}}
    steps["digits"] = {"chosen": 4} if known else None
    monkeypatch.setattr(
        "tf_lottery.transfers.find_rewind", lambda c, _: steps[c.dataset]
    )
    planned = []

    class Planned(Experiment):
        def tell_plan(self):
            planned.append((self.config.dataset, self.plan.rewind_step))

    monkeypatch.setattr("tf_lottery.transfers.Experiment", Planned)

    def plan():
        return tfl.run_transfer(
            datasets=["digits:0-4", "digits"], rewind="auto", levels=1,
            train_steps=20, plan=True, quiet=True, output_dir=tmp_path,
        )

    found = plan()
    assert planned == ([("digits:0-4", 2), ("digits", 4)] if known else [])
    assert bool(found.run_dir) == known
    if known:
        # Another step of the second source is another matrix.
        steps["digits"] = {"chosen": 3}
        assert plan().run_dir != found.run_dir
    assert not list(tmp_path.iterdir())


def test_what_was_chosen_for_a_source_is_kept_in_its_run(
    monkeypatch, tmp_path
):
    chosen = {"digits:0-4": 2, "digits": 4}
    monkeypatch.setattr(
        "tf_lottery.transfers.find_rewind",
        lambda c, _: {"chosen": chosen[c.dataset]},
    )

    class Stopped(Experiment):
        def run(self, **how):
            if self.config.dataset == "digits":
                raise RuntimeError("stopped")
            return Results([], self.run_dir)

    monkeypatch.setattr("tf_lottery.transfers.Experiment", Stopped)
    with pytest.raises(RuntimeError, match="stopped"):
        tfl.run_transfer(
            datasets=list(chosen), rewind="auto", levels=1, train_steps=20,
            quiet=True, output_dir=tmp_path,
        )
    found = [
        json.loads(path.read_text())["chosen"]
        for path in tmp_path.glob("*/report/rewind.json")
    ]
    assert sorted(found) == [2, 4]


def test_texts_of_other_tokens_are_refused_before_one_is_trained(
    monkeypatch, tmp_path
):
    # Of as many tokens, so that kernels have one shape.
    vocabularies = iter(("abc", "abd"))

    def experiment(config, progress):
        shapes = {"embedding/embeddings": (3, 2)}
        mask = types.SimpleNamespace(shapes=shapes)
        return types.SimpleNamespace(
            vocabulary=list(next(vocabularies)),
            plan=types.SimpleNamespace(mask=mask),
        )

    monkeypatch.setattr("tf_lottery.transfers.Experiment", experiment)
    with pytest.raises(ValueError, match="texts of one vocabulary. Received"):
        tfl.run_transfer(
            Config(output_dir=str(tmp_path), levels=1, quiet=True),
            ["grammar", "tiny_shakespeare"],
        )


def test_help(capfd):
    assert main(["transfer.py", "--help"]) == 0
    text = capfd.readouterr().out
    assert "--datasets (none)" in text and "--verdict_density" in text


def test_with_a_ticket_the_default_method_is_transfer():
    config = Config(ticket="somewhere", levels=3)
    assert config.method == config.resolved().method == "transfer"
    assert config.resolved().resolved() == config.resolved()
    assert config.last_level == 3
    assert "ticket" not in Config().to_json()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method": "transfer"}, "`ticket` must be given for method transfer"),
        (
            {"method": "at_init", "target_sparsity": 0.5, "ticket": "x"},
            "`ticket` must be left out for method at_init",
        ),
        ({"ticket": "x", "rewind": "5it"}, "`rewind` must be left out"),
        ({"ticket": "x", "prune_rate": 0.3}, "`prune_rate` must be left out"),
        (
            {"ticket": "x", "output_prune_rate": 0.3},
            "`output_prune_rate` must be left out",
        ),
        ({"ticket": "x", "criterion": "snip"}, "`criterion` must be left out"),
        ({"ticket": "x", "target_sparsity": 0.5}, "`target_sparsity` must be"),
        ({"ticket": "x", "initial_weights": "y"}, "`initial_weights` must be"),
        ({"ticket": "x", "retrain": "continue"}, "`retrain` must be left out"),
        ({"ticket": "x", "branches": "inverted"}, "must be without inverted"),
        ({"ticket": "x", "branches": "rewound"}, "It would repeat main"),
        ({"ticket": "x", "epsilon": 0.1}, "`epsilon` must be left out"),
        ({"ticket": "x", "structure": "2:4"}, "`structure` must be"),
    ],
)
def test_what_belongs_to_a_transfer(changes, text):
    with pytest.raises(ValueError, match=text):
        Config(**changes)

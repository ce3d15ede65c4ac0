"""Methods of target sparsities through the command."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery import analysis
from tf_lottery import data
from tf_lottery.methods import METHODS

TARGETS = [
    name
    for name, method in METHODS.items()
    if not (method.rounds or method.given)
]
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLAGS = (
    "--target_sparsity=0.8,0.95", "--train_steps=60it", "--eval_every=20it",
    "--jit=off", "--seed=7", "--prune_every=10it", "--scope=erk",
)
# n - round(s * n) of 50,200 weights.
KEPT = 50_200, 10_040, 2_510


def rows_of(folder):
    (run,) = folder.iterdir()
    with open(run / "results.csv", newline="") as file:
        return run, list(csv.DictReader(file))


@pytest.mark.parametrize("method", TARGETS)
def test_a_method_from_flags_to_results(method, command, tmp_path):
    flags = [f"--method={method}", *FLAGS, f"--output_dir={tmp_path}"]
    # Five masks by step 45.
    flags += ["--prune_every=5it"] * (method == "early_bird")
    flags += ["--epsilon=0.01"] * (method == "perturbed")
    done = command(*flags, "--branches=reinit", "--branch_levels=2")
    assert done.status == 0, done.err
    run, rows = rows_of(tmp_path)
    assert f"-{method}-" in run.name
    main = [row for row in rows if row["branch"] == "main"]
    assert [int(row["kept_weights"]) for row in main] == list(KEPT)
    # Steps that found the tickets, and those before a control's own.
    kind = METHODS[method]
    own = 0 if method == "supermask" else 60
    before = 60 if kind.trains_dense else 0
    assert [int(r["search_steps"]) for r in main] == [
        60, before + own, before + own,
    ]
    (control,) = [row for row in rows if row["branch"] == "reinit"]
    late = own if kind.inside or kind.strong else 0
    assert int(control["search_steps"]) == before + late + 60
    dense = int(main[0]["train_effective_flops"])
    share = int(main[2]["train_effective_flops"]) / dense
    if kind.strong:
        # Scores are trained on the whole network.
        assert share == (own > 0)
    elif method in ("gradual", "early_bird"):
        # It trains with more weights than it ends with.
        assert 0.06 < share < 0.9
    else:
        assert share < 0.11
    tickets = [
        tfl.Ticket.load(run / f"replicate_0/main/level_{level:02d}/ticket")
        for level in range(3)
    ]
    for ticket in tickets[1:]:
        for path, keep in ticket.mask.items():
            assert not ticket.trained[path][~keep].any()
            first = np.where(keep, tickets[0].rewind[path], 0)
            assert np.array_equal(ticket.rewind[path], first)
    # A second run trains nothing, and plans the same.
    again = command(*flags, "--branches=reinit", "--branch_levels=2")
    assert "4 of 4 trainings are finished and reused" in again.err
    plan = command(*flags, "--plan")
    assert "10,040" in plan.out and "2,510" in plan.out
    assert "3 finished training(s) would be reused; 0 steps" in plan.out


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    ["rigl", "gradual", "early_bird", "edge_popup", "learned_supermask"],
)
def test_a_killed_change_goes_on_bit_for_bit(
    method, content, environment, tmp_path
):
    """The masks of the middle of a training come back with the weights."""
    flags = [
        f"--method={method}", *FLAGS, "--target_sparsity=0.95",
        "--train_steps=400it", "--eval_every=400it", "--checkpoint_every=0",
    ]
    if method == "early_bird":
        # Long enough for a snapshot between two of its masks and the last.
        flags += ["--train_steps=4000it", "--prune_every=300it"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    binary = [sys.executable, "binaries/train_ticket.py", *flags]

    def start(folder):
        return subprocess.Popen(
            [*binary, f"--output_dir={folder}"], cwd=ROOT, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )

    with start(whole) as process:
        assert process.wait(timeout=300) == 0
    process = start(cut)
    until = time.monotonic() + 200

    def under_way():
        """In level 1, where its checkpoint is of another mask or remembers."""
        for path in cut.glob("*/replicate_0/main/level_01/checkpoint.npz"):
            with np.load(path) as file:
                header = file["header"].tobytes()
            return method != "early_bird" or b'"change:1:' in header
        return False

    while not under_way():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    process = start(cut)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert method != "early_bird" or "goes on from step" in err
    (one,), (other,) = whole.iterdir(), cut.iterdir()
    assert content(one) == content(other)


def test_criteria_with_gradients_see_the_training_set(command, tmp_path):
    masks = {}
    for number in (1, 20):
        out = tmp_path / str(number)
        done = command(
            "--method=at_init", *FLAGS, "--scope=global", "--criterion=snip",
            "--target_sparsity=0.8", f"--score_per_class={number}",
            f"--output_dir={out}",
        )
        assert done.status == 0, done.err
        (run,) = out.iterdir()
        ticket = tfl.Ticket.load(run / "replicate_0/main/level_01/ticket")
        masks[number] = ticket.mask
        assert ticket.mask.kept == 10_040
    assert masks[1] != masks[20]


@pytest.mark.parametrize(
    "method, structure, target, kept",
    [
        ("one_shot", "2:4", 0.5, [25_100]),
        ("at_init", "4x1", 0.9, range(5_001, 5_021)),
        ("gradual", "1x4", 0.8, range(10_021, 10_041)),
        ("early_bird", "channel", 0.5, range(24_000, 24_601)),
    ],
)
def test_a_structure_from_flags_to_masks(
    method, structure, target, kept, command, tmp_path
):
    flags = [
        f"--method={method}", *FLAGS, "--scope=global",
        *["--scope=uniform", "--exclude=output/*", "--prune_every=5it"]
        * (method == "early_bird"),
        f"--structure={structure}", f"--target_sparsity={target}",
        f"--output_dir={tmp_path}",
    ]
    plan = command(*flags, "--plan")
    whole = "less than one" in plan.out, "what reads them" in plan.out
    assert whole == (structure in ("4x1", "1x4"), structure == "channel")
    done = command(*flags)
    assert done.status == 0, done.err
    run, rows = rows_of(tmp_path)
    assert int(rows[1]["kept_weights"]) in kept
    mask = tfl.Ticket.load(run / "replicate_0/main/level_01/ticket").mask
    for path, keep in mask.items():
        matrix = keep.reshape(-1, keep.shape[-1])
        if structure == "2:4":
            groups = matrix.reshape(-1, 4, matrix.shape[1]).sum(axis=1)
            assert (groups == 2).all()
        elif structure == "channel":
            # Units are pruned whole, and what reads them.
            rows, columns = matrix.any(axis=1), matrix.any(axis=0)
            assert np.array_equal(matrix, np.outer(rows, columns))
        elif path != "output/kernel":
            # Its ten outputs are no whole blocks.
            long = matrix.T if structure == "4x1" else matrix
            counts = long.reshape(len(long), -1, 4).sum(axis=2)
            assert set(np.unique(counts)) == {0, 4}
    assert ("apart, at learning" in done.err) == (method == "early_bird")


@pytest.mark.parametrize(
    "flags, name",
    [
        (["--structure=channel"], "exclude"),
        (["--criterion=bn_scale"], "criterion"),
        (["--prune_every=10it"], "prune_every"),
        (["--prune_begin=5it"], "prune_begin"),
    ],
)
def test_what_is_not_for_the_model_is_told_before_any_training(
    flags, name, command, tmp_path
):
    done = command(
        "--method=early_bird", *FLAGS, "--prune_every=5it", *flags, "--plan",
        f"--output_dir={tmp_path}",
    )
    assert done.status == 1 and len(done.err.splitlines()) == 1
    assert done.err.startswith(f"Error: `{name}` must ")


@pytest.mark.parametrize("method", ["early_bird", "gradual"])
def test_a_network_that_is_cut_while_it_trains(method, command, tmp_path):
    flags = [
        f"--method={method}", *FLAGS, "--scope=global", "--prune_every=5it",
        "--target_sparsity=0.999", f"--output_dir={tmp_path}",
    ]
    done = command(*flags)
    assert done.status == 1
    assert ("network that is cut" in done.err) or ("no weight" in done.err)
    done = command(*flags, "--collapse=allow")
    assert done.status == 0, done.err
    assert "an output does not depend on the input" in done.err


def test_an_end_before_the_beginning_is_one_line(command, tmp_path):
    done = command(
        "--method=gradual", *FLAGS, "--prune_begin=50it", "--plan",
        f"--output_dir={tmp_path}",
    )
    assert done.status == 1 and len(done.err.splitlines()) == 1
    assert "`prune_end` must leave a change of the mask after" in done.err


@pytest.mark.parametrize("collapse", ["stop", "allow"])
def test_a_control_that_is_cut_is_trained(
    collapse, command, flags, tmp_path, monkeypatch
):
    """Only a ticket that is cut ends the run, and that under "stop"."""
    seen = []

    def check(self, who, *, stop):
        seen.append((who.branch, stop))

    monkeypatch.setattr(analysis.PathGuard, "check", check)
    done = command(
        *flags, "--levels=1", "--branches=random_mask",
        f"--collapse={collapse}", f"--output_dir={tmp_path}",
    )
    assert done.status == 0, done.err
    stop = collapse == "stop"
    assert seen == [("main", stop), ("main", stop), ("random_mask", False)]


@pytest.mark.parametrize(
    "method, flags",
    [
        ("at_init", ["--scope=global"]),
        ("one_shot", ["--scope=global", "--rewind=20it"]),
        pytest.param(
            "at_init", ["--scope=erk", "--rewind=20it"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_controls_that_score(method, flags, command, tmp_path):
    names = ["inverted", "random_labels", "random_pixels"]
    flags = [
        f"--method={method}", *FLAGS, *flags, "--criterion=snip",
        f"--output_dir={tmp_path}", f"--branches={','.join(names)}",
        "--branch_levels=1",
    ]
    done = command(*flags)
    assert done.status == 0, done.err
    run, rows = rows_of(tmp_path)
    rows = [row for row in rows if row["branch"] != "main"]
    assert [row["branch"] for row in rows] == names
    assert [int(row["kept_weights"]) for row in rows] == [10_040] * 3

    def load(branch, level=1):
        path = f"replicate_0/{branch}/level_{level:02d}/ticket"
        return tfl.Ticket.load(run / path)

    dense, ticket = load("main", 0), load("main")
    found = {name: load(name) for name in names}
    for row in rows:
        start = 20 if "--rewind=20it" in flags else 0
        assert int(row["train_steps"]) == 60 - start
        # From the weights of the rewind point, whichever the mask keeps.
        one = found[row["branch"]]
        for path, keep in one.mask.items():
            first = np.where(keep, dense.rewind[path], 0)
            assert np.array_equal(one.rewind[path], first)
    masks = [one.mask for one in (ticket, *found.values())]
    assert all(a != b for i, a in enumerate(masks) for b in masks[:i])
    # Digits have pixels that are always 0: scores that tie.
    other = found["inverted"].mask
    assert other.kept_by_path == ticket.mask.kept_by_path
    for path, keep in ticket.mask.items():
        least = max(0, 2 * int(keep.sum()) - keep.size)
        assert int((keep & other[path]).sum()) == least
    digests = {name: one.digest() for name, one in found.items()}
    again = command(*flags)
    assert "6 of 6 trainings are finished and reused" in again.err
    assert digests == {name: load(name).digest() for name in names}
    shutil.rmtree(run / "replicate_0/random_labels")
    shutil.rmtree(run / "replicate_0/inverted")
    again = command(*flags)
    assert "4 of 6 trainings are finished and reused" in again.err
    assert digests == {name: load(name).digest() for name in names}


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--branches=inverted"], "`branches` must be without inverted for"),
        (
            ["--branches=random_labels", "--method=at_init",
             "--target_sparsity=0.5", "--criterion=synflow"],
            "`branches` must be without random_labels for criterion synflow",
        ),
    ],
)
def test_controls_that_cannot_score_are_refused_before_data(
    flags, message, command, tmp_path, monkeypatch
):
    def never(*_, **__):
        raise AssertionError("the data were read")

    monkeypatch.setattr(data, "describe", never)
    monkeypatch.setattr(data, "load", never)
    done = command(*flags, f"--output_dir={tmp_path}")
    assert done.status == 1 and len(done.err.splitlines()) == 1
    assert message in done.err and not list(tmp_path.iterdir())


@pytest.mark.parametrize("branch", ["inverted", "random_labels"])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "imp"}, r"^`branches` must be without {} for method imp,"),
        (
            {"method": "gradual", "target_sparsity": "0.5"},
            r"^`branches` must be without {} for method gradual,",
        ),
        (
            {"method": "rigl", "target_sparsity": "0.5"},
            r"^`branches` must be without {} for method rigl,.*"
            r"Received: branches=reinit,{}\. Use method one_shot or at_init\.",
        ),
        (
            {"method": "one_shot", "target_sparsity": "0.5",
             "retrain": "lr_rewind"},
            r"^`retrain` must be rewind for branches {}, .*=lr_rewind\.",
        ),
    ],
)
def test_scored_branches_need_one_choice(branch, changes, message):
    with pytest.raises(ValueError, match=message.replace("{}", branch)):
        tfl.Config(**changes, branches=f"reinit,{branch}")

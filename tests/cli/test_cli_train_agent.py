"""The command of agents: its flags, and a run of a few games."""

import csv
import dataclasses
import types

import pytest

from tf_lottery import Config
from tf_lottery.cli import train_agent
from tf_lottery.rl import AgentSettings

OF_AGENT = [f.name for f in dataclasses.fields(AgentSettings)]
FEW = (
    "--epochs=2", "--games=4", "--last=4", "--envs=2", "--hidden=4,4",
    "--levels=1", "--noreport",
)


@pytest.fixture
def agent(capfd):
    def run(*flags):
        capfd.readouterr()
        status = train_agent.main(["train_agent.py", *map(str, flags)])
        return types.SimpleNamespace(
            status=status, **capfd.readouterr()._asdict()
        )

    return run


def test_flags_are_of_the_agent_or_of_the_experiment():
    of_config = {f.name for f in dataclasses.fields(Config)}
    names = train_agent._EXPERIMENT
    assert set(names) < of_config and len(set(names)) == len(names)
    assert not set(names) & set(OF_AGENT)
    assert set(train_agent._DEFAULTS) < set(names)
    Config(**train_agent._DEFAULTS)


def test_help_lists_them_all(agent):
    done = agent("--help")
    assert (done.status, done.err) == (0, "")
    for name in (*OF_AGENT, *train_agent._EXPERIMENT):
        assert f"\n  --{name} (" in done.out
    for part in (
        "--scope (global)", "--rewind (1it)", "--hidden (128,128,128)",
        "--branches (random_mask)", "--optimizer (rmsprop)", "--levels (10)",
    ):
        assert part in done.out
    assert "--dataset" not in done.out and "--batch_size" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(
    "flag, message",
    [
        ("--games=0", "`games` must be between 1"),
        ("--method=gradual", "`method` must be one of imp, one_shot, at_init"),
        ("--levels=x", "`levels` must be an integer"),
        ("--dataset=mnist", "The flag must exist. Received: --dataset"),
        ("--environment=Nothing-v0", "that gymnasium knows"),
        ("--environment=Pendulum-v1", "must have discrete actions"),
    ],
)
def test_errors_are_one_line(agent, flag, message, tmp_path):
    done = agent(*FEW, flag, f"--output_dir={tmp_path / 'runs'}")
    assert done.status == 1 and message in done.err
    assert len(done.err.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ("--method=dense",),
        ("--method=one_shot", "--target_sparsity=0.5", "--structure=2x2"),
        ("--method=at_init", "--target_sparsity=0.5", "--criterion=synflow"),
    ],
)
def test_other_methods_need_no_more_flags(agent, flags, tmp_path):
    done = agent(*flags, "--plan", f"--output_dir={tmp_path}")
    assert (done.status, done.err) == (0, "")


def test_a_run_ends_with_its_verdict(agent, tmp_path):
    done = agent(*FEW, f"--output_dir={tmp_path}")
    assert done.status == 0, done.err
    (folder,) = tmp_path.iterdir()
    assert str(folder) in done.out and "reward" in done.out
    with open(folder / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["branch"], r["level"]) for r in rows] == [
        ("main", "0"), ("main", "1"), ("random_mask", "1"),
    ]
    # CartPole gives at least 8 for any game.
    assert all(float(r["test_reward"]) > 7 for r in rows)


def test_a_dense_agent_has_no_controls(agent, tmp_path):
    done = agent(*FEW, "--method=dense", "--plan", f"--output_dir={tmp_path}")
    assert done.status == 0, done.err
    assert "1 trainings in 1 replicate" in done.out

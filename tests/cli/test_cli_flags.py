"""Flags: every field is one, --help tells all, values reach the Config."""

import dataclasses

import pytest

from tf_lottery import Config, Step
from tf_lottery.cli.flags import config_from_flags, help_text

FIELDS = dataclasses.fields(Config)


def read(*flags):
    return config_from_flags(["train_ticket.py", *flags])


def test_no_flag_gives_the_defaults():
    assert read() == Config()


def test_values_reach_their_fields():
    config = read(
        "--levels=3", "--prune_rate", "0.5", "--train_steps=2ep", "--plan",
        "--branches=reinit,random_mask", "--branch_levels=1,3",
        "--data_dir=none", "--noquiet", "--conv_prune_rate=none",
    )
    assert config == Config(
        levels=3, prune_rate=0.5, train_steps=Step(2, "ep"), plan=True,
        branches=("reinit", "random_mask"), branch_levels=(1, 3),
    )


def test_flagfiles_are_followed_and_overridden(tmp_path):
    inner, outer = tmp_path / "inner.flags", tmp_path / "outer.flags"
    inner.write_text("# a comment\n\n--levels=2\n--seed=5\n")
    outer.write_text(f"--flagfile={inner}\n--batch_size=10\n")
    config = read(f"--flagfile={outer}", "--seed=6")
    assert config == Config(levels=2, batch_size=10, seed=6)


def test_a_call_does_not_remember_another():
    read("--levels=3", "--quiet")
    assert read() == Config()


@pytest.mark.parametrize("flag", ["--help", "-h", "-help"])
def test_help_exits_0_and_lists_every_flag(command, flag):
    done = command("--levels=x", flag) if flag == "-h" else command(flag)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    for field in FIELDS:
        (line,) = [
            line for line in lines if line.startswith(f"  --{field.name} (")
        ]
        assert line.endswith(")")
    assert "  --flagfile" in lines
    assert max(map(len, lines)) <= 80
    assert "train_ticket.py --flagfile=FILE" in done.out


def test_help_tells_defaults_and_meanings():
    text = " ".join(help_text("x", "Summary.").split())
    for field in FIELDS:
        assert " ".join(field.metadata["help"].split()) in text
    for part in (
        "--levels (15)", "--learning_rate (0.0012)", "--plan (off)",
        "--train_steps (3000it)", "--exclude (none)", "--data_dir (none)",
        "--prune_rate (0.2)", "--scope (layerwise)", "--replicates (1)",
    ):
        assert part in text, part

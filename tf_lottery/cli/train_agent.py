"""Finds lottery tickets of agents: trains, prunes and rewinds, level by level.

Agents play a gymnasium environment (pip install 'tf_lottery[rl]') and learn
by advantage actor-critic. Steps (--rewind) are epochs of --games games.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import types
from collections.abc import Sequence
from typing import Any

from tf_lottery.cli.errors import quiet_tensorflow
from tf_lottery.cli.errors import run_command

# Flags of the experiment that mean something for agents; those of the agent
# itself come before them.
_EXPERIMENT = (
    "method", "criterion", "target_sparsity", "scope", "structure", "levels",
    "prune_rate", "output_prune_rate", "exclude", "collapse", "rewind",
    "retrain",
    "replicates", "replicate", "seed", "branches", "branch_levels",
    "parallel", "ray_address", "output_dir", "verdict_density",
    "verdict_margin", "export", "tensorboard", "report", "plan", "quiet",
    "log_file", "debug",
)
# As in Yu et al., 2020, arXiv:1906.02768.
_DEFAULTS = {
    "scope": "global", "levels": 10, "rewind": "1it",
    "branches": ["random_mask"],
}
# Of flags that take less here than in the training command.
_LESS = {
    "criterion": "What scores weights: magnitude, random, or another name in "
    "tfl.PRUNERS that needs weights alone, such as movement.",
    "rewind": "Epoch that the surviving weights go back to (2it).",
    "retrain": "What a pruned network is trained from: rewind (weights and "
    "epoch of the rewind point), lr_rewind (trained weights, from the epoch "
    "of the rewind point), continue (trained weights, all epochs; the ticket "
    "is reset and trained once, as branch 'rewound', after the last level).",
    "branches": "Controls trained beside the tickets: reinit (same mask, "
    "fresh weights), shuffle_mask (permuted mask, same weights), random_mask "
    "(random mask, fresh weights), or another control that needs no data.",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the program's name and its arguments; `sys.argv` if none.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C, 143 after
        SIGTERM.
    """
    return run_command(_run, argv)


def _run(argv: list[str], outcome: types.SimpleNamespace) -> int:
    from tf_lottery.cli.flags import describe
    from tf_lottery.cli.flags import parse
    from tf_lottery.config import Config
    from tf_lottery.methods import TASK_METHODS
    from tf_lottery.methods import check_task_method
    from tf_lottery.methods import methods_help
    from tf_lottery.rl.settings import AgentSettings

    of_agent = dataclasses.fields(AgentSettings)
    # The agent's optimizer comes before that of data sets.
    fields = {f.name: f for f in (*dataclasses.fields(Config), *of_agent)}
    names = [*(f.name for f in of_agent), *_EXPERIMENT]
    given = parse(
        argv,
        {
            name: "bool" if isinstance(fields[name].default, bool) else
            "string" for name in names
        },
    )
    if given is None:
        less = {"method": methods_help(TASK_METHODS), **_LESS}
        entries: dict[str, tuple[Any, str]] = {
            name: (
                _DEFAULTS.get(name, fields[name].default),
                less.get(name, fields[name].metadata["help"]),
            )
            for name in names
        }
        program = os.path.basename(argv[0])
        print(describe(program, (__doc__ or "").strip(), entries))
        return 0
    settings = AgentSettings(
        **{f.name: given.pop(f.name) for f in of_agent if f.name in given}
    )
    method = given.get("method", Config.method)
    check_task_method(method)
    without = {"branches"} if method == "dense" else set()
    defaults = {k: v for k, v in _DEFAULTS.items() if k not in without}
    config = Config(**{**defaults, **given})
    outcome.debug = config.debug
    # As of the training command.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if config.parallel > 1:
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with quiet_tensorflow():
        from tf_lottery import rl
        from tf_lottery import sweep

    sweep.run(config, task=rl.task(settings=settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())

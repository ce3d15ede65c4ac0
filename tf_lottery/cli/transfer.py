"""Finds tickets on each data set and by each optimizer, and trains them on all.

The tickets are compared with random ones of equal layer counts. Flags are
those of the training command; --verdict_density says which level is compared.
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

# Flag: what it means.
_FLAGS = {
    "datasets": "Data sets, such as mnist:0-4,mnist:5-9; --dataset alone if "
    "none.",
    "optimizers": "Optimizers, each with a learning rate of its own or not, "
    "such as sgd:0.1,adam:0.001; --optimizer alone if none.",
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

    fields = dataclasses.fields(Config)
    kinds = {
        f.name: "bool" if isinstance(f.default, bool) else "string"
        for f in fields
    }
    given = parse(argv, {**dict.fromkeys(_FLAGS, "list"), **kinds})
    if given is None:
        entries: dict[str, tuple[Any, str]] = {
            name: (None, text) for name, text in _FLAGS.items()
        }
        entries |= {f.name: (f.default, f.metadata["help"]) for f in fields}
        program = f"{os.path.basename(argv[0])} --flagfile=FILE"
        print(describe(program, (__doc__ or "").strip(), entries))
        return 0
    lists = {name: given.pop(name, []) for name in _FLAGS}
    config = Config(**given)
    outcome.debug = config.debug
    # As of the training command.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if config.parallel > 1:
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with quiet_tensorflow(find_devices=config.strategy != "multi_worker"):
        from tf_lottery import transfers

    transfers.run_transfer(config, **lists)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Finds lottery tickets: trains, prunes and rewinds, level by level."""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Sequence

from tf_lottery.cli.errors import quiet_tensorflow
from tf_lottery.cli.errors import run_command


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
    from tf_lottery.cli.flags import config_from_flags
    from tf_lottery.cli.flags import help_text

    config = config_from_flags(argv)
    if config is None:
        print(help_text(os.path.basename(argv[0]), __doc__))
        return 0
    outcome.debug = config.debug
    # TensorFlow has convolutions for every x86 processor from oneDNN, and
    # uses them by itself on some only; heeded before it is loaded.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if config.parallel > 1:
        # Or this process would take all of a GPU's memory, and train nothing.
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with quiet_tensorflow(find_devices=config.strategy != "multi_worker"):
        from tf_lottery import sweep

    sweep.run(config)
    return 0


if __name__ == "__main__":
    sys.exit(main())

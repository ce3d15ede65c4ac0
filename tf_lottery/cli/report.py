"""Draws the report of a run, or of several side by side, as a page.

The page is index.html: one file that loads nothing and runs no script, with
every figure as PNG, SVG and PDF and every table as CSV beside it. Of one run
it is written into the run's own folder report, as at the end of the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from tf_lottery.cli.errors import quiet_tensorflow
from tf_lottery.cli.errors import run_command

_FLAGS: dict[str, tuple[Any, str]] = {
    "output_dir": (
        None, "Folder for the report; RUN_DIR/report of one run, report in "
        "the current folder of several, if none.",
    ),
    "debug": (False, "Show the traceback of an error."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the program's name and its arguments; `sys.argv` if none.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    return run_command(_run, argv, "runs are not touched")


def _run(argv: list[str], outcome: Any) -> int:
    from tf_lottery.cli.flags import describe
    from tf_lottery.cli.flags import parse

    folders: list[str] = []
    given = parse(argv, {"output_dir": "string", "debug": "bool"}, folders)
    if given is None:
        program = os.path.basename(argv[0])
        print(describe(f"{program} RUN_DIR ...", __doc__ or "", _FLAGS))
        return 0
    outcome.debug = given.get("debug", False)
    target = given.get("output_dir")
    if not folders:
        raise ValueError(
            "`RUN_DIR` must be the folder of a run. Received: none. Name one "
            "or several, such as runs/digits-lenet_300_100-imp-...; see "
            "--help."
        )
    from tf_lottery import paths

    if target is not None or len(folders) > 1:
        target = target or "report"
        paths.check_folder(target)
    if not any(map(paths.is_folder, folders)):
        # Before TensorFlow is loaded, which reads the tickets.
        raise ValueError(
            "`RUN_DIR` must be the folder of a run. Received: "
            f"{folders[0]}, where there is no folder. Check the path."
        )

    with quiet_tensorflow(find_devices=False):
        from tf_lottery import page

    runs, problems = page.read_runs(folders)
    for line in problems:
        print(line, file=sys.stderr)
    path = page.write(runs, target, notices=problems)
    print(f"Report:  {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

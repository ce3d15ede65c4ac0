"""Measures how many random candidates reach every target by subset sum.

With --ticket: how wide a random layer must be to hold a ticket's layer.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from tf_lottery.cli.errors import quiet_tensorflow
from tf_lottery.cli.errors import run_command

# Flag: default, what it means.
_FLAGS: dict[str, tuple[Any, str]] = {
    "eta": (
        ["0.1", "0.03", "0.01"],
        "Errors that are allowed. With --ticket: shares of the layer's largest "
        "weight.",
    ),
    "ratio": (
        ["0", "0.5", "1", "2", "4"],
        "Largest perturbations of a chosen candidate, in units of eta.",
    ),
    "distribution": (
        ["uniform", "normal", "product"],
        "Of the candidates: uniform on [-1, 1], standard normal, product of "
        "two uniforms.",
    ),
    "interval": (0.5, "Targets are all numbers from minus this to this."),
    "probability": (0.9, "Share of the draws that is to reach all targets."),
    "trials": (100, "Draws."),
    "max_candidates": (
        200, "Candidates tried at most in each draw; with --ticket 40 at most.",
    ),
    "size": (None, "Count only subsets of so many candidates."),
    "seed": (0, "Seed of the draws."),
    "ticket": (
        None,
        "Folder of a ticket: count the hidden units that a random layer needs "
        "to hold one of its trained layers.",
    ),
    "layer": (
        None, "Path of that layer's kernel; the ticket's last one if none.",
    ),
    "nonnegative": (
        False, "With --ticket: the layer's inputs are known to be 0 or more.",
    ),
    "output_dir": ("subset_sum", "Folder for the files."),
    "quiet": (False, "Print nothing but errors."),
    "debug": (False, "Show the traceback of an error."),
}
_SWEEP_ALONE = (
    "distribution", "interval", "probability", "trials", "size",
)
_TICKET_ALONE = ("layer", "nonnegative")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the program's name and its arguments; `sys.argv` if none.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    return run_command(_run, argv, "files are written at the end alone")


def _run(argv: list[str], outcome: Any) -> int:
    from tf_lottery.cli.flags import describe
    from tf_lottery.cli.flags import numbers
    from tf_lottery.cli.flags import parse
    from tf_lottery.paths import check_folder

    defaults = {name: default for name, (default, _) in _FLAGS.items()}
    given = parse(argv, {k: _kind(k, v) for k, v in defaults.items()})
    if given is None:
        program = os.path.basename(argv[0])
        print(describe(program, (__doc__ or "").strip(), _FLAGS))
        return 0
    values = {**defaults, **given}
    outcome.debug = values["debug"]
    for name in ("eta", "ratio"):
        values[name] = numbers(name, values[name])
    _check_together(given, bool(values["ticket"]))
    if not values["output_dir"]:
        raise ValueError(
            "`output_dir` must be a folder. Received: none. Write "
            "--output_dir=FOLDER; see --help."
        )
    check_folder(values["output_dir"])
    if values["ticket"]:
        values["max_candidates"] = given.get("max_candidates", 40)
        text = _widths(values)
    else:
        text = _sweep(values)
    if not values["quiet"]:
        print(f"{text}\n\nFiles: {values['output_dir']}")
    return 0


def _sweep(values: dict[str, Any]) -> str:
    from tf_lottery import atomic
    from tf_lottery import report
    from tf_lottery import theory

    half = values["interval"]
    points = theory.sweep(
        values["eta"],
        values["ratio"],
        values["distribution"],
        interval=(-half, half),
        **{
            name: values[name]
            for name in (
                "probability", "trials", "max_candidates", "size", "seed",
            )
        },
    )
    cells = 1
    for name in ("eta", "ratio", "distribution"):
        cells *= len(values[name])
    found = []
    with report.Progress(quiet=values["quiet"], unit="draw") as progress:
        progress.start(cells * values["trials"])
        for point in points:
            found.append(point)
            progress.status(
                f"{point.distribution}, eta {point.eta:g}, "
                f"ratio {point.ratio:g}"
            )
            progress.advance(point.trials)
    title = f"Subset sums that cover [-{half:g}, {half:g}]"
    if values["size"] is not None:
        title += f", of {values['size']} candidates each"
    text = (
        f"{title}: n candidates do for {100 * values['probability']:g} % of "
        f"{values['trials']} draws, seed {values['seed']}.\n\n"
        f"{report.subset_sum_table(found)}\n\n"
        "order: log(1/eta) / log(5/4 + epsilon/2), the theorem's for uniform "
        "candidates, up to a\nconstant. bound: no draw covers with fewer, "
        "whatever the candidates."
    )
    figure = report.subset_sum_figure(found, title=title)
    folder = values["output_dir"]
    report.write_points(found, os.path.join(folder, "subset_sum.csv"))
    report.save_figure(figure, os.path.join(folder, "subset_sum.png"))
    atomic.replace_file(
        os.path.join(folder, "table.txt"), f"{text}\n".encode()
    )
    return text


def _widths(values: dict[str, Any]) -> str:

    with quiet_tensorflow():
        from tf_lottery import atomic
        from tf_lottery import report
        from tf_lottery import theory
        from tf_lottery import tickets

    ticket = tickets.Ticket.load(values["ticket"])
    path = _layer(ticket, values["layer"])
    kernel = ticket.trained[path]
    inputs = len(kernel)
    settings = [(e, r) for e in values["eta"] for r in values["ratio"]]
    rows: list[tuple[Any, ...]] = []
    with report.Progress(quiet=values["quiet"], unit="input") as progress:
        progress.start(len(settings) * inputs)
        for eta, ratio in settings:
            progress.status(f"eta {eta:g}, ratio {ratio:g}")
            took = theory.weight_candidates(
                kernel,
                eta=eta,
                epsilon=ratio * eta,
                nonnegative=values["nonnegative"],
                max_candidates=values["max_candidates"],
                seed=values["seed"],
                advance=progress.advance,
            )
            n = int(took.max())
            some = took[took > 0]
            rows.append((eta, ratio, n, len(took) * inputs * n, some.mean()))
    names = ["eta", "epsilon/eta", "n", "width", "mean n"]
    shown = [
        [f"{e:g}", f"{r:g}", str(n), f"{width:,}", f"{mean:.2f}"]
        for e, r, n, width, mean in rows
    ]
    kept = int((kernel != 0).sum())
    signs = "input" if values["nonnegative"] else "sign of each input"
    text = (
        f"{path}, level {ticket.level}: {inputs} x {kernel.shape[1]}, "
        f"{kept:,} weights not 0. eta and epsilon in units of the largest "
        f"weight; seed {values['seed']}.\n\n"
        f"{report.aligned([names, *shown])}\n\n"
        f"n: hidden units for each {signs}, with which every weight is within "
        "eta.\nwidth: hidden units in all. mean n: over the weights that need "
        "any."
    )
    folder = values["output_dir"]
    columns = ["eta", "ratio", "candidates", "width", "mean_candidates"]
    report.write_table(columns, rows, os.path.join(folder, "wide_layer.csv"))
    atomic.replace_file(
        os.path.join(folder, "wide_layer.txt"), f"{text}\n".encode()
    )
    return text


def _layer(ticket: Any, path: str | None) -> str:
    """The path of a kernel of two dimensions."""
    matrices = [p for p in ticket.mask if ticket.mask[p].ndim == 2]
    if path is None and matrices:
        return matrices[-1]
    if path is None or path not in matrices:
        there = ", ".join(matrices) or "none; its kernels are no matrices"
        raise ValueError(
            "`layer` must be the kernel of a dense layer of the ticket. "
            f"Received: layer={path}. It has {there}."
        )
    return path


def _check_together(given: dict[str, Any], ticket: bool) -> None:
    wrong = [n for n in (_SWEEP_ALONE if ticket else _TICKET_ALONE)
             if n in given]
    if wrong:
        with_or_without = "with" if ticket else "without"
        raise ValueError(
            f"`{wrong[0]}` must be left out {with_or_without} a ticket. "
            f"Received: {wrong[0]}={given[wrong[0]]}. See --help."
        )


def _kind(name: str, default: Any) -> str:
    if name == "size":
        return "integer"
    for kind, text in (
        (bool, "bool"), (int, "integer"), (float, "float"), (list, "list"),
    ):
        if isinstance(default, kind):
            return text
    return "string"


if __name__ == "__main__":
    sys.exit(main())

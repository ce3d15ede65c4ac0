"""Runs what a figure of a paper needs, then judges the paper's claims.

The paper is Frankle and Carbin (2019), arXiv:1803.03635.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery import paths
from tf_lottery.cli.errors import quiet_tensorflow
from tf_lottery.cli.errors import run_command

if TYPE_CHECKING:
    from tf_lottery.claims import Figure
    from tf_lottery.config import Config

# Flag: default, what it means.
_OWN: dict[str, tuple[Any, str]] = {
    "figure": (None, "What to reproduce; --list names all."),
    "list": (False, "Print every figure with its claims and cost, and stop."),
    "short": (
        False,
        "The version for two cores, of 8,000 steps a training and four "
        "replicates (conv_2: 4,000, two, and fewer rounds).",
    ),
    "evaluate": (
        False, "Train nothing; judge by what there is in output_dir.",
    ),
    "published": (
        None,
        "With --evaluate: read results.csv of the runs from this folder, such "
        "as docs/results, and not from output_dir.",
    ),
    "page": (
        None, "Markdown page whose part about the figure is renewed, too.",
    ),
}
# Those of the experiments that may be given for all of them; the first ones
# say which version was run.
_VERSION = ("train_steps", "replicates", "seed", "mixed_precision")
_OTHERS = (
    "replicate", "data_dir", "output_dir", "jit", "parallel", "plan", "quiet",
    "log_file", "debug",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the program's name and its arguments; `sys.argv` if none.

    Returns:
        The exit status: 0, whatever the claims come to; 1 after an error, 130
        after Ctrl-C, 143 after SIGTERM.
    """
    return run_command(_run, argv)


def _run(argv: list[str], outcome: Any) -> int:
    from tf_lottery.cli.flags import describe
    from tf_lottery.cli.flags import parse

    entries = {**_OWN, **_of_config()}
    given = parse(
        argv,
        {
            name: "bool" if isinstance(default, bool) else "string"
            for name, (default, _) in entries.items()
        },
    )
    if given is None:
        usage = f"{os.path.basename(argv[0])} --figure=NAME"
        print(describe(usage, (__doc__ or "").strip(), entries))
        return 0
    own = {name: given.pop(name, _OWN[name][0]) for name in _OWN}
    outcome.debug = given.get("debug", False)
    # As in train_ticket: heeded before TensorFlow is loaded.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    if given.get("parallel", "1") != "1":
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    with quiet_tensorflow(find_devices=False):
        from tf_lottery import claims

    if own["list"]:
        for name, figure in claims.FIGURES.items():
            print(_listed(name, figure))
        return 0
    if own["figure"] not in claims.FIGURES:
        raise ValueError(
            f"`figure` must be one of {', '.join(claims.FIGURES)}. Received: "
            f"figure={own['figure']}. --list says what they are."
        )
    figure = claims.FIGURES[own["figure"]]
    configs = figure.configs(short=own["short"], **given)
    plan = given.get("plan", False)
    if own["published"] is not None:
        _check_published(figure, own, plan)
    if own["page"]:
        # Before anything is trained that it is to tell of.
        _read_page(own["page"])
    if plan or not own["evaluate"]:
        _train(configs)
    if not plan:
        _report(figure, configs, own, given)
    return 0


def _check_published(
    figure: Figure, own: Mapping[str, Any], plan: bool
) -> None:
    folder = own["published"]
    if plan or not own["evaluate"]:
        raise ValueError(
            "`published` must be given with --evaluate, and not with --plan. "
            f"Received: published={folder}. Nothing is trained where it is."
        )
    if not paths.is_folder(folder):
        raise ValueError(
            "`published` must be a folder. Received: "
            f"published={folder}. Give that of the run directories."
        )
    weights = [claim.text for claim in figure.claims if claim.of_weights]
    if own["page"] and weights:
        raise ValueError(
            "`page` must be left out where claims need more than published "
            f"results. Received: page={own['page']}, and the claim "
            f"\"{weights[0]}\". Leave out --published to judge the runs."
        )


def _of_config() -> dict[str, tuple[Any, str]]:
    from tf_lottery.config import Config

    fields = {f.name: f for f in dataclasses.fields(Config)}
    found = {
        name: (fields[name].default, fields[name].metadata["help"])
        for name in (*_VERSION, *_OTHERS)
    }
    for name in ("train_steps", "replicates"):
        found[name] = (None, found[name][1] + " The figure's own if none.")
    return found


def _train(configs: Mapping[str, Config]) -> None:
    from tf_lottery import sweep

    for number, (name, config) in enumerate(configs.items(), 1):
        if not config.quiet:
            print(f"{name} ({number} of {len(configs)})", flush=True)
        sweep.run(config)


def _report(
    figure: Figure,
    configs: Mapping[str, Config],
    own: Mapping[str, Any],
    given: Mapping[str, Any],
) -> None:
    from tf_lottery import atomic
    from tf_lottery import claims
    from tf_lottery import report

    runs = claims.read_runs(configs, own["published"])
    (folder,) = {config.output_dir for config in configs.values()}
    if not any(run.rows for run in runs.values()):
        flag, where = "output_dir", folder
        if own["published"] is not None:
            flag, where = "published", own["published"]
        raise ValueError(
            f"`{flag}` must hold a run of {own['figure']}. Received: "
            f"{flag}={where}, where nothing of it has finished. Leave "
            "out --evaluate to train it."
        )
    name = own["figure"] + ("_short" if own["short"] else "")
    command = _command(own, given)
    outcomes = figure.judge(runs)
    part = claims.markdown(
        f"{name}: {figure.title}", outcomes, command, configs, runs
    )
    stem = os.path.join(folder, f"reproduction-{name}")
    report.write_table(
        claims.CLAIM_COLUMNS,
        claims.claim_rows(own["figure"], outcomes, command),
        f"{stem}.csv",
    )
    atomic.replace_file(f"{stem}.md", f"{part}\n".encode())
    written = [f"{stem}.csv", f"{stem}.md"]
    if own["page"]:
        after = claims.renewed(_read_page(own["page"]), name, part)
        atomic.replace_file(own["page"], after.encode())
        written.append(own["page"])
    if not given.get("quiet", False):
        print(
            f"\n{figure.title}\n{command}\n\n{claims.text(outcomes)}\n\n"
            f"Files: {', '.join(written)}"
        )


def _read_page(path: str) -> str:
    """Returns the text of a page that can be renewed; empty if new."""
    folder = os.path.abspath(path)
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    new = os.path.isdir(folder) and folder != os.path.abspath(path)
    try:
        if not os.access(folder, os.W_OK):
            raise PermissionError
        if new:
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(
            "`page` must be a text file that can be written, or a new one. "
            f"Received: page={path}. Choose another."
        ) from error


def _command(own: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    flags = [f"--figure={own['figure']}"]
    flags += ["--short"] if own["short"] else []
    flags += [f"--{n}={given[n]}" for n in _VERSION if n in given]
    if own["published"] is not None:
        flags.append(f"--evaluate --published={own['published']}")
    return " ".join(["python binaries/reproduce.py", *flags])


def _listed(name: str, figure: Figure) -> str:
    from tf_lottery import claims

    costs = []
    for short in (False, True):
        configs = figure.configs(short=short)
        trainings, steps = claims.cost(configs)
        costs.append(f"{trainings} trainings, {steps:,} steps")
    texts = "".join(f"\n    - {claim.text}" for claim in figure.claims)
    return (
        f"{name}: {figure.title}\n    {costs[0]}; --short: {costs[1]}{texts}"
    )


if __name__ == "__main__":
    sys.exit(main())

"""Running what a configuration asks for: one experiment, or one per epsilon."""

from __future__ import annotations

import copy
import dataclasses
import gc
import json
import os
import types
from typing import Any

from tf_lottery import report
from tf_lottery import train
from tf_lottery.atomic import replace_file
from tf_lottery.config import Config
from tf_lottery.fingerprint import run_name
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric
from tf_lottery.experiment import Experiment
from tf_lottery.stability import Instability
from tf_lottery.stability import InstabilityResults
from tf_lottery.stability import instability
from tf_lottery.results import Results
from tf_lottery.step import Step
from tf_lottery.task import Task


@dataclasses.dataclass(frozen=True)
class PerturbationResults:
    """What strong tickets reach after every weight moved by up to epsilon.

    Args:
        rows: one dict per epsilon, replicate and level, as `results.csv` of
            the epsilon's run with `epsilon` before; level 0 is the network
            before it is masked.
        run_dir: the folder with `perturbation.csv` and the figure.
        unit: of epsilon.
    """

    rows: list[dict[str, Any]]
    run_dir: str
    unit: str

    def table(self) -> str:
        """Returns test accuracies, a line per density, as text."""
        return report.perturbation_table(self.rows, self.unit)

    def finding(self) -> str:
        """Returns whether accuracy and best density rise with epsilon."""
        return report.perturbation_finding(self.rows)


def run(
    config: Config | None = None,
    *,
    task: Task | None = None,
    progress: report.Progress | None = None,
    **changes: Any,
) -> Results | PerturbationResults | InstabilityResults:
    """Runs an experiment; finished levels of an earlier run are reused.

    Of several values of `epsilon` each is an experiment with a run directory
    of its own, and a table and a figure over all come in another.

    Args:
        config: what to run; the defaults if none.
        task: of your own, with a network and a training function, in place of
            the configuration's data, network and training.
        progress: where to report; the terminal by default.
        **changes: fields of `Config` to set, for example `levels=5`.

    Returns:
        `Results`, or `PerturbationResults` for several values of `epsilon`;
        everything is on disk as well.

    Raises:
        ValueError, TypeError: a bad configuration, before any data is read.
        RuntimeError: training failed; finished levels are kept.
        OSError: the disk is full or cannot be written.

    Example:
        >>> results = run(levels=1, train_steps=20, output_dir=folder,
        ...               quiet=True)
        >>> [row["kept_weights"] for row in results.rows]
        [50200, 40260]
    """
    if not isinstance(config, (Config, types.NoneType)):
        raise TypeError(
            "`config` must be a tf_lottery.Config. Received: config="
            f"{config!r:.200}. Pass a task by its name: run(task=task)."
        )
    config = dataclasses.replace(config or Config(), **changes)
    if task is None and config.instability_steps is not None:
        return instability(config, progress=progress)
    follows = train.read_task(config.strategy).number > 0
    if progress is None:
        progress = report.Progress(
            quiet=config.quiet or follows,
            log_file=None if follows else config.log_file,
            unit="step" if task is None else task.unit,
        )
    choice = None
    if task is None and config.rewind is None:
        choice = find_rewind(config, progress)
        if choice is None:
            return Results([], "")
        config = dataclasses.replace(config, rewind=Step(choice["chosen"]))
    with progress, train.lost_workers(config.strategy):
        if task is None and len(config.epsilon or ()) > 1:
            return _sweep(config, progress)
        experiment = Experiment(config, progress, task=task)
        if config.plan:
            return experiment.tell_plan()
        if choice and experiment.writes:
            folder = os.path.join(experiment.run_dir, "report")
            report.write_choice(folder, choice)
        return experiment.run()


def find_rewind(
    config: Config, progress: report.Progress
) -> dict[str, Any] | None:
    """Returns what `rewind=auto` chose, by training if it is not known.

    Args:
        config: of one experiment.
        progress: where to report; not started, here neither.

    Returns:
        As `Instability.choose`; None where this is a plan and the step is not
        known yet, which is said.

    Raises:
        ValueError, TypeError: a bad configuration, before any is trained.
    """
    # A bar of its own: the experiment's steps are counted when it is known.
    with copy.copy(progress) as progress:
        # All is checked before anything is trained.
        Experiment(dataclasses.replace(config, rewind=Step(0)), progress)
        one = dataclasses.replace(config, replicates=1, replicate=None)
        found = Instability(one, None, progress)
        if config.plan and found.choice() is None:
            found.tell_plan()
            progress.result(
                "rewind=auto takes the first stable step of these, and trains "
                "no copies beyond it; the plan of the experiment can be told "
                "when it is known."
            )
            return None
        return found.choose()


def _sweep(
    config: Config, progress: report.Progress
) -> PerturbationResults:
    """Runs one experiment per epsilon, then reports on all."""
    epsilons = config.epsilon or ()
    # All are checked before any is trained.
    experiments = [
        Experiment(dataclasses.replace(config, epsilon=(epsilon,)), progress)
        for epsilon in epsilons
    ]
    metric = Metric.from_json(experiments[0].identity.get("metric"))
    if metric != ACCURACY:
        raise ValueError(
            "`epsilon` must be one value where networks are judged by "
            f"{metric.words}. Received: epsilon="
            f"{','.join(f'{epsilon:g}' for epsilon in epsilons)}. Several are "
            "compared by accuracy alone; run them one by one."
        )
    values = {**experiments[0].identity, "epsilon": list(epsilons)}
    folder = os.path.join(config.output_dir, run_name(values))
    if config.plan:
        for epsilon, experiment in zip(epsilons, experiments):
            progress.result(f"epsilon {epsilon:g}:")
            experiment.tell_plan()
        return PerturbationResults([], folder, config.epsilon_unit)
    steps = [experiment.steps() for experiment in experiments]
    progress.start(*map(sum, zip(*steps)))
    rows: list[dict[str, Any]] = []
    for number, epsilon in enumerate(epsilons, 1):
        progress.line(f"epsilon {epsilon:g} ({number} of {len(epsilons)})")
        # Not kept: each has data, networks and compiled loops of its own.
        experiment = experiments.pop(0)
        found = experiment.run(among_others=True)
        rows += [{"epsilon": epsilon, **row} for row in found.rows]
        results = PerturbationResults(rows, folder, config.epsilon_unit)
        told = _write(results, values) if experiment.writes else ""
        del experiment, found
        gc.collect()
    if told:
        progress.result(told)
    return results


def _write(results: PerturbationResults, values: dict[str, Any]) -> str:
    """Writes table, rows and figure; returns what there is to say."""
    folder = results.run_dir
    figure = os.path.join(folder, "report", "perturbation.png")
    title = f"{values['model']} on {values['dataset']}"
    drawn = report.perturbation_figure(results.rows, results.unit, title=title)
    report.save_figure(drawn, figure)
    text = f"{results.table()}\n\n{results.finding()}"
    for name, content in (
        ("config.json", json.dumps(values, indent=1, sort_keys=True)),
        ("perturbation.txt", text),
        ("perturbation.csv", report.perturbation_csv(results.rows).rstrip()),
    ):
        replace_file(os.path.join(folder, name), f"{content}\n".encode())
    return (
        f"\n{text}\n\nFigure:  {figure}\n"
        f"Results: {folder}/perturbation.csv"
    )

"""Every ticket on every data set and optimizer: the matrix of transfer."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from tf_lottery import analysis
from tf_lottery import report
from tf_lottery import train
from tf_lottery.atomic import replace_file
from tf_lottery.checks import FOUND_BY
from tf_lottery.config import Config
from tf_lottery.experiment import Experiment
from tf_lottery.fingerprint import run_name
from tf_lottery.methods import METHODS
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric
from tf_lottery.plan import trainings
from tf_lottery.step import Step
from tf_lottery.sweep import find_rewind

# Options of methods that find tickets, beside those of `FOUND_BY`.
_OF_METHODS = ("prune_begin", "prune_end", "prune_every")


@dataclasses.dataclass(frozen=True)
class TransferResults:
    """How tickets do on each data set and optimizer, beside random tickets.

    Args:
        cells: one dict per source and target, as lines of transfer.csv.
        run_dir: the folder with transfer.csv and the figure.
        metric: what the networks are judged by.
    """

    cells: list[dict[str, Any]]
    run_dir: str
    metric: Metric = ACCURACY

    def table(self) -> str:
        """Returns the matrix as text."""
        return report.transfer_table(self.cells, self.metric)

    def finding(self) -> str:
        """Returns whether transferred tickets beat random ones."""
        return report.transfer_finding(self.cells, self.metric)


def run_transfer(
    config: Config | None = None,
    datasets: Sequence[str] = (),
    optimizers: Sequence[str] = (),
    *,
    progress: report.Progress | None = None,
    **changes: Any,
) -> TransferResults:
    """Finds tickets on each source, and trains them on each target.

    Sources and targets are all pairs of a data set and an optimizer. A source
    is an ordinary run, with a run directory of its own, reused where it is
    there, and so is each transfer. All have branch random_mask: random
    tickets of equal layer counts.

    Args:
        config: what to run; the defaults if none. Its branches are trained
            beside random_mask; `verdict_density` is what the matrix is of. Of
            `rewind=auto` each source has a step of its own.
        datasets: names; that of `config` alone if none.
        optimizers: names, each with a learning rate of its own after a colon
            or not, such as `"sgd:0.1"`; that of `config` alone if none.
        progress: where to report; the terminal by default.
        **changes: fields of `Config` to set.

    Returns:
        The cells; everything is on disk as well.

    Raises:
        ValueError, TypeError: a bad configuration, or data sets that one
            network does not fit, before any is trained.
        RuntimeError: training failed; finished levels are kept.
        OSError: the disk is full or cannot be written.

    Reference:
        Morcos et al., One ticket to win them all, 2019, arXiv:1906.02773,
        sections 3 and 4.
    """
    config = dataclasses.replace(config or Config(), **changes)
    sources = _sources(config, datasets, optimizers)
    follows = train.read_task(config.strategy).number > 0
    if progress is None:
        progress = report.Progress(
            quiet=config.quiet or follows,
            log_file=None if follows else config.log_file,
        )
    choices: dict[str, dict[str, Any]] = {}
    if config.rewind is None:
        choices = _choices(sources, progress)
        if len(choices) < len(sources):
            return TransferResults([], "")
        sources = {
            name: dataclasses.replace(
                one, rewind=Step(choices[name]["chosen"])
            )
            for name, one in sources.items()
        }
    with progress, train.lost_workers(config.strategy):
        return _Matrix(sources, progress, choices).run()


class _Matrix:
    """The runs of a matrix, checked and not trained."""

    def __init__(
        self,
        sources: dict[str, Config],
        progress: Any,
        choices: Mapping[str, Any],
    ):
        self._sources = sources
        # Of `rewind=auto`, by source.
        self._choices = choices
        self._progress = progress
        # All are checked before any is trained.
        self._experiments = {
            name: Experiment(config, progress)
            for name, config in sources.items()
        }
        first, *others = self._experiments.items()
        for name, experiment in others:
            _check_alike(first[0], first[1], name, experiment)
        self._transfers = {
            pair: _target(sources[pair[1]], self._experiments[pair[0]])
            for pair in itertools.permutations(sources, 2)
        }
        values = first[1].identity
        for field in ("dataset", "optimizer"):
            found = dict.fromkeys(getattr(c, field) for c in sources.values())
            values = {**values, field: "+".join(found)}
        rewinds = [str(config.rewind) for config in sources.values()]
        if len(set(rewinds)) > 1:
            values["rewind"] = "+".join(rewinds)
        values["sources"] = [
            [c.dataset, c.optimizer, c.learning_rate] for c in sources.values()
        ]
        self._values = values
        config = next(iter(sources.values()))
        self._config = config
        self.folder = os.path.join(config.output_dir, run_name(values))

    def run(self) -> TransferResults:
        """Trains what is not finished, and writes the matrix."""
        whole = {
            name: one.finished() == set(one.plan.keys)
            for name, one in self._experiments.items()
        }
        if self._config.plan:
            return self._plan(whole)
        steps = [one.steps() for one in self._experiments.values()]
        for (source, target), config in self._transfers.items():
            if whole[source]:
                steps.append(Experiment(config, self._progress).steps())
            else:
                steps.append((self._steps(target, config), 0))
        self._progress.start(*map(sum, zip(*steps)))
        rows, writes, metric = {}, True, ACCURACY
        total = len(self._sources) + len(self._transfers)
        number = 0
        for name in self._sources:
            number += 1
            self._progress.line(f"{name}, source ({number} of {total})")
            # Not kept: each has data, networks and loops of its own.
            experiment = self._experiments.pop(name)
            if name in self._choices and experiment.writes:
                report.write_choice(
                    os.path.join(experiment.run_dir, "report"),
                    self._choices[name],
                )
            found = experiment.run(among_others=True)
            rows[name, name] = found.rows, found.run_dir
            # Of all: they share one network.
            metric = found.metric
            writes = experiment.writes
            del experiment
            gc.collect()
        for (source, target), config in self._transfers.items():
            number += 1
            self._progress.line(f"{source} -> {target} ({number} of {total})")
            experiment = Experiment(config, self._progress)
            found = experiment.run(among_others=True)
            rows[source, target] = found.rows, found.run_dir
            del experiment
            gc.collect()
        cells = self._cells(rows, metric)
        results = TransferResults(cells, self.folder, metric)
        if writes:
            self._progress.result(self._write(results))
        return results

    def _plan(self, whole: dict[str, bool]) -> TransferResults:
        for name, experiment in self._experiments.items():
            self._progress.result(f"{name}, source:")
            experiment.tell_plan()
        for (source, target), config in self._transfers.items():
            if whole[source]:
                self._progress.result(f"{source} -> {target}:")
                Experiment(config, self._progress).tell_plan()
            else:
                self._progress.result(
                    f"{source} -> {target}: {len(trainings(config))} trainings "
                    "of tickets that are not found yet, "
                    f"{self._steps(target, config):,} optimizer steps."
                )
        return TransferResults([], self.folder)

    def _steps(self, target: str, config: Config) -> int:
        """Of a transfer whose tickets are not there yet."""
        steps = self._experiments[target].plan.train_steps
        return len(trainings(config)) * steps

    def _cells(
        self, rows: dict[tuple[str, str], Any], metric: Metric
    ) -> list[dict[str, Any]]:
        cells = []
        for source, target in itertools.product(self._sources, repeat=2):
            found, run_dir = rows[source, target]
            cell = analysis.transfer_cell(
                found, self._config.verdict_density, metric
            )
            if cell is not None:
                cell.update(source=source, target=target, run_dir=run_dir)
                cells.append({**cell, "own": source == target})
        return analysis.corrected_cells(cells)

    def _write(self, results: TransferResults) -> str:
        """Writes rows, table and figure; returns what there is to say."""
        figure = os.path.join(self.folder, "report", "transfer.png")
        table = os.path.join(self.folder, "transfer.csv")
        metric = results.metric
        drawn = report.transfer_figure(
            results.cells,
            title=f"{self._config.model}, transferred tickets",
            metric=metric,
        )
        report.save_figure(drawn, figure)
        names = analysis.transfer_columns(metric)
        report.write_table(
            names, ([c[n] for n in names] for c in results.cells), table
        )
        unit = {"pp": ", in percentage points", "%": ", in %", "": ""}
        text = (
            f"Test {metric.words}, "
            f"{metric.comparison('ticket', 'random ticket')}"
            f"{unit[metric.unit]}:\n"
            f"{results.table()}\n\n{results.finding()}"
        )
        for name, content in (
            ("config.json", json.dumps(self._values, indent=1, sort_keys=True)),
            ("transfer.txt", text),
        ):
            replace_file(
                os.path.join(self.folder, name), f"{content}\n".encode()
            )
        return f"\n{text}\n\nFigure:  {figure}\nResults: {table}"


def _sources(
    config: Config, datasets: Sequence[str], optimizers: Sequence[str]
) -> dict[str, Config]:
    """The run of each source by its label."""
    if config.instability_steps is not None:
        steps = ",".join(map(str, config.instability_steps))
        raise ValueError(
            "`instability_steps` must be left out of a matrix of transfer. "
            f"Received: instability_steps={steps}. Give it to the command "
            "train_ticket.py, or to tf_lottery.run."
        )
    method = METHODS[config.method]
    if method.given or method.strong or config.method == "dense":
        known = [
            name
            for name, kind in METHODS.items()
            if not (kind.given or kind.strong or name == "dense")
        ]
        raise ValueError(
            f"`method` must be one of {', '.join(known)}, which find tickets "
            f"that are trained. Received: method={config.method}, ticket="
            f"{config.ticket}. Choose one of these, and leave ticket out."
        )
    if config.last_level < 1:
        raise ValueError(
            "`levels` must be at least 1 to have a ticket. Received: levels="
            f"{config.levels}. Ask for more."
        )
    if "random_mask" not in config.branches:
        branches = (*config.branches, "random_mask")
        config = dataclasses.replace(config, branches=branches)
    chosen = [
        (dataset, *_optimizer(optimizer, config))
        for dataset in datasets or [config.dataset]
        for optimizer in optimizers or [config.optimizer]
    ]
    # Two texts may be of one setting: adam, and adam:1.2e-3.
    if len(chosen) < 2 or len({c[:3] for c in chosen}) < len(chosen):
        raise ValueError(
            "`datasets` and `optimizers` must make at least two different "
            f"settings. Received: datasets={','.join(datasets)}, optimizers="
            f"{','.join(optimizers)}. Write for example "
            "--datasets=mnist:0-4,mnist:5-9."
        )
    labels = [
        ", ".join(
            [dataset] * (len({d for d, *_ in chosen}) > 1)
            + [text] * (len({t for *_, t in chosen}) > 1)
        )
        for dataset, _, _, text in chosen
    ]
    return {
        label: dataclasses.replace(
            config, dataset=dataset, optimizer=optimizer, learning_rate=rate
        )
        for label, (dataset, optimizer, rate, _) in zip(labels, chosen)
    }


def _choices(
    sources: dict[str, Config], progress: Any
) -> dict[str, dict[str, Any]]:
    """What `rewind=auto` chose, by source; a plan may not know it of all."""
    # All are checked before any is trained.
    _Matrix(
        {
            name: dataclasses.replace(config, rewind=Step(0))
            for name, config in sources.items()
        },
        progress,
        {},
    )
    found = {
        name: find_rewind(config, progress) for name, config in sources.items()
    }
    return {name: choice for name, choice in found.items() if choice}


def _optimizer(text: str, config: Config) -> tuple[str, float, str]:
    """Reads "sgd:0.1": name, learning rate, and the text again."""
    name, colon, rate = text.partition(":")
    if not colon:
        return name, config.learning_rate, text
    try:
        return name, float(rate), text
    except ValueError:
        raise ValueError(
            "`optimizers` must be names, or names with a learning rate. "
            f"Received: {text!r}. Write for example sgd:0.1."
        ) from None


def _target(config: Config, source: Experiment) -> Config:
    """The run that trains a source's tickets by a target's settings."""
    defaults: dict[str, Any] = {
        field.name: field.default
        for field in dataclasses.fields(Config)
        if field.name in (*FOUND_BY, *_OF_METHODS)
    }
    return dataclasses.replace(
        config,
        method="transfer",
        ticket=source.run_dir,
        levels=config.last_level,
        **defaults,
    )


def _check_alike(
    name: str, one: Experiment, other_name: str, other: Experiment
) -> None:
    """Checks that one's tickets fit the other, but for the last dimension."""
    if one.vocabulary != other.vocabulary:
        raise ValueError(
            "`datasets` must be texts of one vocabulary. Received: "
            f"{name} and {other_name}. An embedding belongs to its tokens."
        )
    shapes, others = one.plan.mask.shapes, other.plan.mask.shapes
    wrong = [
        f"{path} {shapes.get(path)} and {others.get(path)}"
        for path in dict.fromkeys([*shapes, *others])
        if shapes.get(path, (0,))[:-1] != others.get(path, (1,))[:-1]
    ]
    if wrong:
        raise ValueError(
            "`datasets` must fit one network, but for the number of classes. "
            f"Received: {name} and {other_name}, with {'; '.join(wrong[:4])}. "
            "Choose data sets with examples of one shape."
        )

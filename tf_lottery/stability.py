"""Instability analysis: is a network at step k stable to SGD noise?"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Sequence
from typing import Any

from tf_lottery import analysis
from tf_lottery import assembly
from tf_lottery import lines
from tf_lottery import loading
from tf_lottery import models
from tf_lottery import paths
from tf_lottery import provenance
from tf_lottery import report
from tf_lottery import train
from tf_lottery.config import Config
from tf_lottery.fingerprint import fingerprint
from tf_lottery.fingerprint import run_name
from tf_lottery.forks import ForkTrainer
from tf_lottery.forks import fork_key
from tf_lottery.layers import mask_model
from tf_lottery.plan import MAIN
from tf_lottery.step import Step
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory

#: Fractions of a training that `rewind=auto` tries, in this order.
CANDIDATES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
# Whose error `rewind=auto` chooses by.
_SPLIT = "validation"
# What only pruning, or a run of several trainings, depends on.
_UNUSED = (
    "criterion", "score_per_class", "target_sparsity", "prune_begin",
    "prune_end", "prune_every", "mask_by", "epsilon", "epsilon_unit",
    "rescale", "score_steps", "score_learning_rate", "scope", "structure",
    "levels", "prune_rate", "conv_prune_rate", "output_prune_rate", "exclude",
    "collapse", "rewind", "retrain", "branches", "branch_levels", "parallel",
    "ray_address", "verdict_density", "verdict_margin", "export",
    "instability_steps", "connectivity",
)


@dataclasses.dataclass(frozen=True)
class InstabilityResults:
    """How far apart two data orders drive a dense network from step k on.

    Args:
        barriers: one dict per replicate and step: `replicate`, `step`,
            `barrier_test`, `barrier_train` and `barrier_validation`
            (fractions of the examples).
        points: one dict per replicate, step, alpha and split: the same
            names, `alpha`, `split`, `error` and `loss`.
        run_dir: the folder that holds these as report/barriers.csv and
            report/connectivity.csv, and both networks as tickets.
    """

    barriers: list[dict[str, Any]]
    points: list[dict[str, Any]]
    run_dir: str

    def table(self) -> str:
        """Returns mean barriers, a line per step, as text."""
        return report.connectivity_table(self.barriers)


class Instability:
    """An instability analysis that is checked, with no data read yet.

    Args:
        config: what is trained; what only pruning depends on is not heeded.
        steps: the steps k; the candidates of `rewind=auto` if None.
        progress: where to report.
        stop_signals: as `train.stop_signals`.

    Raises:
        ValueError, TypeError: an unknown name, a step beyond the training,
            several machines, a run directory that was altered.
    """

    def __init__(
        self,
        config: Config,
        steps: Sequence[Step] | None,
        progress: Any,
        stop_signals=train.stop_signals,
    ):
        unused: dict[str, Any] = {
            f.name: f.default
            for f in dataclasses.fields(Config)
            if f.name in _UNUSED
        }
        self.config = config = dataclasses.replace(
            config.resolved(),
            method="dense",
            **unused,
        ).resolved()
        self._progress = progress
        if config.strategy == "multi_worker":
            raise ValueError(
                "`strategy` must be of one machine for instability. Received: "
                "strategy=multi_worker. Use mirrored."
            )
        models.check_model(config.model)
        models.check_init(config.init)
        train.check_optimizer(config.optimizer)
        paths.check_folder(config.output_dir)
        start = provenance.load_start(config)
        strategy = train.make_strategy(config.strategy)
        info = loading.describe_data(config)
        per_epoch = info.train_size // config.batch_size
        length = config.train_steps.steps(per_epoch)
        if steps is None:
            steps = [Step(round(f * length)) for f in CANDIDATES]
        self.steps = sorted({step.steps(per_epoch) for step in steps})
        if not self.steps or self.steps[-1] >= length:
            raise ValueError(
                f"`instability_steps` must be before the {length} steps "
                "of training end. Received: instability_steps="
                f"{','.join(map(str, steps))}. Name at least one earlier step."
            )
        with strategy.scope(), models.clean_names():
            dense = assembly.build_replicate(config, info, 0, "init")
            self._model = mask_model(dense)
        values = provenance.identify(
            provenance.values_of(config, info), dense, start
        )
        self._values = {**values, "method": "instability"}
        self.run_dir = os.path.join(config.output_dir, run_name(self._values))
        self._store = RunDirectory(self.run_dir, progress.line)
        self._store.check(self._values, fingerprint)
        self._book = lines.LineBook(self.run_dir, progress.line)
        self._forks = ForkTrainer(
            config,
            self._model,
            start.rewind if start else None,
            info,
            self._store,
            strategy=strategy,
            values=self._values,
            progress=progress,
            stop_signals=stop_signals,
        )

    @property
    def replicates(self) -> list[int]:
        """The repetitions that are to be analysed."""
        if self.config.replicate is not None:
            return [self.config.replicate]
        return list(range(self.config.replicates))

    def tell_plan(self) -> InstabilityResults:
        """Says what `run` would do; returns what is there, changes nothing."""
        self._progress.result(
            f"Instability at steps {', '.join(map(str, self.steps))}: each of "
            f"{len(self.replicates)} replicate(s) is trained once as a whole, "
            "and once on from every step in another data order; a line of "
            f"{analysis.POINTS} points lies between.\n"
            f"{self._steps_to_do():,} optimizer steps to do.\n"
            f"Run directory: {self.run_dir}"
        )
        return self._results()

    def run(self) -> InstabilityResults:
        """Trains what is not finished, evaluates the lines and reports."""
        self._open()
        for replicate in self.replicates:
            self._analyse(replicate, self.steps)
        results = self._results()
        self._progress.result(self._write(results))
        return results

    def choose(self) -> dict[str, Any]:
        """Finds the first step at which replicate 0 is stable, and keeps it.

        Stable by the barrier of the validation error: the test set, which the
        tickets are judged on, has no say in how they are made.

        One step after the other is looked at; what is on disk is not computed
        again. The first network is trained once, and leaves a snapshot at
        every step; those that no copy was trained from are removed at the
        end. Where none is stable it is the last, and a line says so. It is
        of replicate 0 alone, so that more replicates are no other experiment.

        Returns:
            The record that is in report/rewind.json, see
            `report.write_choice`.
        """
        if self.choice() is None:
            self._open()
            for k in self.steps:
                self._analyse(0, [k], keep=self.steps)
                if self.choice() is not None:
                    break
            self._forks.drop(0, self.steps)
            self._write(self._results())
        choice = self.choice()
        if choice is None:
            raise RuntimeError(
                f"A line between the networks of {self.run_dir} is missing: "
                "another process may have trained them anew. Start again."
            )
        if not self.config.plan:
            report.write_choice(os.path.join(self.run_dir, "report"), choice)
        told = report.choice_text(choice)
        self._progress.line(f"{told} See {self.run_dir}.")
        return choice

    def choice(self) -> dict[str, Any] | None:
        """Returns what `choose` would, or None where that is not known yet."""
        tried: list[dict[str, Any]] = []
        for k in self.steps:
            barrier = self._barrier(0, k)
            if barrier is None:
                return None
            tried.append({"step": k, "barrier": barrier})
            if barrier < analysis.STABLE_BELOW:
                break
        last = tried[-1]
        return {
            "chosen": last["step"],
            "barrier": last["barrier"],
            "stable": last["barrier"] < analysis.STABLE_BELOW,
            "stable_below": analysis.STABLE_BELOW,
            "split": _SPLIT,
            "replicate": 0,
            "candidates": tried,
            "analysis": os.path.basename(self.run_dir),
        }

    def _steps_to_do(self) -> int:
        return sum(
            self._forks.steps_to_do(r, self.steps) for r in self.replicates
        )

    def _open(self) -> None:
        self._store.open(self._values, fingerprint)
        self._progress.start(self._steps_to_do())

    def _results(self) -> InstabilityResults:
        points, barriers = (
            [r for r in rows if r["replicate"] in self.replicates]
            for rows in (self._book.points, self._book.barriers)
        )
        return InstabilityResults(barriers, points, self.run_dir)

    def _write(self, results: InstabilityResults) -> str:
        """Draws the figure; returns what there is to say."""
        figure = os.path.join(self.run_dir, "report", "instability.png")
        drawn = report.connectivity_figure(
            results.points,
            results.barriers,
            title=f"{self.config.model} on {self.config.dataset}",
        )
        report.save_figure(drawn, figure)
        return (
            f"\n{results.table()}\n\nFigure: {figure}\n"
            f"Lines:  {self.run_dir}/report/connectivity.csv"
        )

    def _barrier(self, replicate: int, k: int) -> float | None:
        """That of validation, where both networks are those on disk."""
        first, second = map(self._forks.digest, _ends(replicate, k))
        if first is None or second is None:
            return None
        return self._book.barrier(_line(replicate, k), first, second, _SPLIT)

    def _analyse(
        self, replicate: int, steps: Sequence[int], keep: Sequence[int] = ()
    ) -> None:
        """Trains and evaluates what is not finished of some steps."""
        if all(self._barrier(replicate, k) is not None for k in steps):
            return
        self._forks.finish(replicate, steps, keep)
        for k in steps:
            if self._barrier(replicate, k) is not None:
                continue
            ends = _ends(replicate, k)
            found = self._evaluator(*map(self._store.load, ends))
            first, second = (self._forks.digest(key) or "" for key in ends)
            self._book.add(_line(replicate, k), first, second, found)
            self._progress.line(
                f"replicate {replicate} step {k}: barrier "
                f"{found.barrier():.2%} test, {found.barrier('train'):.2%} "
                "train"
            )

    @functools.cached_property
    def _evaluator(self) -> analysis.LineEvaluator:
        return lines.make_evaluator(self._model, self._forks.data_set)


def instability(
    config: Config | None = None,
    *,
    steps: Sequence[Step | str | int] | None = None,
    progress: report.Progress | None = None,
    **changes: Any,
) -> InstabilityResults:
    """Tells from which step k on a network is stable to SGD noise.

    Two copies of a network share the first k steps, bit for bit, and are
    trained on in two data orders (augmentation, dropout) to the end. If the
    error hardly rises on the line between them, `barrier < 2 %`, both ended
    in one valley: the network was stable at k. Tickets are found where it is.

    The first copy is the dense network of the experiment that `config`
    describes, and the same for every k. What is finished on disk is not
    trained again, also after a kill; steps and replicates can be added.

    Args:
        config: what is trained; the defaults if none. What only pruning
            depends on is not heeded.
        steps: every k; those of `config.instability_steps` if None, or else
            0, 0.5, 1, 2, 5, 10 and 20 % of the training.
        progress: where to report; the terminal by default.
        **changes: fields of `Config` to set, for example `replicates=3`.

    Returns:
        An `InstabilityResults`; of the training examples, the first 10,000 are
        evaluated.

    Raises:
        ValueError, TypeError: an argument that does not fit, before any data
            are read.
        OSError: the run directory cannot be written.

    Example:
        >>> found = instability(steps=[0], train_steps=20, eval_every=20,
        ...                     output_dir=folder, quiet=True)
        >>> [row["step"] for row in found.barriers], len(found.points)
        ([0], 90)

    Reference:
        Frankle, Dziugaite, Roy and Carbin, "Linear Mode Connectivity and the
        Lottery Ticket Hypothesis", 2020, arXiv:1912.05671, sections 2 and 3.
    """
    config = dataclasses.replace(config or Config(), **changes)
    named = config.instability_steps
    if steps is not None:
        named = tuple(Step.parse(s, "instability_steps") for s in steps)
    if progress is None:
        progress = report.Progress(
            quiet=config.quiet, log_file=config.log_file
        )
    with progress:
        found = Instability(config, named, progress)
        return found.tell_plan() if config.plan else found.run()


def _ends(replicate: int, k: int) -> tuple[Key, Key]:
    return Key(replicate, MAIN, 0), fork_key(replicate, k)


def _line(replicate: int, k: int) -> lines.Line:
    return lines.Line(replicate, "instability", k, 0, 1.0)

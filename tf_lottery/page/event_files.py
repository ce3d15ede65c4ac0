"""Event files for TensorBoard, one for each finished training."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tf_lottery import atomic
from tf_lottery import paths
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric
from tf_lottery.report import log_kernels
from tf_lottery.report import read_evaluations
from tf_lottery.report import require_tensorboard
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket
from tf_lottery.tickets.verify import file_digest

# TensorBoard takes for an event file what has this in its name.
_PREFIX = "events.out.tfevents."
# Of a run; all else is the same in all its trainings.
_DIFFER = ("replicate", "branch", "level", "density")


def check_tensorboard(tensorboard: bool) -> None:
    """Raises ValueError where event files are wanted and cannot be written.

    Args:
        tensorboard: whether they are wanted.
    """
    if not tensorboard:
        return
    try:
        require_tensorboard("tensorboard", tensorboard, "false")
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from error


class EventFiles:
    """What TensorBoard shows of a run: `tensorboard --logdir RUN_DIR`.

    In `tensorboard/replicate_0/main/level_03` and so on of the run directory
    lies one event file per training, made from the files of its level alone:
    scalars of every evaluation (`accuracy/test`, ...), the density, the
    sparsity and the kept weights of each kernel before and after training
    (histograms at its first and its last step), and what the hparams plugin
    lists: the values of the configuration that are scalars, with replicate,
    branch, level and density, against final test accuracy, or another
    metric, and early-stop step, where it is known. Times are those of
    writing: look at steps.

    A file is written elsewhere and appears in one step. Its name has the
    ticket's checksum, by which a training that was done anew is noticed.

    Args:
        store: the run directory.
        metric: what the networks are judged by.
    """

    def __init__(self, store: RunDirectory, metric: Metric = ACCURACY):
        self._store = store
        self._shown = {
            metric.test: f"test {metric.words}",
            "early_stop_step": "early-stop step",
        }

    def write(self, keys: Iterable[Key]) -> None:
        """Writes the event files that are missing, and no others.

        Args:
            keys: finished trainings.

        Raises:
            ValueError: a training's files are missing, truncated or altered.
            OSError: the run directory cannot be written.
        """
        if not self._store.writes:
            return
        for key in keys:
            self._write(key)

    def _write(self, key: Key) -> None:
        level = self._store.level_path(key)
        top = os.path.join(self._store.path, "tensorboard")
        # Laid out as the run directory itself.
        folder = RunDirectory(top).level_path(key)
        digest = file_digest(
            os.path.join(self._store.ticket_path(key), "ticket.json")
        )
        name = f"{_PREFIX}{digest[:16]}"
        old = [n for n in paths.names_in(folder) if n.startswith(_PREFIX)]
        if old == [name]:
            return
        ticket = self._store.load(key)
        rows = read_evaluations(os.path.join(level, "metrics.csv"))
        hparams = _hparams(ticket)
        columns = os.path.join(top, f"{_PREFIX}hparams")
        if not paths.is_file(columns):
            atomic.replace_file(columns, _columns(hparams, self._shown))
        content = _training(ticket, rows, hparams, self._shown)
        atomic.replace_file(os.path.join(folder, name), content)
        for other in set(old) - {name}:
            paths.remove(os.path.join(folder, other))


def _hparams(ticket: Ticket) -> dict[str, Any]:
    values = {
        name: value
        for name, value in ticket.config.items()
        if isinstance(value, (bool, int, float, str)) and name != "format"
    }
    return {**values, "level": ticket.level, "density": ticket.mask.density}


def _columns(
    hparams: Mapping[str, Any], shown: Mapping[str, str]
) -> bytes:
    """The event file that says what the plugin's table has."""
    from tensorboard.plugins.hparams import api
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams import summary as plugin
    from tensorflow import summary

    # `api.hparams_config_pb` cannot say which of them differ; TensorBoard
    # looks for that itself only where there is no such file.
    content = plugin.experiment_pb(
        [
            api_pb2.HParamInfo(
                name=name, type=_kind(value), differs=name in _DIFFER
            )
            for name, value in hparams.items()
        ],
        [
            api.Metric(tag, display_name=text).as_proto()
            for tag, text in shown.items()
        ],
    )

    def write() -> None:
        summary.experimental.write_raw_pb(content.SerializeToString(), 0)

    return _event_file(write)


def _kind(value: Any) -> int:
    from tensorboard.plugins.hparams import api_pb2

    if isinstance(value, bool):
        return api_pb2.DATA_TYPE_BOOL
    if isinstance(value, str):
        return api_pb2.DATA_TYPE_STRING
    return api_pb2.DATA_TYPE_FLOAT64


def _training(
    ticket: Ticket,
    rows: list[dict[str, Any]],
    hparams: Mapping[str, Any],
    shown: Iterable[str],
) -> bytes:
    from tensorboard.plugins.hparams import api
    from tensorboard.plugins.scalar.summary_v2 import scalar_pb
    from tensorflow import summary

    # An operation per scalar would take seconds of a long training.
    scalars: dict[int, Any] = {}
    for row in rows:
        for name, value in row.items():
            if name not in ("step", "split"):
                content = scalar_pb(f"{name}/{row['split']}", value)
                there = scalars.setdefault(row["step"], content)
                if there is not content:
                    there.MergeFrom(content)
    # A training function may tell of no evaluation.
    first, last = min(scalars, default=0), max(scalars, default=0)

    def write() -> None:
        content = api.hparams_pb(hparams)
        summary.experimental.write_raw_pb(content.SerializeToString(), 0)
        for step, content in scalars.items():
            summary.experimental.write_raw_pb(
                content.SerializeToString(), step
            )
        for step, weights in ((first, ticket.rewind), (last, ticket.trained)):
            summary.experimental.set_step(step)
            log_kernels({
                path: (np.asarray(weights[path]), mask)
                for path, mask in ticket.mask.items()
            })
        summary.scalar("density", ticket.mask.density, last)
        for tag in shown:
            if (value := ticket.metrics.get(tag)) is not None:
                summary.scalar(tag, value, last)

    return _event_file(write)


def _event_file(write: Callable[[], None]) -> bytes:
    """The content of the event file that a function's summaries make."""
    from tensorflow import summary

    step = summary.experimental.get_step()
    with tempfile.TemporaryDirectory() as folder:
        writer = summary.create_file_writer(folder)
        try:
            with writer.as_default():
                write()
        finally:
            summary.experimental.set_step(step)
            writer.close()
        (name,) = os.listdir(folder)
        with open(os.path.join(folder, name), "rb") as file:
            return file.read()

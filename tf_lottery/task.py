"""A training problem of the user's own: any network, any training loop."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from tf_lottery.layers import get_mask
from tf_lottery.metric import Metric

# Of the name: a folder's is that and about 100 characters.
_LONGEST = 100
# What `train` is called with beside the model.
_TRAIN = {"level": 0, "seed": 0, "start_step": 0}


@dataclasses.dataclass(frozen=True)
class Task:
    """What networks are trained for, and by which function, for `run`.

    `tf_lottery.run(config, task=task)` gives it all that the built-in tasks
    have: iterative and other pruning, rewinding, controls, replicates, a run
    directory that an interrupted search goes on from, verdict, report,
    tickets, export. The fields of `Config` that are about data, the network
    and its training are the task's to decide, and must be left alone.

    Args:
        name: of the task, in the run directory's name and in titles.
        build: `build(seed) -> keras.Model`, a dense, built network whose
            initial weights are a function of the seed, an int in [0, 2**32).
        train: `train(model, *, level, seed, start_step) -> metrics`, as of
            `find_tickets`: trains the masked model in place, from
            `start_step` of its schedule to the end, by a new optimizer: the
            model is not compiled, whatever `build` did. With
            `Config(rewind="2it")` it is also passed `at_rewind_step=(2,
            callback)` at level 0, and must call `callback()` after 2 steps.
            Layers multiply by their masks, so the gradients of pruned weights
            are 0 in any loop; what an optimizer does to them all the same,
            such as weight decay, is undone after the training.
            It returns a dict: the metric of the test set, after training, as
            `metric.test` ("test_reward"), which must be there; if known
            `metric.column("val")`, `metric.column("train")`, "test_loss",
            "val_loss", "train_examples" (for the costs), others as it likes;
            and if it likes "evaluations", dicts with "step", "split"
            ("validation", "test", ...) and numbers by name, for metrics.csv
            and learning curves. If those of "validation" have "loss", early
            stopping is the step where it is least, provided that there is one
            of "test" at this step.
        metric: what networks are judged by.
        train_steps: of a whole training, in the task's own unit of a step: an
            optimizer step, an epoch. `rewind` counts in it.
        unit: what a step is called, in the singular.
        settings: plain JSON values of everything else that the result hangs
            on: sizes, rates, versions of data. With `name`, `metric` and
            `train_steps` they identify a run: other settings are another run.
            The code of the functions does not: what is finished is reused
            after it was changed. Count a version up here when you change it.

    Raises:
        TypeError, ValueError: an argument that is none of these.

    Example:
        >>> def build(seed):
        ...     start = keras.initializers.GlorotUniform(seed)
        ...     return keras.Sequential([keras.Input((4,)),
        ...         keras.layers.Dense(8, kernel_initializer=start)])
        >>> def train(model, *, level, seed, start_step):
        ...     return {"test_score": 1.0 - level / 10}
        >>> task = Task("toy", build, train, Metric("score"), train_steps=10)
        >>> from tf_lottery import run
        >>> results = run(task=task, levels=2, output_dir=folder, quiet=True)
        >>> [row["test_score"] for row in results.rows]
        [1.0, 0.9, 0.8]
    """

    name: str
    build: Callable[[int], keras.Model]
    train: Callable[..., Mapping[str, Any] | None]
    metric: Metric
    train_steps: int
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    unit: str = "step"

    def __post_init__(self) -> None:
        name = self.name
        if not isinstance(name, str) or not name.strip():
            raise ValueError(
                "`name` must be a text. Received: "
                f"name={name!r}. Call the task something."
            )
        if len(name.encode()) > _LONGEST or not name.isprintable():
            raise ValueError(
                f"`name` must be at most {_LONGEST} bytes of printable "
                f"characters. Received: name={name!r:.200}. It names a folder."
            )
        for argument in ("build", "train"):
            if not callable(getattr(self, argument)):
                raise TypeError(
                    f"`{argument}` must be a function. Received: {argument}="
                    f"{getattr(self, argument)!r}. See tf_lottery.Task."
                )
        check_call("build", self.build, 0)
        check_call("train", self.train, None, **_TRAIN)
        if not isinstance(self.metric, Metric):
            raise TypeError(
                "`metric` must be a tf_lottery.Metric. Received: metric="
                f"{self.metric!r}. Write for example Metric('reward')."
            )
        steps = self.train_steps
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(
                "`train_steps` must be an integer from 1 on. Received: "
                f"train_steps={steps!r}. It is the length of a training."
            )
        if not (isinstance(self.unit, str) and self.unit.isprintable()):
            raise TypeError(
                "`unit` must be a word. Received: unit="
                f"{self.unit!r:.200}. Write for example 'epoch'."
            )
        try:
            text = json.dumps(dict(self.settings), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                "`settings` must be plain JSON values by name. Received: "
                f"settings={self.settings!r} ({error}). Leave out objects."
            ) from error
        # As a file gives them back: keys are texts there.
        object.__setattr__(self, "settings", json.loads(text))

    def to_json(self) -> dict[str, Any]:
        """Returns what identifies it, as plain JSON values."""
        return {
            "name": self.name,
            "train_steps": self.train_steps,
            "settings": dict(self.settings),
        }


def check_call(name: str, function: Callable, *first: Any, **named: Any):
    """Checks that a function can be called so, before anything is trained.

    Args:
        name: of the argument, for the message.
        function: of the user's.
        *first: what it is given by position.
        **named: and by name.

    Raises:
        TypeError: it cannot.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # Of a function of another language.
    try:
        signature.bind(*first, **named)
    except TypeError as error:
        asked = ["seed" if name == "build" else "model", *named]
        raise TypeError(
            f"`{name}` must be a function of ({', '.join(asked)}). Received: "
            f"one of {signature} ({error}). See tf_lottery.Task."
        ) from None


def check_rewind(task: Task, step: int) -> None:
    """Checks that the training function can be passed a rewind step.

    Args:
        task: whose function.
        step: 0 if there is none.

    Raises:
        TypeError: it cannot.
    """
    if step:
        check_call("train", task.train, None, **_TRAIN, at_rewind_step=())


class TaskTrainer:
    """Calls the training function of a task, and checks what it returns.

    Args:
        task: whose function is called.
        on_step: called after a training, with the last step and no
            evaluations.

    Attributes:
        rows: evaluations of the last training.
        seconds: that it took.
        changes: of the mask: none.
    """

    changes: Sequence[Any] = ()

    def __init__(self, task: Task, on_step: Callable[[int, Any], None]):
        self._task = task
        self._on_step = on_step
        self.rows: list[dict[str, Any]] = []
        self.seconds = 0.0

    def __call__(
        self,
        model: keras.Model,
        *,
        level: int,
        seed: int,
        start_step: int,
        at_rewind_step: tuple[int, Callable[[], None]] | None = None,
        **others: Any,
    ) -> dict[str, Any]:
        """Trains a model, and returns its metrics for a row of results.csv.

        Args:
            model: masked.
            level: pruning level.
            seed: of the training.
            start_step: of the training.
            at_rewind_step: as in `find_tickets`.
            **others: what the built-in training is passed beside these; it
                is cut off and resumed level by level here.

        Raises:
            RuntimeError: the function returned something else than it must,
                or changed the mask.
        """
        task, before = self._task, get_mask(model)
        started = time.monotonic()
        how: dict[str, Any] = {}
        if at_rewind_step is not None:
            how["at_rewind_step"] = at_rewind_step
        returned = task.train(
            model, level=level, seed=seed, start_step=start_step, **how
        )
        self.seconds = time.monotonic() - started
        found = _checked(returned, task.metric, level)
        if get_mask(model) != before:
            raise RuntimeError(
                "`train` must leave the mask as it is. Received: another one "
                f"after the training of level {level}. The search prunes."
            )
        rows = found.pop("evaluations", None)
        self.rows = self._evaluations(() if rows is None else rows, level)
        self._on_step(task.train_steps, ())
        steps = found.pop("train_steps", task.train_steps - start_step)
        return {"train_steps": steps, **found, **self._early_stop()}

    def _evaluations(self, rows: Any, level: int) -> list[dict[str, Any]]:
        try:
            return [
                {
                    "step": _number(row["step"], whole=True),
                    "split": str(row["split"]),
                    **{
                        name: _number(value)
                        for name, value in row.items()
                        if name not in ("step", "split")
                    },
                }
                for row in rows
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise RuntimeError(
                "`evaluations` must be dicts with a step, a split, and "
                f"numbers by name. Received: {rows!r:.200} at level {level} "
                f"({error!r}). See tf_lottery.Task."
            ) from error

    def _early_stop(self) -> dict[str, Any]:
        """The step of least validation loss, if losses were told."""
        metric = self._task.metric
        rows = [
            row
            for row in self.rows
            if row["split"] == "validation"
            and math.isfinite(row.get("loss", math.nan))
        ]
        if not rows:
            return {}
        best = min(rows, key=lambda row: row["loss"])
        for row in self.rows:
            if (row["split"], row["step"]) == ("test", best["step"]):
                if metric.name in row:
                    return {
                        "early_stop_step": best["step"],
                        metric.early_stop: row[metric.name],
                        "early_stop_censored": best is rows[-1],
                    }
        return {}


def _checked(returned: Any, metric: Metric, level: int) -> dict[str, Any]:
    """What a training function returned, its numbers as Python's own."""
    try:
        found = {k: v for k, v in returned.items() if v is not None}
        value = found[metric.test] = _number(found[metric.test])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise RuntimeError(
            f"`train` must return a dict with a number {metric.test!r}. "
            f"Received: {returned!r:.200} at level {level}. It is the metric "
            "of the task, on the test set after training."
        ) from None
    if not math.isfinite(value):
        raise RuntimeError(
            f"`train` must return a finite number {metric.test!r}. Received: "
            f"{value} at level {level}. Training has diverged; finished "
            "levels are kept."
        )
    if metric.ratio and value <= 0.0:
        raise RuntimeError(
            f"`train` must return a {metric.test!r} above 0, as the metric is "
            f"compared by ratio. Received: {value} at level {level}. Make the "
            "metric one of differences (ratio=False)."
        )
    for name in sorted({"early_stop_step", metric.early_stop} & set(found)):
        raise RuntimeError(
            f"`train` must not return {name!r}. Received: {found[name]!r} at "
            f"level {level}. Return evaluations, of which it is found."
        )
    counts = ("train_steps", "train_examples")
    columns = ("test_loss", "val_loss", *map(metric.column, ("val", "train")))
    for name in (*counts, *columns):
        if name in found:
            whole = name in counts
            try:
                found[name] = _number(found[name], whole=whole)
            except (TypeError, ValueError):
                raise RuntimeError(
                    f"{name!r} must be a {'whole ' * whole}number where "
                    f"`train` returns it. Received: {found[name]!r:.200} at "
                    f"level {level}. Leave it out if it is not known."
                ) from None
    return found


def _number(value: Any, whole: bool = False) -> Any:
    """A number as Python's own; a whole one is a count, from 0 on."""
    if isinstance(value, (str, bytes)):
        raise TypeError("a text is no number")
    number = float(value)
    if not whole:
        return number
    if number < 0 or not number.is_integer():
        raise ValueError("a count must be a whole number from 0 on")
    return int(number)

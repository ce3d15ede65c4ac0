"""The experiment's configuration: the one source of flags and fingerprints."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Iterable
from collections.abc import Mapping
from typing import Any

from tf_lottery.masks import COLLAPSE
from tf_lottery.masks import SCOPES
from tf_lottery.masks import check_rate
from tf_lottery.schedules import LearningRate
from tf_lottery.step import Step

FORMAT = 1


def _flag(
    default: Any,
    help: str,
    *,
    choices: tuple[str, ...] | None = None,
    identity: bool = True,
) -> Any:
    """A field. `identity`: whether another value is another experiment."""
    return dataclasses.field(
        default=default,
        metadata={"help": help, "choices": choices, "identity": identity},
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """Everything that an experiment depends on.

    Every field is a flag of the same name, default and help; values may be
    given as the text that the flag takes (`Config(train_steps="2ep")`).

    Raises:
        ValueError: a value that cannot be read or is out of range.

    Example:
        >>> Config(prune_rate=0.4).resolved().output_prune_rate
        0.2
        >>> Config(levels=3).fingerprint == Config(levels=9).fingerprint
        True
    """

    dataset: str = _flag(
        "digits",
        "'digits' (embedded, 8x8 handwritten digits) or the name of any TFDS "
        "image-classification data set, such as mnist or cifar10.",
    )
    data_dir: str | None = _flag(
        None,
        "TFDS data directory; TFDS's own default (TFDS_DATA_DIR) if none.",
        identity=False,
    )
    validation_size: int = _flag(
        5000,
        "Examples taken from train for validation; the default of 5000 "
        "becomes 10 % of training sets below 50,000 examples.",
    )
    split_seed: int = _flag(0, "Seed of the validation split.")
    model: str = _flag(
        "lenet_300_100",
        "A registered model (lenet_300_100, lenet_5, conv_2, conv_4, conv_6) "
        "or your own package.module:function of (input_shape, num_classes).",
    )
    init: str | None = _flag(
        None,
        "Keras initializer of the kernels, such as he_normal; the model's own"
        " if none.",
    )
    initial_weights: str | None = _flag(
        None,
        "A ticket's folder whose rewind weights the network starts from "
        "instead of random ones.",
    )
    method: str = _flag(
        "imp",
        "imp: iterative magnitude pruning. dense: the whole network only.",
        choices=("imp", "dense"),
    )
    criterion: str = _flag("magnitude", "What scores weights: a pruner.")
    scope: str = _flag(
        "layerwise",
        "What competes: layerwise (each kernel at its own rate), global, "
        "uniform, erk.",
        choices=SCOPES,
    )
    levels: int = _flag(
        15,
        "Pruning rounds; levels 0 (dense) to N are trained.",
        identity=False,
    )
    prune_rate: float = _flag(
        0.2, "Fraction of the surviving weights that a round removes."
    )
    conv_prune_rate: float | None = _flag(
        None, "The same for convolutions; prune_rate if none. Layerwise only."
    )
    output_prune_rate: float | None = _flag(
        None,
        "The same for the output layer; half of prune_rate if none. "
        "Layerwise only.",
    )
    exclude: tuple[str, ...] = _flag(
        (), "Patterns of variable paths kept dense, such as 'output/*'."
    )
    collapse: str = _flag(
        "stop",
        "Where pruning would empty a kernel: stop (an error), floor (it keeps"
        " its best weight) or allow.",
        choices=COLLAPSE,
    )
    rewind: Step = _flag(
        Step(0),
        "Point of training that the surviving weights go back to (500it, 2ep).",
    )
    retrain: str = _flag(
        "rewind",
        "What a pruned network is trained from: rewind (weights and schedule "
        "of the rewind point), lr_rewind (trained weights, schedule of the "
        "rewind point), fine_tune (trained weights, last learning rate), "
        "continue (trained weights, the whole schedule; the ticket is reset "
        "and trained once, as branch 'rewound', after the last level).",
        choices=("rewind", "lr_rewind", "fine_tune", "continue"),
    )
    train_steps: Step = _flag(Step(3000), "Length of a training.")
    batch_size: int = _flag(60, "Examples per step, over all replicas.")
    eval_every: Step = _flag(
        Step(100), "Distance of evaluations on validation and test sets."
    )
    optimizer: str = _flag("adam", "adam, adamw, rmsprop or sgd.")
    learning_rate: float = _flag(1.2e-3, "Base learning rate.")
    momentum: float = _flag(0.9, "Momentum of sgd.")
    weight_decay: float = _flag(
        0.0, "L2 coefficient, added to the gradient; decoupled for adamw."
    )
    lr_schedule: str = _flag(
        "constant", "constant, cosine, or step:80ep,120ep:0.1."
    )
    warmup: Step = _flag(Step(0), "Length of the linear warm-up.")
    replicates: int = _flag(
        1, "Independent repetitions.", identity=False
    )
    replicate: int | None = _flag(
        None, "Run only this repetition, from 0; all if none.", identity=False
    )
    seed: int = _flag(0, "Seed of initialisation, data order and controls.")
    branches: tuple[str, ...] = _flag(
        (),
        "Controls trained beside the tickets: reinit (same mask, fresh "
        "weights), shuffle_mask (permuted mask, same weights), random_mask "
        "(random mask, fresh weights), rewound (the ticket reset).",
        identity=False,
    )
    branch_levels: tuple[int, ...] | None = _flag(
        None, "Levels at which they are trained; all if none.", identity=False
    )
    strategy: str = _flag(
        "auto",
        "Devices: auto, one_device, mirrored.",
        choices=("auto", "one_device", "mirrored"),
    )
    mixed_precision: str = _flag(
        "float32",
        "Precision of the computation.",
        choices=("float32", "mixed_bfloat16"),
    )
    jit: str = _flag(
        "auto",
        "Compile the training loop with XLA; auto chooses by model and "
        "device.",
        choices=("auto", "on", "off"),
    )
    output_dir: str = _flag(
        "runs", "Where run directories are made.", identity=False
    )
    export: str | None = _flag(
        None,
        "Levels to write as SavedModel: all, last, or numbers such as 0,7.",
        identity=False,
    )
    plan: bool = _flag(
        False,
        "Print levels, exact counts, steps, disk and what would be reused; "
        "run nothing.",
        identity=False,
    )
    quiet: bool = _flag(False, "Print errors only.", identity=False)
    log_file: str | None = _flag(
        None, "Append every line of the run, with the time.", identity=False
    )
    debug: bool = _flag(
        False, "Show the traceback of an error.", identity=False
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = parse(field, getattr(self, field.name))
            object.__setattr__(self, field.name, value)
        for name in ("prune_rate", "conv_prune_rate", "output_prune_rate"):
            if getattr(self, name) is not None:
                check_rate(name, getattr(self, name))
        LearningRate(self.learning_rate, self.lr_schedule, self.warmup)
        for name, least in _LEAST.items():
            value = getattr(self, name)
            number = value.count if isinstance(value, Step) else value
            if number is not None and not number >= least:
                raise ValueError(
                    f"`{name}` must be at least {least}. Received: "
                    f"{name}={value}. Give a larger number."
                )
        if not 0 <= self.momentum < 1:
            raise ValueError(
                "`momentum` must be in [0, 1). Received: "
                f"momentum={self.momentum}. 0.9 is usual."
            )
        if self.method == "dense" and (self.branches or self.branch_levels):
            raise ValueError(
                "`branches` must be none for method dense. Received: "
                f"branches={','.join(self.branches)}. The whole network has no"
                " ticket to control; use method imp."
            )
        for level in self.branch_levels or ():
            if not 1 <= level <= self.levels:
                raise ValueError(
                    f"`branch_levels` must be between 1 and {self.levels}, "
                    f"the number of levels. Received: branch_levels={level}. "
                    "Level 0 is dense and needs no control."
                )
        if self.replicate is not None and self.replicate >= self.replicates:
            raise ValueError(
                f"`replicate` must be below replicates={self.replicates}. "
                f"Received: replicate={self.replicate}. Replicates are "
                "counted from 0."
            )

    def resolved(self) -> Config:
        """Returns the configuration with derived defaults filled in."""
        conv, output = self.conv_prune_rate, self.output_prune_rate
        return dataclasses.replace(
            self,
            conv_prune_rate=self.prune_rate if conv is None else conv,
            output_prune_rate=self.prune_rate / 2 if output is None else output,
            levels=0 if self.method == "dense" else self.levels,
        )

    def to_json(self) -> dict[str, Any]:
        """Returns the resolved configuration as plain JSON values."""
        config = self.resolved()
        values: dict[str, Any] = {"format": FORMAT}
        for field in dataclasses.fields(config):
            value = getattr(config, field.name)
            if isinstance(value, Step):
                value = str(value)
            values[field.name] = (
                list(value) if isinstance(value, tuple) else value
            )
        return values

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what identifies the experiment."""
        return fingerprint(self.to_json())


_LEAST = {
    "validation_size": 1,
    "split_seed": 0,
    "levels": 0,
    "train_steps": 1,
    "batch_size": 1,
    "eval_every": 1,
    "weight_decay": 0,
    "replicates": 1,
    "replicate": 0,
    "seed": 0,
}


def identity(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of a config.json that identify the experiment.

    Args:
        values: what `Config.to_json` returned, plus content hashes of input
            files under `inputs`.
    """
    skipped = {
        field.name
        for field in dataclasses.fields(Config)
        if not field.metadata["identity"]
    }
    # A file counts by its content, wherever it lies.
    skipped |= set(values.get("inputs", ()))
    return {k: v for k, v in values.items() if k not in skipped}


def fingerprint(values: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a config.json's identity, as sorted JSON.

    Args:
        values: as in `identity`.

    Returns:
        64 hexadecimal digits.
    """
    text = json.dumps(identity(values), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def run_name(values: Mapping[str, Any]) -> str:
    """Returns the name of the run directory of a config.json."""
    parts = [str(values[k]) for k in ("dataset", "model", "method")]
    name = "-".join([*parts, fingerprint(values)[:16]])
    # Data sets and models are named with "/" and ":" too.
    return name.replace("/", "_").replace(":", "_")


def parse(field: dataclasses.Field, value: Any) -> Any:
    """Reads a field's value from the text of its flag.

    Args:
        field: of `Config`.
        value: text, or a value of the field's type.

    Raises:
        ValueError: naming the field, what it takes and what it got.
    """
    kind = typing.get_type_hints(Config)[field.name]
    optional = isinstance(kind, types.UnionType)
    if optional:
        kind = typing.get_args(kind)[0]
    # "all" is every replicate or level; elsewhere it may be a name.
    every = field.name in ("replicate", "branch_levels")
    if optional and (value in (None, "none", "") or every and value == "all"):
        return None
    if typing.get_origin(kind) is tuple:
        if isinstance(value, str):
            none = value in ("none", "")
            value = () if none else [v.strip() for v in value.split(",")]
        if not isinstance(value, Iterable):
            value = (value,)
        kind = typing.get_args(kind)[0]
        return tuple(_parse_one(field, kind, v) for v in value)
    return _parse_one(field, kind, value)


def _parse_one(field: dataclasses.Field, kind: type, value: Any) -> Any:
    name = field.name
    if kind is Step:
        return Step.parse(value, name)
    try:
        if kind is bool:
            if not isinstance(value, bool):
                value = {"true": True, "false": False}[str(value).lower()]
        elif kind is int:
            if isinstance(value, (float, bool)):
                raise ValueError
            value = int(value)
        elif kind is float:
            value = float(value)
        else:
            value = str(value)
    except (ValueError, KeyError, TypeError):
        word = {bool: "true or false", int: "an integer", float: "a number"}
        raise ValueError(
            f"`{name}` must be {word[kind]}. Received: {name}={value!r}. "
            f"{field.metadata['help'].split('. ')[0].rstrip('.')}."
        ) from None
    choices = field.metadata["choices"]
    if choices and value not in choices:
        raise ValueError(
            f"`{name}` must be one of {', '.join(choices)}. Received: "
            f"{name}={value!r}. Choose one of these."
        )
    return value

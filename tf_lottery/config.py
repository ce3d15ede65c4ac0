"""The experiment's configuration: the one source of flags and fingerprints."""

from __future__ import annotations

import dataclasses
from typing import Any

from tf_lottery.checks import check
from tf_lottery.data_config import DataConfig
from tf_lottery.fields import flag
from tf_lottery.fields import plain_values
from tf_lottery.fields import read_fields
from tf_lottery.masks import COLLAPSE
from tf_lottery.masks import SCOPES
from tf_lottery.methods import MASK_BY
from tf_lottery.methods import METHODS
from tf_lottery.methods import methods_help
from tf_lottery.methods import RESCALE
from tf_lottery.methods import UNITS
from tf_lottery.step import Step

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Config(DataConfig):
    """Everything that an experiment depends on.

    Every field is a flag of the same name, default and help; values may be
    given as the text that the flag takes (`Config(train_steps="2ep")`).

    Raises:
        ValueError: a value that cannot be read or is out of range.

    Example:
        >>> Config(prune_rate=0.4).resolved().output_prune_rate
        0.2
    """

    model: str = flag(
        "lenet_300_100",
        "A registered model (lenet_300_100, lenet_100_34, lenet_5, conv_2, "
        "conv_4, conv_6, each conv also as conv_2_dropout, resnet_18, "
        "resnet_20, resnet_56, vgg_16, vgg_19; of text lstm_lm, "
        "transformer_lm, both also as lstm_lm_dropout, lstm_lm_650) or your "
        "own "
        "package.module:function of (input_shape, num_classes), looked for in "
        "the current folder first; pixels come to it as floats in [0, 1].",
    )
    init: str | None = flag(
        None,
        "Keras initializer of the kernels, such as he_normal; kaiming_normal "
        "(PyTorch's) or signed_kaiming_constant; the model's own if none.",
    )
    initial_weights: str | None = flag(
        None,
        "A ticket's folder whose rewind weights the network starts from "
        "instead of random ones.",
    )
    ticket: str | None = flag(
        None,
        "Tickets found elsewhere, to be trained on this data set by this "
        "optimizer: a run directory (level by level, replicate by replicate; "
        "--levels limits them), or a ticket's folder, which is level 1. With "
        "it the default method is transfer.", later=True,
    )
    method: str = flag(
        "imp",
        methods_help(METHODS),
        choices=tuple(METHODS),
    )
    criterion: str = flag(
        "magnitude",
        "What scores weights: magnitude, random, or another name in "
        "tfl.PRUNERS, such as snip, grasp or synflow.",
    )
    score_per_class: int = flag(
        10,
        "Training examples of every class that criteria with gradients, and "
        "rigl, look at; of text, so many sequences.", later=True,
    )
    target_sparsity: tuple[float, ...] | None = flag(
        None,
        "Fractions of the prunable weights to be zero, one level each, for "
        "the methods without rounds.", later=True,
    )
    prune_begin: Step = flag(
        Step(0), "First step at which gradual prunes inside a training.",
        later=True,
    )
    prune_end: Step | None = flag(
        None,
        "Last step at which gradual, set, rigl or early_bird changes the "
        "mask; three quarters of train_steps if none.", later=True,
    )
    prune_every: Step = flag(
        Step(100),
        "Distance of these changes, in steps or epochs; of early_bird, of the "
        "masks that must agree, five in a row.", later=True,
    )
    mask_by: str = flag(
        "edge_popup",
        "What perturbed masks the perturbed network by: edge_popup, bernoulli "
        "(as learned_supermask) or criterion.",
        choices=MASK_BY, later=True,
    )
    epsilon: tuple[float, ...] | None = flag(
        None,
        "How far each weight may move from its initial value, for perturbed; "
        "several, such as 0,0.01,0.1, give a table and figures over all.",
        later=True,
    )
    epsilon_unit: str = flag(
        "absolute",
        "What epsilon is: absolute, or sigma, a multiple of the standard "
        "deviation of each kernel's initial weights.",
        choices=UNITS, later=True,
    )
    rescale: str = flag(
        "none",
        "Kept weights of tickets that are not trained, times a power of "
        "size / kept of their kernel: none, sqrt (scaled initialisation) or "
        "dwr (dynamic weight rescaling).",
        choices=tuple(RESCALE), later=True,
    )
    score_steps: Step | None = flag(
        None,
        "Length of a training of scores (SGD with momentum, cosine schedule); "
        "train_steps if none.", later=True,
    )
    score_learning_rate: float | None = flag(
        None, "Learning rate of scores; 0.1 for edge_popup, 100 for "
        "Bernoulli masks if none.", later=True,
    )
    scope: str = flag(
        "layerwise",
        "What competes: layerwise (each kernel at its own rate), global, "
        "uniform, erk, smart_ratio (the earlier a kernel, the denser).",
        choices=SCOPES,
    )
    structure: str | None = flag(
        None,
        "What stays or goes together, for one_shot, at_init, gradual and "
        "early_bird: N:M (of M consecutive inputs N are kept), AxB (blocks of "
        "A inputs and B outputs) or channel; single weights if none.",
        later=True,
    )
    levels: int = flag(
        15, "Pruning rounds; levels 0 (dense) to N are trained.",
        identity=False,
    )
    prune_rate: float = flag(
        0.2,
        "Fraction of each layer's surviving weights that a round removes; "
        "under layerwise the output layer loses half of it "
        "(output_prune_rate).",
    )
    conv_prune_rate: float | None = flag(
        None, "The same for convolutions; prune_rate if none. Layerwise only."
    )
    output_prune_rate: float | None = flag(
        None,
        "The same for the output layer; half of prune_rate if none. "
        "Layerwise only.",
    )
    exclude: tuple[str, ...] = flag(
        (), "Patterns of variable paths kept dense, such as 'output/*'."
    )
    collapse: str = flag(
        "stop",
        "Where pruning would empty a kernel: stop (an error), floor (it keeps"
        " its best weight) or allow.",
        choices=COLLAPSE,
    )
    rewind: Step | None = flag(
        Step(0),
        "Point of training that the surviving weights go back to (500it, 2ep);"
        " auto: the first of 0, 0.5, 1, 2, 5, 10 and 20 % of train_steps at "
        "which replicate 0 is stable by its validation error (see "
        "instability_steps).",
    )
    retrain: str = flag(
        "rewind",
        "What a pruned network is trained from: rewind (weights and schedule "
        "of the rewind point), lr_rewind (trained weights, schedule of the "
        "rewind point), fine_tune (trained weights, last learning rate), "
        "continue (trained weights, the whole schedule; the ticket is reset "
        "and trained once, as branch 'rewound', after the last level).",
        choices=("rewind", "lr_rewind", "fine_tune", "continue"),
    )
    train_steps: Step = flag(
        Step(3000), "Length of a training, in steps (3000it) or epochs (20ep)."
    )
    batch_size: int = flag(60, "Examples per step, over all replicas.")
    eval_every: Step = flag(
        Step(100), "Distance of evaluations on validation and test sets."
    )
    optimizer: str = flag("adam", "adam, adamw, rmsprop or sgd.")
    learning_rate: float = flag(1.2e-3, "Base learning rate.")
    momentum: float = flag(0.9, "Momentum of sgd.")
    weight_decay: float = flag(
        0.0, "L2 coefficient, added to the gradient; decoupled for adamw."
    )
    scale_l1: float | None = flag(
        None,
        "L1 coefficient on the scales of BatchNormalization, added to the "
        "gradient; 1e-4 for early_bird by bn_scale, 0 otherwise, if none.",
        later=True,
    )
    lr_schedule: str = flag(
        "constant", "constant, cosine, or step:80ep,120ep:0.1."
    )
    warmup: Step = flag(Step(0), "Length of the linear warm-up.")
    augment: str | None = flag(
        None,
        "Random changes of the training images: flip_crop (mirror half of "
        "them, shift all by up to 4 pixels); none.",
        choices=("flip_crop",), later=True,
    )
    replicates: int = flag(1, "Independent repetitions.", identity=False)
    replicate: int | None = flag(
        None, "Run only this repetition, from 0; all if none.", identity=False
    )
    seed: int = flag(0, "Seed of initialisation, data order and controls.")
    branches: tuple[str, ...] = flag(
        (),
        "Controls trained beside the tickets: reinit (same mask, fresh "
        "weights), shuffle_mask (permuted mask, same weights), random_mask "
        "(random mask, fresh weights), random_uniform and random_erk (only "
        "the total in common, fresh weights), constant_sign (same mask and "
        "signs, one magnitude per kernel), constant_random_sign (random signs)"
        ", resample (its initial values drawn anew), noise_0.5, noise_1 and "
        "noise_3 (noise added, in standard deviations of the kernel), rewound "
        "(the ticket reset), reorder (the ticket in another data order). For "
        "one_shot and at_init also inverted (the "
        "criterion's worst weights, same counts), random_labels and "
        "random_pixels (its choice by corrupted examples).",
        identity=False,
    )
    branch_levels: tuple[int, ...] | None = flag(
        None, "Levels at which they are trained; all if none.", identity=False
    )
    strategy: str = flag(
        "auto",
        "Devices: auto (every GPU, or the CPU), one_device, mirrored (every "
        "GPU of this machine), multi_worker (the machines of TF_CONFIG) or "
        "tpu.",
        choices=("auto", "one_device", "mirrored", "multi_worker", "tpu"),
    )
    mixed_precision: str = flag(
        "float32", "Precision of the computation.",
        choices=("float32", "mixed_bfloat16"),
    )
    jit: str = flag(
        "auto", "Compile the training loop with XLA; auto chooses by model "
        "and device.", choices=("auto", "on", "off"),
    )
    data_placement: str = flag(
        "auto",
        "Where the data lie: device, host (sent to the device in blocks, with "
        "the same results), or auto: on the host what would take more than a "
        "quarter of the device's memory.",
        choices=("auto", "device", "host"),
        identity=False, kept=False,
    )
    parallel: int = flag(
        1,
        "Trainings at once, in processes of Ray (pip install "
        "'tf_lottery[ray]'); each takes an equal share of the cores.",
        identity=False,
    )
    ray_address: str | None = flag(
        None,
        "Ray cluster to train on, such as auto or host:6379; none "
        "starts Ray on this machine. The cluster must see output_dir.",
        identity=False, kept=False,
    )
    output_dir: str = flag(
        "runs", "Where run directories are made: a folder, or an address such "
        "as gs://bucket/runs.", identity=False,
    )
    checkpoint_every: float = flag(
        60.0, "Seconds between two saves of the state of the training under "
        "way.", identity=False, kept=False,
    )
    verdict_density: float = flag(
        0.2,
        "Density that the verdict is on, declared beforehand: the nearest "
        "level (with a reinit control, if any has one) is tested alone, the "
        "others are corrected for their number.",
        identity=False, later=True,
    )
    verdict_margin: float | None = flag(
        None,
        "How much worse than dense a matching ticket may be: of accuracy "
        "0.002 (0.2 percentage points) if none, of perplexity 0.01 (1 %), of "
        "an agent's reward 5 % of that which solves its environment.",
        identity=False, later=True,
    )
    instability_steps: tuple[Step, ...] | None = flag(
        None,
        "Instead of pruning, train dense copies that share their first k steps"
        " and then part in data order, for these k (0it,100it,500it), and tell"
        " how far the test error rises on the line between them: stable below "
        "2 %.",
        identity=False, kept=False,
    )
    connectivity: bool = flag(
        False,
        "At the end, evaluate the lines between tickets of successive levels, "
        "and between a ticket and its reorder control (test, validation, and "
        "10,000 training examples).", identity=False, later=True,
    )
    export: str | None = flag(
        None, "Levels to write as SavedModel: all, last, or numbers such as "
        "0,7.", identity=False,
    )
    tensorboard: bool = flag(
        False, "Write event files for TensorBoard (scalars, histograms, "
        "hparams) to the folder tensorboard of the run directory.",
        identity=False, later=True,
    )
    report: bool = flag(
        True, "Draw the page report/index.html, at the end and on the way; "
        "binaries/report.py draws it later.", identity=False, kept=False,
    )
    plan: bool = flag(
        False, "Print levels, exact counts, steps, disk and what would be "
        "reused; run nothing.", identity=False,
    )
    quiet: bool = flag(False, "Print errors only.", identity=False)
    log_file: str | None = flag(
        None, "Append every line of the run, with the time.", identity=False
    )
    debug: bool = flag(
        False, "Show the traceback of an error.", identity=False
    )

    def __post_init__(self) -> None:
        read_fields(self)
        if self.ticket is not None and self.method == Config.method:
            object.__setattr__(self, "method", "transfer")
        if self.text_file is not None and self.dataset == Config.dataset:
            object.__setattr__(self, "dataset", "text_file")
        check(self)

    def resolved(self) -> Config:
        """Returns the configuration with derived defaults filled in."""
        conv, output = self.conv_prune_rate, self.output_prune_rate
        l1 = self.scale_l1
        if (self.method, self.criterion, l1) == (
            "early_bird", "bn_scale", None
        ):
            l1 = 1e-4
        return dataclasses.replace(
            self,
            conv_prune_rate=self.prune_rate if conv is None else conv,
            output_prune_rate=self.prune_rate / 2 if output is None else output,
            levels=self.last_level,
            scale_l1=l1,
        )

    @property
    def rates(self) -> dict[str, Any]:
        """What a round removes: the arguments of `pruning_rates`."""
        return {
            "prune_rate": self.prune_rate,
            "conv_prune_rate": self.conv_prune_rate,
            "output_prune_rate": self.output_prune_rate,
            "scope": self.scope,
        }

    @property
    def last_level(self) -> int:
        """The last level: the number of rounds, or of target sparsities."""
        method = METHODS[self.method]
        if not (method.rounds or method.given):
            return len(self.target_sparsity or ())
        return 0 if self.method == "dense" else self.levels

    def to_json(self) -> dict[str, Any]:
        """Returns the resolved configuration as plain JSON values."""
        return {"format": FORMAT, **plain_values(self.resolved())}

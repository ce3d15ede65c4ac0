"""Which values of a configuration go together."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from tf_lottery.masks import check_rate
from tf_lottery.masks import group_shape
from tf_lottery.methods import METHODS
from tf_lottery.schedules import LearningRate
from tf_lottery.step import Step

# Far beyond any use, near enough to be planned in memory.
_MOST = {
    "levels": 1000,
    "replicates": 10_000,
    "parallel": 10_000,
    "train_steps": 10**9,
    "eval_every": 10**9,
    "warmup": 10**9,
    "rewind": 10**9,
    "batch_size": 10**6,
    "learning_rate": 1e6,
    "score_learning_rate": 1e6,
    "score_steps": 10**9,
    "sequence_length": 10**6,
    "vocabulary_size": 10**6,
    "weight_decay": 1e6,
    "scale_l1": 1e6,
    "verdict_density": 1,
    # Of accuracy it is at most 1, which `Metric.check_margin` looks to.
    "verdict_margin": 1e9,
}
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
    "parallel": 1,
    "seed": 0,
    "checkpoint_every": 0,
    "score_per_class": 1,
    "prune_begin": 0,
    "prune_end": 1,
    "prune_every": 1,
    "score_steps": 1,
    "scale_l1": 0,
    "sequence_length": 1,
    # Every byte is a token, and there must be pairs.
    "vocabulary_size": 257,
    "verdict_density": 0,
    "verdict_margin": 0,
}
# Of no use to tickets that were found elsewhere.
FOUND_BY = (
    "initial_weights", "criterion", "score_per_class", "target_sparsity",
    "scope", "structure", "prune_rate", "conv_prune_rate",
    "output_prune_rate", "rewind", "retrain",
)
# Controls for which the criterion chooses a mask again. A test holds them to
# those of analysis, which this file does not load.
_SCORED = ("inverted", "random_labels", "random_pixels")


def check(config: Any) -> None:
    """Raises ValueError for a value that is out of range, or fits no other.

    Args:
        config: a `Config` whose fields have been read already.
    """
    if not config.output_dir:
        raise ValueError(
            "`output_dir` must be a folder. Received: output_dir=''. Leave it "
            "out for runs, or write . for this one."
        )
    for name in ("prune_rate", "conv_prune_rate", "output_prune_rate"):
        if getattr(config, name) is not None:
            check_rate(name, getattr(config, name))
    LearningRate(config.learning_rate, config.lr_schedule, config.warmup)
    for name, most in _MOST.items():
        value = getattr(config, name)
        number = value.count if isinstance(value, Step) else value
        if number is not None and not number <= most:
            raise ValueError(
                f"`{name}` must be at most {most:,}. Received: "
                f"{name}={value}. Give a smaller number."
            )
    for name, least in _LEAST.items():
        value = getattr(config, name)
        number = value.count if isinstance(value, Step) else value
        if number is not None and not number >= least:
            raise ValueError(
                f"`{name}` must be at least {least}. Received: "
                f"{name}={value}. Give a larger number."
            )
    if not 0 <= config.momentum < 1:
        raise ValueError(
            "`momentum` must be in [0, 1). Received: "
            f"momentum={config.momentum}. 0.9 is usual."
        )
    ends = config.train_steps
    if config.warmup.unit == ends.unit and config.warmup.count > ends.count:
        raise ValueError(
            f"`warmup` must end within train_steps={ends}. Received: "
            f"warmup={config.warmup}. Warm up for fewer steps."
        )
    if config.retrain == "fine_tune" and config.lr_schedule == "cosine":
        raise ValueError(
            "`retrain` must be another than fine_tune for a cosine "
            "schedule. Received: retrain=fine_tune. Its last learning rate"
            " is 0; use lr_rewind."
        )
    method = METHODS[config.method]
    if (
        "rewound" in config.branches
        and config.retrain == "rewind"
        and not (method.inside or method.strong)
    ):
        raise ValueError(
            "`branches` must be without rewound where every level is "
            "rewound. Received: branches=rewound. It would repeat main."
        )
    if config.init is not None and config.initial_weights is not None:
        raise ValueError(
            "`init` must be none where initial_weights are given. "
            f"Received: init={config.init}. Leave one of them out."
        )
    if config.method == "dense" and (config.branches or config.branch_levels):
        raise ValueError(
            "`branches` must be none for method dense. Received: "
            f"branches={','.join(config.branches)}. The whole network has no"
            " ticket to control; use method imp."
        )
    _check_text(config)
    _check_method(config)
    _check_scored(config)
    for level in config.branch_levels or ():
        if not 1 <= level <= config.last_level:
            raise ValueError(
                f"`branch_levels` must be between 1 and {config.last_level}, "
                f"the number of levels. Received: branch_levels={level}. "
                "Level 0 is dense and needs no control."
            )
    if config.parallel > 1 and config.strategy == "multi_worker":
        raise ValueError(
            "`parallel` must be 1 for strategy multi_worker. Received: "
            f"parallel={config.parallel}. Train several networks at once, "
            "or one on several machines."
        )
    if config.ray_address is not None and config.parallel == 1:
        raise ValueError(
            "`ray_address` must be none where parallel is 1. Received: "
            f"ray_address={config.ray_address}. Say with --parallel how "
            "many trainings are to run at once."
        )
    if config.replicate is not None and config.replicate >= config.replicates:
        raise ValueError(
            f"`replicate` must be below replicates={config.replicates}. "
            f"Received: replicate={config.replicate}. Replicates are "
            "counted from 0."
        )


def _check_text(config: Any) -> None:
    """What belongs to text, as far as it is known without the data."""
    if (config.dataset == "text_file") == (config.text_file is None):
        wanted = "given" if config.text_file is None else "left out"
        raise ValueError(
            f"`text_file` must be {wanted} for this dataset. Received: "
            f"dataset={config.dataset}, text_file={config.text_file}. Give "
            "either of the two."
        )
    if config.vocabulary_size is not None and config.tokens == "char":
        raise ValueError(
            "`vocabulary_size` must be left out for tokens=char, whose "
            "vocabulary is the text's. Received: vocabulary_size="
            f"{config.vocabulary_size}. Give it with --tokens=subword."
        )


def _check_method(config: Any) -> None:
    """What belongs to a method, and what does not."""
    method, targets = METHODS[config.method], config.target_sparsity or ()
    _check_given(config)
    without = [k for k, m in METHODS.items() if not (m.rounds or m.given)]
    if method.rounds and targets:
        raise ValueError(
            "`target_sparsity` must be none for a method with rounds. "
            f"Received: method={config.method}, target_sparsity="
            f"{','.join(map(str, targets))}. Use levels and prune_rate, or "
            f"one of {', '.join(without)}."
        )
    if config.method in without and not targets:
        raise ValueError(
            f"`target_sparsity` must be given for method {config.method}. "
            "Received: none. Write for example --target_sparsity=0.8,0.95."
        )
    if not all(0 < s < 1 for s in targets) or list(targets) != sorted(
        set(targets)
    ):
        raise ValueError(
            "`target_sparsity` must be fractions in (0, 1), the smallest "
            f"first. Received: target_sparsity={','.join(map(str, targets))}."
            " 0.8 leaves every fifth weight."
        )
    unrewound = method.inside or method.strong
    if unrewound and (config.rewind is None or config.rewind.count):
        raise ValueError(
            f"`rewind` must be 0it for method {config.method}, whose mask is "
            "not found at one step. Received: rewind="
            f"{config.rewind or 'auto'}. Leave it out."
        )
    if "reorder" in config.branches and (
        unrewound or config.retrain != "rewind"
    ):
        raise ValueError(
            "`branches` must be without reorder where a ticket is not trained "
            f"from its rewind weights. Received: method={config.method}, "
            f"retrain={config.retrain}. Use method imp, one_shot or at_init, "
            "and retrain=rewind."
        )
    if method.rewires and config.criterion != "magnitude":
        raise ValueError(
            f"`criterion` must be left out for method {config.method}, which "
            "starts from a random mask and drops small weights. Received: "
            f"criterion={config.criterion}. Use method gradual or at_init."
        )
    if config.method != "gradual" and config.prune_begin.count:
        raise ValueError(
            f"`prune_begin` must be left out for method {config.method}. "
            f"Received: prune_begin={config.prune_begin}. It is gradual's."
        )
    if config.structure is not None:
        groups = group_shape(config.structure)
        kinds = [
            name
            for name, kind in METHODS.items()
            if not (
                kind.rounds
                or kind.given
                or kind.rewires
                or kind.strong
                or groups
                and name == "gradual"
            )
        ]
        if config.method not in kinds:
            raise ValueError(
                f"`structure` must be none for method {config.method}. "
                f"Received: structure={config.structure}. Use one of "
                f"{', '.join(kinds)}."
            )
    if config.retrain != "rewind" and (
        method.strong or not method.trains_dense
    ):
        raise ValueError(
            f"`retrain` must be rewind for method {config.method}, which "
            f"trains each ticket at most once. Received: retrain="
            f"{config.retrain}. Use method imp or one_shot."
        )
    _check_strong(config)


def _check_given(config: Any) -> None:
    """What belongs to tickets that were found elsewhere."""
    given = METHODS[config.method].given
    if given == (config.ticket is None):
        wanted = "given" if given else "left out"
        raise ValueError(
            f"`ticket` must be {wanted} for method {config.method}. Received: "
            f"ticket={config.ticket}. It is transfer's, for example "
            "--ticket=runs/NAME --dataset=mnist."
        )
    if not given:
        return
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    # As they are resolved.
    derived = {
        "conv_prune_rate": config.prune_rate,
        "output_prune_rate": config.prune_rate / 2,
    }
    for name in FOUND_BY:
        value = getattr(config, name)
        if value not in (defaults[name], derived.get(name, defaults[name])):
            # Of these None is no default of rewind alone.
            told = "auto" if value is None else value
            raise ValueError(
                f"`{name}` must be left out for method transfer, whose "
                f"tickets were found elsewhere. Received: {name}={told}. "
                "Give it to the run that finds them."
            )


def _check_strong(config: Any) -> None:
    """What belongs to tickets that are not trained."""
    name, method = config.method, METHODS[config.method]
    if (config.epsilon is None) == (name == "perturbed"):
        wanted = "given" if name == "perturbed" else "left out"
        raise ValueError(
            f"`epsilon` must be {wanted} for method {name}. Received: "
            f"epsilon={_listed(config.epsilon)}. It is perturbed's, for "
            "example --epsilon=0,0.01,0.1."
        )
    epsilons = config.epsilon or (0.0,)
    # Written so that NaN fails too.
    if not all(e >= 0 and math.isfinite(e) for e in epsilons) or list(
        epsilons
    ) != sorted(set(epsilons)):
        raise ValueError(
            "`epsilon` must be numbers of at least 0, the smallest first. "
            f"Received: epsilon={_listed(config.epsilon)}. 0 lets no weight "
            "move."
        )
    by = method.masks_by(config.mask_by)
    trains_scores = by not in (None, "criterion")
    defaults = {f.name: f.default for f in dataclasses.fields(config)}
    for option, used in (
        ("mask_by", name == "perturbed"),
        ("epsilon_unit", name == "perturbed"),
        ("rescale", method.strong),
        ("score_steps", trains_scores),
        ("score_learning_rate", trains_scores),
    ):
        value = getattr(config, option)
        if value != defaults[option] and not used:
            raise ValueError(
                f"`{option}` must be left out for method {name}"
                f"{f' and mask_by {by}' if method.strong else ''}, which has "
                f"no use for it. Received: {option}={value}. See --help."
            )
    if trains_scores and config.criterion != "magnitude":
        raise ValueError(
            f"`criterion` must be left out for method {name}, whose masks are "
            f"found by {by}. Received: criterion={config.criterion}. Use "
            "method supermask, or perturbed with mask_by=criterion."
        )
    rate = config.score_learning_rate
    if rate is not None and not rate > 0:
        raise ValueError(
            "`score_learning_rate` must be above 0. Received: "
            f"score_learning_rate={rate}. 0.1 is edge-popup's."
        )


def _listed(values: Any) -> str:
    return "none" if values is None else ",".join(map(str, values))


def _check_scored(config: Any) -> None:
    """Controls that turn a criterion round need one that chooses once."""
    names = [name for name in config.branches if name in _SCORED]
    method = METHODS[config.method]
    if names and (
        method.rounds or method.given or method.inside or method.strong
    ):
        raise ValueError(
            f"`branches` must be without {', '.join(names)} for method "
            f"{config.method}, where no criterion chooses the mask at once. "
            f"Received: branches={','.join(config.branches)}. Use method "
            "one_shot or at_init."
        )
    if names and config.structure == "channel":
        raise ValueError(
            f"`branches` must be without {', '.join(names)} for whole "
            "channels, with which goes what reads them. Received: "
            f"branches={','.join(config.branches)}, structure=channel. Use "
            "reinit, shuffle_mask or random_mask."
        )
    if names and config.retrain != "rewind":
        raise ValueError(
            f"`retrain` must be rewind for branches {', '.join(names)}, which "
            "are trained from the weights of the rewind point. Received: "
            f"retrain={config.retrain}. Leave it out."
        )

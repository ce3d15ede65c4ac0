"""The methods of finding tickets, and how the levels of each hang together."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

# What the mask of a network is found by whose weights are not trained.
MASK_BY = ("edge_popup", "bernoulli", "criterion")
# What epsilon may be measured in.
UNITS = ("absolute", "sigma")
# Name -> exponent of size / kept that kept weights are multiplied by.
RESCALE = {"none": 0.0, "sqrt": 0.5, "dwr": 1.0}


@dataclasses.dataclass(frozen=True)
class Method:
    """What an experiment must know of a method before it runs.

    Args:
        help: what it does, for people.
        rounds: levels are pruning rounds, each from the ticket of the one
            before; otherwise each level is a target sparsity, and is made
            from the dense network of level 0.
        trains_dense: finding a ticket takes the dense network's training.
        inside: the mask changes while the ticket is trained, from step 0.
        rewires: the mask is random at first; weights are dropped and grown.
        mask_by: one of `MASK_BY`, or `"any"`; None where the ticket is
            trained.
        given: its tickets were found elsewhere; each is trained as it is.
    """

    help: str
    rounds: bool = False
    trains_dense: bool = False
    inside: bool = False
    rewires: bool = False
    mask_by: str | None = None
    given: bool = False

    @property
    def strong(self) -> bool:
        """Whether its tickets are subnetworks that are not trained."""
        return self.mask_by is not None

    def masks_by(self, choice: str) -> str | None:
        """Returns what masks are found by.

        Args:
            choice: one of `MASK_BY`, for a method that leaves it open.

        Returns:
            One of `MASK_BY`; None where tickets are trained.
        """
        return choice if self.mask_by == "any" else self.mask_by


METHODS = {
    "imp": Method(
        "iterative magnitude pruning", rounds=True, trains_dense=True
    ),
    "one_shot": Method(
        "the trained network is pruned once to each target sparsity, then "
        "retrained as --retrain says",
        trains_dense=True,
    ),
    "at_init": Method(
        "pruned once at the rewind point (step 0 by default), then trained"
    ),
    "gradual": Method(
        "pruned little by little inside one training", inside=True
    ),
    "set": Method(
        "a random sparse network drops its smallest weights while it trains, "
        "and grows random ones",
        inside=True,
        rewires=True,
    ),
    "rigl": Method(
        "as set, but grows where the gradient is largest",
        inside=True,
        rewires=True,
    ),
    "early_bird": Method(
        "trained once, and pruned once: as soon as the mask that the "
        "criterion would find has settled",
        inside=True,
    ),
    "edge_popup": Method(
        "which weights of the initial network are kept is trained, by scores; "
        "the weights are not",
        mask_by="edge_popup",
    ),
    "supermask": Method(
        "the criterion's mask, found on the trained network, is put on the "
        "initial weights; these are not trained",
        trains_dense=True,
        mask_by="criterion",
    ),
    "learned_supermask": Method(
        "as edge_popup, but every weight is kept with a probability, which is "
        "trained",
        mask_by="bernoulli",
    ),
    "perturbed": Method(
        "the network is trained with every weight within --epsilon of its "
        "initial value, then masked as --mask_by says, and not trained",
        trains_dense=True,
        mask_by="any",
    ),
    "transfer": Method(
        "the tickets of --ticket, found on other data or by another "
        "optimizer, are trained as they are",
        given=True,
    ),
    "dense": Method("the whole network only", rounds=True, trains_dense=True),
}

#: Those that leave the training as it is, so that it may be a task's own.
TASK_METHODS = {
    name: method
    for name, method in METHODS.items()
    if not (method.inside or method.strong or method.given)
}


def methods_help(methods: Mapping[str, Method]) -> str:
    """Returns what each method does, for `--help`.

    Args:
        methods: by name.

    Example:
        >>> methods_help({"dense": METHODS["dense"]})
        'dense: the whole network only.'
    """
    return "; ".join(f"{k}: {m.help}" for k, m in methods.items()) + "."


def levels_before(method: str, level: int) -> list[int]:
    """Returns the levels whose trainings a ticket was found by.

    Args:
        method: a name in `METHODS`.
        level: of the ticket.

    Example:
        >>> levels_before("imp", 3), levels_before("one_shot", 3)
        ([0, 1, 2], [0])
        >>> levels_before("at_init", 3)
        []
    """
    if METHODS[method].rounds:
        return list(range(level))
    return [0] if level and METHODS[method].trains_dense else []


def ticket_branch(
    method: str, retrain: str, branches: Collection[str]
) -> tuple[str, bool]:
    """Returns which branch of a run holds its tickets.

    Args:
        method: a name in `METHODS`.
        retrain: as in `--retrain`.
        branches: that there are.

    Returns:
        `(branch, alone)`: "main", or "rewound" where the mask was found by
        training on and the ticket is reset at the end; and whether the
        networks of this branch were trained as a ticket is: masked, from the
        weights of the rewind point, once. If not, controls, which are, tell
        nothing of them.

    Example:
        >>> ticket_branch("imp", "rewind", ["main", "reinit"])
        ('main', True)
        >>> ticket_branch("rigl", "rewind", ["main"])
        ('main', False)
        >>> ticket_branch("rigl", "rewind", ["main", "rewound"])
        ('rewound', True)
    """
    kind = METHODS[method]
    if retrain == "continue" or (kind.inside and "rewound" in branches):
        return "rewound", True
    return "main", retrain == "rewind" and not kind.inside and not kind.strong


def check_task_method(name: str) -> None:
    """Checks that a method is for a task, whose training is its own.

    Args:
        name: of a method.

    Raises:
        ValueError: it changes masks inside a training, trains scores, or
            takes tickets that were found elsewhere.

    Example:
        >>> check_task_method("one_shot")
    """
    if name not in TASK_METHODS:
        raise ValueError(
            f"`method` must be one of {', '.join(TASK_METHODS)} for a task. "
            f"Received: method={name}. The others reach into the training, "
            "which is the task's own."
        )

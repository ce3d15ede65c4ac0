"""What an experiment will train, known before any data is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from collections.abc import Sequence

from tf_lottery.analysis import REWOUND
from tf_lottery.config import Config
from tf_lottery.masks import Mask
from tf_lottery.masks import PruningRates
from tf_lottery.masks import check_emptied
from tf_lottery.masks import floored
from tf_lottery.masks import group_shape
from tf_lottery.masks import target_counts
from tf_lottery.methods import METHODS
from tf_lottery.methods import Method
from tf_lottery.search import WINDOW
from tf_lottery.search import check_strong
from tf_lottery.tickets import Key

MAIN = "main"


@dataclasses.dataclass(frozen=True)
class Plan:
    """Every training of an experiment, with exact counts and steps.

    Args:
        config: resolved.
        mask: of level 0.
        rates: what a round removes.
        train_size: number of training examples.
        state_size: number of values in a model's state, for the disk.
        given: `(replicate, level) -> counts`, of tickets found elsewhere.

    Raises:
        ValueError: a level empties a kernel, the rewind point is not before
            the end of training, the warm-up beyond it, or a batch is larger
            than the training set.
    """

    config: Config
    mask: Mask
    rates: PruningRates
    train_size: int
    state_size: int
    given: Callable[[int, int], dict[str, int]] | None = None

    def __post_init__(self) -> None:
        if self.config.batch_size > self.train_size:
            raise ValueError(
                f"`batch_size` must be at most the {self.train_size} training"
                f" examples. Received: batch_size={self.config.batch_size}. "
                "Choose a smaller batch."
            )
        if self.rewind_step >= self.train_steps:
            raise ValueError(
                f"`rewind` must be before the {self.train_steps} steps of "
                f"training end. Received: rewind={self.config.rewind}. Rewind"
                " to an earlier step."
            )
        warmup = self.config.warmup.steps(self.steps_per_epoch)
        if warmup > self.train_steps:
            raise ValueError(
                f"`warmup` must end within the {self.train_steps} steps of "
                f"training. Received: warmup={self.config.warmup}. Warm up "
                "for fewer steps."
            )
        begin, end, every = self.change_steps
        # At its end a rewiring moves nothing.
        first = begin + every * self._method.rewires
        if self._method.inside and not first < end < self.train_steps:
            raise ValueError(
                "`prune_end` must leave a change of the mask after "
                f"prune_begin and before the {self.train_steps} steps of "
                f"training end. Received: prune_begin={begin}, "
                f"prune_end={end}, prune_every={every}, in steps. Change "
                "it earlier or more often."
            )
        looks = end // every
        if self.config.method == "early_bird" and looks < WINDOW:
            raise ValueError(
                f"`prune_every` must leave {WINDOW} masks to compare by "
                f"prune_end, step {end}. Received: prune_every={every} steps, "
                f"so {looks}. Look more often, or train for longer."
            )
        if self._method.strong:
            check_strong(
                by=self.mask_by,
                scope=self.config.scope,
                collapse=self.config.collapse,
            )
        self.kept()

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass, the remainder dropped."""
        return self.train_size // self.config.batch_size

    @property
    def train_steps(self) -> int:
        """Length of a whole training, in steps."""
        return self.config.train_steps.steps(self.steps_per_epoch)

    @property
    def rewind_step(self) -> int:
        """Step that the surviving weights go back to."""
        if self.config.rewind is None:
            raise ValueError(
                "`rewind` must be a step by now. Received: rewind=auto. Use "
                "tf_lottery.run, which finds it."
            )
        return self.config.rewind.steps(self.steps_per_epoch)

    @property
    def change_steps(self) -> tuple[int, int, int]:
        """First and last step at which a mask changes, and their distance.

        Of a method that prunes inside a training. The end is the last whole
        distance from the beginning on.
        """
        config, epoch = self.config, self.steps_per_epoch
        begin = config.prune_begin.steps(epoch)
        every = config.prune_every.steps(epoch)
        end = self.train_steps * 3 // 4
        if config.prune_end is not None:
            end = config.prune_end.steps(epoch)
        return begin, begin + (end - begin) // every * every, every

    @property
    def replicates(self) -> list[int]:
        """The replicates that this process trains."""
        return _replicates(self.config)

    @property
    def keys(self) -> list[Key]:
        """Every training in order: main levels, then controls."""
        return trainings(self.config)

    @property
    def width(self) -> int:
        """Most trainings that can run at once.

        The rounds of a search are a chain; target sparsities are not.
        """
        controls = sum(key.branch != MAIN for key in self.keys)
        chains = 1 if self._method.rounds else max(1, self.config.levels)
        return len(self.replicates) * chains + controls

    def start_step(self, key: Key) -> int:
        """Returns the step that a training starts from."""
        if key.branch == MAIN:
            whole = (
                key.level == 0
                or self.config.retrain == "continue"
                or self._method.inside
            )
        else:
            whole = key.branch not in REWOUND
        return 0 if whole else self.rewind_step

    def steps(self, key: Key) -> int:
        """Returns the number of optimizer steps of a training."""
        if self._method.strong and key.branch == MAIN and key.level:
            return self.score_steps
        return self.train_steps - self.start_step(key)

    @property
    def mask_by(self) -> str | None:
        """What masks are found by whose tickets are not trained, or None."""
        return self._method.masks_by(self.config.mask_by)

    @property
    def score_steps(self) -> int:
        """Length of a training of scores; 0 where none are trained."""
        if self.mask_by in (None, "criterion"):
            return 0
        steps = self.config.score_steps or self.config.train_steps
        return steps.steps(self.steps_per_epoch)

    def kept(self) -> Sequence[dict[str, int] | int]:
        """Returns the counts of every level, exact but for whole blocks.

        Of tickets found elsewhere they are exact where replicates agree.

        Of blocks and channels it is the most that may be kept.
        """
        config = self.config
        if self._method.rounds:
            return self.rates.plan(self.mask, config.levels, config.collapse)
        before = self.mask.kept_by_path
        if self.given is not None:
            return list(map(self._given_counts, range(config.levels + 1)))
        counts: list[dict[str, int] | int] = [before]
        for level, sparsity in enumerate(config.target_sparsity or (), 1):
            after = target_counts(
                self.mask, sparsity, config.scope, config.structure
            )
            if isinstance(after, dict) and config.collapse == "floor":
                after = floored(after, before)
            elif isinstance(after, dict) and config.collapse == "stop":
                check_emptied(after, before, level)
            counts.append(after)
        return counts

    def _given_counts(self, level: int) -> dict[str, int] | int:
        """Of kernels where replicates agree; else the most that one keeps."""
        found = [self.given(n, level) for n in self.replicates if self.given]
        if all(counts == found[0] for counts in found):
            return found[0]
        return max(sum(counts.values()) for counts in found)

    @property
    def _method(self) -> Method:
        return METHODS[self.config.method]

    def text(self, finished: set[Key], unit: str = "step") -> str:
        """Returns the plan for people: levels, counts, steps, disk, reuse.

        Args:
            finished: what would be reused.
            unit: what a step is called.
        """
        keys = self.keys
        todo = [key for key in keys if key not in finished]
        names = list(self.mask)
        head = ["level", "weights", "%"]
        kept = self.kept()
        by_kernel = len(names) <= 6 and not isinstance(kept[0], int)
        lines = [head + (names if by_kernel else [])]
        disk = 0.0
        for level, counts in enumerate(kept):
            total = counts if isinstance(counts, int) else sum(counts.values())
            trainings = sum(key.level == level for key in keys)
            disk += trainings * self._ticket_bytes(total, level)
            line = [str(level), f"{total:,}", f"{total / self.mask.size:.2%}"]
            if by_kernel and not isinstance(counts, int):
                line += [f"{counts[name]:,}" for name in names]
            lines.append(line)
        widths = [max(map(len, column)) for column in zip(*lines)]
        table = "\n".join(
            "  ".join(cell.rjust(w) for cell, w in zip(line, widths))
            for line in lines
        )
        return (
            f"{table}\n{len(keys)} trainings in "
            f"{len(self.replicates)} replicate(s), "
            f"{sum(map(self.steps, keys)):,} {unit}s, about "
            f"{disk / 1e6:,.1f} MB of disk.\n"
            f"{len(keys) - len(todo)} finished training(s) would be reused; "
            f"{sum(map(self.steps, todo)):,} {unit}s to do."
            f"{self._parallel_text(todo)}{self._structure_text()}"
        )

    def _structure_text(self) -> str:
        """Why a ticket may keep fewer weights than planned."""
        structure = self.config.structure
        if self.given and any(isinstance(n, int) for n in self.kept()):
            return "\nReplicates differ: no one keeps more than these weights."
        if structure is None or group_shape(structure):
            return ""
        if structure == "channel":
            return (
                "\nWhole channels are pruned, with what reads them: at most "
                "these weights are kept."
            )
        return "\nWhole blocks are kept: fewer weights, by less than one."

    def _parallel_text(self, todo: list[Key]) -> str:
        """What --parallel can gain: a training waits for its parent."""
        if self.config.parallel == 1 or not todo:
            return ""
        chains: dict[Key, int] = {}
        for key in todo:
            parent = key.parent(self.config.method)
            before = chains.get(parent, 0) if parent else 0
            chains[key] = before + self.steps(key)
        size = min(self.config.parallel, self.width)
        share = -(-sum(map(self.steps, todo)) // size)
        return (
            f"\nUp to {size} trainings at once: "
            f"{max(share, *chains.values()):,} steps one after another at "
            "least."
        )

    def _ticket_bytes(self, kept: int, level: int) -> float:
        # Rewind and trained weights at about 0.93 of four bytes, one bit of
        # mask per weight, and some JSON.
        rest = self.state_size - self.mask.size
        rewind = kept if level else self.mask.size
        return 3.7 * (kept + rewind + 2 * rest) + self.mask.size / 8 + 2e4


def trainings(config: Config) -> list[Key]:
    """Returns every training in order: main levels, then controls.

    Args:
        config: what they are of; `levels` is that of `Config.resolved`.

    Example:
        >>> len(trainings(Config(levels=3, branches="reinit", replicates=2)))
        14
    """
    # A level named twice is one level.
    some = sorted(set(config.branch_levels or range(1, config.levels + 1)))
    branches = {branch: list(some) for branch in config.branches}
    if config.retrain == "continue" and config.levels:
        # The paper's strategy 2 ends with one reset.
        branches.setdefault("rewound", [config.levels])
    return [
        Key(replicate, branch, level)
        for replicate in _replicates(config)
        for branch, levels in (
            (MAIN, range(config.levels + 1)),
            *branches.items(),
        )
        for level in levels
    ]


def _replicates(config: Config) -> list[int]:
    if config.replicate is not None:
        return [config.replicate]
    return list(range(config.replicates))


def parse_levels(
    name: str, value: str | None, levels: int
) -> list[int]:
    """Reads `"all"`, `"last"` or `"0,7"` as a list of levels.

    Args:
        name: the flag's name, for the error.
        value: its text, or None for no level.
        levels: the highest level.

    Raises:
        ValueError: not of this form, or a level beyond the highest.
    """
    if value is None:
        return []
    if value == "all":
        return list(range(levels + 1))
    if value == "last":
        return [levels]
    parts = value.split(",")
    if all(p.strip().isdecimal() and int(p) <= levels for p in parts):
        return sorted({int(p) for p in parts})
    raise ValueError(
        f"`{name}` must be all, last, or levels from 0 to {levels}. Received:"
        f" {name}={value!r}. Write for example 0,{levels}."
    )

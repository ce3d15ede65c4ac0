"""Changes of the mask inside a training: gradual pruning and rewiring."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from tf_lottery import seeds
from tf_lottery.layers import get_mask
from tf_lottery.layers import set_mask
from tf_lottery.masks import counts_at_most
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import Rewirer
from tf_lottery.pruners.given import count_examples
from tf_lottery.search.channels import find_mask

# Examples whose gradients decide where a network grows.
_BATCH = 128


def prune_to(
    model: keras.Model,
    sparsity: float,
    pruner: Pruner,
    scope: str,
    optimizer: Any = None,
    **given: Any,
) -> None:
    """Prunes a model that is being trained, unless it is as sparse already.

    Args:
        model: masked.
        sparsity: fraction of the prunable weights to be zero, in [0, 1).
        pruner: chooses the weights.
        scope: as in `target_counts`.
        optimizer: as in `set_mask`.
        **given: parts of the `PruningContext`.

    Raises:
        ValueError: a kernel would be left empty under `"stop"`.
    """
    mask = get_mask(model)
    keep = counts_at_most(mask, sparsity, scope)
    if keep not in (mask.kept, mask.kept_by_path):
        context = PruningContext(model, keep=keep, **given)
        mask = find_mask(pruner, context, sparsity, scope)
        set_mask(model, mask, optimizer)


class _Stepped(abc.ABC):
    """A change whose steps depend on the model and the step alone."""

    # The last step at which it was called.
    last = -1

    @abc.abstractmethod
    def next(self, step: int) -> int | None:
        """Returns the first step from this one on at which it is due."""

    def missed(self) -> int | None:
        """Returns the step after the last call at which it was due, if any."""
        return self.next(self.last + 1)

    def state(self) -> dict[str, np.ndarray]:
        """Returns what a snapshot must hold."""
        return {"last": np.array(self.last)}

    def restore(
        self, state: Mapping[str, np.ndarray], model: keras.Model
    ) -> None:
        """Goes on from what `state` returned."""
        self.last = int(state["last"])


@dataclasses.dataclass
class Gradual(_Stepped):
    """Prunes along a schedule while a network trains.

    Args:
        schedule: `step -> (should_prune, sparsity)`, of `tf_lottery.schedules`
            or of the TensorFlow Model Optimization toolkit.
        end_step: the last step at which it prunes.
        pruner: chooses the weights.
        scope: as in `target_counts`.
        collapse: as in `tf_lottery.masks.select`.
        seed: of random criteria.
        given: parts of the `PruningContext` for the criterion.
    """

    schedule: Callable[[int], tuple[Any, Any]]
    end_step: int
    pruner: Pruner
    scope: str
    collapse: str = "stop"
    seed: int = 0
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def next(self, step: int) -> int | None:
        """Returns the first step from this one on at which it prunes."""
        due = (
            t for t in range(step, self.end_step + 1) if self.schedule(t)[0]
        )
        return next(due, None)

    def __call__(
        self, model: keras.Model, optimizer: Any, step: int
    ) -> None:
        """Prunes a model that has taken `step` steps.

        Args:
            model: masked.
            optimizer: what trains it; its slots are cleared where it prunes.
            step: at which it is due.
        """
        self.last = step
        prune_to(
            model,
            float(np.asarray(self.schedule(step)[1])),
            self.pruner,
            self.scope,
            optimizer,
            seed=seeds.derive(self.seed, "gradual", step),
            collapse=self.collapse,
            **self.given,
        )


@dataclasses.dataclass
class Rewiring(_Stepped):
    """Drops and grows weights while a network trains.

    At the steps `every`, `2 * every`, ... before `end_step` T the fraction

        f(t) = fraction / 2 * (1 + cos(pi * t / T))

    of each kernel's kept weights is dropped, and as many are grown.

    Args:
        rewirer: says where to grow.
        every: steps between two changes.
        end_step: T; from it on the mask stays.
        fraction: at step 0.
        seed: of what is drawn.
        given: parts of the `PruningContext`, of which `x` and `y` are all
            that it may draw a batch of 128 from.

    Reference:
        Evci et al., 2020, arXiv:1911.11134, section 3: every 100 steps, 0.3,
        and T at three quarters of the training.
    """

    rewirer: Rewirer
    every: int
    end_step: int
    fraction: float = 0.3
    seed: int = 0
    given: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def next(self, step: int) -> int | None:
        """Returns the first step from this one on at which it rewires."""
        due = max(1, -(-step // self.every)) * self.every
        return due if due < self.end_step else None

    def __call__(
        self, model: keras.Model, optimizer: Any, step: int
    ) -> None:
        """Rewires a model that has taken `step` steps.

        Args:
            model: masked.
            optimizer: what trains it; of a dropped or grown weight it keeps
                nothing.
            step: at which it is due.
        """
        self.last = step
        seed = seeds.derive(self.seed, "rewire", step)
        given = dict(self.given)
        if "x" in given and given["x"] is not None:
            size = count_examples(PruningContext(model, **given))
            rows = seeds.permutation(size, seed, "batch")[:_BATCH]
            x, y = keras.tree.map_structure(
                lambda array: np.asarray(array)[rows], (given["x"], given["y"])
            )
            given.update(x=x, y=y)
        fraction = (
            self.fraction / 2 * (1 + math.cos(math.pi * step / self.end_step))
        )
        context = PruningContext(model, seed=seed, **given)
        dropped, grown = self.rewirer.rewire(context, fraction)
        # First what is dropped: what grows again there starts at 0 too.
        set_mask(model, dropped, optimizer)
        set_mask(model, grown, optimizer)

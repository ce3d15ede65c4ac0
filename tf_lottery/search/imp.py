"""Iterative magnitude pruning with rewinding."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras

from tf_lottery import seeds
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.layers import strip_masks
from tf_lottery.masks import PruningRates
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import get_pruner
from tf_lottery.search.rates import pruning_rates
from tf_lottery.search.settings import check_dtypes
from tf_lottery.search.settings import check_search
from tf_lottery.search.settings import level_seed
from tf_lottery.tickets import Ticket
from tf_lottery.tickets.metadata import plain_values


def find_tickets(
    model: keras.Model,
    train: Callable[..., Mapping[str, Any] | None],
    *,
    levels: int,
    criterion: str | Pruner = "magnitude",
    scope: str = "layerwise",
    prune_rate: float = 0.2,
    conv_prune_rate: float | None = None,
    output_prune_rate: float | None = None,
    exclude: str | Sequence[str] = (),
    collapse: str = "stop",
    rewind_step: int = 0,
    retrain: str = "rewind",
    x: Any = None,
    y: Any = None,
    loss: Callable | None = None,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    resume: Ticket | None = None,
) -> Iterator[Ticket]:
    """Searches for winning tickets by iterative pruning, one per level.

    1. Train the dense network (level 0); keep its state at step k.
    2. Prune the lowest-scored fraction of the surviving weights.
    3. Put the surviving weights back to step k and train on to the end.
    4. Repeat from 2.

    Args:
        model: a Keras model, with its initial weights. A masked model is
            trained in place, and so is a subclassed one, which is given
            masks; of any other a masked copy is.
        train: `train(model, *, level, seed, start_step) -> metrics` trains
            the model in place, from `start_step` of its schedule to the end,
            with a new optimizer, and returns a dict or None. With
            `rewind_step` k > 0 it is also passed
            `at_rewind_step=(k, callback)` at level 0, and must call
            `callback()` when the model has taken k steps.
        levels: number of pruning rounds; levels 0 to `levels` are trained.
        criterion: a name in `PRUNERS`, or a `Pruner`.
        scope: `"layerwise"`, `"global"`, `"uniform"`, `"erk"` or
            `"smart_ratio"`.
        prune_rate: fraction of the surviving weights that a round removes.
        conv_prune_rate: of convolution kernels; `prune_rate` by default.
        output_prune_rate: of the output layer's kernel; half of `prune_rate`
            by default.
        exclude: patterns of variable paths whose kernels stay dense; a
            masked model has been given them by `mask_model`.
        collapse: `"stop"`, `"floor"` or `"allow"`, for pruning that would
            leave a kernel empty.
        rewind_step: k, in optimizer steps; 0 rewinds to the initial weights.
        retrain: what a pruned network is trained from. `"rewind"`: weights
            and schedule of step k. `"lr_rewind"`: the trained weights and the
            schedule of step k. `"fine_tune"`: the trained weights; `train`
            should use its last learning rate. `"continue"`: the trained
            weights and the whole schedule.
        x: inputs, for criteria that need data.
        y: their targets.
        loss: `(y, outputs) -> losses`, for criteria that need gradients.
        seed: of the levels' data orders and of random criteria.
        config: what the tickets should say about how they were found.
        resume: the last ticket of an interrupted search, to go on after.

    Returns:
        An iterator that trains a level when asked for its `Ticket`: the mask,
        the state of step k, and the state that training ended at.

    Raises:
        ValueError: an unknown name, a rate outside (0, 1), a ticket of another
            network, or a level that empties a kernel; before anything is
            trained, except for emptying under the global scope.
        TypeError: `config` or the metrics hold what JSON has no word for.
        RuntimeError: `train` never called the rewind callback.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 2 and appendix B
        (`"rewind"` at k = 0 is strategy 1, `"continue"` the training of
        strategy 2); Frankle et al., 2020, arXiv:1912.05671 (k > 0); Renda et
        al., 2020, arXiv:2003.02389 (`"lr_rewind"`, `"fine_tune"`).
    """
    data: dict[str, Any] = dict(x=x, y=y, loss=loss)
    given = ["initial", *(k for k, v in data.items() if v is not None)]
    pruner = get_pruner(criterion, given)
    config = plain_values(config or {}, "config")
    check_search(levels, retrain, collapse, rewind_step)
    added = not is_masked(model)
    if added:
        model = mask_model(model, exclude=exclude)
    elif exclude:
        raise ValueError(
            "`exclude` must be left out for a masked model. Received: "
            f"exclude={exclude!r}. Pass it to mask_model."
        )
    try:
        check_dtypes(model)
        rates = pruning_rates(
            model,
            prune_rate=prune_rate,
            conv_prune_rate=conv_prune_rate,
            output_prune_rate=output_prune_rate,
            scope=scope,
        )
        if resume:
            resume = resume.for_model(model)
        # The model may hold any mask by now: a resumed search plans from its
        # own.
        mask = resume.mask if resume else get_mask(model)
        start = resume.level if resume else 0
        rates.plan(mask, levels, collapse, start=start)
    except ValueError:
        # A subclassed model has been masked itself.
        if added:
            strip_masks(model, in_place=True)
        raise

    def search() -> Iterator[Ticket]:
        if resume:
            ticket = resume
        else:
            theta, metrics = _train_dense(model, train, seed, rewind_step)
            ticket = Ticket.of(
                model, rewind=theta, config=config, metrics=metrics
            )
            yield ticket
        theta = ticket.rewind
        for level in range(ticket.level + 1, levels + 1):
            # The caller may have used the model since the last level.
            set_mask(model, ticket.mask)
            set_state(model, ticket.trained)
            prune_level(
                model, level, rates, pruner, seed, collapse,
                initial=theta, **data,
            )
            if retrain == "rewind":
                set_state(model, theta)
            metrics = train(
                model,
                level=level,
                seed=level_seed(seed, level),
                start_step=0 if retrain == "continue" else rewind_step,
            )
            ticket = Ticket.of(
                model,
                rewind=theta,
                level=level,
                config=config,
                metrics=metrics,
            )
            yield ticket

    return search()


def prune_level(
    model: keras.Model,
    level: int,
    rates: PruningRates,
    pruner: Pruner,
    seed: int,
    collapse: str,
    **given: Any,
) -> None:
    """Prunes a trained model by one round, in place.

    Args:
        model: a masked model, with the weights of the level before.
        level: the level that the round leads to; counted from 1.
        rates: what a round removes.
        pruner: what decides which weights.
        seed: the search's.
        collapse: for pruning that would leave a kernel empty.
        **given: parts of the `PruningContext` for the criterion.

    Raises:
        ValueError: a kernel left empty under `"stop"`.
    """
    context = PruningContext(
        model,
        keep=rates.keep(get_mask(model)),
        seed=seeds.derive(seed, "prune", level),
        collapse=collapse,
        **given,
    )
    set_mask(model, pruner.find_mask(context))


def _train_dense(model, train, seed, rewind_step):
    """Trains level 0; returns the state of the rewind step and the metrics."""
    states = []
    arguments = {}
    if rewind_step == 0:
        states.append(get_state(model))
    else:
        arguments["at_rewind_step"] = (
            rewind_step,
            lambda: states.append(get_state(model)),
        )
    metrics = train(
        model, level=0, seed=level_seed(seed, 0), start_step=0, **arguments
    )
    if len(states) != 1:
        raise RuntimeError(
            "`train` must call the callback of `at_rewind_step` once, after "
            f"step {rewind_step}. Received: {len(states)} calls. Train for "
            "more steps than it, and call it there."
        )
    return states[0], metrics

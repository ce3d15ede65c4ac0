"""Searches that make a ticket of each target sparsity from one network."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf_lottery import seeds
from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import set_mask
from tf_lottery.layers import set_state
from tf_lottery.masks import check_emptied
from tf_lottery.masks import group_shape
from tf_lottery.masks import target_counts
from tf_lottery.methods import MASK_BY
from tf_lottery.methods import METHODS
from tf_lottery.methods import RESCALE
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import get_pruner
from tf_lottery.pruners import get_rewirer
from tf_lottery.schedules import PolynomialDecay
from tf_lottery.search.changes import Gradual
from tf_lottery.search.changes import Rewiring
from tf_lottery.search.channels import check_choice
from tf_lottery.search.channels import find_mask
from tf_lottery.search.early_bird import EarlyBird
from tf_lottery.search.imp import find_tickets
from tf_lottery.search.perturbed import within_epsilon
from tf_lottery.search.scored import ScoredModel
from tf_lottery.search.settings import check_search
from tf_lottery.search.settings import level_seed
from tf_lottery.search.strong import check_strong
from tf_lottery.search.strong import find_strong
from tf_lottery.search.strong import rescaled
from tf_lottery.tickets import Ticket
from tf_lottery.tickets.metadata import plain_values


def find_at_sparsities(
    model: keras.Model,
    train: Callable[..., Mapping[str, Any] | None],
    *,
    sparsities: Sequence[float],
    method: str = "one_shot",
    criterion: str | Pruner = "magnitude",
    scope: str = "global",
    structure: str | None = None,
    x: np.ndarray | None = None,
    y: np.ndarray | None = None,
    loss: Callable | None = None,
    exclude: str | Sequence[str] = (),
    collapse: str = "stop",
    rewind_step: int = 0,
    retrain: str = "rewind",
    begin_step: int = 0,
    end_step: int = 0,
    every: int = 100,
    mask_by: str = "edge_popup",
    rescale: str = "none",
    epsilon: float = 0.0,
    epsilon_unit: str = "absolute",
    scored: ScoredModel | None = None,
    seed: int = 0,
    config: Mapping[str, Any] | None = None,
    dense: Ticket | None = None,
    levels: Sequence[int] | None = None,
) -> Iterator[Ticket]:
    """Finds a ticket of each sparsity by a method without rounds.

    Level 0 is the dense network, trained; level i has `sparsities[i - 1]`:

    - `"one_shot"`: the trained network is pruned, then trained as `retrain`
      says.
    - `"at_init"`: the network is pruned as it was at step k, then trained.
    - `"gradual"`: the network is trained once from step 0 and pruned on the
      way, from `begin_step` to `end_step`, along the cubic schedule.
    - `"early_bird"`: the network is trained once from step 0; every `every`
      steps the mask is found that it would be pruned by, and as soon as that
      has settled, or at `end_step`, it is pruned.
    - `"set"`, `"rigl"`: a random mask is trained, and rewired every `every`
      steps until `end_step`.
    - `"edge_popup"`, `"learned_supermask"`: which of the initial weights are
      kept is trained, and they are not.
    - `"supermask"`: the mask that the criterion finds on the trained network
      is put on the initial weights, which are not trained.
    - `"perturbed"`: level 0 is trained with every weight of the kernels
      within `epsilon` of its initial value; a mask is put on what it became,
      as `mask_by` says, and that is not trained further.

    The `trained` kernels of the four last are those that the mask was found
    for, and the `rewind` ones initial: the same but for perturbed. Moving
    statistics of normalisation follow the masked network in `trained` alone.

    Args:
        model: as in `find_tickets`.
        train: as in `find_tickets`. For the methods that change the mask
            inside a training it is also passed `change`: before taking the
            step t for which `change.next(t) == t` it must call
            `change(model, optimizer, t)`, once. Where scores are trained it is
            passed a `ScoredModel`; where a mask is put on weights that are
            not trained, `frozen=True`, to evaluate and no more.
        sparsities: fractions of the prunable weights to be zero, in (0, 1).
        method: one of these names.
        criterion: a name in `PRUNERS`, or a `Pruner`; of no use to set and
            rigl, nor where scores are trained.
        scope: what competes, as in `tf_lottery.prune`.
        structure: what stays or goes together, as in `tf_lottery.prune`; not
            for methods that rewire, or train no ticket, nor N:M for gradual.
            What reads a pruned channel is pruned with it, and counts.
        x: inputs for criteria that need data, and for rigl.
        y: their targets.
        loss: `(y, outputs) -> losses`.
        exclude: as in `find_tickets`.
        collapse: as in `find_tickets`.
        rewind_step: k, in steps; 0 for the methods inside a training.
        retrain: of one_shot, as in `find_tickets`.
        begin_step: first step at which gradual prunes.
        end_step: last step at which the mask changes.
        every: steps between two changes; of early_bird, between two looks.
        mask_by: of perturbed: `"edge_popup"`, `"bernoulli"` (as
            learned_supermask) or `"criterion"`.
        rescale: of the kept weights of tickets that are not trained, as of
            `ScoredModel`.
        epsilon: of perturbed, at least 0.
        epsilon_unit: `"absolute"`, or `"sigma"`, the standard deviation of
            the initial weights of each kernel.
        scored: around `model`, where there is one already.
        seed: as in `find_tickets`.
        config: as in `find_tickets`.
        dense: the ticket of level 0, where it is there already; it is not
            trained, nor yielded, again.
        levels: some of the levels, from 1 on; all if None.

    Returns:
        An iterator that trains a level when asked for its `Ticket`.

    Raises:
        ValueError: an unknown name, steps or levels that there are not, a
            sparsity that empties a kernel, a model that the criterion or the
            structure is not for, or that `dense` does not fit; before
            anything is trained, except for emptying under the global scope.
        TypeError: `config` or the metrics hold what JSON has no word for.
        RuntimeError: `train` did not call `change` at the last of the steps
            that it names.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 2 (one-shot); Lee
        et al., 2019, arXiv:1810.02340 (at init); Zhu and Gupta, 2017,
        arXiv:1710.01878 (gradual); Evci et al., 2020, arXiv:1911.11134 (set,
        rigl); You et al., 2020, arXiv:1909.11957 (early_bird).
    """
    known = [k for k, m in METHODS.items() if not (m.rounds or m.given)]
    if method not in known:
        raise ValueError(
            f"`method` must be one of {', '.join(known)}. Received: "
            f"method={method!r}. find_tickets prunes in rounds."
        )
    if np.ndim(sparsities) != 1:
        raise ValueError(
            "`sparsities` must be a list of fractions. Received: sparsities="
            f"{sparsities!r}. Write for example [0.8, 0.95]."
        )
    last = len(sparsities)
    chosen = range(1, last + 1) if levels is None else levels
    if not all(1 <= level <= last for level in chosen):
        raise ValueError(
            f"`levels` must be from 1 to {last}, the number of sparsities. "
            f"Received: levels={levels}. Leave it out for all."
        )
    # NumPy's numbers do not go into a JSON file.
    chosen = [operator.index(level) for level in chosen]
    given: dict[str, Any] = dict(x=x, y=y, loss=loss)
    names = ["initial", *(k for k, v in given.items() if v is not None)]
    pruner = get_pruner(criterion, names)
    config = plain_values(config or {}, "config")
    check_search(len(sparsities), retrain, collapse, rewind_step)
    if not is_masked(model):
        model = mask_model(model, exclude=exclude)
    elif exclude:
        raise ValueError(
            "`exclude` must be left out for a masked model. Received: "
            f"exclude={exclude!r}. Pass it to mask_model."
        )
    if dense is not None:
        # Keras may have numbered the names of the model anew.
        dense = dense.for_model(model)
    kind = METHODS[method]
    if (kind.rewires or kind.strong) and structure is not None:
        raise ValueError(
            f"`structure` must be None for method {method}. Received: "
            f"structure={structure!r}. It decides on single weights."
        )
    if method == "gradual" and structure and group_shape(structure):
        raise ValueError(
            "`structure` must be None, blocks or channels for method gradual. "
            f"Received: structure={structure!r}. Use method one_shot for it."
        )
    if kind.strong and rewind_step:
        raise ValueError(
            f"`rewind_step` must be 0 for method {method}. Received: "
            f"rewind_step={rewind_step}. Its tickets are of initial weights."
        )
    if rescale not in RESCALE:
        raise ValueError(
            f"`rescale` must be one of {', '.join(RESCALE)}. Received: "
            f"rescale={rescale!r}. Choose one of these."
        )
    if mask_by not in MASK_BY:
        raise ValueError(
            f"`mask_by` must be one of {', '.join(MASK_BY)}. Received: "
            f"mask_by={mask_by!r}. Choose one of these."
        )
    by = kind.masks_by(mask_by)
    if kind.strong:
        check_strong(by=by, scope=scope, collapse=collapse)
    # The model may hold the mask of another level by now.
    mask = get_mask(model) if dense is None else dense.mask
    for level, sparsity in enumerate(sparsities, 1):
        keep = target_counts(mask, sparsity, scope, structure)
        if collapse == "stop" and not isinstance(keep, int):
            check_emptied(keep, mask.kept_by_path, level)
    # At its end a rewiring moves nothing.
    if kind.inside and not 0 < every <= end_step - kind.rewires:
        most = "below" if kind.rewires else "at most"
        raise ValueError(
            f"`every` must be at least one step, and {most} end_step. "
            f"Received: every={every}, end_step={end_step}. Three quarters of "
            "the training are usual for end_step."
        )
    if method == "gradual" and not (
        0 <= begin_step < end_step and (end_step - begin_step) % every == 0
    ):
        raise ValueError(
            "`every` must divide the steps from begin_step to a later "
            f"end_step. Received: every={every}, begin_step={begin_step}, "
            f"end_step={end_step}. The last of them reaches the sparsity."
        )
    # Before anything is trained.
    check_choice(model, pruner, structure)

    train_first = train
    if method == "perturbed":
        train_first = within_epsilon(train, epsilon, epsilon_unit)

    def search() -> Iterator[Ticket]:
        first = dense
        if first is None:
            first = next(
                find_tickets(
                    model, train_first, levels=0, seed=seed, config=config,
                    rewind_step=rewind_step, scope="global",
                )
            )
            yield first
        for level in chosen:
            yield ticket_at(first, level, sparsities[level - 1])

    def ticket_at(first: Ticket, level: int, sparsity: float) -> Ticket:
        context = scoring_context(
            model, first, sparsity, method=method, level=level, scope=scope,
            structure=structure, collapse=collapse, seed=seed, **given,
        )
        if kind.strong:
            perturbed = method == "perturbed"
            mask, metrics = find_strong(
                train, context, first.trained if perturbed else first.rewind,
                pruner, by=by, sparsity=sparsity, scope=scope,
                rescale=rescale, scored=scored, level=level,
                seed=level_seed(seed, level),
            )
            return Ticket.of(
                model, rewind=rescaled(first.rewind, mask, rescale),
                level=level, config=config, metrics=metrics,
            )
        arguments: dict[str, Any] = {}
        start = rewind_step
        if method in ("one_shot", "at_init"):
            set_mask(model, find_mask(pruner, context, sparsity, scope))
            if method == "one_shot" and retrain == "rewind":
                set_state(model, first.rewind)
            start = 0 if retrain == "continue" else start
        elif method == "gradual":
            arguments["change"] = Gradual(
                PolynomialDecay(
                    0.0, sparsity, begin_step, end_step, frequency=every
                ),
                end_step, pruner, scope, collapse, context.seed,
                dict(given, initial=first.rewind, structure=structure),
            )
        elif method == "early_bird":
            arguments["change"] = EarlyBird(
                pruner, sparsity, scope=scope, structure=structure,
                every=every, end_step=end_step, collapse=collapse,
                seed=context.seed, given=dict(given, initial=first.rewind),
            )
        else:
            random = get_pruner("random")
            set_mask(model, random.find_mask(context))
            arguments["change"] = Rewiring(
                get_rewirer(method), every, end_step, seed=context.seed,
                given=given,
            )
        metrics = train(
            model, level=level, seed=level_seed(seed, level),
            start_step=start, **arguments,
        )
        missed = arguments["change"].missed() if arguments else None
        if missed is not None:
            raise RuntimeError(
                "`train` must call `change` at the steps that it names. "
                f"Received: no call at step {missed}. Train for more than "
                f"end_step={end_step} steps, and call it."
            )
        if method == "early_bird":
            metrics = {**(metrics or {}), **arguments["change"].metrics}
        return Ticket.of(
            model, rewind=first.rewind, level=level, config=config,
            metrics=metrics,
        )

    return search()


def scoring_context(
    model: keras.Model,
    dense: Ticket,
    sparsity: float,
    *,
    method: str,
    level: int,
    scope: str,
    structure: str | None,
    collapse: str,
    seed: int,
    **given: Any,
) -> PruningContext:
    """Puts the network on a model that a level's mask is chosen on.

    Args:
        model: masked. It gets the mask of `dense` and its trained weights
            for methods that prune the trained network, those of the rewind
            step otherwise.
        dense: the ticket of level 0.
        sparsity: of the level.
        method: as in `find_at_sparsities`.
        level: from 1 on.
        scope: as in `find_at_sparsities`.
        structure: as in `find_at_sparsities`.
        collapse: as in `find_at_sparsities`.
        seed: as in `find_at_sparsities`.
        **given: data and loss, as in `PruningContext`.

    Returns:
        What a pruner chooses the level's mask by.
    """
    set_mask(model, dense.mask)
    trained = METHODS[method].trains_dense
    set_state(model, dense.trained if trained else dense.rewind)
    return PruningContext(
        model,
        keep=target_counts(dense.mask, sparsity, scope, structure),
        seed=seeds.derive(seed, "prune", level),
        collapse=collapse,
        initial=dense.rewind,
        structure=structure,
        **given,
    )

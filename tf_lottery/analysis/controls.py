"""Controls: networks as sparse as a ticket that lack one thing it has."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np

from tf_lottery import seeds
from tf_lottery.analysis.scored import LOOKS_AT
from tf_lottery.analysis.scored import SCORED
from tf_lottery.masks import Mask
from tf_lottery.masks import erk_counts
from tf_lottery.masks import floored
from tf_lottery.masks import uniform_counts
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import get_pruner
from tf_lottery.tickets import Ticket

State = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Control:
    """What a control branch is trained from.

    Args:
        mask: of the same count as the ticket's, but for `random_uniform` and
            `random_erk` also in every kernel.
        weights: `{path: array}`, the whole state.
    """

    mask: Mask
    weights: State


def reinit(ticket: Ticket, theta: State, fresh: State, seed: int) -> Control:
    """The ticket's mask, fresh weights: does the initialisation matter?

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, section 2.
    """
    return Control(ticket.mask, fresh)


def shuffle_mask(
    ticket: Ticket, theta: State, fresh: State, seed: int
) -> Control:
    """Positions permuted within each kernel, the ticket's network's weights.

    Reference:
        Frankle et al., 2021, arXiv:2009.08576, section 4.
    """
    return Control(permuted(ticket.mask, seed), theta)


def random_mask(
    ticket: Ticket, theta: State, fresh: State, seed: int
) -> Control:
    """Random positions with the same counts per kernel, fresh weights.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, figure 1 and appendix E.
    """
    return Control(permuted(ticket.mask, seed), fresh)


def random_uniform(
    ticket: Ticket, theta: State, fresh: State, seed: int
) -> Control:
    """Random positions, the ticket's total in equal densities, fresh weights.

    Beside `random_mask` it shows what the ticket's counts per kernel are
    worth. A kernel keeps one weight at least, where the total is enough.

    Reference:
        Liu et al., "The Unreasonable Effectiveness of Random Pruning", 2022,
        arXiv:2202.02643, section 3.
    """
    counts = uniform_counts(ticket.mask.shapes, ticket.mask.kept)
    return Control(_random(ticket.mask, counts, seed), fresh)


def random_erk(
    ticket: Ticket, theta: State, fresh: State, seed: int
) -> Control:
    """Random positions, the ticket's total shared out by ERK, fresh weights.

    A kernel keeps one weight at least, where the total is enough.

    Reference:
        Evci et al., 2020, arXiv:1911.11134, section 3; Liu et al., 2022,
        arXiv:2202.02643, section 3.
    """
    sizes = {path: keep.size for path, keep in ticket.mask.items()}
    counts = erk_counts(ticket.mask.shapes, ticket.mask.kept, sizes)
    return Control(_random(ticket.mask, counts, seed), fresh)


def constant_sign(
    ticket: Ticket, theta: State, fresh: State, seed: int
) -> Control:
    """The ticket's mask and signs, one magnitude per kernel.

    `w = sign(w_k) * std(W_k)`, where W_k is the whole kernel at the rewind
    step, and w_k one of its weights. What else there is (biases, kernels that
    are not pruned) is as at the rewind step. If this does as well as the
    ticket, it is the signs that matter.

    Reference:
        Zhou et al., "Deconstructing Lottery Tickets", 2019, arXiv:1905.01067,
        section 4.
    """
    signs = {path: theta[path] < 0 for path in ticket.mask}
    return Control(ticket.mask, _constants(theta, signs))


def constant_random_sign(
    ticket: Ticket, theta: State, fresh: State, seed: int
) -> Control:
    """The ticket's mask, one magnitude per kernel, random signs.

    As `constant_sign`, with signs that are independent of the ticket's.

    Reference:
        Zhou et al., 2019, arXiv:1905.01067, section 4.
    """
    signs = {}
    for i, (path, keep) in enumerate(ticket.mask.items()):
        bits = seeds.generator(seed, "sign", i).bit_generator
        draws = bits.random_raw(keep.size)
        signs[path] = (draws & 1).astype(bool).reshape(keep.shape)
    return Control(ticket.mask, _constants(theta, signs))


def rewound(ticket: Ticket, theta: State, fresh: State, seed: int) -> Control:
    """The ticket's mask, its rewind weights.

    What a search that does not rewind between rounds is judged by: the paper's
    strategy 2 resets the surviving weights once, at the end.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix B.
    """
    return Control(ticket.mask, theta)


def reorder(ticket: Ticket, theta: State, fresh: State, seed: int) -> Control:
    """The ticket's mask and rewind weights, trained in another data order.

    With the ticket it makes a pair: if the line between both is of low error,
    the ticket is stable to SGD noise.

    Reference:
        Frankle et al., 2020, arXiv:1912.05671, section 4.
    """
    return rewound(ticket, theta, fresh, seed)


def resample(ticket: Ticket, theta: State, fresh: State, seed: int) -> Control:
    """The ticket's mask, its own initial values in other places.

    Each kept weight is drawn anew, with replacement, from those of its kernel
    that the ticket keeps, as they were at the rewind step. What else there is
    is as at the rewind step. If this does no better than `reinit`, the
    distribution of a ticket's initial values is not what makes it win.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.3.
    """
    weights = dict(theta)
    for i, (path, keep) in enumerate(ticket.mask.items()):
        kernel = np.array(theta[path])
        values = kernel[keep]
        if values.size:
            bits = seeds.generator(seed, "resample", i).bit_generator
            # Of 64 random bits the remainders are as good as equally likely.
            kernel[keep] = values[bits.random_raw(values.size) % values.size]
        weights[path] = kernel
    return Control(ticket.mask, weights)


def noisy(
    ticket: Ticket, theta: State, fresh: State, seed: int, *, scale: float
) -> Control:
    """The ticket's mask, its rewind weights plus Gaussian noise.

    `w = w_k + n`, `n ~ N(0, (scale * std(W_k))^2)`, where W_k is the whole
    kernel at the rewind step, and w_k one of its weights that the ticket
    keeps. Rewound to step k > 0 it is thus the network of step k that is
    disturbed, and trained from there on as the ticket is. What else there is
    (biases, kernels that are not pruned) is as at the rewind step.

    Args:
        ticket: gives the mask.
        theta: the weights at the rewind step.
        fresh: of no use here.
        seed: of the noise, which is the same at every scale.
        scale: standard deviations of the noise in the kernel's own.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix F.7.
    """
    weights = dict(theta)
    for i, (path, keep) in enumerate(ticket.mask.items()):
        kernel = np.array(theta[path])
        size = scale * kernel.astype("float64").std()
        noise = seeds.generator(seed, "noise", i).standard_normal(keep.shape)
        kernel[keep] += (size * noise[keep]).astype(kernel.dtype)
        weights[path] = kernel
    return Control(ticket.mask, weights)


#: Branches with noise, and its size. In the paper 0.5 changes little, and 3
#: still does better than reinit.
NOISY = {f"noise_{scale:g}": scale for scale in (0.5, 1.0, 3.0)}

CONTROLS: dict[str, Callable[[Ticket, State, State, int], Control]] = {
    function.__name__: function
    for function in (
        reinit,
        shuffle_mask,
        random_mask,
        random_uniform,
        random_erk,
        constant_sign,
        constant_random_sign,
        rewound,
        reorder,
        resample,
    )
}
CONTROLS.update(
    (name, functools.partial(noisy, scale=scale))
    for name, scale in NOISY.items()
)

# Controls whose weights are those of the rewind step, each in its place, so
# that training goes on from there; with noise too, or more steps would make up
# for it. Weights that are fresh, constant or in other places are trained from
# step 0: they never get fewer steps than the ticket had in all.
REWOUND = ("shuffle_mask", "rewound", "reorder", *NOISY, *SCORED)


def check_controls(
    names: tuple[str, ...], criterion: str | Pruner = "magnitude"
) -> None:
    """Checks the names of controls.

    Args:
        names: of `CONTROLS` or `SCORED`.
        criterion: what chooses the masks of the latter.

    Raises:
        ValueError: an unknown name, or corrupted data for a criterion that
            does not look at them.
    """
    needs = get_pruner(criterion).needs
    for name in names:
        if name not in {**CONTROLS, **SCORED}:
            raise ValueError(
                f"`branches` must be among {', '.join([*CONTROLS, *SCORED])}. "
                f"Received: branches={name!r}. Separate several by commas."
            )
        if name in LOOKS_AT and LOOKS_AT[name] not in needs:
            raise ValueError(
                f"`branches` must be without {name} for criterion "
                f"{criterion}, which looks at no such data. Received: "
                f"branches={name}. It would repeat main; use a criterion such "
                "as snip."
            )


def permuted(mask: Mask, seed: int) -> Mask:
    """Returns a mask with the positions permuted within each kernel.

    Args:
        mask: gives the counts.
        seed: of the permutation; a kernel's depends on its place too.

    Returns:
        A `Mask` of the same count in every kernel, independent of the
        positions in `mask`.
    """
    return Mask(
        {
            path: keep.ravel()[
                seeds.permutation(keep.size, seed, "permute", i)
            ].reshape(keep.shape)
            for i, (path, keep) in enumerate(mask.items())
        }
    )


def _random(mask: Mask, counts: Mapping[str, int], seed: int) -> Mask:
    """A mask of these counts and the shapes of `mask`, at random positions."""
    sizes = {path: keep.size for path, keep in mask.items()}
    if mask.kept >= len(sizes):
        # A network that an empty kernel cuts in two would prove nothing.
        counts = floored(counts, sizes)
    first = {
        path: (np.arange(keep.size) < counts[path]).reshape(keep.shape)
        for path, keep in mask.items()
    }
    return permuted(Mask(first), seed)


def _constants(theta: State, negative: Mapping[str, np.ndarray]) -> State:
    """The state, with kernels of one magnitude where signs are given."""
    weights = dict(theta)
    for path, minus in negative.items():
        kernel = np.asarray(theta[path])
        size = kernel.astype("float64").std()
        weights[path] = np.where(minus, -size, size).astype(kernel.dtype)
    return weights

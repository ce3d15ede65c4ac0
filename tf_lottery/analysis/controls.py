"""Controls: networks as sparse as a ticket that lack one thing it has."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from tf_lottery import seeds
from tf_lottery.masks import Mask
from tf_lottery.tickets import Ticket

State = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Control:
    """What a control branch is trained from.

    Args:
        mask: of the same counts per kernel as the ticket's.
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


def rewound(ticket: Ticket, theta: State, fresh: State, seed: int) -> Control:
    """The ticket's mask, its rewind weights.

    What a search that does not rewind between rounds is judged by: the paper's
    strategy 2 resets the surviving weights once, at the end.

    Reference:
        Frankle and Carbin, 2019, arXiv:1803.03635, appendix B.
    """
    return Control(ticket.mask, theta)


CONTROLS: dict[str, Callable[[Ticket, State, State, int], Control]] = {
    function.__name__: function
    for function in (reinit, shuffle_mask, random_mask, rewound)
}

# Controls whose weights are those of the rewind step, so that training goes
# on from there. Fresh weights are trained from step 0: they never get fewer
# steps than the ticket had in all.
REWOUND = ("shuffle_mask", "rewound")


def check_controls(names: tuple[str, ...]) -> None:
    """Raises ValueError unless every name is in `CONTROLS`."""
    for name in names:
        if name not in CONTROLS:
            raise ValueError(
                f"`branches` must be among {', '.join(CONTROLS)}. Received: "
                f"branches={name!r}. Separate several by commas."
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

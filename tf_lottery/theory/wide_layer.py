"""A layer inside a wide random one, weight by weight, by subset sum."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_lottery import seeds
from tf_lottery.theory import arguments
from tf_lottery.theory.coverage import smallest_reaching
from tf_lottery.theory.subset_sum import MOST_CANDIDATES
from tf_lottery.theory.subset_sum import solve

if TYPE_CHECKING:
    import keras

# A first kernel of one gigabyte.
_MOST_WEIGHTS = 2**28


@dataclasses.dataclass(frozen=True, eq=False)
class WideLayer:
    """Two random layers, pruned and perturbed to act as one given layer.

    Hidden units come in blocks of `n`: the first block of input 0, its second
    one (unless inputs are not negative), those of input 1, and so on.

    Args:
        candidates: `(halves, units_in, units_out)` int64, how many candidates
            each weight took; the largest is `n`.
        width: number of hidden units, `halves * units_in * n`.
        first: `(units_in, width)` float32, the first kernel as pruned.
        second: `(width, units_out)` float32, pruned and perturbed.
        first_initial: the random kernel that `first` comes from.
        second_initial: the random kernel that `second` comes from.
        first_mask: `(units_in, width)` bool, True = kept.
        second_mask: `(width, units_out)` bool, True = kept.
        scale: the target kernel's largest magnitude.
        largest_error: the largest error of a weight, divided by `scale`.
    """

    candidates: np.ndarray
    width: int
    first: np.ndarray
    second: np.ndarray
    first_initial: np.ndarray
    second_initial: np.ndarray
    first_mask: np.ndarray
    second_mask: np.ndarray
    scale: float
    largest_error: float

    def build_model(self, bias: np.ndarray | None = None) -> keras.Model:
        """Returns it as a Keras model of two Dense layers.

        Args:
            bias: the target layer's, `(units_out,)`; none if None.

        Returns:
            A `keras.Sequential` from `(batch, units_in)` to
            `(batch, units_out)`, with ReLU between its layers and no other
            bias than `bias`.

        Raises:
            ValueError: `bias` is of another shape.
        """
        import keras

        units = self.second.shape[1]
        if bias is not None and np.shape(bias) != (units,):
            raise ValueError(
                f"`bias` must have shape ({units},). Received: "
                f"shape={np.shape(bias)}. Pass the target layer's."
            )
        layers = [
            keras.layers.Dense(
                self.width, "relu", use_bias=False, name="hidden"
            ),
            keras.layers.Dense(
                units, use_bias=bias is not None, name="output"
            ),
        ]
        model = keras.Sequential(
            [keras.Input((self.first.shape[0],)), *layers]
        )
        layers[0].set_weights([self.first])
        extra = [] if bias is None else [np.asarray(bias)]
        layers[1].set_weights([self.second, *extra])
        return model


def weight_candidates(
    kernel: Any,
    *,
    eta: float,
    epsilon: float = 0.0,
    nonnegative: bool = False,
    max_candidates: int = MOST_CANDIDATES,
    seed: int = 0,
    advance: Callable[[int], object] | None = None,
) -> np.ndarray:
    """Returns how many random candidates each weight of a layer takes.

    As `wide_layer` draws them, without choosing the subsets.

    Args:
        kernel: as in `wide_layer`.
        eta: as in `wide_layer`.
        epsilon: as in `wide_layer`.
        nonnegative: as in `wide_layer`.
        max_candidates: as in `wide_layer`.
        seed: as in `wide_layer`.
        advance: called with 1 after each of the layer's inputs.

    Returns:
        `(halves, units_in, units_out)` int64. Its maximum is `n`, and
        `halves * units_in * n` the number of hidden units.

    Raises:
        ValueError: as `wide_layer`.

    Example:
        >>> kernel = [[0.5, 0.0], [-0.3, 1.0]]
        >>> weight_candidates(kernel, eta=0.01)[0]
        array([[6, 0],
               [9, 8]])
        >>> weight_candidates(kernel, eta=0.01, epsilon=0.04)[0]
        array([[3, 0],
               [4, 5]])
    """
    weights, scale = _scaled(kernel)
    eta, epsilon = _relative(eta, epsilon)
    most = arguments.whole_number(
        "max_candidates", max_candidates, 1, MOST_CANDIDATES
    )
    halves = 1 if nonnegative else 2
    needed = np.zeros((halves, *weights.shape), np.int64)
    for j, draws in _draws(weights.shape, halves, most, seed):
        # Pruned weights and other small ones take none.
        for half, i in np.argwhere(np.abs(_signed(weights[j], halves)) > eta):
            needed[half, j, i] = smallest_reaching(
                draws[:, half, i],
                _signed(weights[j], halves)[half, i: i + 1],
                eta=eta, epsilon=epsilon,
            )[0]
        if advance is not None:
            advance(1)
    missing = int((needed < 0).sum())
    if missing:
        raise ValueError(
            f"`eta` must be larger, or more candidates be allowed. Received: "
            f"eta={eta}, max_candidates={most}, with which {missing:,} of "
            f"{needed.size:,} weights are not reached. At most "
            f"{MOST_CANDIDATES} can be chosen from."
        )
    return needed


def wide_layer(
    kernel: Any,
    *,
    eta: float,
    epsilon: float = 0.0,
    nonnegative: bool = False,
    max_candidates: int = MOST_CANDIDATES,
    seed: int = 0,
) -> WideLayer:
    """Finds a trained layer inside a wide random one, without training it.

    For each input `x_j` the random network has `n` hidden units
    `relu(x_j)` and `n` units `relu(-x_j)`, all others of their weights pruned,
    and random weights `v` from them to the outputs. Since

        w x = w relu(x) + (-w) relu(-x),

    it acts as the layer if for each weight `w_ij` a subset of the first
    units' `v` adds up to it, and one of the second units' to `-w_ij`. Every
    weight has candidates of its own, so each is a problem for `solve`:

        |w_ij - sum_{u in S} (v_u + y_u)| <= eta max|W|,
        |y_u| <= epsilon max|W|.

    The first kernel is random in its signs alone, and its kept signs are set
    here; in one that is drawn, units would be taken by their sign. Outputs
    differ from the layer's by at most
    `units_in * largest_error * scale * max|x|`, and rounding.

    Args:
        kernel: `W`, shape `(units_in, units_out)`, finite, not all zero.
        eta: the error that is allowed for each weight, a share of `max|W|`
            in (0, 1).
        epsilon: the largest perturbation of a kept random weight of the
            second kernel, 0 or more, also in units of `max|W|`.
        nonnegative: inputs are known to be 0 or more, as after ReLU: the
            second units are left out.
        max_candidates: `n` at most, for each weight.
        seed: of the random weights, uniform on `[-max|W|, max|W|]`.

    Returns:
        A `WideLayer`, for the smallest `n` that reaches every weight; each
        subset is chosen from the first candidates that this weight needs.

    Raises:
        ValueError: an argument is outside its range, some weight is not
            reached with `max_candidates`, or the first kernel would have
            more than 2^28 weights.

    Example:
        >>> wide = wide_layer([[0.5, 0.0], [-0.3, 1.0]], eta=0.05, seed=1)
        >>> wide.largest_error <= 0.05
        True
        >>> wide.first.shape == (2, wide.width)
        True

    Reference:
        Pensia, Rajput, Nagle, Vishwakarma and Papailiopoulos, Optimal
        lottery tickets via SubsetSum, 2020, arXiv:2006.07990; perturbed:
        Xiong, Liao and Kyrillidis, 2023, arXiv:2210.16589. Theirs are bounds
        for any target, with first-layer weights of random size; here `n` is
        what one draw takes for one target.
    """
    weights, scale = _scaled(kernel)
    needed = weight_candidates(
        kernel, eta=eta, epsilon=epsilon, nonnegative=nonnegative,
        max_candidates=max_candidates, seed=seed,
    )
    halves, units_in, units_out = needed.shape
    n = int(needed.max())
    width = halves * units_in * n
    if units_in * width > _MOST_WEIGHTS:
        raise ValueError(
            "`kernel` must have fewer inputs. Received: "
            f"shape={weights.shape}, for which the first kernel would have "
            f"{units_in * width:,} weights. weight_candidates counts them."
        )
    shape = (units_in, halves, n, units_out)
    second_initial = np.zeros(shape, np.float32)
    second, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
    for j, draws in _draws(weights.shape, halves, max_candidates, seed):
        second_initial[j] = scale * draws[:n].swapaxes(0, 1)
        for half, i in np.argwhere(needed[:, j]):
            count = needed[half, j, i]
            found = solve(
                draws[:count, half, i],
                _signed(weights[j], halves)[half, i: i + 1],
                epsilon=epsilon,
            )
            mask[j, half, :count, i] = found.subsets[0]
            moved = draws[:count, half, i] + found.perturbations[0]
            second[j, half, :count, i] = scale * moved * found.subsets[0]
    sums = second.sum(axis=2, dtype=np.float64)
    targets = np.stack([_signed(w, halves) for w in weights])
    first_initial, first_mask = _first(units_in, halves, n, seed)
    return WideLayer(
        needed,
        width,
        np.where(first_mask, first_initial, np.float32(0)),
        second.reshape(width, units_out),
        first_initial,
        second_initial.reshape(width, units_out),
        first_mask,
        mask.reshape(width, units_out),
        scale,
        float(np.abs(sums / scale - targets).max()),
    )


def _scaled(kernel: Any) -> tuple[np.ndarray, float]:
    """The kernel in units of its largest magnitude, and that."""
    shape = np.shape(kernel)
    if len(shape) != 2 or not all(shape):
        raise ValueError(
            "`kernel` must be a matrix (units_in, units_out). Received: "
            f"shape={shape}. Pass the kernel of a Dense layer."
        )
    flat = arguments.finite_vector("kernel", np.ravel(np.asarray(kernel)))
    scale = float(np.abs(flat).max())
    if scale == 0.0:
        raise ValueError(
            "`kernel` must not be all zero. Received: zeros. There is no "
            "scale that eta could be a share of."
        )
    return flat.reshape(shape) / scale, scale


def _relative(eta: float, epsilon: float) -> tuple[float, float]:
    eta = arguments.finite_number("eta", eta)
    if eta >= 1:
        raise ValueError(
            "`eta` must be below 1, a share of the largest weight. Received: "
            f"eta={eta}. At 1 no weight is needed at all."
        )
    return eta, arguments.finite_number("epsilon", epsilon, zero=True)


def _signed(weights: np.ndarray, halves: int) -> np.ndarray:
    """What each half of the hidden units is to add up to."""
    return np.stack([weights, -weights][:halves])


def _draws(
    shape: tuple[int, ...], halves: int, most: int, seed: int
) -> Iterator[tuple[int, np.ndarray]]:
    """For each input, `(most, halves, units_out)` uniform on [-1, 1].

    A stream per input, so that no array holds them all; candidates first, so
    that fewer are the first of more.
    """
    for j in range(shape[0]):
        rng = seeds.generator("wide_layer", seed, j)
        # Drawn in float32, which the kernels are: a layer's weights.
        draws = rng.random((most, halves, shape[1]), np.float32)
        yield j, 2.0 * draws.astype(np.float64) - 1.0


def _first(
    units_in: int, halves: int, n: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The first kernel's random signs, and which of them are kept."""
    shape = (units_in, units_in, halves, n)
    rng = seeds.generator("wide_layer", seed, "signs")
    signs = np.where(rng.random(shape, np.float32) < 0.5, -1, 1)
    signs = signs.astype(np.float32)
    own = np.zeros(shape, bool)
    own[np.arange(units_in), np.arange(units_in)] = True
    wanted = np.array([1.0, -1.0], np.float32)[:halves, None]
    flat = (units_in, units_in * halves * n)
    return np.where(own, wanted, signs).reshape(flat), own.reshape(flat)

"""Which kept weights matter: those on a path from input to output."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import keras

from tf_lottery.graph.flow import Flow
from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.masks import Mask

_NAMED = 3


@dataclasses.dataclass(frozen=True)
class PathReport:
    """How much of a masked network is left in use.

    Args:
        kept_mask: the mask that was given.
        mask: the kept weights that lie on a path from an input to an output.
        empty: paths of the kernels without any weight left.
        dead_units: `{layer: units}` that are on no path, where there are any:
            output channels without a path from the input, or to an output.
        cut_by: paths of the kernels that keep some output of the model from
            depending on its input. Those that do so by themselves; where
            none does, those at which what comes from the input ends.
        is_cut: whether some output of the model does not depend on its input.
    """

    kept_mask: Mask
    mask: Mask
    empty: tuple[str, ...]
    dead_units: Mapping[str, int]
    cut_by: tuple[str, ...]
    is_cut: bool

    @property
    def density(self) -> float:
        """Fraction of the prunable weights that the given mask keeps."""
        return self.kept_mask.density

    @property
    def effective_density(self) -> float:
        """Fraction of the prunable weights that is kept and on a path."""
        return self.mask.density

    def __str__(self) -> str:
        """One line for people."""
        parts = []
        if self.is_cut:
            by = f": cut by {_some(self.cut_by)}" if self.cut_by else ""
            parts.append(f"an output does not depend on the input{by}")
        if self.empty:
            verb = "is" if len(self.empty) == 1 else "are"
            parts.append(f"{_some(self.empty)} {verb} empty")
        if self.dead_units:
            units = [
                f"{n} dead unit{'s' * (n > 1)} in {layer}"
                for layer, n in self.dead_units.items()
            ]
            parts.append(_some(units))
        parts.append(
            f"effective density {100 * self.effective_density:.3g} % of "
            f"{100 * self.density:.3g} %"
        )
        return "; ".join(parts)


def check_paths(
    model: keras.Model,
    mask: Mask | None = None,
    *,
    input_shape: Sequence[int] | None = None,
) -> PathReport:
    """Finds the kept weights on a path from an input to an output.

    A weight counts where what it multiplies depends on the input and what it
    is added to is on the way to an output, at some position. Biases carry
    nothing from the input; activations and normalisation per channel are
    taken to pass on each entry, and a product of two tensors either factor.
    Nothing is computed with the weights' values, and nothing is changed.

    This is exact, border positions of convolutions included, for models of
    Dense, convolution, embedding, pooling, reshaping, joining and pointwise
    layers, nested and shared ones too. Of other layers (attention, recurrent,
    layer normalisation, a user's own) every output is taken to depend on
    every input, and all kept weights inside are taken to be in use: what is
    called dead is dead, but more may be.

    Args:
        model: a Sequential or functional Keras model, masked or not; it is
            not changed.
        mask: in place of the model's own. Kernels that it does not name are
            whole.
        input_shape: of one example, where the model leaves sizes open.

    Returns:
        A `PathReport`; `str()` of it is one line.

    Raises:
        ValueError: the model is no graph of layers, leaves sizes open, or has
            no masks, or `mask` is not of its kernels.

    Example:
        >>> x = keras.Input((2,))
        >>> y = keras.layers.Dense(2, name="one")(x)
        >>> model = keras.Model(x, keras.layers.Dense(1, name="two")(y))
        >>> mask = {"one/kernel": [[1, 0], [1, 1]], "two/kernel": [[1], [0]]}
        >>> print(check_paths(model, Mask(mask)))
        1 dead unit in one; effective density 50 % of 66.7 %

    Reference:
        Tanaka et al., "Pruning neural networks without any data by
        iteratively conserving synaptic flow", 2020, arXiv:2006.05467,
        section 4 (layer-collapse); Vysogorets and Kempe, "Connectivity
        Matters", 2023, arXiv:2107.02306 (effective sparsity).
    """
    flow = Flow(model, input_shape)
    if mask is None:
        if not is_masked(model):
            raise ValueError(
                "`mask` must be given for a model without masks. Received: "
                f"mask=None and model {model.name!r}. Pass a Mask, or "
                "mask_model first."
            )
        mask = get_mask(model)
    return report_of(flow, mask)


def report_of(flow: Flow, mask: Mask) -> PathReport:
    """Returns what `check_paths` does, of a model whose graph has been read.

    Args:
        flow: the model.
        mask: of its kernels.

    Raises:
        ValueError: `mask` is not of its kernels.
    """
    mask.check_shapes({
        k: tuple(flow.variables[k].shape) for k in mask if k in flow.variables
    })
    live = flow.reached(mask)
    used, units = flow.used(mask, live)
    dead = {layer: int((~alive).sum()) for layer, alive in units.items()}
    empty = tuple(path for path, m in mask.items() if not m.any())
    is_cut = flow.is_cut(live)
    cut_by: Sequence[str] = ()
    if is_cut:
        cut_by = [
            path
            for path in empty
            if flow.is_cut(flow.reached({path: mask[path]}))
        ] or [path for path in mask if path in flow.ends(live)]
    return PathReport(
        mask,
        Mask(used),
        empty,
        {layer: n for layer, n in dead.items() if n},
        tuple(cut_by),
        is_cut,
    )


def effective_mask(model: keras.Model, mask: Mask | None = None) -> Mask:
    """Returns the kept weights that lie on a path from input to output.

    Args:
        model: as in `check_paths`.
        mask: as in `check_paths`.

    Returns:
        A `Mask`, a subset of the given one.

    Raises:
        ValueError: as in `check_paths`.

    Example:
        >>> x = keras.Input((2,))
        >>> y = keras.layers.Dense(2, name="one")(x)
        >>> model = keras.Model(x, keras.layers.Dense(1, name="two")(y))
        >>> mask = {"one/kernel": [[1, 0], [1, 1]], "two/kernel": [[1], [0]]}
        >>> effective_mask(model, Mask(mask))["one/kernel"].tolist()
        [[True, False], [True, False]]
    """
    return check_paths(model, mask).mask


def effective_density(model: keras.Model, mask: Mask | None = None) -> float:
    """Returns the fraction of the prunable weights on such a path.

    Args:
        model: as in `check_paths`.
        mask: as in `check_paths`.

    Raises:
        ValueError: as in `check_paths`.

    Reference:
        Vysogorets and Kempe, 2023, arXiv:2107.02306, section 3.
    """
    return check_paths(model, mask).effective_density


def _some(names: Sequence[str]) -> str:
    text = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    return f"{text} and {more} more" if more > 0 else text

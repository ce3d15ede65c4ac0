"""Where the kept weights are: layer by layer, and over the input."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tf_lottery.page.curves import level_name
from tf_lottery.page.curves import some_levels
from tf_lottery.page.drawing import WIDTH
from tf_lottery.page.drawing import legend_below
from tf_lottery.page.drawing import new_figure
from tf_lottery.page.run import Run
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table
from tf_lottery.report.styles import FONT_SIZE
from tf_lottery.report.styles import SMALL
from tf_lottery.report.styles import STYLES
from tf_lottery.report.summary import mean
from tf_lottery.tickets import Key
from tf_lottery.tickets import Ticket

_MOST_LINES = 8
_MOST_IMAGES = 4
_MOST_KERNELS = 64


def layer_density(runs: Sequence[Run]) -> Section | None:
    """Makes the section on the density of each kernel, level by level.

    Args:
        runs: a figure each.

    Raises:
        ValueError: a ticket.json is missing or damaged.
    """
    figures: list[Figure] = []
    rows: list[list[Any]] = []
    for number, run in enumerate(runs, 1):
        found = _densities(run)
        if len({level for level, _ in found}) < 2:
            continue
        name = "layer_density" + (f"_{number}" if len(runs) > 1 else "")
        figures.append(_density_figure(name, run.label, found, len(runs) > 1))
        rows += [
            [run.label, level, path, *values]
            for (level, path), values in found.items()
        ]
    if not figures:
        return None
    names = ["run", "level", "kernel", "density", "weights"]
    if len(runs) == 1:
        names, rows = names[1:], [row[1:] for row in rows]
    return Section(
        "Density of each layer",
        ["Share of each kernel's weights that is kept, mean over replicates."],
        figures,
        [Table("layer_density", names, rows, shown=0)],
    )


def first_layer(runs: Sequence[Run]) -> Section | None:
    """Makes the section on the masks of the first layer, over the input.

    Of a Dense layer on images it is the kept weights of each pixel; of a
    convolution, the kept positions of each kernel. One replicate is shown.

    Args:
        runs: a figure each; those whose first layer sees no image have none.

    Raises:
        ValueError: a ticket is missing or damaged.
    """
    figures, texts = [], []
    for number, run in enumerate(runs, 1):
        if not run.replicates:
            continue
        replicate = run.replicates[0]
        there = {key.level for key in run.keys()
                 if key.replicate == replicate}
        pictures: list[tuple[str, np.ndarray]] = []
        text = ""
        for level in some_levels(run, _MOST_IMAGES + 1):
            # All weights are kept at level 0: there is nothing to see.
            if level and level in there:
                ticket = run.ticket(Key(replicate, "main", level))
                image, text = _image(ticket)
                if image is not None:
                    pictures.append((level_name(run, level), image))
        if pictures:
            name = "first_layer" + (f"_{number}" if len(runs) > 1 else "")
            who = f"{run.label}, " if len(runs) > 1 else ""
            drawn = _masks(pictures, who.removesuffix(", "))
            figures.append(
                Figure(
                    name, drawn,
                    f"Masks of the first layer over the input, {who}"
                    f"replicate {replicate}: "
                    f"{'; '.join(label for label, _ in pictures)}.",
                )
            )
            if text not in texts:
                texts.append(text)
    if not figures:
        return None
    return Section("Masks of the first layer", texts, figures)


def _densities(run: Run) -> dict[tuple[int, str], tuple[float, int]]:
    """Mean density and size of each kernel, by level and path."""
    found: dict[tuple[int, str], list[float]] = {}
    sizes: dict[str, int] = {}
    for key in run.keys():
        for kernel in run.description(key)["kernels"]:
            size = math.prod(kernel["shape"])
            place = key.level, kernel["path"]
            sizes[kernel["path"]] = size
            found.setdefault(place, []).append(kernel["kept"] / max(size, 1))
    # By level, as they come in a model.
    order = list(sizes)
    return {
        place: (mean(found[place]), sizes[place[1]])
        for place in sorted(found, key=lambda p: (p[0], order.index(p[1])))
    }


def _density_figure(
    name: str,
    label: str,
    found: dict[tuple[int, str], tuple[float, int]],
    titled: bool,
) -> Figure:
    from matplotlib.ticker import MaxNLocator

    kernels = list(dict.fromkeys(path for _, path in found))
    levels = sorted({level for level, _ in found})
    if len(kernels) <= _MOST_LINES:
        figure, (axes,) = new_figure(height=4.0)
        _density_lines(axes, found, kernels)
        legend_below(figure, axes)
    else:
        height = 1.2 + 0.17 * len(kernels)
        figure, (axes,) = new_figure(height=height)
        _density_map(figure, axes, found, kernels, levels)
    axes.set_xlabel("level", fontsize=FONT_SIZE)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if titled:
        axes.set_title(label, fontsize=FONT_SIZE, loc="left")
    last = {
        path: found[levels[-1], path][0]
        for path in kernels if (levels[-1], path) in found
    }
    most, least = (pick(last, key=lambda k: last[k]) for pick in (max, min))
    return Figure(
        name,
        figure,
        f"Density of each kernel by level. At level {levels[-1]} {most} is "
        f"the densest ({100 * last[most]:.1f} %) and {least} the sparsest "
        f"({100 * last[least]:.1f} %).",
    )


def _density_lines(
    axes: Any,
    found: dict[tuple[int, str], tuple[float, int]],
    kernels: Sequence[str],
) -> None:
    for (color, marker, dashes), path in zip(STYLES, kernels):
        points = [
            (level, 100 * values[0])
            for (level, other), values in found.items()
            # A kernel without weights has no place on this axis.
            if other == path and values[0] > 0
        ]
        axes.plot(
            *zip(*points), color=color, marker=marker, linestyle=dashes,
            markersize=4.5, linewidth=1.6, label=path,
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(lambda x, _: f"{x:g}" if x in _LABELS
                                   else "")
    axes.tick_params(axis="y", which="minor", labelsize=SMALL)
    axes.set_ylabel("weights kept (%)", fontsize=FONT_SIZE)


# Between decades, those minor ticks that are named.
_LABELS = (0.2, 0.5, 2, 5, 20, 50)


def _density_map(
    figure: Any,
    axes: Any,
    found: dict[tuple[int, str], tuple[float, int]],
    kernels: Sequence[str],
    levels: Sequence[int],
) -> None:
    from matplotlib.colors import LogNorm

    values = np.array([
        [100 * found.get((level, path), (np.nan, 0))[0] for level in levels]
        for path in kernels
    ])
    positive = values[values > 0]
    image = axes.imshow(
        np.where(values > 0, values, np.nan), aspect="auto", cmap="cividis",
        norm=LogNorm(positive.min(), positive.max()),
        interpolation="nearest",
        extent=(levels[0] - 0.5, levels[-1] + 0.5, len(kernels) - 0.5, -0.5),
    )
    axes.set_yticks(range(len(kernels)), kernels, fontsize=SMALL - 2)
    axes.grid(visible=False)
    bar = figure.colorbar(image, ax=axes, format="{x:g}")
    bar.set_label("weights kept (%)", fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=SMALL)


def _image(ticket: Ticket) -> tuple[np.ndarray | None, str]:
    """What is kept of the first kernel as an image, and what it shows."""
    shape: Sequence[int] = ticket.config.get("input_shape") or ()
    keep: Any = next(iter(ticket.mask.values()))
    if keep.ndim == 2 and len(shape) == 3 and math.prod(shape) == len(keep):
        share = keep.mean(axis=1).reshape(shape).mean(axis=2)
        return share / max(float(share.mean()), 1e-12), (
            "Each pixel of the input: the kept weights that read it, in "
            "multiples of the mean over pixels. 0 is a pixel that the network "
            "does not see."
        )
    if keep.ndim == 4 and len(shape) == 3 and keep.shape[2] == shape[2]:
        kernels = min(keep.shape[3], _MOST_KERNELS)
        columns = math.ceil(math.sqrt(kernels))
        height, width = keep.shape[:2]
        tiles = np.full(
            (math.ceil(kernels / columns) * (height + 1) - 1,
             columns * (width + 1) - 1), np.nan,
        )
        for n in range(kernels):
            top, left = n // columns * (height + 1), n % columns * (width + 1)
            tiles[top : top + height, left : left + width] = (
                keep[:, :, :, n].mean(axis=2)
            )
        some = "" if kernels == keep.shape[3] else (
            f" The first {kernels} of {keep.shape[3]} are shown."
        )
        return tiles, (
            "Each square is a kernel of the first convolution: the share of "
            f"input channels that is kept at each position.{some}"
        )
    return None, ""


def _masks(pictures: Sequence[tuple[str, np.ndarray]], title: str) -> Any:
    columns = 2 if len(pictures) > 1 else 1
    from matplotlib.figure import Figure as Drawing

    lines = math.ceil(len(pictures) / columns)
    width = WIDTH if columns == 2 else 3.6
    figure = Drawing(figsize=(width, 0.5 + 2.35 * lines), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=FONT_SIZE)
    grid = figure.subplots(lines, columns, squeeze=False)
    # A corner that is kept by chance would leave the rest in the dark.
    top = max(
        float(np.nanpercentile(picture, 99)) for _, picture in pictures
    )
    whole = any(np.isnan(picture).any() for _, picture in pictures)
    drawn: Any = None
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (label, picture) in zip(grid.flat, pictures):
        drawn = axes.imshow(
            picture, cmap="cividis", vmin=0.0,
            vmax=1.0 if whole else max(top, 1.0), interpolation="nearest",
        )
        axes.set_title(label, fontsize=SMALL)
    bar = figure.colorbar(
        drawn, ax=list(grid.flat), shrink=0.7,
        extend="neither" if whole else "max",
    )
    bar.set_label(
        "share of channels kept" if whole else "kept, relative to the mean",
        fontsize=SMALL,
    )
    bar.ax.tick_params(labelsize=SMALL)
    return figure

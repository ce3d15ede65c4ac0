"""Figures as files, and as a part of the page that follows its colours."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery.report.layout import solve_layout
from tf_lottery.report.styles import SMALL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Width of a figure that a phone shows whole, in inches.
WIDTH = 5.2

_NO_METADATA = {
    "png": {"Software": None},
    "svg": {"Creator": None, "Date": None, "Format": None, "Type": None},
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
}
#: Forms of the files of a figure.
FORMS = tuple(_NO_METADATA)
_GREY = re.compile(r"#([0-9a-f]{2})\1\1\b", re.IGNORECASE)
_ID = re.compile(r' id="([^"]*)"')
_REFERENCE = re.compile(r'(xlink:href="#|href="#|url\(#)([^")]+)')
_FONT = re.compile(r"(font: [^;\"]*?px) [^;\"]+")
_LIGHTER = {"#0072b2": "var(--blue)"}


def new_figure(
    height: float = 3.6, columns: int = 1, width: float = WIDTH
) -> tuple[Figure, list[Axes]]:
    """Returns a figure with a row of axes, in the style of the report.

    Args:
        height: in inches.
        columns: number of axes.
        width: in inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    drawn = list(figure.subplots(1, columns, squeeze=False)[0])
    for axes in drawn:
        axes.tick_params(labelsize=SMALL)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="0.9", linewidth=0.8)
        axes.set_axisbelow(True)
    return figure, drawn


def legend_below(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """Puts a legend under the axes, where it covers nothing.

    Args:
        figure: which.
        axes: whose lines it names.
        columns: of the legend.
    """
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", frameon=False,
        fontsize=SMALL, ncols=columns, handlelength=3.0,
    )


def figure_files(
    name: str, figure: Figure, forms: Iterable[str] = FORMS
) -> dict[str, bytes]:
    """Returns a figure as PNG, SVG and PDF, with the same bytes each time.

    Args:
        name: of the figure; what its SVG refers to inside is named after it.
        figure: any matplotlib figure.
        forms: which of `FORMS`.

    Returns:
        `{"png": bytes, "svg": bytes, "pdf": bytes}`, with no date and no
        version in them; the text of the SVG is text.
    """
    import matplotlib

    solve_layout(figure)
    files = {}
    options: Any = {
        "svg.hashsalt": name, "svg.fonttype": "none", "pdf.fonttype": 42,
        # Of a figure that asks for its own size the page knows it.
        "savefig.bbox": None,
    }
    for form in forms:
        buffer = io.BytesIO()
        with matplotlib.rc_context(options):
            figure.savefig(
                buffer, format=form, dpi=200, metadata=_NO_METADATA[form]
            )
        files[form] = buffer.getvalue()
    return files


def inline_svg(name: str, svg: bytes, label: str) -> str:
    """Returns an SVG file as an element of the page.

    Greys become tints between the page's ink and its paper, so axes and text
    are legible in light and dark; text is in the page's font; identifiers
    that something refers to get the figure's name before them, the others
    go, so that they are unique on the page.

    Args:
        name: of the figure.
        svg: as `figure_files` returned it.
        label: id of the element that describes it.
    """
    text = svg.decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    used = {match[2] for match in _REFERENCE.finditer(text)}
    text = _ID.sub(
        lambda m: f' id="{name}-{m[1]}"' if m[1] in used else "", text
    )
    text = _REFERENCE.sub(lambda m: f"{m[1]}{name}-{m[2]}", text)
    text = _GREY.sub(lambda m: f"var(--t{_tint(m[1])})", text)
    for color, variable in _LIGHTER.items():
        text = re.sub(color, variable, text, flags=re.IGNORECASE)
    text = _FONT.sub(r"\1 var(--sans)", text)
    # matplotlib's own rule, once for each figure: the page has it.
    text = re.sub(r"<style[^>]*>.*?</style>", "", text, flags=re.DOTALL)
    start = text.index(">")
    head = re.sub(r'\s(width|height|version|xmlns:xlink)="[^"]*"', "",
                  text[:start])
    head = head.replace(
        "<svg", f'<svg role="img" aria-labelledby="{label}"', 1
    )
    # Where xlink was declared nothing needs it: HTML knows both.
    return re.sub(r"\n\s*", "\n", f"{head}{text[start:]}").strip()


def spread(values: Sequence[int], most: int) -> list[int]:
    """Returns a few of the values, evenly apart, the ends among them.

    Args:
        values: sorted.
        most: so many at most, from 2.

    Example:
        >>> spread([0, 1, 2, 3, 4, 5, 6], 3)
        [0, 3, 6]
    """
    if len(values) <= most:
        return list(values)
    last = len(values) - 1
    return [values[round(n * last / (most - 1))] for n in range(most)]


def tints() -> Iterable[int]:
    """The tints that `inline_svg` uses: 0 is ink, 10 is paper."""
    return range(11)


def _tint(level: str) -> int:
    return round(int(level, 16) / 25.5)

"""What a part of the report is made of: text, figures and tables."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture, written as PNG, SVG and PDF and shown on the page.

    Args:
        name: of its files, without an ending, such as `"movement"`; letters,
            digits and underscores.
        drawn: the matplotlib figure.
        alt: what there is to see, in a sentence, for who cannot see it.
    """

    name: str
    drawn: Drawing
    alt: str


@dataclasses.dataclass(frozen=True)
class Table:
    """Rows of numbers, written as CSV and shown on the page.

    Args:
        name: of its file, without the ending.
        columns: their names; a field's terms, in snake_case.
        rows: one sequence of plain values per row: numbers in full precision,
            None where there is none.
        shown: how many rows the page shows; all if None. The file has all.
        metric: what columns with its name, and gaps, have values of.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    shown: int | None = None
    metric: Metric = ACCURACY


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the report.

    Args:
        title: its heading.
        text: paragraphs, plain text, that say what was found and how it was
            measured.
        figures: in order.
        tables: in order, below the figures.
    """

    title: str
    text: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()

"""The report of one run or of several: a page, its figures and its tables.

Each part is made by a function from runs to a `Section`, which reads run
directories and nothing else; `SECTIONS` has them in the order of the page.
"""

from collections.abc import Callable, Sequence

from tf_lottery.page.run import Run
from tf_lottery.page.section import Figure, Section, Table

#: Makes a section from runs, or says by None that they have nothing for it.
Maker = Callable[[Sequence[Run]], Section | None]

#: Makers of the parts of the page, in order.
SECTIONS: tuple[Maker, ...] = ()

__all__ = ["Figure", "Maker", "Run", "SECTIONS", "Section", "Table"]

"""The report of one run or of several: a page, its figures and its tables.

Each part is made by a function from runs to a `Section`, which reads run
directories and nothing else; `SECTIONS` has them in the order of the page,
below the verdict.
"""

from tf_lottery.page.follow import Follower
from tf_lottery.page.reading import read_runs
from tf_lottery.page.run import Maker
from tf_lottery.page.run import Run
from tf_lottery.page.section import Figure, Section, Table
from tf_lottery.page.sections import SECTIONS
from tf_lottery.page.writing import write

__all__ = [
    "Figure", "Follower", "Maker", "Run", "SECTIONS", "Section", "Table",
    "read_runs", "write",
]

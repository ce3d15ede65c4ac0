"""The report of one run or of several: a page, its figures and its tables.

Each part is made by a function from runs to a `Section`, which reads run
directories and nothing else; `SECTIONS` has them in the order of the page,
below the verdict.
"""

from tf_lottery.page.curves import accuracy
from tf_lottery.page.curves import early_stop
from tf_lottery.page.curves import learning_curves
from tf_lottery.page.follow import Follower
from tf_lottery.page.layers import first_layer
from tf_lottery.page.layers import layer_density
from tf_lottery.page.reading import read_runs
from tf_lottery.page.run import Maker
from tf_lottery.page.run import Run
from tf_lottery.page.section import Figure, Section, Table
from tf_lottery.page.settings import configuration
from tf_lottery.page.settings import costs
from tf_lottery.page.writing import write

#: Makers of the parts of the page, in order.
SECTIONS: tuple[Maker, ...] = (
    accuracy,
    early_stop,
    learning_curves,
    layer_density,
    first_layer,
    costs,
    configuration,
)

__all__ = [
    "Figure", "Follower", "Maker", "Run", "SECTIONS", "Section", "Table",
    "read_runs", "write",
]

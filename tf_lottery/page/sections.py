"""The parts of the page, in order."""

from tf_lottery.page.connectivity import connectivity
from tf_lottery.page.curves import accuracy
from tf_lottery.page.curves import early_stop
from tf_lottery.page.curves import learning_curves
from tf_lottery.page.generalisation import generalisation
from tf_lottery.page.initial_values import initial_values
from tf_lottery.page.layers import first_layer
from tf_lottery.page.layers import layer_density
from tf_lottery.page.movement import movement
from tf_lottery.page.overlap import overlap
from tf_lottery.page.run import Maker
from tf_lottery.page.settings import configuration
from tf_lottery.page.settings import costs
from tf_lottery.page.signs import signs
from tf_lottery.page.units import units

#: Makers of the parts below the verdict.
SECTIONS: tuple[Maker, ...] = (
    accuracy,
    early_stop,
    learning_curves,
    generalisation,
    layer_density,
    first_layer,
    units,
    movement,
    initial_values,
    signs,
    overlap,
    connectivity,
    costs,
    configuration,
)

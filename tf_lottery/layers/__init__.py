"""How any Keras model carries a mask."""

from tf_lottery.layers.attach import apply_masks
from tf_lottery.layers.attach import get_mask
from tf_lottery.layers.attach import is_masked
from tf_lottery.layers.attach import mask_model
from tf_lottery.layers.attach import masked
from tf_lottery.layers.attach import set_mask
from tf_lottery.layers.attach import strip_masks
from tf_lottery.layers.cloning import why_not_copied
from tf_lottery.layers.convert import NOT_KERNELS
from tf_lottery.layers.masked import MASKED_LAYERS
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.masked import MaskedKernel
from tf_lottery.layers.masked import kernels_as
from tf_lottery.layers.masked import raw_kernels
from tf_lottery.layers.slots import inner_optimizers
from tf_lottery.layers.slots import mixes_state
from tf_lottery.layers.slots import mixes_weights
from tf_lottery.layers.slots import neutral_slots
from tf_lottery.layers.slots import reset_optimizer
from tf_lottery.layers.state import get_state
from tf_lottery.layers.state import masked_kernels
from tf_lottery.layers.state import named_variables
from tf_lottery.layers.state import read
from tf_lottery.layers.state import set_state
from tf_lottery.layers.state import walk
from tf_lottery.layers.stock import register_layer

__all__ = [
    "MASKED_LAYERS",
    "Masked",
    "MaskedKernel",
    "NOT_KERNELS",
    "apply_masks",
    "get_mask",
    "get_state",
    "inner_optimizers",
    "is_masked",
    "kernels_as",
    "mask_model",
    "masked",
    "masked_kernels",
    "named_variables",
    "mixes_state",
    "mixes_weights",
    "neutral_slots",
    "raw_kernels",
    "read",
    "register_layer",
    "reset_optimizer",
    "set_mask",
    "set_state",
    "strip_masks",
    "walk",
    "why_not_copied",
]

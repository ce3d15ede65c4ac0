"""How any Keras model carries a mask."""

from tf_lottery.layers.attach import add_masks
from tf_lottery.layers.attach import apply_masks
from tf_lottery.layers.attach import get_mask
from tf_lottery.layers.attach import is_masked
from tf_lottery.layers.attach import mask_model
from tf_lottery.layers.attach import set_mask
from tf_lottery.layers.attach import strip_masks
from tf_lottery.layers.masked import MASKED_LAYERS
from tf_lottery.layers.masked import MaskedKernel
from tf_lottery.layers.state import get_state
from tf_lottery.layers.state import masked_kernels
from tf_lottery.layers.state import named_variables
from tf_lottery.layers.state import set_state
from tf_lottery.layers.state import walk

__all__ = [
    "MASKED_LAYERS",
    "MaskedKernel",
    "add_masks",
    "apply_masks",
    "get_mask",
    "get_state",
    "is_masked",
    "mask_model",
    "masked_kernels",
    "named_variables",
    "set_mask",
    "set_state",
    "strip_masks",
    "walk",
]

"""Image-classification data as uint8 NumPy arrays: TFDS sets and digits."""

from tf_lottery.data.augment import FlipCrop
from tf_lottery.data.images import DataInfo
from tf_lottery.data.images import ImageData
from tf_lottery.data.images import Split
from tf_lottery.data.images import describe
from tf_lottery.data.images import load
from tf_lottery.data.images import per_class

__all__ = [
    "DataInfo",
    "FlipCrop",
    "ImageData",
    "Split",
    "describe",
    "load",
    "per_class",
]

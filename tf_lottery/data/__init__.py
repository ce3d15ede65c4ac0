"""Images and texts as NumPy arrays: TFDS sets, embedded ones, and files."""

from tf_lottery.data.augment import FlipCrop
from tf_lottery.data.facts import DataInfo
from tf_lottery.data.facts import DataSet
from tf_lottery.data.facts import Split
from tf_lottery.data.sets import describe
from tf_lottery.data.sets import load
from tf_lottery.data.sets import per_class
from tf_lottery.data.text import TextSettings
from tf_lottery.data.tokens import read_tokens

__all__ = [
    "DataInfo",
    "DataSet",
    "FlipCrop",
    "Split",
    "TextSettings",
    "describe",
    "load",
    "per_class",
    "read_tokens",
]

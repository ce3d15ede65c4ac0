"""Masks: what is kept, how many, and which. NumPy only."""

from tf_lottery.masks.distance import MaskComparison
from tf_lottery.masks.distance import Overlap
from tf_lottery.masks.distance import compare_masks
from tf_lottery.masks.distribution import SCOPES
from tf_lottery.masks.distribution import PruningRates
from tf_lottery.masks.distribution import check_rate
from tf_lottery.masks.distribution import counts_at_most
from tf_lottery.masks.distribution import check_scope
from tf_lottery.masks.distribution import check_target
from tf_lottery.masks.distribution import keep_count
from tf_lottery.masks.distribution import target_counts
from tf_lottery.masks.mask import Mask
from tf_lottery.masks.match import match_paths
from tf_lottery.masks.select import COLLAPSE
from tf_lottery.masks.select import check_collapse
from tf_lottery.masks.select import check_emptied
from tf_lottery.masks.select import floored
from tf_lottery.masks.select import select
from tf_lottery.masks.shares import erk_counts
from tf_lottery.masks.shares import uniform_counts
from tf_lottery.masks.structure import group_shape
from tf_lottery.masks.structure import structured_counts
from tf_lottery.masks.structure import structured_sparsity
from tf_lottery.masks.top import threaded

__all__ = [
    "COLLAPSE",
    "SCOPES",
    "Mask",
    "MaskComparison",
    "Overlap",
    "PruningRates",
    "check_collapse",
    "check_emptied",
    "check_rate",
    "check_scope",
    "check_target",
    "compare_masks",
    "counts_at_most",
    "erk_counts",
    "floored",
    "group_shape",
    "keep_count",
    "match_paths",
    "select",
    "structured_counts",
    "structured_sparsity",
    "target_counts",
    "threaded",
    "uniform_counts",
]

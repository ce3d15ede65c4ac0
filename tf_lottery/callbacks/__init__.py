"""Pruning and the search for tickets inside `model.fit`."""

from tf_lottery.callbacks.early_bird import EarlyBird
from tf_lottery.callbacks.gradual import GradualPruning
from tf_lottery.callbacks.guard import MaskGuard
from tf_lottery.callbacks.logger import SparsityLogger
from tf_lottery.callbacks.lottery import LotteryTicket
from tf_lottery.callbacks.rewiring import DynamicSparseTraining

__all__ = [
    "DynamicSparseTraining",
    "EarlyBird",
    "GradualPruning",
    "LotteryTicket",
    "MaskGuard",
    "SparsityLogger",
]

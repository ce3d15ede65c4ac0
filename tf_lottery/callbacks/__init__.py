"""Pruning and the search for tickets inside `model.fit`."""

from tf_lottery.callbacks.gradual import GradualPruning
from tf_lottery.callbacks.guard import MaskGuard
from tf_lottery.callbacks.logger import SparsityLogger
from tf_lottery.callbacks.lottery import LotteryTicket

__all__ = ["GradualPruning", "LotteryTicket", "MaskGuard", "SparsityLogger"]

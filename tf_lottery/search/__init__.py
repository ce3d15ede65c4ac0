"""Searches: each yields tickets."""

from tf_lottery.search.imp import RETRAIN
from tf_lottery.search.imp import check_search
from tf_lottery.search.imp import find_tickets
from tf_lottery.search.imp import level_seed
from tf_lottery.search.rates import pruning_rates

__all__ = [
    "RETRAIN",
    "check_search",
    "find_tickets",
    "level_seed",
    "pruning_rates",
]

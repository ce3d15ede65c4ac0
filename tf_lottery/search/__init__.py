"""Searches: each yields tickets."""

from tf_lottery.search.imp import find_tickets
from tf_lottery.search.imp import prune_level
from tf_lottery.search.rates import pruning_rates
from tf_lottery.search.settings import RETRAIN
from tf_lottery.search.settings import check_dtypes
from tf_lottery.search.settings import check_search
from tf_lottery.search.settings import level_seed

__all__ = [
    "RETRAIN",
    "check_dtypes",
    "check_search",
    "find_tickets",
    "level_seed",
    "prune_level",
    "pruning_rates",
]

"""Searches: each yields tickets."""

from tf_lottery.search.changes import Gradual
from tf_lottery.search.changes import Rewiring
from tf_lottery.search.changes import prune_to
from tf_lottery.search.channels import check_choice
from tf_lottery.search.early_bird import WINDOW
from tf_lottery.search.early_bird import EarlyBird
from tf_lottery.search.early_bird import mask_distance
from tf_lottery.search.imp import find_tickets
from tf_lottery.search.imp import prune_level
from tf_lottery.search.perturbed import EpsilonBall
from tf_lottery.search.perturbed import check_epsilon
from tf_lottery.search.perturbed import within_epsilon
from tf_lottery.search.rates import pruning_rates
from tf_lottery.search.scored import ScoredModel
from tf_lottery.search.settings import RETRAIN
from tf_lottery.search.settings import check_dtypes
from tf_lottery.search.settings import check_search
from tf_lottery.search.settings import level_seed
from tf_lottery.search.strong import check_strong
from tf_lottery.search.strong import rescaled
from tf_lottery.search.targets import find_at_sparsities
from tf_lottery.search.targets import scoring_context
from tf_lottery.search.transfer import counts_of
from tf_lottery.search.transfer import replaced_paths
from tf_lottery.search.transfer import transfer_tickets

__all__ = [
    "EarlyBird",
    "EpsilonBall",
    "Gradual",
    "RETRAIN",
    "Rewiring",
    "ScoredModel",
    "WINDOW",
    "check_choice",
    "check_dtypes",
    "check_epsilon",
    "check_strong",
    "check_search",
    "counts_of",
    "find_at_sparsities",
    "find_tickets",
    "level_seed",
    "mask_distance",
    "prune_level",
    "prune_to",
    "pruning_rates",
    "replaced_paths",
    "rescaled",
    "scoring_context",
    "transfer_tickets",
    "within_epsilon",
]

"""Pruners: one file per paper, found by name in `PRUNERS`."""

import importlib
import pkgutil

from tf_lottery.pruners.base import PRUNERS
from tf_lottery.pruners.base import Pruner
from tf_lottery.pruners.base import PruningContext
from tf_lottery.pruners.base import get_pruner
from tf_lottery.pruners.base import register
from tf_lottery.pruners.inverted import Inverted
from tf_lottery.pruners.prune import prune
from tf_lottery.pruners.prune import scores
from tf_lottery.pruners.rewire import REWIRERS
from tf_lottery.pruners.rewire import Rewirer
from tf_lottery.pruners.rewire import get_rewirer

# Every file here registers what it defines: a new criterion is one new file.
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "Inverted",
    "PRUNERS",
    "Pruner",
    "PruningContext",
    "REWIRERS",
    "Rewirer",
    "get_pruner",
    "get_rewirer",
    "prune",
    "register",
    "scores",
]

"""Published networks by name, and the user's own by import path.

Every module of this package is imported here, so that a new family is one
new file whose builders carry `@register("name")`.
"""

import importlib
import pkgutil

from tf_lottery.models.initial import check_init
from tf_lottery.models.output import gives_probabilities
from tf_lottery.models.registry import MODELS
from tf_lottery.models.registry import build_model
from tf_lottery.models.registry import check_model
from tf_lottery.models.registry import register
from tf_lottery.models.scope import clean_names
from tf_lottery.models.scope import seeded

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = [
    "MODELS",
    "build_model",
    "check_init",
    "check_model",
    "clean_names",
    "gives_probabilities",
    "register",
    "seeded",
]

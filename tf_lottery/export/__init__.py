"""Shipping a ticket."""

import sys
import types

from tf_lottery.export.compact import Compaction
from tf_lottery.export.compact import compact
from tf_lottery.export.files import export
from tf_lottery.export.report import ExportReport
from tf_lottery.export.saved_model import check_exported
from tf_lottery.export.saved_model import export_saved_model


class _Export(types.ModuleType):
    """`tf_lottery.export` is this package, and is called as its function."""

    __call__ = staticmethod(export)


sys.modules[__name__].__class__ = _Export

__all__ = [
    "Compaction",
    "check_exported",
    "ExportReport",
    "compact",
    "export",
    "export_saved_model",
]

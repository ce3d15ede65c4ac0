"""What a model's graph says: which weights lie on a path through it."""

from tf_lottery.graph.effective import PathReport
from tf_lottery.graph.effective import check_paths
from tf_lottery.graph.effective import effective_density
from tf_lottery.graph.effective import effective_mask
from tf_lottery.graph.effective import report_of
from tf_lottery.graph.flow import Flow

__all__ = [
    "Flow",
    "PathReport",
    "check_paths",
    "effective_density",
    "effective_mask",
    "report_of",
]

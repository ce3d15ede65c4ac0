"""Is it a winning ticket: controls, the verdict, and what it cost."""

from tf_lottery.analysis.comparison import Comparison
from tf_lottery.analysis.comparison import accuracy_differences
from tf_lottery.analysis.comparison import early_stop_ratios
from tf_lottery.analysis.controls import CONTROLS
from tf_lottery.analysis.controls import REWOUND
from tf_lottery.analysis.controls import Control
from tf_lottery.analysis.controls import check_controls
from tf_lottery.analysis.controls import permuted
from tf_lottery.analysis.cost import COST_COLUMNS
from tf_lottery.analysis.cost import Cost
from tf_lottery.analysis.cost import CostMeter
from tf_lottery.analysis.cost import inference_flops
from tf_lottery.analysis.cost import training_flops
from tf_lottery.analysis.guard import PathGuard
from tf_lottery.analysis.ledger import SEARCH_COLUMNS
from tf_lottery.analysis.ledger import with_search_costs
from tf_lottery.analysis.paired import ALPHA
from tf_lottery.analysis.paired import Paired
from tf_lottery.analysis.paired import paired_differences
from tf_lottery.analysis.paired import smallest_step
from tf_lottery.analysis.scored import SCORED
from tf_lottery.analysis.uses import KernelUse
from tf_lottery.analysis.uses import kernel_uses
from tf_lottery.analysis.verdict import VERDICT_COLUMNS
from tf_lottery.analysis.verdict import LevelVerdict
from tf_lottery.analysis.verdict import Verdict
from tf_lottery.analysis.verdict import judge

__all__ = [
    "ALPHA",
    "CONTROLS",
    "COST_COLUMNS",
    "Comparison",
    "Control",
    "Cost",
    "CostMeter",
    "KernelUse",
    "LevelVerdict",
    "Paired",
    "PathGuard",
    "REWOUND",
    "SCORED",
    "SEARCH_COLUMNS",
    "VERDICT_COLUMNS",
    "Verdict",
    "accuracy_differences",
    "check_controls",
    "early_stop_ratios",
    "inference_flops",
    "judge",
    "kernel_uses",
    "paired_differences",
    "permuted",
    "smallest_step",
    "training_flops",
    "with_search_costs",
]

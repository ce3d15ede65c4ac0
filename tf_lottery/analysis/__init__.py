"""Is it a winning ticket, what it cost, and what tickets have in common."""

from tf_lottery.analysis.area import Area
from tf_lottery.analysis.area import SPARSE
from tf_lottery.analysis.area import area_between
from tf_lottery.analysis.area import areas
from tf_lottery.analysis.comparison import Comparison
from tf_lottery.analysis.comparison import advantages
from tf_lottery.analysis.comparison import early_stop_ratios
from tf_lottery.analysis.connectivity import POINTS
from tf_lottery.analysis.connectivity import Connectivity
from tf_lottery.analysis.connectivity import LineEvaluator
from tf_lottery.analysis.connectivity import Point
from tf_lottery.analysis.connectivity import STABLE_BELOW
from tf_lottery.analysis.connectivity import linear_connectivity
from tf_lottery.analysis.controls import CONTROLS
from tf_lottery.analysis.controls import NOISY
from tf_lottery.analysis.controls import REWOUND
from tf_lottery.analysis.controls import Control
from tf_lottery.analysis.controls import check_controls
from tf_lottery.analysis.controls import permuted
from tf_lottery.analysis.cost import COST_COLUMNS
from tf_lottery.analysis.cost import Cost
from tf_lottery.analysis.cost import CostMeter
from tf_lottery.analysis.cost import inference_flops
from tf_lottery.analysis.cost import training_flops
from tf_lottery.analysis.generalisation import Generalisation
from tf_lottery.analysis.generalisation import best_level
from tf_lottery.analysis.generalisation import measure_generalisation
from tf_lottery.analysis.guard import PathGuard
from tf_lottery.analysis.initial_values import BIMODAL
from tf_lottery.analysis.initial_values import InitialValues
from tf_lottery.analysis.initial_values import bimodality
from tf_lottery.analysis.initial_values import describe_values
from tf_lottery.analysis.initial_values import value_edges
from tf_lottery.analysis.ledger import SEARCH_COLUMNS
from tf_lottery.analysis.ledger import with_search_costs
from tf_lottery.analysis.measures import KernelMeasures
from tf_lottery.analysis.measures import LevelMeasures
from tf_lottery.analysis.measures import Measures
from tf_lottery.analysis.measures import measure_tickets
from tf_lottery.analysis.movement import Movement
from tf_lottery.analysis.movement import compare_movement
from tf_lottery.analysis.movement import displacement
from tf_lottery.analysis.paired import ALPHA
from tf_lottery.analysis.paired import Paired
from tf_lottery.analysis.paired import paired_differences
from tf_lottery.analysis.paired import smallest_step
from tf_lottery.analysis.scored import SCORED
from tf_lottery.analysis.signs import Signs
from tf_lottery.analysis.signs import count_signs
from tf_lottery.analysis.speed import Speed
from tf_lottery.analysis.speed import measure_speed
from tf_lottery.analysis.spread import Spread
from tf_lottery.analysis.units import Degrees
from tf_lottery.analysis.units import unit_degrees
from tf_lottery.analysis.transfer import corrected_cells
from tf_lottery.analysis.transfer import transfer_cell
from tf_lottery.analysis.transfer import transfer_columns
from tf_lottery.analysis.uses import KernelUse
from tf_lottery.analysis.uses import kernel_uses
from tf_lottery.analysis.verdict import VERDICT_COLUMNS
from tf_lottery.analysis.verdict import LevelVerdict
from tf_lottery.analysis.verdict import Verdict
from tf_lottery.analysis.verdict import judge

__all__ = [
    "ALPHA",
    "Area",
    "BIMODAL",
    "CONTROLS",
    "COST_COLUMNS",
    "Comparison",
    "Connectivity",
    "Control",
    "Cost",
    "CostMeter",
    "Degrees",
    "Generalisation",
    "InitialValues",
    "KernelMeasures",
    "KernelUse",
    "LevelMeasures",
    "LevelVerdict",
    "LineEvaluator",
    "Measures",
    "Movement",
    "NOISY",
    "POINTS",
    "Paired",
    "PathGuard",
    "Point",
    "REWOUND",
    "SCORED",
    "SEARCH_COLUMNS",
    "SPARSE",
    "STABLE_BELOW",
    "Signs",
    "Speed",
    "Spread",
    "VERDICT_COLUMNS",
    "Verdict",
    "advantages",
    "area_between",
    "areas",
    "best_level",
    "bimodality",
    "check_controls",
    "compare_movement",
    "corrected_cells",
    "count_signs",
    "describe_values",
    "displacement",
    "early_stop_ratios",
    "inference_flops",
    "judge",
    "kernel_uses",
    "linear_connectivity",
    "measure_generalisation",
    "measure_speed",
    "measure_tickets",
    "paired_differences",
    "permuted",
    "smallest_step",
    "training_flops",
    "transfer_cell",
    "transfer_columns",
    "unit_degrees",
    "value_edges",
    "with_search_costs",
]

"""The random subset-sum problem behind the strong lottery-ticket hypothesis.

A large random network holds a good small one because sums of subsets of a few
random numbers come near any number. Here those sums are computed exactly,
also where each chosen number may be moved a little. NumPy alone, and Keras
where a model is asked for.
"""

from tf_lottery.theory.bounds import counting_bound
from tf_lottery.theory.bounds import theorem_order
from tf_lottery.theory.coverage import smallest_covering
from tf_lottery.theory.coverage import smallest_reaching
from tf_lottery.theory.subset_sum import Solution
from tf_lottery.theory.subset_sum import solve
from tf_lottery.theory.sweep import DISTRIBUTIONS
from tf_lottery.theory.sweep import Point
from tf_lottery.theory.sweep import draw
from tf_lottery.theory.sweep import sweep
from tf_lottery.theory.wide_layer import WideLayer
from tf_lottery.theory.wide_layer import weight_candidates
from tf_lottery.theory.wide_layer import wide_layer

__all__ = [
    "DISTRIBUTIONS",
    "Point",
    "Solution",
    "WideLayer",
    "counting_bound",
    "draw",
    "smallest_covering",
    "smallest_reaching",
    "solve",
    "sweep",
    "theorem_order",
    "weight_candidates",
    "wide_layer",
]

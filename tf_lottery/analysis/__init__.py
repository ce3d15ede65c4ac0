"""Is it a winning ticket: controls to compare it with."""

from tf_lottery.analysis.controls import CONTROLS
from tf_lottery.analysis.controls import REWOUND
from tf_lottery.analysis.controls import Control
from tf_lottery.analysis.controls import check_controls
from tf_lottery.analysis.controls import permuted

__all__ = ["CONTROLS", "REWOUND", "Control", "check_controls", "permuted"]

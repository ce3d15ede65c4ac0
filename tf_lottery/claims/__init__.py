"""Claims of Frankle and Carbin (2019), and whether runs agree with them.

A `Figure` is what is run and what is claimed of it; each `Claim` has its rule
beside it. They read run directories, finished or not.
"""

from tf_lottery.claims.appendix import APPENDIX
from tf_lottery.claims.claim import AGREES
from tf_lottery.claims.claim import DISAGREES
from tf_lottery.claims.claim import NOT_RUN
from tf_lottery.claims.claim import POINTS
from tf_lottery.claims.claim import RATIO
from tf_lottery.claims.claim import SHARE
from tf_lottery.claims.claim import UNDECIDED
from tf_lottery.claims.claim import Claim
from tf_lottery.claims.claim import Outcome
from tf_lottery.claims.claim import Part
from tf_lottery.claims.claim import Sample
from tf_lottery.claims.claim import judge
from tf_lottery.claims.figure import Figure
from tf_lottery.claims.figure import cost
from tf_lottery.claims.figure import read_runs
from tf_lottery.claims.main_body import MAIN_BODY
from tf_lottery.claims.wording import CLAIM_COLUMNS
from tf_lottery.claims.wording import claim_rows
from tf_lottery.claims.wording import markdown
from tf_lottery.claims.wording import renewed
from tf_lottery.claims.wording import text

#: Every figure, `{name: Figure}`, in the order of the paper.
FIGURES = {**MAIN_BODY, **APPENDIX}

__all__ = [
    "AGREES",
    "CLAIM_COLUMNS",
    "Claim",
    "DISAGREES",
    "FIGURES",
    "Figure",
    "NOT_RUN",
    "Outcome",
    "POINTS",
    "Part",
    "RATIO",
    "SHARE",
    "Sample",
    "UNDECIDED",
    "claim_rows",
    "cost",
    "judge",
    "markdown",
    "read_runs",
    "renewed",
    "text",
]

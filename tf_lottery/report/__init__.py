"""What a run found: results.csv, tables, a sentence, a figure, progress.

Tables and figures read the rows of results.csv and nothing else of a run, so
they can be made again from that file alone. matplotlib and tqdm are imported
by the functions that need them; the rest is the standard library.
"""

from tf_lottery.report.connectivity import (
    connectivity_figure,
    connectivity_table,
    read_lines,
    write_lines,
)
from tf_lottery.report.costs import COST_COLUMNS, SEARCH_NOTE, cost_rows
from tf_lottery.report.figures import (
    accuracy_figure,
    save_figure,
    weights_axis,
)
from tf_lottery.report.findings import finding
from tf_lottery.report.metrics import (
    METRIC_COLUMNS,
    read_evaluations,
    tidy_metrics,
    write_metrics,
)
from tf_lottery.report.perturbation import (
    perturbation_csv,
    perturbation_figure,
    perturbation_finding,
    perturbation_table,
)
from tf_lottery.report.progress import Progress
from tf_lottery.report.results import (
    COLUMNS,
    columns,
    read_results,
    write_results,
)
from tf_lottery.report.rewind import choice_text, read_choice, write_choice
from tf_lottery.report.subset_sum import (
    aligned,
    subset_sum_figure,
    subset_sum_table,
    write_points,
    write_table,
)
from tf_lottery.report.summary import summarize
from tf_lottery.report.tables import text_table
from tf_lottery.report.tensorboard import log_kernels, require_tensorboard
from tf_lottery.report.transfer import (
    transfer_figure,
    transfer_finding,
    transfer_table,
)

__all__ = [
    "COLUMNS",
    "COST_COLUMNS",
    "METRIC_COLUMNS",
    "Progress",
    "SEARCH_NOTE",
    "accuracy_figure",
    "aligned",
    "choice_text",
    "columns",
    "connectivity_figure",
    "connectivity_table",
    "cost_rows",
    "finding",
    "log_kernels",
    "perturbation_csv",
    "perturbation_figure",
    "perturbation_finding",
    "perturbation_table",
    "read_choice",
    "read_evaluations",
    "read_lines",
    "read_results",
    "require_tensorboard",
    "save_figure",
    "subset_sum_figure",
    "subset_sum_table",
    "summarize",
    "text_table",
    "tidy_metrics",
    "transfer_figure",
    "transfer_finding",
    "transfer_table",
    "weights_axis",
    "write_choice",
    "write_lines",
    "write_metrics",
    "write_points",
    "write_results",
    "write_table",
]

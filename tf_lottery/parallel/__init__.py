"""Several trainings at once, in worker processes of Ray.

The run directory is what the processes share: a training reads its parent's
ticket from there and writes its own level, complete or not at all. So a task
is one training, named by its key, and may run again or elsewhere at any time.
A worker is a process that trains one key after another: TensorFlow is loaded,
the data are read and the loop is traced once in it.
"""

from tf_lottery.parallel.crew import train_in_parallel
from tf_lottery.parallel.start import check_parallel

__all__ = ["check_parallel", "train_in_parallel"]

"""Training under a `tf.distribute` strategy."""

from tf_lottery.train.checkpoint import Checkpoint
from tf_lottery.train.checkpoint import NoSnapshot
from tf_lottery.train.checkpoint import Snapshot
from tf_lottery.train.evaluate import Evaluation
from tf_lottery.train.evaluate import Measure
from tf_lottery.train.evaluate import summarize
from tf_lottery.train.loop import Trainer
from tf_lottery.train.losses import example_loss
from tf_lottery.train.optimizers import OPTIMIZERS
from tf_lottery.train.optimizers import check_optimizer
from tf_lottery.train.optimizers import make_optimizer
from tf_lottery.train.order import Fork
from tf_lottery.train.settings import TrainingSettings
from tf_lottery.train.signals import Stopped
from tf_lottery.train.signals import stop_signals
from tf_lottery.train.state import TrainingState
from tf_lottery.train.strategy import make_strategy
from tf_lottery.train.workers import Workers
from tf_lottery.train.workers import lost_workers
from tf_lottery.train.workers import read_task

__all__ = [
    "Checkpoint",
    "Evaluation",
    "Fork",
    "Measure",
    "NoSnapshot",
    "OPTIMIZERS",
    "Snapshot",
    "Stopped",
    "Trainer",
    "TrainingSettings",
    "TrainingState",
    "Workers",
    "check_optimizer",
    "example_loss",
    "lost_workers",
    "make_optimizer",
    "make_strategy",
    "read_task",
    "stop_signals",
    "summarize",
]

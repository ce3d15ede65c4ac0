"""Finds, checks and ships lottery tickets in Keras."""

import importlib

__version__ = "0.1.0"

# Public name -> the module that defines it. Loaded on first use, so that the
# parts that need NumPy alone do not wait for TensorFlow.
_PUBLIC = {
    "Config": "tf_lottery.config",
    "EpsilonBall": "tf_lottery.search",
    "LearningRate": "tf_lottery.schedules",
    "MODELS": "tf_lottery.models",
    "Mask": "tf_lottery.masks",
    "MaskComparison": "tf_lottery.masks",
    "MaskedKernel": "tf_lottery.layers",
    "Metric": "tf_lottery.metric",
    "OPTIMIZERS": "tf_lottery.train",
    "PRUNERS": "tf_lottery.pruners",
    "Pruner": "tf_lottery.pruners",
    "PruningContext": "tf_lottery.pruners",
    "PruningRates": "tf_lottery.masks",
    "ScoredModel": "tf_lottery.search",
    "Step": "tf_lottery.step",
    "Task": "tf_lottery.task",
    "Ticket": "tf_lottery.tickets",
    "Trainer": "tf_lottery.train",
    "TrainingSettings": "tf_lottery.train",
    "check_paths": "tf_lottery.graph",
    "compare_masks": "tf_lottery.masks",
    "effective_density": "tf_lottery.graph",
    "effective_mask": "tf_lottery.graph",
    "find_at_sparsities": "tf_lottery.search",
    "find_tickets": "tf_lottery.search",
    "get_mask": "tf_lottery.layers",
    "instability": "tf_lottery.stability",
    "linear_connectivity": "tf_lottery.analysis",
    "load_mask": "tf_lottery.tickets",
    "load_results": "tf_lottery.results",
    "mask_model": "tf_lottery.layers",
    "prune": "tf_lottery.pruners",
    "register": "tf_lottery.pruners",
    "register_layer": "tf_lottery.layers",
    "run": "tf_lottery.sweep",
    "run_transfer": "tf_lottery.transfers",
    "scores": "tf_lottery.pruners",
    "set_mask": "tf_lottery.layers",
    "strip_masks": "tf_lottery.layers",
}

# Public modules: `tf_lottery.callbacks.GradualPruning`.
_MODULES = ("callbacks", "export", "rl", "schedules", "theory")

__all__ = sorted([*_PUBLIC, *_MODULES])


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"tf_lottery.{name}")
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'tf_lottery' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])

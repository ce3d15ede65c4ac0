"""Starting Ray, and sharing a machine or a cluster among workers."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

from tf_lottery.config import Config
from tf_lottery.cores import PINS
from tf_lottery.cores import cores
from tf_lottery.train import Stopped

#: TensorFlow's variable for the threads of a process.
THREADS = "TF_NUM_INTRAOP_THREADS"
# Of Ray, on this machine: it listens on the loopback interface only (a switch
# named after the systems where that is the default), sends no statistics, and
# leaves alone what a process without a GPU sees of them.
_LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_LOCAL = {
    _LOOPBACK: "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


def check_parallel(parallel: int) -> None:
    """Raises ValueError where Ray is missing, or could not be used.

    Args:
        parallel: trainings at once.
    """
    threads = os.environ.get(THREADS, "1")
    if parallel > 1 and not (threads.isdecimal() and int(threads)):
        raise ValueError(
            f"`{THREADS}` must be a positive integer, or not set. Received: "
            f"{THREADS}={threads!r}. It is a variable of the environment."
        )
    if parallel > 1 and importlib.util.find_spec("ray") is None:
        raise ValueError(
            "`parallel` must be 1 where Ray is not installed. Received: "
            f"parallel={parallel}. Run: pip install 'ray>=2.31'"
        )


@contextlib.contextmanager
def started(config: Config) -> Iterator[Any]:
    """Yields Ray: one that runs already, a cluster's, or one for this run.

    Args:
        config: with `parallel` and `ray_address`.

    Raises:
        RuntimeError: it does not start, or no cluster answers.
    """
    local = config.ray_address is None
    variables = {k: v for k, v in _LOCAL.items() if local or k != _LOOPBACK}
    before = {k: os.environ.get(k) for k in variables}
    handler = signal.getsignal(signal.SIGTERM)
    os.environ.update(variables)
    try:
        import ray

        own = not ray.is_initialized()
        if own:
            how: dict[str, Any] = {"address": config.ray_address}
            if local:
                how = {
                    "address": "local",
                    "num_cpus": max(len(cores()), config.parallel),
                    "include_dashboard": False,
                    # Nothing large passes through it: Ray's least.
                    "object_store_memory": 80 * 2**20,
                }
            try:
                ray.init(
                    log_to_driver=False, logging_level=logging.ERROR, **how
                )
            # Of many kinds, with texts of many lines.
            except SystemExit:
                # Ray's own answer to SIGTERM while it starts.
                raise Stopped(signal.SIGTERM, None, saved=False) from None
            except Exception as error:
                text = " ".join(str(error).split())[:600]
                raise RuntimeError(
                    "`ray_address` must be that of a running Ray cluster, or "
                    "none where Ray can start on this machine. Received: "
                    f"ray_address={config.ray_address}; Ray says: {text} "
                    "Check the address, or leave --parallel at 1."
                ) from error
            # Ray takes this signal for itself.
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, handler)
        # Ray tells of dead workers there, in its own words, to the very end.
        with open(os.devnull, "w") as nowhere:
            with contextlib.redirect_stdout(nowhere):
                try:
                    yield ray
                finally:
                    if own:
                        ray.shutdown()
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def shares(ray: Any, size: int) -> tuple[int, dict[str, float]]:
    """Threads of a worker, and what it asks of Ray: an equal share.

    Args:
        ray: started.
        size: number of workers, which are to find room at the same time.
    """
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    # A worker lives on one machine: where there are GPUs, on one with some.
    nodes = [node for node in nodes if node.get("GPU")] or nodes
    counts = [int(node.get("CPU", 0)) for node in nodes]
    fitting = [
        threads
        for threads in range(1, max(counts) + 1)
        if sum(count // threads for count in counts) >= size
    ]
    gpus = sum(int(node.get("GPU", 0)) for node in nodes)
    return max(fitting, default=1), {
        "num_cpus": max(fitting, default=_share(sum(counts), size)),
        # One GPU at most, as for one training; or a part of one.
        "num_gpus": _share(gpus, size) if gpus else 0,
    }


def _share(units: int, size: int) -> float:
    # No unit is split between two machines.
    return 1 / max(1, math.ceil(size / max(1, units)))


def cores_of(index: int, threads: int) -> list[int]:
    """Returns the cores of a worker on this machine.

    Args:
        index: of the worker, from 0.
        threads: that it has.

    Returns:
        Their numbers; none where processes cannot be pinned.
    """
    own = cores()
    return [
        own[(index * threads + i) % len(own)] for i in range(threads) if PINS
    ]

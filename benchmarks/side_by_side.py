"""Times contestants in turn, each in a process of its own.

In every round each contestant does the same amount of work, one after the
other, so that a slow moment of the machine hits all of them. Processes of
their own keep thread pools and memory apart; who is not running waits on a
pipe. One JSON line per contestant gives the median over rounds, and the
median of its time divided by the baseline's in the same round.
"""

import importlib
import json
import multiprocessing
import os
import statistics
import sys
import time


def compare(benchmark, contestants, *, work, rounds, unit, scale, **facts):
    """Prints one JSON line per contestant; the first is the baseline.

    Args:
        benchmark: its name, for the lines.
        contestants: name -> ("module:function", keyword arguments); the
            function returns `run(work)`, or raises ImportError to be skipped.
        work: how much of it a round does.
        rounds: number of rounds.
        unit: name of the figure.
        scale: seconds of a round times this are the figure.
        **facts: what else the lines should say.

    Returns:
        `{name: figures of the rounds}`.
    """
    runners = {}
    for name, (path, arguments) in contestants.items():
        runner = _Runner(path, arguments, work)
        if runner.problem:
            print(f"{name} skipped: {runner.problem}", file=sys.stderr)
        else:
            runners[name] = runner
    times = {name: [] for name in runners}
    for _ in range(rounds):
        for name, runner in runners.items():
            times[name].append(scale * runner.run(work))
    baseline = next(iter(times))
    for name, values in times.items():
        ratios = [a / b for a, b in zip(values, times[baseline])]
        print(
            json.dumps(
                {
                    "benchmark": benchmark,
                    "name": name,
                    unit: round(statistics.median(values), 4),
                    "min": round(min(values), 4),
                    "max": round(max(values), 4),
                    f"over_{baseline}": round(statistics.median(ratios), 3),
                    "rounds": rounds,
                    **facts,
                    "cpus": os.cpu_count(),
                }
            ),
            flush=True,
        )
    for runner in runners.values():
        runner.stop()
    return times


class _Runner:
    """A contestant in its own process, ready to run."""

    def __init__(self, path, arguments, work):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(other, path, arguments, work), daemon=True
        )
        self._process.start()
        other.close()
        try:
            self.problem = self._pipe.recv()
        except EOFError:
            self.problem = "its process died"

    def run(self, work):
        self._pipe.send(work)
        return self._pipe.recv()

    def stop(self):
        self._pipe.send(None)
        self._process.join()


def _serve(pipe, path, arguments, work):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # As the command does; the others that use TensorFlow gain by it too.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    module, _, function = path.partition(":")
    try:
        run = getattr(importlib.import_module(module), function)(**arguments)
    except ImportError as error:
        pipe.send(str(error))
        return
    # Tracing and compiling are not work.
    run(work)
    pipe.send(None)
    while (work := pipe.recv()) is not None:
        began = time.perf_counter()
        run(work)
        pipe.send(time.perf_counter() - began)

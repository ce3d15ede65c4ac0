"""Times global magnitude pruning against `np.partition` of as many floats.

    python benchmarks/pruning.py [--millions=25] [--rounds=7]

A model of dense kernels of 1000 x 1000 is pruned to 80 %, from dense and, as
in a later level, from 50 %. In turn in every round: `np.partition` of as many
random magnitudes; `find_mask`, which scores and selects; `prune`, which also
sets the mask and zeroes the weights. JSON lines give medians over rounds, and
what memory a pruning takes at its peak, in multiples of the weights.
"""

import argparse
import json
import os
import statistics
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402

import tf_lottery as tfl  # noqa: E402
from tf_lottery.pruners import PruningContext  # noqa: E402

SIDE = 1000


def network(millions):
    """A masked model of so many million weights."""
    x = inputs = keras.Input((SIDE,))
    for _ in range(millions):
        x = keras.layers.Dense(
            SIDE, use_bias=False, kernel_initializer="random_normal"
        )(x)
    model = keras.Model(inputs, x)
    return tfl.mask_model(model, in_place=True)


def resident():
    """Bytes of memory in use by this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def peak(work):
    """Bytes in use at the peak of a call, beyond those before it."""
    before = most = resident()
    done = threading.Event()

    def watch():
        nonlocal most
        while not done.wait(0.001):
            most = max(most, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return most - before


def main():
    """Runs the rounds and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--millions", type=int, default=25)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    size = args.millions * 10**6
    keep = size // 5
    model = network(args.millions)
    pruner = tfl.PRUNERS["magnitude"]
    # First of all: later, memory that was freed before would be used again.
    # Memory that is free again but stays with the process counts as taken.
    context = PruningContext(model, keep=size // 2)
    taken = {
        "find_mask": peak(lambda: pruner.find_mask(context)) / (4 * size),
        "prune": peak(lambda: tfl.prune(model, 0.5)) / (4 * size),
    }
    half = tfl.get_mask(model)
    dense = tfl.Mask.ones(half.shapes)
    rng = np.random.default_rng(0)
    values = np.abs(rng.normal(size=size).astype(np.float32))

    def restore(mask):
        tfl.set_mask(model, mask)
        for i, variable in enumerate(model.trainable_variables):
            weights = values[i * SIDE**2 : (i + 1) * SIDE**2]
            weights = weights.reshape(SIDE, SIDE)
            variable.assign(weights * mask[variable.path])

    context = PruningContext(model, keep=keep)
    contestants = {
        "np.partition": (None, lambda: np.partition(values, size - keep)),
        "find_mask": (dense, lambda: pruner.find_mask(context)),
        "find_mask_from_half": (half, lambda: pruner.find_mask(context)),
        "prune": (dense, lambda: tfl.prune(model, 0.8)),
    }
    times = {name: [] for name in contestants}
    for _ in range(args.rounds):
        for name, (mask, work) in contestants.items():
            if mask is not None:
                restore(mask)
            began = time.perf_counter()
            work()
            times[name].append(time.perf_counter() - began)
    for name, seconds in times.items():
        ratios = [a / b for a, b in zip(seconds, times["np.partition"])]
        line = {
            "benchmark": "pruning",
            "name": name,
            "seconds": round(statistics.median(seconds), 4),
            "min": round(min(seconds), 4),
            "max": round(max(seconds), 4),
            "over_np.partition": round(statistics.median(ratios), 3),
            "weights": size,
            "rounds": args.rounds,
            "cpus": os.cpu_count(),
        }
        if name in taken:
            line["peak_memory_over_weights"] = round(taken[name], 2)
        print(json.dumps(line))


if __name__ == "__main__":
    main()

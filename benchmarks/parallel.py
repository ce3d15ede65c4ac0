"""Replicates at once against one after another: a whole command each.

    python benchmarks/parallel.py --rounds=3

Every round runs the command twice, alone and in turn, into folders of their
own: with --parallel=1, and with --parallel=N. It prints one JSON line, which
also counts the tickets and metrics that differ: with TF_NUM_INTRAOP_THREADS=1
none may, while other numbers of threads round otherwise. Needs Ray, and MNIST
where TFDS finds it (--data_dir, or TFDS_DATA_DIR). Other flags are the
command's own.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = (
    "--dataset=mnist", "--model=lenet_300_100", "--levels=3",
    "--train_steps=1500it", "--replicates=4", "--quiet",
)


def run(folder, parallel, flags):
    """Seconds of one command from its start to its end."""
    command = [
        sys.executable, str(ROOT / "binaries" / "train_ticket.py"), *FLAGS,
        *flags, f"--output_dir={folder}", f"--parallel={parallel}",
    ]
    path = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    )
    began = time.monotonic()
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": path})
    return time.monotonic() - began


def content(folder):
    """The bytes that must not differ, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in pathlib.Path(folder).rglob("*")
        if path.name == "metrics.csv" or path.parent.name == "ticket"
    }


def main():
    """Runs the rounds and prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parallel", type=int, default=2)
    arguments, flags = parser.parse_known_args()
    ratios = []
    for number in range(arguments.rounds):
        with tempfile.TemporaryDirectory() as folder:
            sizes = (1, arguments.parallel)
            # The other one first in every second round.
            order = sizes if number % 2 == 0 else sizes[::-1]
            seconds = {n: run(f"{folder}/{n}", n, flags) for n in order}
            one, many = (content(f"{folder}/{n}") for n in sizes)
            names = one.keys() | many.keys()
            differ = sum(one.get(k) != many.get(k) for k in names)
        ratios.append(seconds[1] / seconds[arguments.parallel])
        print(
            json.dumps(
                {
                    "round": number,
                    "sequential_seconds": round(seconds[1], 2),
                    "parallel": arguments.parallel,
                    "parallel_seconds": round(seconds[arguments.parallel], 2),
                    "ratio": round(ratios[-1], 3),
                    "files": len(names),
                    "files_that_differ": differ,
                }
            ),
            flush=True,
        )
    print(json.dumps({"median_ratio": round(statistics.median(ratios), 3)}))


if __name__ == "__main__":
    main()

"""Times `import tf_lottery` on top of Keras and TensorFlow.

    python benchmarks/import_time.py [--rounds=7]

Each in a process of its own, in turn. JSON lines give medians over rounds in
seconds, and the seconds beyond the first contestant.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

BASE = "import keras, tensorflow"
CONTESTANTS = {
    "keras_and_tensorflow": BASE,
    "tf_lottery": f"{BASE}; import tf_lottery",
    # The package loads its parts when they are asked for: here, all of them.
    "tf_lottery_all": f"{BASE}; import tf_lottery as tfl; "
    "[getattr(tfl, name) for name in tfl.__all__]",
}
TIMED = (
    "import time; began = time.perf_counter(); {}; "
    "print(time.perf_counter() - began)"
)


def main():
    """Runs the rounds and prints one JSON line per contestant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    times = {name: [] for name in CONTESTANTS}
    # The first round reads the files from disk.
    for _ in range(args.rounds + 1):
        for name, code in CONTESTANTS.items():
            done = subprocess.run(
                [sys.executable, "-c", TIMED.format(code)],
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
                capture_output=True,
                check=True,
                text=True,
            )
            times[name].append(float(done.stdout))
    base = times["keras_and_tensorflow"][1:]
    for name, seconds in times.items():
        beyond = [a - b for a, b in zip(seconds[1:], base)]
        print(
            json.dumps(
                {
                    "benchmark": "import_time",
                    "name": name,
                    "seconds": round(statistics.median(seconds[1:]), 3),
                    "beyond": round(statistics.median(beyond), 3),
                    "rounds": args.rounds,
                    "cpus": os.cpu_count(),
                }
            )
        )


if __name__ == "__main__":
    main()

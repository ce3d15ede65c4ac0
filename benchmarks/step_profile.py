"""Says what an optimizer step of a convolutional network is spent on.

    python benchmarks/step_profile.py [--model=conv_4] [--steps=5]

TensorFlow's profiler over a few steps of the engine; one JSON line gives the
milliseconds a step of each kind of operation, the costliest first. Kinds run
beside each other on several cores: on one (taskset -c 0) they add up. A loop
that XLA compiles whole, as LeNet's, is one operation here.
"""

import argparse
import collections
import glob
import json
import os
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import tensorflow as tf  # noqa: E402
from tensorflow.tsl.profiler.protobuf import xplane_pb2  # noqa: E402

from contestants import engine  # noqa: E402
from contestants.task import TASKS  # noqa: E402

# The executor's own events, which hold all others.
_FRAMES = ("Run", "Process", "Execute", "Start", "Done", "__inference")


def main():
    """Profiles and prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="conv_4", choices=TASKS)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--density", type=float, default=0.2)
    args = parser.parse_args()
    run = engine.make(args.model, args.density)
    run(args.steps)
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            run(args.steps)
        (file,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        space = xplane_pb2.XSpace()
        with open(file, "rb") as content:
            space.ParseFromString(content.read())
    spent = collections.Counter()
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name
                kind = name.rpartition(":")[2].strip()
                if ":" in name and not kind.startswith(_FRAMES):
                    spent[kind] += event.duration_ps / 1e9 / args.steps
    print(
        json.dumps(
            {
                "benchmark": "step_profile",
                "model": args.model,
                "ms_per_step": {
                    kind: round(ms, 2) for kind, ms in spent.most_common(16)
                },
                "steps": args.steps,
                "density": args.density,
                "cpus": os.cpu_count(),
            }
        )
    )


if __name__ == "__main__":
    main()

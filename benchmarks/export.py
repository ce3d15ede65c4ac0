"""Size and speed of exported tickets, against the dense TFLite file.

    python benchmarks/export.py --run_dir=RUN_DIR --levels=8,11,14,18,22
    python benchmarks/export.py --model=conv_4 --sparsities=0.8,0.9

RUN_DIR is that of a finished run of the command: every level's ticket of
replicate 0 is exported to TFLite. With --model it is an untrained network for
CIFAR-10 with random masks of one density in all kernels (seed 0). It is
exported in each of the forms, and one JSON line
each tells its size, its latency at batch 1 on one thread (medians over rounds
in which dense and exported file take turns), and how well it agrees with the
model, on the data set's test images.
"""

import argparse
import json
import os
import pathlib
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np  # noqa: E402

import tf_lottery as tfl  # noqa: E402
from tf_lottery import data  # noqa: E402
from tf_lottery.models import build_model  # noqa: E402


def images(config, count):
    """Test images of a ticket's data set, scaled as in training."""
    loaded = data.load(
        config["dataset"],
        validation_size=config["validation_size"],
        split_seed=config["split_seed"],
    )
    x = loaded.test.x[:count]
    return x.astype(np.float32) * np.float32(loaded.info.scale)


def networks(args):
    """Yields what is exported, its sparsity, and the data set's settings."""
    if args.model:
        for sparsity in map(float, args.sparsities.split(",")):
            dense = build_model(args.model, (32, 32, 3), 10, seed=0)
            model = tfl.mask_model(dense)
            mask = tfl.prune(model, sparsity, "random", scope="uniform")
            yield model, mask.sparsity, {
                "dataset": "cifar10", "validation_size": 5000, "split_seed": 0
            }
        return
    for level in map(int, args.levels.split(",")):
        folder = args.run_dir / "replicate_0" / "main" / f"level_{level:02d}"
        ticket = tfl.Ticket.load(folder / "ticket")
        yield ticket, ticket.mask.sparsity, ticket.config


def main():
    """Exports and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--run_dir", type=pathlib.Path)
    parser.add_argument("--model")
    parser.add_argument("--sparsities", default="0.8,0.9,0.95,0.98,0.99")
    parser.add_argument("--levels", default="0")
    parser.add_argument("--forms", default="float32,float16,int8")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--samples", type=int, default=1000)
    args = parser.parse_args()
    if bool(args.model) == bool(args.run_dir):
        parser.error("give either --run_dir or --model")
    x = None
    for network, sparsity, config in networks(args):
        x = images(config, args.samples) if x is None else x
        for form in args.forms.split(","):
            with tempfile.TemporaryDirectory() as scratch:
                report = tfl.export(
                    network, scratch, ["tflite"], form=form, samples=x,
                    rounds=args.rounds,
                )
            dense, made = report.entries
            line = {
                "benchmark": "export",
                "model": args.model or os.path.basename(args.run_dir),
                "sparsity": round(sparsity, 4),
                "form": form,
                "bytes": made["raw"],
                "size_ratio": round(made["size_ratio"], 2),
                "gzip_ratio": round(dense["raw"] / made["gzip"], 2),
                "microseconds": round(made["microseconds"], 2),
                "dense_microseconds": round(dense["microseconds"], 2),
                "latency_ratio": round(made["latency_ratio"], 3),
                "error": made["error"],
                "argmax": made["argmax"],
                "parameters": report.parameters,
                "runtime": report.runtime,
                "rounds": args.rounds,
                "cpus": os.cpu_count(),
            }
            if made["zstd"]:
                line["zstd_ratio"] = round(dense["raw"] / made["zstd"], 2)
            print(json.dumps(line))
            sys.stdout.flush()


if __name__ == "__main__":
    main()

"""Times one optimizer step of a masked network, side by side with its peers.

    python benchmarks/training_step.py [--model=lenet_300_100] [--rounds=7]

Models: lenet_300_100 (batches of 60, Adam), conv_4 (60, Adam), resnet_20
(128, SGD with momentum). See `side_by_side` for how it is timed. Contestants:

    engine          tf_lottery's compiled loop, masked
    engine_dense    the same, without masks
    keras_fit       model.fit as people write it, on the masked model
    keras_fit_best  model.fit, tuned: steps_per_execution, XLA where it helps
    tfmot           TF-MOT's wrapper on tf_keras
    pytorch         as OpenLTH: the mask multiplied in at every forward pass
    pytorch_best    the same with channels last and fused optimizers
    jax             a lax.scan (of convolutions: compiled single steps)
    tensorflow_loop the same arithmetic by hand in one TensorFlow loop

Who is not installed is skipped with a word: the `bench` extra brings TF-MOT and
tf_keras, `pip install torch jax` the others.
"""

import argparse
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from contestants.task import TASKS  # noqa: E402
from side_by_side import compare  # noqa: E402

# Steps that take about a second.
STEPS = {"lenet_300_100": 1000, "conv_4": 10, "resnet_20": 5}


def contestants(model, density, precision):
    """Name -> (what makes it, arguments); the engine first."""
    here = dict(model=model, density=density)
    reduced = dict(here, precision=precision)
    engine, fit = "contestants.engine:make", "contestants.keras_fit:make"
    found = {
        "engine": (engine, reduced),
        "engine_dense": (engine, {**reduced, "density": None}),
        "pytorch": ("contestants.pytorch:make", reduced),
        "pytorch_best": ("contestants.pytorch:make", {**reduced, "best": True}),
    }
    if precision != "float32":
        found["engine_float32"] = (engine, here)
        return found
    return {
        **found,
        "keras_fit": (fit, here),
        "keras_fit_best": (fit, {**here, "tuned": True}),
        "tfmot": ("contestants.keras_fit:tfmot", here),
        "jax": ("contestants.jax_scan:make", here),
        "tensorflow_loop": ("contestants.tensorflow_loop:make", here),
    }


def main():
    """Runs the rounds and prints one JSON line per contestant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="lenet_300_100", choices=TASKS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, help="a round's; about a second")
    parser.add_argument("--density", type=float, default=0.2)
    parser.add_argument(
        "--precision", default="float32", choices=("float32", "mixed_bfloat16")
    )
    parser.add_argument("--only", help="names, with commas; the first is 1")
    args = parser.parse_args()
    found = contestants(args.model, args.density, args.precision)
    if args.only:
        names = args.only.split(",")
        if unknown := set(names) - set(found):
            sys.exit(f"--only must be of {', '.join(found)}, not {unknown}")
        found = {name: found[name] for name in names}
    steps = args.steps or STEPS[args.model]
    compare(
        "training_step",
        found,
        work=steps,
        rounds=args.rounds,
        unit="ms_per_step",
        scale=1e3 / steps,
        model=args.model,
        precision=args.precision,
        density=args.density,
        steps=steps,
    )


if __name__ == "__main__":
    main()

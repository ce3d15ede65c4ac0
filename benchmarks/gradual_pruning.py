"""Times gradual pruning inside `model.fit` against the dense `fit`.

    python benchmarks/gradual_pruning.py [--rounds=8] [--steps=40]

MobileNetV2 (2.2 million weights, random start) on CIFAR-10 as TFDS finds it
under TFDS_DATA_DIR, or on random images of that shape where it does not. In
every round the dense model and the one that GradualPruning takes to 80 %
train `--steps` steps each, in turn, so that a slow moment of the machine hits
both. One JSON line gives the medians and the median ratio over rounds, and
what the pruned model ended with.
"""

import argparse
import json
import os
import statistics
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402

import tf_lottery as tfl  # noqa: E402
from tf_lottery.layers import masked_kernels  # noqa: E402

SPARSITY = 0.8


def load(count):
    """Images and labels, and where they come from."""
    try:
        import tensorflow_datasets as tfds

        data = tfds.load(
            "cifar10", split=f"train[:{count}]", download=False, batch_size=-1
        )
        return data["image"].numpy(), data["label"].numpy(), "cifar10"
    except Exception as error:  # noqa: BLE001 (TFDS raises many kinds)
        print(f"random images: {type(error).__name__}", file=sys.stderr)
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
    return x, rng.integers(0, 10, count), "random"


def network():
    """MobileNetV2 with random weights for images of 32 x 32."""
    keras.utils.set_random_seed(0)
    return keras.applications.MobileNetV2(
        (32, 32, 3), weights=None, classes=10, classifier_activation=None
    )


def contestant(model, x, y, batch, callbacks=()):
    """Trains `steps` more steps; returns the loss."""
    model.compile(
        keras.optimizers.SGD(0.05, momentum=0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(x), seed=0)
    data = data.repeat().batch(batch, drop_remainder=True)
    data = data.map(lambda x, y: (tf.cast(x, tf.float32) / 127.5 - 1, y))
    data = data.prefetch(tf.data.AUTOTUNE)

    def run(steps):
        history = model.fit(
            data,
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=list(callbacks),
        )
        return history.history["loss"][-1]

    return run


def main():
    """Runs the rounds and prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=64)
    args = parser.parse_args()
    x, y, source = load(10_000)
    total = args.rounds * args.steps
    schedule = tfl.schedules.PolynomialDecay(
        0.0, SPARSITY, begin_step=0, end_step=total // 2, frequency=20
    )
    model = tfl.mask_model(network())
    runs = {
        "dense": contestant(network(), x, y, args.batch),
        "pruned": contestant(
            model, x, y, args.batch, [tfl.callbacks.GradualPruning(schedule)]
        ),
    }
    for run in runs.values():
        run(20)  # Tracing and compiling are not steps.
    times = {name: [] for name in runs}
    losses = {}
    for _ in range(args.rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            losses[name] = run(args.steps)
            times[name].append(time.perf_counter() - began)
    ratios = [p / d for p, d in zip(times["pruned"], times["dense"])]
    mask = tfl.get_mask(model)
    zeros = sum(
        int(np.count_nonzero(np.asarray(raw) == 0))
        for raw, _ in masked_kernels(model).values()
    )
    print(
        json.dumps(
            {
                "benchmark": "gradual_pruning",
                **{
                    f"{name}_ms_per_step": round(
                        1e3 * statistics.median(values) / args.steps, 1
                    )
                    for name, values in times.items()
                },
                "pruned_over_dense": round(statistics.median(ratios), 3),
                "fastest_over_fastest": round(
                    min(times["pruned"]) / min(times["dense"]), 3
                ),
                "ratios": [round(r, 3) for r in ratios],
                "steps": total + 20,
                "sparsity": mask.sparsity,
                "prunable_weights": mask.size,
                "weights_exactly_zero": zeros,
                "loss": {k: round(v, 3) for k, v in losses.items()},
                "data": source,
                "batch": args.batch,
                "cpus": os.cpu_count(),
                "tensorflow": tf.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()

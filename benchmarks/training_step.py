"""Times one optimizer step of masked LeNet-300-100, side by side.

    python benchmarks/training_step.py [--rounds=7] [--density=0.2]

Batches of 60, Adam, 28x28 inputs, 55,000 examples. In every round each
contestant trains `--steps` steps in turn, so that a slow moment of the machine
hits all of them; per contestant one JSON line gives the median milliseconds
per step, and the median over rounds of its time divided by the engine's.

Contestants:
    engine      tf_lottery's compiled loop, masked
    engine_dense  the same, without masks
    keras_fit   model.fit on a shuffled, batched, prefetched tf.data pipeline
    keras_fit_best  model.fit with jit_compile, steps_per_execution=100 and a
                pipeline that converts whole batches
    tfmot       TF-MOT's wrapper on tf_keras (skipped where not installed)
    bare        the same arithmetic written by hand in one XLA loop
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
from tf_lottery import models  # noqa: E402

BATCH = 60
EXAMPLES = 55_000


def network():
    """LeNet-300-100 with random weights."""
    return models.build_model("lenet_300_100", (28, 28, 1), 10, seed=0)


def masked_network(density):
    """The same with a random mask of that density."""
    model = tfl.mask_model(network())
    tfl.prune(model, 1 - density, "random")
    return model


def engine(x, y, model):
    """tf_lottery's training loop: many steps in one compiled call."""
    few = (x[:100], y[:100])
    trainer = tfl.Trainer(
        model,
        {"train": (x, y), "validation": few, "test": few},
        tfl.TrainingSettings(
            train_steps=tfl.Step(10**6), batch_size=BATCH
        ),
        preprocess=lambda x: tf.cast(x, tf.float32) / 255.0,
    )

    def run(steps):
        for start in range(0, steps, 100):
            trainer.advance(start, min(start + 100, steps), seed=0)

    return run


def keras_fit(x, y, model, tuned=False, **compiled):
    """`model.fit` on a tf.data pipeline."""
    model.compile(
        keras.optimizers.Adam(1.2e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        **compiled,
    )
    return fit_loop(x, y, model, tuned=tuned)


def fit_loop(x, y, model, callbacks=(), tuned=False):
    """A pipeline as people write it, or tuned, in Keras or tf_keras."""
    data = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(10_000, seed=0)
    scale = lambda x, y: (tf.cast(x, tf.float32) / 255.0, y)  # noqa: E731
    if tuned:
        # Whole batches at once, in parallel.
        data = data.repeat().batch(BATCH, drop_remainder=True)
        data = data.map(scale, num_parallel_calls=tf.data.AUTOTUNE)
    else:
        data = data.map(scale).batch(BATCH, drop_remainder=True).repeat()
    data = data.prefetch(tf.data.AUTOTUNE)

    def run(steps):
        model.fit(
            data,
            steps_per_epoch=steps,
            epochs=1,
            verbose=0,
            callbacks=list(callbacks),
        )

    return run


def tfmot(x, y, density):
    """TF-MOT's wrapper with a constant sparsity, on tf_keras."""
    try:
        import tf_keras
        import tensorflow_model_optimization as tfmot
    except ImportError as error:
        print(f"tfmot skipped: {error}", file=sys.stderr)
        return None
    sparsity = tfmot.sparsity.keras
    layers = tf_keras.layers
    dense = tf_keras.Sequential(
        [
            layers.InputLayer((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(300, "relu"),
            layers.Dense(100, "relu"),
            layers.Dense(10),
        ]
    )
    model = sparsity.prune_low_magnitude(
        dense, sparsity.ConstantSparsity(1 - density, 0, frequency=100)
    )
    model.compile(
        tf_keras.optimizers.Adam(1.2e-3),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    return fit_loop(x, y, model, [sparsity.UpdatePruningStep()])


def bare(x, y, model):
    """Masked Adam by hand in one XLA-compiled loop: what the engine costs
    beyond this is its own doing."""
    weights = [tf.Variable(v.value) for v in model.trainable_variables]
    masks = [
        tf.Variable(mask.value)
        for layer in model.layers
        for mask in [getattr(layer, "kernel_mask", None)]
        if mask is not None
    ]
    m, v = (
        [tf.Variable(tf.zeros_like(w)) for w in weights] for _ in range(2)
    )
    count = tf.Variable(0.0)
    x, y = tf.constant(x.reshape(len(x), -1)), tf.constant(y)

    def step(index):
        images = tf.cast(tf.gather(x, index), tf.float32) / 255.0
        with tf.GradientTape() as tape:
            h = images
            for i, mask in enumerate(masks):
                h = h @ (weights[2 * i] * mask) + weights[2 * i + 1]
                h = tf.nn.relu(h) if i < 2 else h
            loss = tf.reduce_mean(
                tf.nn.sparse_softmax_cross_entropy_with_logits(
                    tf.gather(y, index), h
                )
            )
        gradients = tape.gradient(loss, weights)
        count.assign_add(1.0)
        rate = 1.2e-3 * tf.sqrt(1 - 0.999**count) / (1 - 0.9**count)
        for w, g, a, b in zip(weights, gradients, m, v):
            a.assign_add((g - a) * 0.1)
            b.assign_add((g * g - b) * 0.001)
            w.assign_sub(rate * a / (tf.sqrt(b) + 1e-7))
        return loss

    @tf.function(jit_compile=True)
    def loop(order):
        total = tf.zeros(())
        for i in tf.range(order.shape[0]):
            total += step(order[i])
        return total

    rng = np.random.default_rng(0)

    def run(steps):
        for _ in range(steps // 100):
            order = rng.integers(0, EXAMPLES, (100, BATCH), np.int32)
            float(loop(tf.constant(order)))

    return run


def main():
    """Runs the rounds and prints one JSON line per contestant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--density", type=float, default=0.2)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (EXAMPLES, 28, 28, 1), np.uint8)
    y = rng.integers(0, 10, EXAMPLES, np.int32)

    def masked():
        return masked_network(args.density)

    contestants = {
        "engine": engine(x, y, masked()),
        "engine_dense": engine(x, y, network()),
        "keras_fit": keras_fit(x, y, masked()),
        "keras_fit_best": keras_fit(
            x,
            y,
            masked(),
            tuned=True,
            jit_compile=True,
            steps_per_execution=100,
        ),
        "tfmot": tfmot(x, y, args.density),
        "bare": bare(x, y, masked()),
    }
    contestants = {k: run for k, run in contestants.items() if run}
    for run in contestants.values():
        run(200)  # Tracing and compiling are not steps.
    times = {name: [] for name in contestants}
    for _ in range(args.rounds):
        for name, run in contestants.items():
            began = time.perf_counter()
            run(args.steps)
            seconds = time.perf_counter() - began
            times[name].append(1e3 * seconds / args.steps)
    for name, values in times.items():
        ratios = [a / b for a, b in zip(values, times["engine"])]
        print(
            json.dumps(
                {
                    "benchmark": "training_step",
                    "name": name,
                    "ms_per_step": round(statistics.median(values), 4),
                    "min": round(min(values), 4),
                    "max": round(max(values), 4),
                    "times_the_engine": round(statistics.median(ratios), 3),
                    "rounds": args.rounds,
                    "steps": args.steps,
                    "density": args.density,
                    "cpus": os.cpu_count(),
                    "tensorflow": tf.__version__,
                }
            )
        )


if __name__ == "__main__":
    main()

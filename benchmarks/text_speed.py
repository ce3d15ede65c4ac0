"""Microseconds of a language model's training per token.

    python benchmarks/text_speed.py [--model=lstm_lm] [--rounds=5]

See `side_by_side` for how it is timed. All train the same network on windows
of the embedded corpus, by Adam:

    engine          tf_lottery's compiled loop, masked
    engine_dense    the same, without masks
    keras_fit       model.fit as people write it, on the masked model
    keras_fit_dense model.fit on the Keras network itself
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from side_by_side import compare  # noqa: E402


def main():
    """Runs the rounds and prints one JSON line per contestant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--model", default="lstm_lm", choices=("lstm_lm", "transformer_lm")
    )
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--sequence_length", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20, help="a round's")
    parser.add_argument("--density", type=float, default=0.2)
    args = parser.parse_args()
    task = dict(
        model=args.model,
        batch_size=args.batch_size,
        sequence_length=args.sequence_length,
    )
    engine, fit = "contestants.text:engine", "contestants.text:keras_fit"
    tokens = args.steps * args.batch_size * args.sequence_length
    compare(
        "text_speed",
        {
            "engine": (engine, dict(task, density=args.density)),
            "engine_dense": (engine, dict(task, density=None)),
            "keras_fit": (fit, dict(task, density=args.density)),
            "keras_fit_dense": (fit, dict(task, density=None)),
        },
        work=args.steps,
        rounds=args.rounds,
        unit="us_per_token",
        scale=1e6 / tokens,
        **task,
        density=args.density,
        tokens=tokens,
    )


if __name__ == "__main__":
    main()

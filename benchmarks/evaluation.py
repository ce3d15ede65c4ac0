"""Times an evaluation of LeNet-300-100 against its bare matrix products.

    python benchmarks/evaluation.py [--size=15000] [--rounds=15]

See `side_by_side` for how it is timed.
"""

import argparse

from side_by_side import compare


def main():
    """Runs the rounds and prints one JSON line per contestant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", type=int, default=15_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--density", type=float, default=0.2)
    args = parser.parse_args()
    arguments = dict(size=args.size, density=args.density)
    times = 10
    compare(
        "evaluation",
        {
            "products": ("contestants.forward:products", arguments),
            "engine": ("contestants.forward:engine", arguments),
        },
        work=times,
        rounds=args.rounds,
        unit="ms",
        scale=1e3 / times,
        images=args.size,
        density=args.density,
    )


if __name__ == "__main__":
    main()

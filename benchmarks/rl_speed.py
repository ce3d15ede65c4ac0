"""Microseconds of an agent's training per step of its environment.

    python benchmarks/rl_speed.py [--environment=CartPole-v1] [--rounds=5]

See `side_by_side` for how it is timed. All play the same copies of the
environment by the same network, and learn from blocks of the same length:

    a2c              tf_lottery's, masked
    a2c_dense        the same, without masks
    by_hand          Keras called eagerly to act, and a compiled update
    by_hand_compiled acting compiled as well
"""

import argparse
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from side_by_side import compare  # noqa: E402


def main():
    """Runs the rounds and prints one JSON line per contestant."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--environment", default="CartPole-v1")
    parser.add_argument("--envs", type=int, default=32)
    parser.add_argument("--block_steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--blocks", type=int, default=300, help="a round's")
    parser.add_argument("--density", type=float, default=0.2)
    args = parser.parse_args()
    task = dict(
        environment=args.environment,
        envs=args.envs,
        block_steps=args.block_steps,
    )
    ours, other = "contestants.agents:ours", "contestants.agents:by_hand"
    steps = args.blocks * args.envs * args.block_steps
    compare(
        "rl_speed",
        {
            "a2c": (ours, dict(task, density=args.density)),
            "a2c_dense": (ours, dict(task, density=None)),
            "by_hand": (other, dict(task, compiled=False)),
            "by_hand_compiled": (other, dict(task, compiled=True)),
        },
        work=args.blocks,
        rounds=args.rounds,
        unit="us_per_environment_step",
        scale=1e6 / steps,
        **task,
        density=args.density,
        environment_steps=steps,
    )


if __name__ == "__main__":
    main()

"""Kills a run again and again, and compares the end with a run left alone.

    python benchmarks/kill_and_resume.py [--kills=30] [--seed=0]

Two small experiments on the digits data set, each with a rewind step beyond 0
and a control: LeNet-300-100, and a network of this file with BatchNorm and
dropout. Each runs once undisturbed. Then the same command is started and
killed (SIGKILL) at a random moment, and started again, until it has been
killed as often as asked, and runs to its end. The moments, drawn with
`--seed`, are of five kinds: any time from the start of the process,
after a training has begun, at the sight of a checkpoint, while a checkpoint
or a level's file is being written. A checkpoint is due after every 0.05
seconds.

One JSON line says how many kills fell where (`resumed`: starts that went on
inside a training), and how many of the files that must be equal differ:
tickets and metrics.csv, byte by byte. `left_over` counts temporary files and
checkpoints at the end. The exit status is 1 where anything differs.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGS = (
    "--dataset=digits", "--levels=2", "--train_steps=400it",
    "--eval_every=50it", "--rewind=40it", "--branches=reinit",
    "--optimizer=adam", "--seed=7", "--checkpoint_every=0.05",
    # XLA would compile for longer than all the rest, at every start.
    "--jit=off",
)
MODELS = ("lenet_300_100", "kill_and_resume:noisy_net")
# What to wait for before the random delay: a pattern below the run directory.
MOMENTS = {
    "any": "",
    "in training": "replicate_*/*/level_*",
    "checkpoint there": "replicate_*/*/level_*/checkpoint.npz",
    "checkpoint being written": "replicate_*/*/level_*/.checkpoint.npz.*.tmp",
    "level being written": "replicate_*/*/level_*/ticket/.*.tmp",
}
MOST_SECONDS = 600


def noisy_net(input_shape, num_classes):
    """Dense layers with BatchNorm and dropout: state beside the weights."""
    import keras

    x = inputs = keras.Input(input_shape)
    x = keras.layers.Flatten()(x)
    for width in (100, 60):
        x = keras.layers.Dense(width)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
        x = keras.layers.Dropout(0.3)(x)
    return keras.Model(inputs, keras.layers.Dense(num_classes)(x))


def start(model, folder):
    """The command, in a process of its own."""
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return subprocess.Popen(
        [
            sys.executable, str(ROOT / "binaries/train_ticket.py"), *FLAGS,
            f"--model={model}", f"--output_dir={folder}",
            f"--log_file={folder}.log",
        ],
        # Where the user's own model is imported from.
        cwd=ROOT / "benchmarks",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def finish(process):
    """Waits for the end; a run that fails ends the benchmark."""
    process.wait(MOST_SECONDS)
    if process.returncode:
        sys.exit(f"A run ended with status {process.returncode}.")


def kill(process, folder, moment, delay):
    """Kills at the moment; False where the run has ended before."""
    pattern = MOMENTS[moment]
    # What an earlier start has left is not waited for.
    old = {p: written(p) for p in folder.glob(f"*/{pattern}")}
    end = time.monotonic() + MOST_SECONDS
    while pattern and time.monotonic() < end and process.poll() is None:
        if any(written(p) != old.get(p) for p in folder.glob(f"*/{pattern}")):
            break
        time.sleep(0.002)
    try:
        process.wait(delay)
        finish(process)
        return False
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True


def written(path):
    """When the file was last written, in nanoseconds; None without it."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def content(folder):
    """The bytes that must not differ, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and (path.name == "metrics.csv" or path.parent.name == "ticket")
    }


def main():
    """Runs, kills, compares and prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    kinds = collections.Counter()
    inside = resumed = files = left_over = 0
    differing = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        for number, model in enumerate(MODELS):
            whole, cut = (
                pathlib.Path(temporary, f"{name}_{number}")
                for name in ("whole", "cut")
            )
            finish(start(model, whole))
            left = args.kills // len(MODELS)
            left += number < args.kills % len(MODELS)
            while left:
                moment = rng.choice(list(MOMENTS))
                longest = 12.0 if moment == "any" else 2.0
                if "being written" in moment:
                    longest = 0.002
                process = start(model, cut)
                if not kill(process, cut, moment, rng.uniform(0, longest)):
                    # Everything is finished: the next starts from nothing.
                    if content_of(whole) != content_of(cut):
                        differing.append(f"{model}: ended early")
                    cut = cut.with_name(f"{cut.name}_again")
                    continue
                print(f"{model}: {moment}", file=sys.stderr)
                left -= 1
                kinds[moment] += 1
                there = list(cut.glob("*/replicate_*/*/*/checkpoint.npz"))
                inside += bool(there)
            finish(start(model, cut))
            one, two = content_of(whole), content_of(cut)
            files += len(one)
            differing += [
                f"{model}: {path}"
                for path in sorted(one.keys() | two.keys())
                if one.get(path) != two.get(path)
            ]
            for path in pathlib.Path(temporary).glob(f"cut_{number}*"):
                if path.is_dir():
                    left_over += sum(
                        p.name == "checkpoint.npz" or p.suffix == ".tmp"
                        for p in path.rglob("*")
                    )
                else:
                    resumed += path.read_text().count(" goes on from step ")
    print(
        json.dumps(
            {
                "benchmark": "kill_and_resume",
                "kills": dict(kinds),
                "with_a_checkpoint": inside,
                "resumed": resumed,
                "files": files,
                "differing": differing,
                "left_over": left_over,
                "seconds": round(time.monotonic() - began),
                "seed": args.seed,
            }
        )
    )
    return 1 if differing else 0


def content_of(output_dir):
    """The content of the one run directory there."""
    (folder,) = (path for path in output_dir.iterdir() if path.is_dir())
    return content(folder)


if __name__ == "__main__":
    sys.exit(main())

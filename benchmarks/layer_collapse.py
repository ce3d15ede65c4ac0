"""Layer collapse: how far each criterion can prune before a kernel is empty.

    python benchmarks/layer_collapse.py [--dataset=mnist] [--seeds=3]
        [--figure=PATH.png]

LeNet-300-100 is pruned at initialisation, over all kernels together, and not
trained. Compression is weights / weights kept. It is looked at on a grid, four
points a decade up to the largest that leaves one weight per kernel. The
critical compression is bisected, to 1 %, between the first grid point at which
a kernel is empty and the one before; and likewise where no path leads from the
input to the output any more. Later grid points may be whole again, as masks of
different compressions need not be nested: they are counted (`whole_again`),
not followed.

A seed is that of the initialisation, of the ten examples per class (for the
criteria that look at data) and of the random criterion. One JSON line per
criterion and seed, then one per criterion with geometric means and ranges.
"""

import argparse
import dataclasses
import json
import math
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras  # noqa: E402
import numpy as np  # noqa: E402

import tf_lottery as tfl  # noqa: E402
from tf_lottery import data  # noqa: E402
from tf_lottery.models import build_model  # noqa: E402
from tf_lottery.pruners import get_pruner  # noqa: E402
from tf_lottery.pruners.synflow import SynFlow  # noqa: E402
from tf_lottery.report.figures import save_figure  # noqa: E402

MODEL = "lenet_300_100"
CRITERIA = {
    "magnitude": "magnitude",
    "random": "random",
    "snip": "snip",
    "iterative_snip": "iterative_snip",
    "force": "force",
    "grasp": "grasp",
    "synflow_1_round": SynFlow(rounds=1),
    "synflow": "synflow",
}
PER_CLASS = 10
PER_DECADE = 4
PRECISION = 0.01
EFFECTIVE_AT = (10, 100, 1000, 10_000)


def grid(weights, kernels):
    """Counts to keep, from all weights to one per kernel."""
    decades = math.log10(weights / kernels)
    steps = range(math.ceil(decades * PER_DECADE))
    counts = [round(weights / 10 ** (k / PER_DECADE)) for k in steps]
    return [*counts, kernels]


def critical(is_broken, counts):
    """(fewest kept that is not broken, most kept that is, or None)."""
    whole = counts[0]
    for broken in counts:
        if is_broken(broken):
            break
        whole = broken
    else:
        return whole, None
    while whole - broken > max(1, PRECISION * whole):
        middle = round(math.sqrt(whole * broken))
        if is_broken(middle):
            broken = middle
        else:
            whole = middle
    return whole, broken


def measure(name, context):
    """What a criterion leaves of the model of a context."""
    began = time.perf_counter()
    model = context.model
    pruner = get_pruner(CRITERIA[name])
    weights, kernels = context.mask.size, len(context.mask)
    counts = grid(weights, kernels)
    seen = {}

    def look(kept):
        if kept not in seen:
            now = dataclasses.replace(context, keep=kept)
            seen[kept] = tfl.check_paths(model, pruner.find_mask(now))
            progress = f"{name}, seed {context.seed}: {len(seen)} masks"
            print(f"\r{progress:60}", end="", file=sys.stderr, flush=True)
        return seen[kept]

    kept, emptied = critical(lambda n: bool(look(n).empty), counts)
    joined, _ = critical(lambda n: look(n).is_cut, counts)
    return {
        "criterion": name,
        "rounds": pruner.rounds,
        "seed": context.seed,
        "critical_compression": round(weights / kept, 1),
        "kept": kept,
        "first_empty": list(look(emptied).empty) if emptied else [],
        "whole_again": sum(
            not look(n).empty for n in counts if emptied and n < emptied
        ),
        "cut_compression": round(weights / joined, 1),
        "kept_before_cut": joined,
        "max_compression": round(weights / kernels, 1),
        "weights": weights,
        "kernels": kernels,
        "effective_density": {
            c: round(look(round(weights / c)).effective_density, 7)
            for c in EFFECTIVE_AT
            if weights / c >= kernels
        },
        "masks": len(seen),
        "seconds": round(time.perf_counter() - began, 1),
    }


def summarize(lines):
    """Geometric means and ranges over the seeds of one criterion."""
    summary = {"criterion": lines[0]["criterion"], "seeds": len(lines)}
    for key in ("critical_compression", "cut_compression"):
        values = [line[key] for line in lines]
        mean = math.exp(sum(map(math.log, values)) / len(values))
        summary[key] = {
            "mean": round(mean, 1), "min": min(values), "max": max(values)
        }
    summary["max_compression"] = lines[0]["max_compression"]
    summary["effective_density"] = {
        c: float(f"{np.mean([n['effective_density'][c] for n in lines]):.4g}")
        for c in lines[0]["effective_density"]
    }
    return summary


def draw(summaries, title):
    """A row per criterion: where a kernel is empty, where a path is cut."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    axes = figure.subplots()
    rows = sorted(
        summaries, key=lambda s: s["critical_compression"]["mean"],
        reverse=True,
    )
    # Okabe-Ito, told apart by shape, filling and height too.
    styles = {
        "cut_compression": (
            "#D55E00", "D", "white", -0.14,
            "largest before all paths are cut",
        ),
        "critical_compression": (
            "#0072B2", "o", "#0072B2", 0.14,
            "largest before a kernel is empty",
        ),
    }
    for key, (color, marker, face, shift, label) in styles.items():
        x = [row[key]["mean"] for row in rows]
        low = [max(row[key]["mean"] - row[key]["min"], 0) for row in rows]
        high = [max(row[key]["max"] - row[key]["mean"], 0) for row in rows]
        axes.errorbar(
            x, [i + shift for i in range(len(rows))], xerr=[low, high],
            fmt=marker, color=color, markerfacecolor=face, markersize=6.5,
            elinewidth=1.4, capsize=3, label=label, clip_on=False, zorder=3,
        )
    limit = rows[0]["max_compression"]
    axes.axvline(
        limit, color="0.35", linestyle="--", linewidth=1.1,
        label=f"one weight per kernel ({limit:,.0f})",
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    lowest = min(row["cut_compression"]["min"] for row in rows)
    axes.set_xlim(lowest / 1.5, limit * 1.25)
    axes.set_ylim(-0.5, len(rows) - 0.5)
    axes.set_yticks(
        range(len(rows)), [row["criterion"] for row in rows], fontsize=10
    )
    axes.invert_yaxis()
    axes.set_xlabel("compression (weights / weights kept)", fontsize=10)
    axes.tick_params(labelsize=9, axis="x")
    axes.tick_params(length=0, axis="y")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_title(title, fontsize=11)
    figure.legend(
        loc="outside lower center", ncols=3, frameon=False, fontsize=9
    )
    # As for the report's figure: solved once, or two saves would differ.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def contexts(dataset, seeds):
    """A masked model at its initialisation, with its examples, per seed."""
    loaded = data.load(dataset)
    info = loaded.info
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for seed in range(seeds):
        shape, classes = info.input_shape, info.num_classes
        model = build_model(MODEL, shape, classes, seed=seed)
        x, y = data.per_class(loaded.train, PER_CLASS, seed)
        yield tfl.PruningContext(
            tfl.mask_model(model),
            seed=seed,
            x=x.astype(np.float32) * np.float32(info.scale),
            y=y,
            loss=loss,
            collapse="allow",
        )


def main():
    """Measures, prints JSON lines, and draws."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", help="criteria, with commas")
    parser.add_argument("--figure", help="a .png to write")
    args = parser.parse_args()
    names = args.only.split(",") if args.only else list(CRITERIA)
    if unknown := set(names) - set(CRITERIA):
        parser.error(f"--only must be of {', '.join(CRITERIA)}, not {unknown}")
    about = {
        "benchmark": "layer_collapse", "model": MODEL, "dataset": args.dataset
    }
    lines = {name: [] for name in names}
    for context in contexts(args.dataset, args.seeds):
        for name in names:
            line = {**about, **measure(name, context)}
            print(f"\r{'':60}\r", end="", file=sys.stderr, flush=True)
            print(json.dumps(line), flush=True)
            lines[name].append(line)
    summaries = [summarize(found) for found in lines.values()]
    for summary in summaries:
        print(json.dumps({**about, **summary}))
    if args.figure:
        seeds = f"{args.seeds} seed{'s' * (args.seeds > 1)}"
        title = (
            f"LeNet-300-100 at initialisation, {args.dataset} "
            f"(geometric mean and range of {seeds})"
        )
        save_figure(draw(summaries, title), args.figure)


if __name__ == "__main__":
    main()

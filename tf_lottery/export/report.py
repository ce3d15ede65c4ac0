"""What an export wrote, how large and fast it is, and what did not help."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from typing import Any

import keras
import numpy as np

from tf_lottery.analysis import inference_flops
from tf_lottery.analysis import kernel_uses
from tf_lottery.atomic import replace_file
from tf_lottery.export.compact import Compaction
from tf_lottery.export.runtime import runtime_name
from tf_lottery.layers import named_variables
from tf_lottery.metric import density_percent
from tf_lottery.report import save_figure

# Examples per run with which a file that takes any number is timed.
ANY_BATCH = 64
_COLUMNS = (
    "file", "bytes", "gzip", "zstd", "smaller", "faster", "at batch 1",
    "error", "argmax",
)

# Ratios to the dense file, from which one is smaller, and below which slower.
_SMALLER, _SLOWER = 1.1, 0.95
_NO_SMALLER = {
    "float32": "pruning does not pay here. Ship int8, or prune more",
    "float16": "float16 does not pay here. Ship int8, or prune more",
    "int8": "int8 does not pay here. Ship float32, which is exact",
    "full_int8": "full_int8 does not pay here. Ship float32, which is exact",
}


@dataclasses.dataclass
class ExportReport:
    """The outcome of an export.

    Args:
        form: of the weights in the TFLite file.
        batch: examples per run of it.
        density: fraction of the prunable weights that the mask keeps, in
            [0, 1]; None for a model that came without one.
        effective_density: fraction of the kernels' weights that are not zero
            once what is cut off from inputs or outputs is gone.
        flops: of one inference, `dense` and of the weights left
            (`effective`); None where they cannot be counted.
        parameters: number of them before and after compaction.
        removed: `{layer: (before, after)}`, units that compaction removed;
            empty, and `parameters` equal, where no file was compacted.
        runtime: the interpreter that TFLite files were run in.
        notes: what was not done, or did not help, and why.
        entries: one per file: `format`, `path`, `compacted`, `raw`, `gzip`
            and `zstd` bytes, `error`, `argmax`, and of TFLite `size_ratio`,
            `microseconds` per run and `latency_ratio` to the dense file;
            the same with `_batch_1` of one example where `batch` is not 1.
    """

    form: str
    batch: int | None
    density: float | None
    effective_density: float
    flops: dict[str, int] | None
    parameters: tuple[int, int]
    removed: dict[str, tuple[int, int]]
    runtime: str
    notes: list[str]
    entries: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @classmethod
    def of(
        cls,
        model: keras.Model,
        density: float | None,
        smaller: Compaction | None,
        form: str,
        batch: int | None,
        notes: list[str],
    ) -> ExportReport:
        """A report without entries.

        Args:
            model: the network before compaction.
            density: of its mask.
            smaller: it after compaction, where that was used.
            form: as above.
            batch: as above.
            notes: as above.
        """
        small = smaller.model if smaller else model
        size = _sizes(model)
        try:
            flops = {
                "dense": inference_flops(model).dense,
                "effective": inference_flops(small, _kept(small)).effective,
            }
        except ValueError as error:
            flops = None
            notes = [*notes, f"FLOPs are not counted: {error}"]
        return cls(
            form,
            batch,
            density,
            _sizes(small)[1] / max(1, size[0]),
            flops,
            (model.count_params(), small.count_params()),
            dict(smaller.removed) if smaller else {},
            runtime_name(),
            list(notes),
        )

    def recommendation(self) -> str:
        """Says which file to ship, in one sentence."""
        by_name = {entry["format"]: entry for entry in self.entries}
        lite = by_name.get("tflite")
        if lite is None:
            return "Export to tflite for the smallest file."
        text = (
            f"model.tflite is {lite['size_ratio']:.1f} times smaller than the "
            "dense TFLite file"
        )
        speed = lite.get("latency_ratio", 1.0)
        if "latency_ratio" in lite:
            same = _SLOWER <= speed <= 2 - _SLOWER
            text += f" and {'' if same else f'{speed:.2f} times '}as fast"
        if lite["size_ratio"] < _SMALLER:
            return f"{text}: {_NO_SMALLER[self.form]}."
        if speed < _SLOWER:
            return (
                f"{text}: ship it only where bytes count for more than time."
            )
        return f"{text}: ship it, compressed where it is sent."

    def __str__(self) -> str:
        rows = [_COLUMNS, *map(_cells, self.entries)]
        # The columns of which there is anything to say.
        shown = [i for i, c in enumerate(zip(*rows[1:])) if any(c)]
        cut = [[row[i] for i in shown] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cut)]
        lines = []
        if self.density is not None:
            lines.append(
                f"{density_percent(self.density)} % of the prunable weights "
                "are kept; outputs depend on "
                f"{density_percent(self.effective_density)} % of all kernels' "
                "weights."
            )
        if self.removed:
            parts = ", ".join(
                f"{name} {before:,} -> {after:,}"
                for name, (before, after) in self.removed.items()
            )
            lines.append(f"Compacted: {parts}.")
        if self.flops:
            lines.append(
                f"FLOPs per inference: {self.flops['effective']:,} of "
                f"{self.flops['dense']:,}."
            )
        lines.append("")
        for number, row in enumerate(cut):
            cells = [row[0].ljust(widths[0])]
            cells += [c.rjust(w) for c, w in zip(row[1:], widths[1:])]
            lines.append("  ".join(cells))
            if not number:
                lines.append("-" * len(lines[-1]))
        lines += [
            "dense tflite: this very network as TFLite stores it by itself, to "
            "which the other is compared in size and speed; argmax: of the "
            "examples, how many are decided alike (of single numbers 1).",
            f"smaller, faster: than the dense TFLite file, in {self.runtime}, "
            f"batch {self.batch or f'any ({ANY_BATCH} timed)'}, one thread.",
            *(f"Note: {note}." for note in self.notes),
            "",
            self.recommendation(),
        ]
        return "\n".join(lines).lstrip("\n")

    def to_json(self) -> dict[str, Any]:
        """Returns the report as plain values."""
        return {
            **dataclasses.asdict(self),
            "recommendation": self.recommendation(),
            "machine": platform.machine(),
            "threads": 1,
        }

    def save(self, folder: str) -> None:
        """Writes report.json, and report.png where a TFLite file was made.

        Args:
            folder: where to.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps(self.to_json(), indent=1) + "\n"
        replace_file(os.path.join(folder, "report.json"), text.encode())
        lites = [e for e in self.entries if "size_ratio" in e]
        if lites:
            save_figure(_figure(lites), os.path.join(folder, "report.png"))


def _sizes(model) -> tuple[int, int]:
    """Entries of the kernels, and how many of them are not zero."""
    kernels = [
        np.asarray(v) for v in named_variables(model).values() if v.ndim > 1
    ]
    return (
        sum(kernel.size for kernel in kernels),
        sum(int(np.count_nonzero(kernel)) for kernel in kernels),
    )


def _kept(model) -> dict[str, np.ndarray]:
    values = named_variables(model)
    return {
        path: np.asarray(values[path]) != 0
        for path in kernel_uses(model)
        if path in values
    }


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    def times(name: str) -> str:
        return f"{entry[name]:.2f} x" if name in entry else ""

    zstd = entry["zstd"]
    return (
        entry["format"],
        f"{entry['raw']:,}",
        f"{entry['gzip']:,}",
        "" if zstd is None else f"{zstd:,}",
        times("size_ratio"),
        times("latency_ratio"),
        times("latency_ratio_batch_1"),
        f"{entry['error']:.0e}",
        f"{entry['argmax']:.4f}",
    )


def _figure(entries: list[dict[str, Any]]) -> Any:
    """Bytes and time of the TFLite files, side by side."""
    from matplotlib.figure import Figure

    timed = all("microseconds" in entry for entry in entries)
    figure = Figure(figsize=(9.0 if timed else 4.5, 2.6), layout="tight")
    panels = [("KB (1000 bytes)", [e["raw"] / 1000 for e in entries])]
    if timed:
        times = [e["microseconds"] for e in entries]
        panels.append(("microseconds per run", times))
    names = ["dense" if e["path"] is None else "ticket" for e in entries]
    plots = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (label, values) in zip(plots, panels):
        bars = axes.barh(names, values, color=["#999999", "#0072B2"])
        axes.bar_label(bars, fmt="{:,.1f}", padding=3)
        axes.set_xlabel(label)
        axes.set_xlim(0, max(values) * 1.2)
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    return figure

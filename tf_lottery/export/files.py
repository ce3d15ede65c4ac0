"""Ships a ticket: compacted, converted, verified, and only then written."""

from __future__ import annotations

import functools
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.atomic import replace_file
from tf_lottery.export.compact import Compaction
from tf_lottery.export.compact import compact as compact_model
from tf_lottery.export.report import ANY_BATCH
from tf_lottery.export.report import ExportReport
from tf_lottery.export.runtime import Runner
from tf_lottery.export.runtime import latency
from tf_lottery.export.saved_model import replace_saved_model
from tf_lottery.export.size import sizes
from tf_lottery.export.tflite import check_form
from tf_lottery.export.tflite import check_samples
from tf_lottery.export.tflite import convert
from tf_lottery.export.tflite import input_of
from tf_lottery.export.verify import Agreement
from tf_lottery.export.verify import check_agreement
from tf_lottery.export.verify import ok
from tf_lottery.export.verify import safe_tflite
from tf_lottery.layers import get_mask
from tf_lottery.layers import is_masked
from tf_lottery.layers import strip_masks
from tf_lottery.paths import is_remote
from tf_lottery.tickets import Ticket

FORMATS = ("keras", "saved_model", "tflite")
# Of outputs, over max(1, max |y|): what removing dead units may change.
_COMPACT_ERROR = 2e-6
# Zeros from which an interpreter gains by reading rows directly: at batch 1,
# and at larger ones, where its dense kernels gain more.
_DIRECT, _DIRECT_IN_BATCHES = 0.94, 0.97
# Dense kernels are slow at widths that are no multiples of 8 (measured: 0.63 of
# the speed at 296 and 71 units instead of 300 and 100), so in TFLite
# compaction must leave out much to pay: at most this share of parameters stays.
_PAYS = 0.6
_RANDOM_EXAMPLES = 64


def export(
    source: Ticket | keras.Model,
    output_dir: str | os.PathLike[str],
    formats: Sequence[str] = FORMATS,
    *,
    form: str = "float32",
    batch: int | None = 1,
    compact: bool = True,
    samples: Any = None,
    rounds: int = 20,
    notice: Callable[[str], None] | None = None,
) -> ExportReport:
    """Writes a trained ticket as the smallest files that provably agree.

    Units and channels that pruning cut off are removed, the TFLite file
    stores what is left in compressed rows where that is smaller, and each
    file is loaded and compared with the model before it takes its name:
    `model.keras`, `saved_model`, `model.tflite`; and `report.json`, with
    `report.png` beside a TFLite file.

    Args:
        source: a ticket, of which the trained network is written, or a Keras
            model, masked or not.
        output_dir: folder; files of these names in it are replaced.
        formats: some of `"keras"`, `"saved_model"`, `"tflite"`.
        form: of the weights in the TFLite file: `"float32"`, `"float16"`,
            `"int8"`, or `"full_int8"`, calibrated on `samples`.
        batch: examples per run of the TFLite file, None for any number.
        compact: whether dead units are removed.
        samples: real inputs as the model takes them, on which files are
            compared; some hundreds for the int8 forms. Random ones if none,
            for a model whose inputs are all floats.
        rounds: of timing the TFLite file against the dense one; 0 for none.
        notice: called with one line before each part of the work.

    Returns:
        An `ExportReport`; `print` shows its table.

    Raises:
        ValueError: an unknown format or form, samples that are no inputs of
            the model, or a model that cannot be converted.
        RuntimeError: a file does not agree with the model; it is not written,
            and those before it stay.
        OSError: the folder cannot be written.

    Example:
        >>> x = keras.Input((20,))
        >>> model = keras.Model(x, keras.layers.Dense(3)(x))
        >>> report = export(model, folder, ["tflite"], rounds=0)
        >>> sorted(os.listdir(folder))
        ['model.tflite', 'report.json', 'report.png']
        >>> report.entries[-1]["argmax"]
        1.0
    """
    formats = _checked(output_dir, formats, form, batch)
    say = notice or (lambda line: None)
    model, density = _plain(source)
    notes = []
    if samples is None:
        if "int8" in form:
            raise ValueError(
                f"`samples` must be real inputs for the form {form}. Received:"
                " samples=None. Some hundreds of examples suffice."
            )
        notes.append("compared on random inputs alone: no samples were given")
        samples = _random(model)
    check_samples(model, samples)
    if compact:
        say("Removing what pruning cut off")
    smaller = compact_model(model) if compact else None
    if smaller is not None:
        notes += [f"compaction: {note}" for note in smaller.notes]
        smaller, agreement = _if_exact(smaller, model, samples)
        if smaller is None:
            notes.append(f"compaction: not used, it changes {agreement}")
    small = smaller.model if smaller else model
    report = ExportReport.of(model, density, smaller, form, batch, notes)
    target = os.path.abspath(os.fspath(output_dir))
    os.makedirs(target, exist_ok=True)
    write: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
        "keras": _write_keras,
        "saved_model": _write_saved_model,
        "tflite": functools.partial(
            _write_tflite, form=form, batch=batch, rounds=rounds, dense=model
        ),
    }
    for name in formats:
        say(f"Writing and verifying {name}")
        report.entries += write[name](small, target, samples, report.notes)
    report.save(target)
    return report


def _checked(output_dir, formats, form, batch) -> list[str]:
    unknown = [name for name in formats if name not in FORMATS]
    if isinstance(formats, str) or unknown or not formats:
        raise ValueError(
            f"`formats` must be some of {', '.join(FORMATS)}. Received: "
            f"formats={formats!r}. Give a list of these."
        )
    check_form(form, batch)
    if is_remote(output_dir):
        raise ValueError(
            "`output_dir` must be a folder on this machine. Received: "
            f"output_dir={os.fspath(output_dir)!r}. Copy the files from there."
        )
    return [name for name in FORMATS if name in formats]


def _plain(source) -> tuple[keras.Model, float | None]:
    """The model without masks, and the density of its mask."""
    if isinstance(source, Ticket):
        model = source.build_model(masked=False, weights="trained")
        return model, source.mask.density
    if is_masked(source):
        return strip_masks(source), get_mask(source).density
    return source, None


def _random(model) -> Any:
    kinds = {tensor.dtype for tensor in keras.tree.flatten(input_of(model))}
    if not all("float" in kind for kind in kinds):
        raise ValueError(
            "`samples` must be real inputs for a model that does not take "
            f"floats. Received: samples=None, for inputs of {', '.join(kinds)}"
            ". Which numbers may be given is not known."
        )
    rng = np.random.default_rng(0)
    return keras.tree.map_structure(
        lambda tensor: rng.normal(
            size=[_RANDOM_EXAMPLES, *(n or 1 for n in tensor.shape[1:])]
        ).astype(tensor.dtype),
        input_of(model),
    )


def _if_exact(
    done: Compaction, model, samples
) -> tuple[Compaction | None, Agreement]:
    agreement = check_agreement(_flat(done.model, model), model, samples)
    exact = agreement.finite and agreement.error <= _COMPACT_ERROR
    return (done if exact else None), agreement


def _flat(call: Callable, model: keras.Model) -> Callable:
    """`call`, which takes a model's inputs, on a flat list of arrays."""
    structure = input_of(model)
    dtypes = [tensor.dtype for tensor in keras.tree.flatten(structure)]

    def run(arrays):
        tensors = [tf.constant(a, dtype) for a, dtype in zip(arrays, dtypes)]
        packed = keras.tree.pack_sequence_as(structure, tensors)
        return keras.tree.map_structure(np.asarray, call(packed))

    return run


def _verified(run, model, samples, name) -> Agreement:
    agreement = check_agreement(run, model, samples)
    if not ok(agreement, "float32"):
        raise RuntimeError(
            f"The {name} file must agree with the model. Received: "
            f"{agreement}. It was not written."
        )
    return agreement


def _entry(name, path, size, agreement, **more) -> dict[str, Any]:
    return {
        "format": name,
        "path": path,
        **size,
        "error": agreement.error,
        "argmax": agreement.argmax,
        "examples": agreement.examples,
        **more,
    }


def _write_keras(model, folder, samples, notes) -> Iterator[dict[str, Any]]:
    path = os.path.join(folder, "model.keras")
    with tempfile.TemporaryDirectory() as scratch:
        file = os.path.join(scratch, "model.keras")
        model.save(file)
        loaded = keras.models.load_model(file, compile=False)
        run = _flat(loaded, model)
        agreement = _verified(run, model, samples, "keras")
        with open(file, "rb") as opened:
            data = opened.read()
    replace_file(path, data)
    yield _entry("keras", path, sizes(data), agreement)


def _write_saved_model(
    model, folder, samples, notes
) -> Iterator[dict[str, Any]]:
    path = os.path.join(folder, "saved_model")

    def check(made: str) -> tuple[dict[str, int | None], Agreement]:
        with tf.device("CPU:0"):
            served = tf.saved_model.load(made)
        run = _flat(served.serve, model)
        agreement = _verified(run, model, samples, "saved_model")
        return sizes(_content(made)), agreement

    yield _entry("saved_model", path, *replace_saved_model(model, path, check))


def _content(folder: str) -> bytes:
    """All files of a folder, one after another."""
    parts = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            with open(os.path.join(place, name), "rb") as file:
                parts.append(file.read())
    return b"".join(parts)


def _write_tflite(
    model, folder, samples, notes, *, form, batch, rounds, dense
) -> Iterator[dict[str, Any]]:
    path = os.path.join(folder, "model.tflite")
    share = model.count_params() / max(1, dense.count_params())
    if _PAYS < share < 1:
        notes.append(
            f"tflite: not compacted, since {share:.0%} of the parameters would "
            "stay, and odd widths are slower"
        )
        model = dense
    # What all ratios are to: the same network as TFLite has it by itself.
    plain = convert(dense, batch=batch)
    agreement = _verified(Runner(plain), dense, samples, "dense TFLite")
    data, tried, found = _sparse(model, form, samples, batch)
    notes += [f"tflite: {note}" for note in tried]
    speed = _speeds({"dense": plain, form: data}, samples, batch, rounds)
    if rounds and batch != 1:
        one = {"dense": plain, form: data}
        if batch is not None:
            one = {
                "dense": convert(dense, batch=1),
                form: _sparse(model, form, samples, 1)[0],
            }
        for name, more in _speeds(one, samples, 1, rounds).items():
            speed[name] |= {f"{k}_batch_1": v for k, v in more.items()}
    replace_file(path, data)
    base = sizes(plain)
    yield _entry(
        "dense tflite", None, base, agreement, size_ratio=1.0, **speed["dense"]
    )
    size = sizes(data)
    ratio = (base["raw"] or 0) / max(1, size["raw"] or 0)
    yield _entry("tflite", path, size, found, size_ratio=ratio, **speed[form])


def _sparse(model, form, samples, batch):
    direct = _DIRECT if batch == 1 else _DIRECT_IN_BATCHES
    return safe_tflite(model, form, samples, batch=batch, direct=direct)


def _speeds(files, samples, batch, rounds) -> dict[str, dict[str, float]]:
    """What files take for one run of a batch, side by side."""
    if not rounds:
        return {name: {} for name in files}
    rows = np.arange(batch or ANY_BATCH)
    x = [np.asarray(a)[rows % len(a)] for a in keras.tree.flatten(samples)]
    runners = {name: Runner(data) for name, data in files.items()}
    return {
        name: {
            "microseconds": measured["median_seconds"] * 1e6,
            "latency_ratio": measured["ratio"],
        }
        for name, measured in latency(runners, x, rounds=rounds).items()
    }

"""Ships a ticket: compacted, converted, verified, and only then written."""

from __future__ import annotations

import contextlib
import functools
import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.atomic import replace_file
from tf_lottery.export.arguments import FORMATS
from tf_lottery.export.arguments import check_arguments
from tf_lottery.export.arguments import inputs_for
from tf_lottery.export.arguments import plain_model
from tf_lottery.export.compact import Compaction
from tf_lottery.export.compact import compact as compact_model
from tf_lottery.export.report import ANY_BATCH
from tf_lottery.export.report import ExportReport
from tf_lottery.export.runtime import Runner
from tf_lottery.export.runtime import latency
from tf_lottery.export.saved_model import replace_saved_model
from tf_lottery.export.size import sizes
from tf_lottery.export.tflite import convert
from tf_lottery.export.tflite import input_of
from tf_lottery.export.verify import Agreement
from tf_lottery.export.verify import check_agreement
from tf_lottery.export.verify import ok
from tf_lottery.export.verify import safe_tflite
from tf_lottery.tickets import Ticket

_FILES = {
    "keras": "model.keras",
    "saved_model": "saved_model",
    "tflite": "model.tflite",
}
# Of outputs, over max(1, max |y|): what removing dead units may change.
_COMPACT_ERROR = 2e-6
# Zeros from which an interpreter gains by reading rows directly: at batch 1,
# and at larger ones, where its dense kernels gain more.
_DIRECT, _DIRECT_IN_BATCHES = 0.94, 0.97
# Dense kernels are slow at widths that are no multiples of 8 (measured: 0.63 of
# the speed at 296 and 71 units instead of 300 and 100), so in TFLite
# compaction must leave out much to pay: at most this share of parameters stays.
_PAYS = 0.6


def export(
    source: Ticket | keras.Model,
    output_dir: str | os.PathLike[str],
    formats: Collection[str] = FORMATS,
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
    `report.png` beside a TFLite file. The report of an earlier export goes
    once one of its files is replaced; files of formats that are not asked for
    stay, and are named in the notes.

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
        TypeError: `source` is neither a ticket nor a model.
        ValueError: another argument is none of these, no samples for a model
            that needs them, or a model that cannot be saved, converted, or
            copied without its masks.
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
    formats = check_arguments(
        source, output_dir, formats, form, batch, rounds
    )
    batch = None if batch is None else int(batch)
    say = notice or (lambda line: None)
    model, density = plain_model(source)
    notes = []
    if samples is None:
        notes.append("compared on random inputs alone: no samples were given")
    samples = inputs_for(model, samples, form)
    target = os.path.abspath(os.fspath(output_dir))
    os.makedirs(target, exist_ok=True)
    if compact:
        say("Removing what pruning cut off")
    smaller = compact_model(model) if compact else None
    if smaller is not None:
        notes += [f"compaction: {note}" for note in smaller.notes]
        smaller, agreement = _if_exact(smaller, model, samples)
        if smaller is None:
            notes.append(f"compaction: not used, since it gives {agreement}")
    small = smaller.model if smaller else model
    report = ExportReport.of(model, density, smaller, form, batch, notes)
    write: dict[str, Callable[..., Iterator[dict[str, Any]]]] = {
        "keras": _write_keras,
        "saved_model": _write_saved_model,
        "tflite": functools.partial(
            _write_tflite, form=form, batch=batch, rounds=rounds, dense=model
        ),
    }
    for name in formats:
        say(f"Writing and verifying {name}")
        for entry in write[name](small, target, samples, report.notes):
            report.entries.append({"compacted": bool(report.removed), **entry})
    report.notes += [
        f"{_FILES[name]}: left from an earlier export"
        for name in FORMATS
        if name not in formats
        and os.path.lexists(os.path.join(target, _FILES[name]))
    ]
    if not any(entry["compacted"] for entry in report.entries):
        # The notes say why.
        report.removed = {}
        report.parameters = report.parameters[:1] * 2
    report.save(target)
    return report


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
        # As the model that it is compared with.
        with tf.device("CPU:0"):
            tensors = [tf.constant(a, d) for a, d in zip(arrays, dtypes)]
            outputs = call(keras.tree.pack_sequence_as(structure, tensors))
        return keras.tree.map_structure(np.asarray, outputs)

    return run


def _remove_report(folder: str) -> None:
    """Before a file is replaced, of which it tells."""
    for name in ("report.json", "report.png"):
        with contextlib.suppress(FileNotFoundError):
            os.remove(os.path.join(folder, name))


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
        try:
            model.save(file)
            loaded = keras.models.load_model(file, compile=False)
        except OSError as error:
            # A failing write does not say where.
            error.filename = error.filename or tempfile.gettempdir()
            raise
        except Exception as error:
            # A user's own layer may raise anything.
            raise ValueError(
                "`model` must be one that Keras can save and load. Received: "
                f"{type(error).__name__} of model {model.name!r}, "
                f"{' '.join(str(error).split())[:200]}. Register what is your "
                "own with keras.saving.register_keras_serializable, or leave "
                "keras out of formats."
            ) from error
        run = _flat(loaded, model)
        agreement = _verified(run, model, samples, "keras")
        with open(file, "rb") as opened:
            data = opened.read()
    _remove_report(folder)
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
        size = sizes(_content(made))
        _remove_report(folder)
        return size, agreement

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
            f"tflite: not compacted as the other files are, since {share:.0%} "
            "of the parameters would stay, and odd widths are slower"
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
    _remove_report(folder)
    replace_file(path, data)
    base = sizes(plain)
    yield _entry(
        "dense tflite", None, base, agreement, compacted=False, size_ratio=1.0,
        **speed["dense"],
    )
    size = sizes(data)
    ratio = (base["raw"] or 0) / max(1, size["raw"] or 0)
    own = {"compacted": False} if model is dense else {}
    yield _entry(
        "tflite", path, size, found, size_ratio=ratio, **own, **speed[form]
    )


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

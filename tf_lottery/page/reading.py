"""Run directories as they are found: what is wrong is noted, not raised."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tf_lottery import analysis
from tf_lottery import paths
from tf_lottery import report
from tf_lottery.config import FORMAT
from tf_lottery.config import Config
from tf_lottery.methods import METHODS
from tf_lottery.metric import ACCURACY
from tf_lottery.metric import Metric
from tf_lottery.page.run import Run
from tf_lottery.plan import MAIN
from tf_lottery.results import Results
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets.reading import MALFORMED
from tf_lottery.tickets.reading import one_line
from tf_lottery.tickets.reading import read_json

# What a config.json has beside the fields of `Config`.
_BESIDE = {"format", "inputs", "metric", "task"}
_CONFIG, _RESULTS, _SWEEP = "config.json", "results.csv", "perturbation.csv"
# Said of every run that differs in them; the others only if runs are alike.
_TELLING = (
    "dataset", "model", "init", "method", "criterion", "scope", "structure",
    "retrain", "optimizer",
)


def read_runs(folders: Iterable[str]) -> tuple[list[Run], list[str]]:
    """Reads run directories, and labels them by what they differ in.

    Args:
        folders: the run directories.

    Returns:
        The runs that could be read, and a line about each other folder.

    Raises:
        ValueError: none of them is a run directory, or none was given.
    """
    runs: dict[str, Run] = {}
    problems: list[str] = []
    for folder in folders:
        same = folder if paths.is_remote(folder) else os.path.realpath(folder)
        if same in runs:
            problems.append(f"{folder} was given twice; it is shown once.")
            continue
        try:
            runs[same] = read_run(folder)
        except ValueError as error:
            problems.append(str(error))
    if not runs:
        raise ValueError(
            problems[0] if problems else "`runs` must be run directories. "
            "Received: none. Name at least one."
        )
    return labelled(list(runs.values())), problems


def read_run(folder: str) -> Run:
    """Reads one run directory; the label is the folder's name.

    Args:
        folder: with config.json, results.csv and levels, or some of them.

    Raises:
        ValueError: there is no such folder, or it is no run directory.
    """
    names = set(paths.names_in(folder)) if paths.is_folder(folder) else None
    if names is None:
        raise ValueError(
            "`RUN_DIR` must be the folder of a run. Received: "
            f"{folder}, where there is no folder. Check the path."
        )
    known = names & {_CONFIG, _RESULTS, _SWEEP} or any(
        name.startswith("replicate_") for name in names
    )
    if not known and names - {"report"}:
        inside = sorted(
            name for name in names
            if paths.is_file(os.path.join(folder, name, _CONFIG))
        )
        advice = "Name a folder that the command has made"
        if inside:
            advice = (
                f"Name one of the {len(inside)} in it, such as "
                f"{os.path.join(folder, inside[0])}"
            )
        raise ValueError(
            "`RUN_DIR` must be the folder of a run. Received: "
            f"{folder}, which has no config.json and no results.csv. {advice}."
        )
    notices: list[str] = []
    if not known:
        notices.append("The folder is empty: nothing has been run in it.")
    values = _values(folder, names, notices)
    label = os.path.basename(os.path.abspath(folder))
    found = Run(folder, label, values, Results([], folder))
    if found.instability:
        if not paths.is_file(os.path.join(folder, "report", "barriers.csv")):
            notices.append("No line has finished yet: there is no result.")
        return dataclasses.replace(found, notices=tuple(notices))
    settings = _settings(values, notices)
    metric = _metric(values, notices)
    if _SWEEP in names:
        notices.append(
            "This is the folder of several values of epsilon, whose results "
            "are in perturbation.csv. Name the run directory of each epsilon."
        )
    method = None
    if settings is not None:
        method = values.get("method", Config.method)
    rows = _rows(folder, names, method, metric, notices)
    if not rows and known and _SWEEP not in names:
        notices.append("No training has finished yet: there is no result.")
    results = Results(rows, folder, metric=metric or ACCURACY)
    if settings is not None and metric is not None:
        results = Results.of(rows, folder, values)
    if metric is None:
        settings = None
    return Run(folder, label, values, results, settings, tuple(notices))


def labelled(runs: Sequence[Run]) -> list[Run]:
    """Returns the runs under labels of what they differ in, each unique.

    Args:
        runs: one keeps its label.

    Returns:
        The same runs in the same order. Two with one configuration are told
        apart by their folders.
    """
    if len(runs) < 2:
        return list(runs)
    names = [f.name for f in dataclasses.fields(Config)]
    rest = [
        f.name for f in dataclasses.fields(Config)
        if f.metadata["identity"] and f.name not in _TELLING
    ]
    texts = {
        name: [setting_text(run.config.get(name, _default(name)))
               for run in runs]
        for name in names
    }
    parts: list[list[str]] = [[] for _ in runs]
    for name in (*_TELLING, *rest, "verdict_density", "levels", "replicates"):
        telling = name in _TELLING
        if len(set(texts[name])) < 2:
            continue
        told = [tuple(part) for part in parts]
        if not telling and len(set(zip(told, texts[name]))) == len(set(told)):
            continue
        for part, text in zip(parts, texts[name]):
            part.append(text if telling else f"{name} {text}")
    labels = [", ".join(part) for part in parts]
    for name in ("label", "path"):
        labels = [
            label if label and labels.count(label) == 1
            else ", ".join(filter(None, (label, getattr(run, name))))
            for label, run in zip(labels, runs)
        ]
    return [
        dataclasses.replace(run, label=label)
        for run, label in zip(runs, labels)
    ]


def setting_text(value: Any) -> str:
    """Returns a value of config.json as it would be given to its flag.

    Args:
        value: plain JSON.

    Example:
        >>> setting_text(None), setting_text(True), setting_text([3, 6])
        ('none', 'on', '3,6')
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if value is None or value == [] or value == ():
        return "none"
    if isinstance(value, (list, tuple)):
        return ",".join(map(setting_text, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {setting_text(v)}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _default(name: str) -> Any:
    return getattr(Config, name, None)


def _values(
    folder: str, names: set[str], notices: list[str]
) -> dict[str, Any]:
    if _CONFIG not in names:
        if names:
            notices.append(
                "config.json is missing: what was run is not known, so there "
                "is no verdict."
            )
        return {}
    try:
        values = read_json(os.path.join(folder, _CONFIG))
        if not isinstance(values, dict):
            raise ValueError("it holds no object")
    except (*MALFORMED, OSError) as error:
        notices.append(f"config.json cannot be read ({one_line(error)}).")
        return {}
    return values


def _settings(
    values: Mapping[str, Any], notices: list[str]
) -> Config | None:
    """The configuration, if this version can read it."""
    if not values:
        return None
    if values.get("format") != FORMAT:
        notices.append(
            f"config.json is of format {one_line(values.get('format'), 40)}, "
            f"where this version of tf_lottery reads format {FORMAT}."
        )
    fields = {f.name for f in dataclasses.fields(Config)}
    unknown = sorted(set(values) - fields - _BESIDE)
    if unknown:
        notices.append(
            "config.json has settings that this version of tf_lottery does "
            f"not know, and leaves out: {one_line(', '.join(unknown))}."
        )
    try:
        if values.get("method", Config.method) not in METHODS:
            raise ValueError(f"no method {values['method']!r} is known")
        return Config(
            **{k: _plain(v) for k, v in values.items() if k in fields}
        )
    except (ValueError, TypeError) as error:
        notices.append(
            "config.json cannot be understood, so there is no verdict "
            f"({one_line(error)})."
        )
        return None


def _metric(values: Mapping[str, Any], notices: list[str]) -> Metric | None:
    """What networks were judged by, if this version can read it."""
    try:
        return Metric.from_json(values.get("metric"))
    except (ValueError, TypeError) as error:
        notices.append(
            "config.json has no metric that can be understood, so there are "
            f"no results ({one_line(error)})."
        )
        return None


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _rows(
    folder: str,
    names: set[str],
    method: str | None,
    metric: Metric | None,
    notices: list[str],
) -> list[dict[str, Any]]:
    """Rows of the level.json files; of results.csv, where there are none."""
    if not names or metric is None:
        return []
    store = RunDirectory(
        folder,
        lambda line: notices.append(line.replace(f"{folder}{os.sep}", "")),
    )
    whole = store.rows()
    if any(row.get(metric.test) is None for row in whole):
        notices.append(
            f"The level.json files have no {metric.test}: what networks are "
            "judged by is not known, so there are no results."
        )
        return []
    listed = None
    if _RESULTS in names:
        try:
            listed = report.read_results(
                os.path.join(folder, _RESULTS), metric
            )
        except ValueError as error:
            reason = one_line(error).partition("Received: ")[2]
            notices.append(
                f"results.csv cannot be read ({reason or one_line(error)}). "
                f"The results here are those of the {len(whole)} level.json "
                "files."
            )
    elif whole:
        notices.append(
            "results.csv is missing. The results here are those of the "
            f"{len(whole)} level.json files."
        )
    if whole:
        if listed is not None:
            notices += _apart(whole, listed)
        rows = _completed(whole, method, metric)
    else:
        rows = listed or []
        if rows:
            notices.append(
                "There are no level.json files: the results here are those "
                "of results.csv alone."
            )
    # What could not be counted is there as None in a level.json, and beside
    # steps in results.csv.
    if any("inference_flops" not in row for row in whole) or any(
        row["inference_flops"] is row["search_steps"] is None for row in rows
    ):
        notices.append(
            "Costs are not known, or not all: the results are of an earlier "
            "version."
        )
    return rows


def _apart(
    whole: Sequence[Mapping[str, Any]], listed: Sequence[Mapping[str, Any]]
) -> Iterator[str]:
    """Says what results.csv has otherwise than the level.json files."""
    known = {_key(row): row for row in whole}
    written = {_key(row): row for row in listed}
    # The command would train them again.
    gone = [key for key in written if key not in known]
    new = [key for key in known if key not in written]
    other = [
        key for key, row in known.items()
        if key in written and not _agree(row, written[key])
    ]
    for keys, what in (
        (gone, "in results.csv are left out, as they have no whole level.json "
         "any more"),
        (new, "are not in results.csv, and are here as their level.json has "
         "them"),
        (other, "have other numbers in results.csv, and are here as their "
         "level.json has them"),
    ):
        if keys:
            yield f"{len(keys)} trainings {what}; the first is {keys[0]}."


def _agree(row: Mapping[str, Any], written: Mapping[str, Any]) -> bool:
    """Whether a row of results.csv, as far as it goes, is a level.json's."""
    return all(
        written.get(name) in (None, value) or value != value
        for name, value in row.items()
    )


def _completed(
    rows: Sequence[Mapping[str, Any]], method: str | None, metric: Metric
) -> list[dict[str, Any]]:
    """Rows of level.json files as results.csv has them, in its order."""
    if method is not None:
        rows = analysis.with_search_costs(rows, method)
    return sorted(
        ({**dict.fromkeys(report.columns(metric)), **row} for row in rows),
        key=lambda row: (
            row["replicate"], row["branch"] != MAIN, row["branch"],
            row["level"],
        ),
    )


def _key(row: Mapping[str, Any]) -> Key:
    return Key(row["replicate"], row["branch"], row["level"])

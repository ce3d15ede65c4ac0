"""Writing the report: the page, and its figures and tables beside it."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Container
from collections.abc import Sequence

from tf_lottery.atomic import replace_file
from tf_lottery.page import verdict
from tf_lottery.page.connectivity import connectivity
from tf_lottery.page.drawing import FORMS
from tf_lottery.page.drawing import figure_files
from tf_lottery.page.drawn import mark
from tf_lottery.page.html import Page
from tf_lottery.page.html import render
from tf_lottery.page.reading import read_runs
from tf_lottery.page.run import Maker
from tf_lottery.page.run import Run
from tf_lottery.page.run import by_metric
from tf_lottery.page.run import listed
from tf_lottery.page.section import Figure
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table
from tf_lottery.page.sections import SECTIONS
from tf_lottery.report import write_table

# Data and figure of a run, kept in the same folder: no part writes over them.
_KEPT = {
    "Table": {"barriers", "connectivity", "metrics", "verdict"},
    "Figure": {"accuracy", "instability"},
}
# What everything below a heading may be missing for.
_DAMAGE = (ValueError, OSError)


def write(
    runs: Sequence[str | os.PathLike[str] | Run],
    folder: str | os.PathLike[str] | None = None,
    *,
    makers: Sequence[Maker] | None = None,
    notices: Sequence[str] = (),
    under_way: bool = False,
) -> str:
    """Writes the report on one run, or on several side by side.

    The page is `index.html`: one file that loads nothing and runs no script.
    Every figure is beside it as PNG, SVG and PDF, every table as CSV. Equal
    results give equal bytes, for equal versions of the packages. The page is
    written last, each file in one step.

    What is wrong with a run directory is said on the page. A part that a
    damaged ticket or file has made impossible is replaced by a line that
    says so.

    Args:
        runs: run directories, or what `read_runs` read from them.
        folder: where to; the folder `report` of the run if there is one run.
        makers: of the parts after the verdict; `SECTIONS` if none.
        notices: more lines for the top of the page.
        under_way: whether more is being trained now: then the page says so,
            and loads itself again, and figures are SVG files only.

    Returns:
        The path of the page.

    Raises:
        ValueError: none of the folders is a run directory, `folder` is
            missing, or two parts have a figure or a table of one name, or of
            the name of a run's data, such as metrics.csv.
        OSError: the folder cannot be written.

    Example:
        >>> from tf_lottery import run
        >>> found = run(levels=1, train_steps=20, output_dir=folder,
        ...             quiet=True)
        >>> os.path.basename(write([found.run_dir], makers=()))
        'index.html'
    """
    read = [run for run in runs if isinstance(run, Run)]
    given = [os.fspath(r) for r in runs if not isinstance(r, Run)]
    problems = list(notices)
    # Before anything is read: what changes meanwhile is drawn next time.
    drawn_from = _mark(given) if len(runs) == 1 and not under_way else ""
    if given or not read:
        more, odd = read_runs(given)
        read += more
        problems += odd
    if folder is None and len(read) != 1:
        raise ValueError(
            "`folder` must be given for several runs. Received: "
            f"folder=None and {len(read)} runs. Name a folder for the report."
        )
    target = os.path.join(read[0].path, "report") if folder is None else folder
    target = os.fspath(target)
    makers = SECTIONS if makers is None else makers
    pruned = [run for run in read if not run.instability]
    # Figures of runs, which may lie in the same folder.
    kept = {run.metric.name for run in pruned}
    sections = [
        # Of an instability run there is nothing but its lines.
        _made(maker, read if maker is connectivity else pruned, kept)
        for maker in (verdict.verdict, *makers)
        if pruned or maker is connectivity
    ]
    shown = [(title, part) for title, part in sections if part is not None]
    page = Page(
        title=_title(read),
        paths=[run.path for run in read],
        state=_state(read, under_way),
        under_way=under_way,
        notices=_notices(read, problems),
        rulings=[verdict.ruling(run) for run in pruned],
        sections=shown,
    )
    files = {}
    names: set[tuple[str, str]] = set()
    for _, part in shown:
        if isinstance(part, str):
            continue
        items: list[Figure | Table] = [*part.figures, *part.tables]
        for item in items:
            kind, name = type(item).__name__, item.name
            plain = re.fullmatch("[A-Za-z0-9_]+", name)
            if (kind, name) in names or name in _KEPT[kind] or not plain:
                raise ValueError(
                    "`name` must be letters, digits and underscores, no "
                    "other's, and no data file of a run. Received: "
                    f"{kind} {name}. Rename it."
                )
            names.add((kind, name))
        for figure in part.figures:
            files[figure.name] = figure_files(
                figure.name, figure.drawn, ["svg"] if under_way else FORMS
            )
            for form, data in files[figure.name].items():
                path = os.path.join(target, f"{figure.name}.{form}")
                replace_file(path, data)
        for table in part.tables:
            path = os.path.join(target, f"{table.name}.csv")
            write_table(table.columns, table.rows, path)
    path = os.path.join(target, "index.html")
    text = render(page, files)
    if not page.notices and not any(isinstance(p, str) for _, p in shown):
        # What is damaged now may be mended, and look the same from here.
        text += drawn_from
    replace_file(path, text.encode("utf-8"))
    return path


def _mark(folders: Sequence[str]) -> str:
    try:
        return "".join(map(mark, folders))
    except OSError:
        return ""


def _made(
    maker: Maker, runs: Sequence[Run], kept: Container[str]
) -> tuple[str, Section | str | None]:
    """A part and its title; where a file is damaged, a line about that.

    No figure has the name of a metric: a run's own is called after it.
    """
    try:
        part = maker(runs)
    except _DAMAGE as error:
        title = maker.__name__.replace("_", " ").capitalize()
        return title, f"{title} cannot be shown: {error}"
    if part is None:
        return "", None
    figures = [
        dataclasses.replace(one, name=f"{one.name}_of_page")
        if one.name in kept and one.name not in _KEPT["Figure"] else one
        for one in part.figures
    ]
    return part.title, dataclasses.replace(part, figures=figures)


def _title(runs: Sequence[Run]) -> str:
    kinds = list(dict.fromkeys(
        f"{run.config['model']} on {run.config['dataset']}"
        for run in runs if {"model", "dataset"} <= set(run.config)
    ))
    title = "; ".join(kinds) or "Report"
    if len(runs) > 1:
        return f"{len(runs)} runs: {title}"
    method = runs[0].config.get("method")
    return f"{title}, {method}" if method else title


def _state(runs: Sequence[Run], under_way: bool) -> str:
    """How many trainings are done, if any is missing."""
    parts = []
    for run in runs:
        planned = len(run.planned)
        if planned > run.finished or (under_way and planned):
            who = f"{run.label}: " if len(runs) > 1 else ""
            parts.append(
                f"{who}{run.finished} of {planned} planned trainings are done"
            )
    return f"{'; '.join(parts)}." if parts else ""


def _notices(runs: Sequence[Run], problems: Sequence[str]) -> list[str]:
    notices = list(problems)
    for run in runs:
        who = f"{run.label}: " if len(runs) > 1 else ""
        notices += [f"{who}{line}" for line in run.notices]
    groups = by_metric([run for run in runs if run.rows])
    values = "accuracies"
    if any(not group[0].metric.percent for group in groups):
        values = "values"
    if len(groups) > 1:
        metrics = listed([group[0].metric.words for group in groups])
        notices.append(
            f"The runs are judged by different metrics ({metrics}): their "
            "values cannot be compared with each other."
        )
    for name, what in (
        ("dataset", "data sets"), ("split_seed", "validation splits"),
        ("validation_size", "validation sizes"),
    ):
        found = list(dict.fromkeys(
            str(run.config[name]) for run in runs if name in run.config
        ))
        if len(found) > 1:
            notices.append(
                f"The runs are of different {what} ({', '.join(found)}): "
                + (
                    f"their {values} cannot be compared with each other."
                    if name == "dataset" else
                    "early stopping cannot be compared exactly."
                )
            )
    return notices

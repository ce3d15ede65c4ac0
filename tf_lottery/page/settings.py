"""What it cost, what was asked for, and with which packages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tf_lottery import report
from tf_lottery.config import Config
from tf_lottery.page.reading import setting_text
from tf_lottery.page.run import Run
from tf_lottery.page.section import Section
from tf_lottery.page.section import Table
from tf_lottery.tickets.metadata import versions as versions_here


def costs(runs: Sequence[Run]) -> Section | None:
    """Makes the section on what finding and using each ticket costs.

    Args:
        runs: one or several.
    """
    rows = [
        [run.label, *row.values()]
        for run in runs for row in report.cost_rows(run.rows)
    ]
    if not rows:
        return None
    names = ["run", *report.COST_COLUMNS]
    used = [
        n for n in range(len(runs) == 1, len(names))
        if any(row[n] is not None for row in rows)
    ]
    return Section(
        "Costs",
        [
            f"{report.SEARCH_NOTE} FLOPs are those of kept weights. Inference "
            "share: FLOPs per inference, of the dense network's. Pays after: "
            "inferences whose saving is the search's cost beyond one dense "
            "training."
        ],
        tables=[
            Table(
                "costs", [names[n] for n in used],
                [[row[n] for n in used] for row in rows],
            )
        ],
    )


def configuration(runs: Sequence[Run]) -> Section | None:
    """Makes the section on configuration and versions of packages.

    Args:
        runs: one or several.

    Raises:
        ValueError: a ticket.json is missing or damaged.
    """
    if not any(run.config for run in runs):
        return None
    labels = ["value"] if len(runs) == 1 else [run.label for run in runs]
    defaults = Config().to_json()
    for field in dataclasses.fields(Config):
        # At their defaults these are left out of config.json.
        default = field.default
        plain = list(default) if isinstance(default, tuple) else default
        defaults.setdefault(field.name, plain)
    changed: list[list[str]] = []
    same: list[list[str]] = []
    for name in sorted(defaults | dict.fromkeys(
        name for run in runs for name in run.config
    )):
        if all("task" in run.config and name not in run.config
               for run in runs):
            # Of data, network or training, which the task decides.
            continue
        default = setting_text(defaults.get(name))
        texts = [
            setting_text(run.config.get(name, defaults.get(name)))
            for run in runs
        ]
        row = [name, *texts, default if name in defaults else "unknown"]
        (changed if set(texts) != {default} else same).append(row)
    names = ["setting", *labels, "default"]
    tables = [
        Table("configuration_changed", names, changed),
        Table("configuration_default", names, same),
    ]
    return Section(
        "Configuration and versions",
        [
            f"{len(changed)} settings differ from their defaults; the other "
            f"{len(same)} are in the second table. The last table has the "
            "packages that the tickets were made with, and those that made "
            "this page.",
            *(line for run in runs for line in run.told_rewind()),
        ],
        tables=[*tables, _versions(runs)],
    )


def _versions(runs: Sequence[Run]) -> Table:
    found: dict[str, set[str]] = {}
    for run in runs:
        for key in run.keys():
            said = run.description(key).get("versions")
            for name, version in dict(said or {}).items():
                found.setdefault(str(name), set()).add(str(version))
    here: dict[str, Any] = versions_here()
    return Table(
        "versions",
        ["package", "tickets", "page"],
        [
            [name, ", ".join(sorted(found.get(name, ()))) or None,
             here.get(name)]
            for name in sorted(found | here)
        ],
    )

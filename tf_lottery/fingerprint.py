"""What identifies an experiment, and names its run directory."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from tf_lottery.config import Config


def identity(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the entries of a config.json that identify the experiment.

    Args:
        values: what `Config.to_json` returned, plus content hashes of input
            files under `inputs`.
    """
    # A file counts by its content, wherever it lies.
    skipped = set(values.get("inputs", ())) | {
        f.name
        for f in dataclasses.fields(Config)
        if not f.metadata["identity"]
    }
    kept = {k: v for k, v in values.items() if k not in skipped}
    if "metric" in kept:
        # It says what a verdict is, not what is trained.
        kept["metric"] = {**kept["metric"], "margin": None}
    return kept


def fingerprint(values: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a config.json's identity, as sorted JSON.

    Args:
        values: as in `identity`.

    Returns:
        64 hexadecimal digits.
    """
    text = json.dumps(identity(values), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def run_name(values: Mapping[str, Any]) -> str:
    """Returns the name of the run directory of a config.json."""
    parts = [str(values[k]) for k in ("dataset", "model", "method")]
    name = "-".join([*parts, fingerprint(values)[:16]])
    # Data sets and models are named with "/" and ":" too.
    return name.replace("/", "_").replace(":", "_")

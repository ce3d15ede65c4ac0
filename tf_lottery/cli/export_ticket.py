"""Ships a ticket: as Keras, SavedModel and TFLite files, each verified."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

from tf_lottery.cli.errors import quiet_tensorflow
from tf_lottery.cli.errors import run_command

# Flag: default, what it means.
_FLAGS: dict[str, tuple[Any, str]] = {
    "ticket": (None, "Folder of a ticket: level_NN/ticket of a run."),
    "output_dir": (None, "Folder for the files."),
    "format": (
        ["keras", "saved_model", "tflite"], "Which files to write.",
    ),
    "float16": (False, "TFLite weights as float16."),
    "int8": (
        False, "TFLite weights as int8, activations quantised on the fly.",
    ),
    "full_int8": (
        False, "Both as int8, with ranges found on the ticket's test set.",
    ),
    "batch": (1, "Examples per run of the TFLite file; 0 for any number."),
    "compact": (True, "Remove units that pruning has cut off."),
    "data_dir": (None, "TFDS data directory, for the ticket's data set."),
    "text_file": (None, "The text, for a ticket of a text file."),
    "samples": (
        1000,
        "So many test examples the files are compared on; 0 for random inputs "
        "alone, as for a ticket of a task.",
    ),
    "rounds": (20, "Rounds of timing; 0 for none."),
    "debug": (False, "Show the traceback of an error."),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: the program's name and its arguments; `sys.argv` if none.

    Returns:
        The exit status: 0, 1 after an error, 130 after Ctrl-C.
    """
    return run_command(_run, argv, "files that are there are whole")


def _run(argv: list[str], outcome: Any) -> int:
    from tf_lottery.cli.flags import describe
    from tf_lottery.cli.flags import parse

    defaults = {name: default for name, (default, _) in _FLAGS.items()}
    given = parse(argv, {k: _kind(v) for k, v in defaults.items()})
    if given is None:
        program = os.path.basename(argv[0])
        usage = f"{program} --ticket=FOLDER --output_dir=FOLDER"
        print(describe(usage, __doc__ or "", _FLAGS))
        return 0
    values = {**defaults, **given}
    outcome.debug = values["debug"]
    for name in ("ticket", "output_dir"):
        if not values[name]:
            raise ValueError(
                f"`{name}` must be a folder. Received: none. Write "
                f"--{name}=FOLDER; see --help."
            )
    forms = [f for f in ("float16", "int8", "full_int8") if values[f]]
    if len(forms) > 1:
        raise ValueError(
            "`float16`, `int8` and `full_int8` must not be combined. "
            f"Received: {', '.join(forms)}. Choose one."
        )
    for name in ("batch", "samples", "rounds"):
        if values[name] < 0:
            raise ValueError(
                f"`{name}` must be 0 or more. Received: "
                f"{name}={values[name]}. See --help."
            )
    with quiet_tensorflow():
        from tf_lottery import tickets
        from tf_lottery.export import export

    ticket = tickets.Ticket.load(values["ticket"])
    report = export(
        ticket,
        values["output_dir"],
        values["format"],
        form=forms[0] if forms else "float32",
        batch=values["batch"] or None,
        compact=values["compact"],
        samples=_samples(ticket, values, "samples" in given),
        rounds=values["rounds"],
        notice=lambda line: print(line, file=sys.stderr),
    )
    print(report)
    print(f"\nFiles: {values['output_dir']}")
    return 0


def _samples(ticket: Any, values: dict[str, Any], asked: bool) -> Any:
    """Test examples of the ticket's data set; None for random inputs."""
    import numpy as np

    from tf_lottery import data

    config = ticket.config
    if not values["samples"]:
        return None
    if "task" in config and not asked:
        print(
            "Files are compared on random inputs: the ticket is of a task, "
            "which has examples of its own.",
            file=sys.stderr,
        )
        return None
    if "dataset" not in config:
        raise ValueError(
            "`samples` must be 0 for a ticket that does not say its data set. "
            f"Received: samples={values['samples']}. Write --samples=0."
        )
    if "task" in config:
        raise ValueError(
            "`samples` must be 0 for a ticket of a task, which has examples "
            f"of its own. Received: samples={values['samples']}. Write "
            "--samples=0, or give some to tf_lottery.export."
        )
    if config["dataset"] == "text_file" and values["text_file"] is None:
        raise ValueError(
            "`text_file` must be given for a ticket of a text file, whose "
            "place it does not say. Received: none. Write --text_file=PATH."
        )
    # A ticket that was not made by a run may not have them.
    names = ("validation_size", "split_seed")
    of_text = ("tokens", "vocabulary_size", "sequence_length")
    loaded = data.load(
        config["dataset"],
        data_dir=values["data_dir"],
        text_settings=data.TextSettings(
            text_file=values["text_file"],
            **{name: config[name] for name in of_text if name in config},
        ),
        **{name: config[name] for name in names if name in config},
    )
    known = config.get("vocabulary")
    if known not in (None, loaded.info.vocabulary):
        raise ValueError(
            "`ticket` must have the vocabulary of its text. Received: "
            f"dataset={config['dataset']}, text_file={values['text_file']}, "
            "of other tokens. Give the text that it was trained on."
        )
    x = loaded.test.x[: values["samples"]]
    if loaded.info.is_text:
        return x
    return x.astype(np.float32) * np.float32(loaded.info.scale)


def _kind(default: Any) -> str:
    for kind, name in ((bool, "bool"), (int, "integer"), (list, "list")):
        if isinstance(default, kind):
            return name
    return "string"


if __name__ == "__main__":
    sys.exit(main())

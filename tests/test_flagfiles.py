"""Every published setting parses and is planned."""

import os
import pathlib

import pytest

from tf_lottery import Config
from tf_lottery.cli.flags import config_from_flags

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGFILES = sorted((ROOT / "binaries" / "flagfiles").glob("*.flags"))


def test_there_are_flagfiles():
    assert {"quickstart.flags", "lenet_mnist.flags"} <= {
        path.name for path in FLAGFILES
    }


@pytest.mark.parametrize("path", FLAGFILES, ids=lambda path: path.stem)
def test_flagfile_is_planned(path, command, tmp_path):
    config = config_from_flags(["x", f"--flagfile={path}"])
    assert config != Config()
    # A published setting starts with what it is and how long it takes.
    assert path.read_text("utf-8").startswith("# ")
    folder = os.environ.get("TFDS_DATA_DIR", "")
    if config.dataset != "digits" and not os.path.isdir(
        os.path.join(folder, config.dataset)
    ):
        return
    done = command(
        f"--flagfile={path}", "--plan", f"--output_dir={tmp_path / 'runs'}"
    )
    assert (done.status, done.err) == (0, "")
    for level in range(config.levels + 1):
        assert f"\n{level:>5}  " in f"\n{done.out}"
    assert not list(tmp_path.iterdir())

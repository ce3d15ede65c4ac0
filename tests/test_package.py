"""The wheel: what it holds, and that it works away from the source tree."""

import configparser
import importlib.metadata
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

import tf_lottery

ROOT = pathlib.Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    for name in ("pip", "setuptools", "wheel"):
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{name} is not installed, so no wheel can be built")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    # A copy: building leaves files beside the sources.
    source.mkdir()
    for name in ("setup.py", "setup.cfg", "README.md", "pyproject.toml"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    shutil.copytree(
        ROOT / "tf_lottery", source / "tf_lottery",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    done = subprocess.run(
        [
            sys.executable, "-m", "pip", "wheel", "--no-deps",
            "--no-build-isolation", "--no-index", "-q", "-w", folder, source,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    (file,) = folder.glob("*.whl")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "unpacked")
    return folder / "unpacked"


def test_wheel_holds_every_module_and_py_typed(wheel):
    def files(root):
        return {
            str(path.relative_to(root))
            for path in (root / "tf_lottery").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }

    assert files(wheel) == files(ROOT)
    assert "tf_lottery/py.typed" in files(wheel)
    (info,) = wheel.glob("*.dist-info")
    assert sorted(p.name for p in wheel.iterdir()) == [
        "tf_lottery", info.name,
    ]
    assert info.name == f"tf_lottery-{tf_lottery.__version__}.dist-info"


def test_wheel_names_the_console_commands(wheel):
    (file,) = wheel.glob("*.dist-info/entry_points.txt")
    points = configparser.ConfigParser()
    points.read(file)
    assert dict(points["console_scripts"]) == {
        "tf-lottery-agent": "tf_lottery.cli.train_agent:main",
        "tf-lottery-export": "tf_lottery.cli.export_ticket:main",
        "tf-lottery-report": "tf_lottery.cli.report:main",
        "tf-lottery-reproduce": "tf_lottery.cli.reproduce:main",
        "tf-lottery-subset-sum": "tf_lottery.cli.subset_sum:main",
        "tf-lottery-train": "tf_lottery.cli.train_ticket:main",
        "tf-lottery-transfer": "tf_lottery.cli.transfer:main",
    }


def test_wheel_works_outside_the_source_tree(wheel, tmp_path):
    code = (
        "import sys; from tf_lottery.cli.train_ticket import main;"
        "import tf_lottery; print(tf_lottery.__file__, file=sys.stderr);"
        "sys.exit(main(['tf-lottery-train', '--plan', '--levels=1']))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code]
        if sys.version_info >= (3, 11)
        else [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith(str(wheel / "tf_lottery"))
    assert "40,260" in done.stdout
    assert not list(tmp_path.iterdir())


def test_version_is_that_of_the_metadata():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["metadata"]["version"] == "attr: tf_lottery.__version__"
    assert tf_lottery.__version__.count(".") == 2

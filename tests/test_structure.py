"""Rooms and their order, file sizes, imports, and public names."""

import ast
import json
import pathlib

import pytest

import tf_lottery

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tf_lottery"

# A file imports only from rooms above its own.
ROOMS = (
    "cores",
    "paths",
    "atomic",
    "metric",
    "step",
    "schedules",
    "seeds",
    "fields",
    "methods",
    "masks",
    "checks",
    "data_config",
    "config",
    "fingerprint",
    "layers",
    "graph",
    "data",
    "models",
    "train",
    "task",
    "pruners",
    "tickets",
    "search",
    "analysis",
    "theory",
    "report",
    "export",
    "results",
    "callbacks",
    "plan",
    "page",
    "claims",
    "provenance",
    "loading",
    "assembly",
    "record",
    "work",
    "lines",
    "level_trainer",
    "parallel",
    "experiment",
    "forks",
    "stability",
    "sweep",
    "transfers",
    "rl",
    "cli",
)
WITHOUT_TENSORFLOW = (
    "paths", "atomic", "metric", "step", "schedules", "seeds", "masks",
    "config", "fingerprint", "theory",
)
FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def imported(tree, package):
    """The modules of the package that a file imports, wherever it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1])
            base = base if node.level else []
            base += [node.module] if node.module else []
            # Of a package its members are imported; of a room, the room is.
            yield from (
                ".".join([*base, alias.name] if len(base) == 1 else base)
                for alias in node.names
            )


def room_imports(path, source=None):
    name = name_of(path)
    package = name if path.name == "__init__.py" else name[:-1]
    tree = ast.parse(source or path.read_text(encoding="utf-8"))
    for module in imported(tree, package):
        parts = module.split(".")
        if parts[0] == "tf_lottery" and len(parts) > 1:
            if (PACKAGE / parts[1]).is_dir() or (
                PACKAGE / f"{parts[1]}.py"
            ).is_file():
                yield parts[1]


@pytest.mark.parametrize("path", FILES, ids=lambda p: "/".join(name_of(p)))
def test_a_file_imports_only_from_rooms_above_it(path):
    name = name_of(path)
    if len(name) == 1:
        # The package itself imports no room before it is asked for a name.
        assert not list(room_imports(path))
        return
    rank = ROOMS.index(name[1])
    wrong = {
        room
        for room in room_imports(path)
        if room != name[1] and ROOMS.index(room) >= rank
    }
    assert not wrong, f"{path} imports from {sorted(wrong)}, below it"


@pytest.mark.parametrize(
    "line",
    [
        "import tf_lottery.cli.flags",
        "from tf_lottery import cli",
        "from tf_lottery.cli import flags",
        "from tf_lottery.cli.flags import help_text",
        "def f():\n    from tf_lottery import cli",
        "from .. import cli",
        "from ..cli import flags",
    ],
)
def test_every_form_of_import_is_seen(line):
    path = PACKAGE / "masks" / "mask.py"
    assert list(room_imports(path, line)) == ["cli"]


def test_a_file_has_at_most_400_lines_of_80_columns():
    long = {
        str(path.relative_to(ROOT)): lines
        for folder in ("tf_lottery", "tests", "binaries", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 400
    }
    assert not long
    wide = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in FILES
        for number, line in enumerate(path.read_text("utf-8").split("\n"), 1)
        if len(line) > 80
    ]
    assert not wide


def test_helpers_live_with_their_concept():
    names = {path.stem for path in FILES}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


def test_test_files_have_unique_names():
    names = [p.name for p in (ROOT / "tests").rglob("test_*.py")]
    assert len(names) == len(set(names)) > 0


def test_basic_rooms_load_neither_tensorflow_nor_keras(python):
    code = f"""
import importlib, json, sys
for room in {WITHOUT_TENSORFLOW!r}:
    importlib.import_module("tf_lottery." + room)
import tf_lottery
tf_lottery.Config, tf_lottery.Mask, tf_lottery.Step, tf_lottery.LearningRate
print(json.dumps(sorted(sys.modules)))
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    modules = set(json.loads(done.stdout))
    assert not modules & {"tensorflow", "keras", "matplotlib", "absl"}


def test_binaries_are_two_line_callers_of_the_commands():
    files = sorted((ROOT / "binaries").glob("*.py"))
    names = [
        "export_ticket.py", "report.py", "reproduce.py", "subset_sum.py",
        "train_agent.py", "train_ticket.py", "transfer.py",
    ]
    assert [f.name for f in files] == names
    for file in files:
        assert file.read_text("utf-8").splitlines() == [
            f"from tf_lottery.cli.{file.stem} import main",
            "raise SystemExit(main())",
        ]


def test_every_public_name_resolves():
    assert set(tf_lottery.__all__) >= {
        "Config", "Mask", "PRUNERS", "Ticket", "find_tickets", "get_mask",
        "load_results", "mask_model", "prune", "run", "scores", "set_mask",
        "strip_masks",
    }
    for name in tf_lottery.__all__:
        value = getattr(tf_lottery, name)
        own = getattr(value, "__name__", name)
        assert own in (name, f"tf_lottery.{name}")
    assert set(tf_lottery.__all__) <= set(dir(tf_lottery))
    with pytest.raises(AttributeError, match="no attribute 'utils'"):
        tf_lottery.utils


def test_every_room_lists_what_it_offers():
    for path in PACKAGE.glob("*/__init__.py"):
        room = __import__(
            f"tf_lottery.{path.parent.name}", fromlist=["__all__"]
        )
        for name in getattr(room, "__all__", ()):
            assert hasattr(room, name), f"{room.__name__} has no {name}"

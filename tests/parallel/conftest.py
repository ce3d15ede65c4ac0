"""One run of two replicates, by which others are judged."""

import csv
import os
import types

import pytest

# The sums of matrix products are rounded by the number of threads.
THREADS = {"TF_NUM_INTRAOP_THREADS": "1"}


@pytest.fixture(scope="session")
def two_flags(flags):
    """Flags of a run of two replicates with a control."""
    return [*flags, "--replicates=2", "--branches=reinit"]


@pytest.fixture(scope="session")
def one_thread(environment):
    """Variables of a process whose results any other's are equal to."""
    return {**environment, **THREADS}


@pytest.fixture(scope="session")
def in_turn(tmp_path_factory, python, two_flags):
    """The run directory of these flags, one training after another."""
    out = tmp_path_factory.mktemp("in_turn")
    done = python(
        "binaries/train_ticket.py", *two_flags, f"--output_dir={out}",
        **THREADS,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    return types.SimpleNamespace(path=folder, out=done.stdout)


@pytest.fixture
def rows():
    """`rows(run_dir)`: results.csv without the seconds that it took."""

    def read(folder):
        with open(folder / "results.csv", newline="") as file:
            found = list(csv.DictReader(file))
        for row in found:
            assert float(row.pop("train_seconds")) > 0
            assert float(row.pop("search_seconds")) > 0
        return found

    return read


@pytest.fixture
def workers():
    """`workers(pid)`: processes below this one in which Ray trains."""

    def find(top):
        parents, names = {}, {}
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as file:
                    tail = file.read().rpartition(")")[2].split()
                with open(f"/proc/{pid}/cmdline") as file:
                    names[int(pid)] = file.read()
            except OSError:
                continue
            parents[int(pid)] = int(tail[1])

        def below(pid):
            while pid and pid != top:
                pid = parents.get(pid)
            return pid == top

        return [
            pid
            for pid, name in names.items()
            if name.startswith("ray::Worker") and below(pid)
        ]

    return find

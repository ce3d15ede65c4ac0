"""What every test shares: two logical CPU devices and a quiet TensorFlow."""

import gc
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import types

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ.setdefault("MPLBACKEND", "Agg")
# As the command does: runs in this process and in others give the same bits.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# Before anything touches a device; so it stands above all other imports.
import tensorflow as tf  # noqa: E402

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

import pytest  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent


# A shell that starts tests in the background has them ignore Ctrl-C, and so
# would every process that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    # Keras' and TensorFlow's own arrays under NumPy 2.
    config.addinivalue_line(
        "filterwarnings",
        "ignore:__array__ implementation doesn't accept a copy keyword"
        ":DeprecationWarning",
    )
    config.addinivalue_line(
        "markers", "slow: left out by default, for time; `-m slow` runs them"
    )
    config.addinivalue_line(
        "markers", "real_data: needs a TFDS data set on this machine"
    )
    config.addinivalue_line(
        "markers",
        "any_backend: also run by hand under KERAS_BACKEND=jax or torch",
    )


@pytest.fixture(scope="module", autouse=True)
def few_objects_to_collect():
    """Takes what outlives a file of tests out of every later collection.

    TensorFlow keeps millions of objects, and Keras collects whenever a layer
    drops a variable: late in a run that would take seconds each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_pages():
    """Spares runs in this process their report: it takes longer than they.

    A test of what a run writes into its report asks for `pages`.
    """
    from tf_lottery.page import Follower

    class Undrawn(Follower):
        def _write(self, under_way):
            return os.path.join(self._run_dir, "report", "index.html")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_lottery.page.Follower", Undrawn)
        yield


@pytest.fixture
def pages(monkeypatch):
    """Has runs of one test draw their pages, as they do for a user."""
    from tf_lottery.page import follow

    monkeypatch.setattr("tf_lottery.page.Follower", follow.Follower)


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk():
    """Spares runs in this process the wait at each of their many files.

    No test outlives a loss of power; that files wait is tested of `atomic`.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(autouse=True)
def same_numbers(request):
    """Draws the same for a test, whichever ran before it."""
    import keras
    import numpy as np

    keras.utils.set_random_seed(0)
    for module in {request.module, *request.config.pluginmanager.get_plugins()}:
        if isinstance(getattr(module, "RNG", None), np.random.Generator):
            module.RNG = np.random.default_rng(0)


@pytest.fixture(scope="session")
def environment():
    """Variables of a process in which `import tf_lottery` works anywhere."""
    path = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


@pytest.fixture(scope="session")
def python(environment):
    """Runs Python in a process of its own: `python("-c", code).stdout`."""

    def run(*arguments, cwd=ROOT, timeout=120, **variables):
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=cwd,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def command(capfd):
    """Runs the command in this process: `command("--levels=1").status`."""
    from tf_lottery.cli.train_ticket import main

    def run(*flags):
        capfd.readouterr()
        status = main(["train_ticket.py", *map(str, flags)])
        return types.SimpleNamespace(
            status=status, **capfd.readouterr()._asdict()
        )

    return run


# Small enough that a level takes a tenth of a second.
_FLAGS = (
    "--dataset=digits", "--model=lenet_300_100", "--levels=2",
    "--train_steps=60it", "--eval_every=20it", "--jit=off", "--seed=7",
    # A page takes longer than such a run.
    "--noreport",
)


@pytest.fixture(scope="session")
def flags():
    """Flags of a run that takes about a second."""
    return list(_FLAGS)


@pytest.fixture(scope="session")
def whole(tmp_path_factory, python):
    """The run directory of the binary with `flags` and one control.

    Shared: copy it before changing anything.
    """
    out = tmp_path_factory.mktemp("whole")
    done = python(
        "binaries/train_ticket.py", *_FLAGS, "--branches=reinit",
        f"--output_dir={out}",
    )
    assert done.returncode == 0, done.stderr
    (folder,) = out.iterdir()
    return types.SimpleNamespace(path=folder, out=done.stdout, err=done.stderr)


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of `whole`, in an output_dir of its own."""
    target = tmp_path / "runs" / whole.path.name
    shutil.copytree(whole.path, target)
    return target


@pytest.fixture(scope="session")
def content():
    """`content(run_dir)`: the bytes that must not differ between two runs."""

    def read(folder):
        folder = pathlib.Path(folder)
        return {
            str(path.relative_to(folder)): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
            # That of the report is of all levels.
            and path.parent.name != "report"
            and (path.name == "metrics.csv" or path.parent.name == "ticket")
        }

    return read

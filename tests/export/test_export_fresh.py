"""What is shipped runs elsewhere: in new environments without this library."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery import data
from tf_lottery.export.sparse import inspect
from tf_lottery.export.verify import BOUNDS
from tf_lottery.layers import get_state

pytestmark = pytest.mark.slow

FORMS = ("float32", "int8")

# Fails where one of the packages that are named can be imported after all.
ALONE = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name == name, error
    else:
        sys.exit(f"{name} is importable")
"""

TFLITE = ALONE + """
import numpy as np
x = np.load("x.npy")
for form in ("float32", "int8"):
    run = Interpreter(model_path=form + "/model.tflite")
    (takes,), (gives,) = run.get_input_details(), run.get_output_details()
    size = int(takes["shape_signature"][0])
    if size == -1:
        size = len(x)
        run.resize_tensor_input(takes["index"], x.shape)
    run.allocate_tensors()
    parts = []
    for start in range(0, len(x), size):
        run.set_tensor(takes["index"], x[start:start + size])
        run.invoke()
        parts.append(run.get_tensor(gives["index"]))
    np.save(form + "_outputs.npy", np.concatenate(parts))
"""

SAVED_MODEL = ALONE + """
import numpy as np
import tensorflow as tf
x = tf.constant(np.load("x.npy"))
served = tf.saved_model.load("float32/saved_model")
signature = served.signatures["serving_default"]
(name,) = signature.structured_input_signature[1]
(y,) = signature(**{name: x}).values()
np.save("signature_outputs.npy", y.numpy())
np.save("serve_outputs.npy", served.serve(x).numpy())
"""


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A folder of exported files and inputs, and the network's outputs."""
    folder = tmp_path_factory.mktemp("shipped")
    digits = data.load("digits")
    scale = np.float32(digits.info.scale)
    keras.utils.set_random_seed(0)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(8, 3, activation="relu")(image)
    x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Conv2D(16, 2, activation="relu")(x)
    x = keras.layers.Flatten()(x)
    x = keras.layers.Dense(300, activation="relu")(x)
    x = keras.layers.Dense(100, activation="relu")(x)
    model = tfl.mask_model(keras.Model(image, keras.layers.Dense(10)(x)))
    rewind = get_state(model)
    tfl.prune(model, 0.9)
    model.compile(
        keras.optimizers.Adam(0.003),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    model.fit(
        digits.train.x.astype("float32") * scale, digits.train.y,
        epochs=8, verbose=0,
    )
    ticket = tfl.Ticket.of(model, rewind=rewind, level=1)
    samples = digits.test.x.astype("float32") * scale
    tfl.export(
        ticket, folder / "float32", ["saved_model", "tflite"],
        batch=None, samples=samples, rounds=0,
    )
    tfl.export(
        ticket, folder / "int8", ["tflite"],
        form="int8", samples=samples, rounds=0,
    )
    lite = (folder / "float32" / "model.tflite").read_bytes()
    assert {"csr", "direct"} & {weight.storage for weight in inspect(lite)}
    np.save(folder / "x.npy", samples)
    return folder, np.asarray(model(samples, training=False))


@pytest.fixture
def fresh(tmp_path):
    """Makes an environment of these packages alone: `run = fresh("numpy")`."""
    if importlib.util.find_spec("ensurepip") is None:
        pytest.skip("this Python cannot make environments: it has no ensurepip")
    place = tmp_path / "environment"
    left_out = ("PYTHON", "TF_", "KERAS", "XLA_", "VIRTUAL_ENV")
    variables = {
        k: v for k, v in os.environ.items() if not k.startswith(left_out)
    }
    variables["TF_CPP_MIN_LOG_LEVEL"] = "3"
    interpreter = place / (
        "Scripts/python.exe" if os.name == "nt" else "bin/python"
    )

    def call(*command, cwd=tmp_path, timeout):
        return subprocess.run(
            list(map(str, command)),
            cwd=cwd,
            env=variables,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def make(*packages):
        done = call(sys.executable, "-I", "-m", "venv", place, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        try:
            done = call(
                interpreter, "-I", "-m", "pip", "install", "--no-compile",
                "--retries=1", "--timeout=20", *packages, timeout=900,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"{packages} could not be fetched in 15 minutes")
        if any(
            text in done.stderr
            for text in ("connection broken", "No matching distribution")
        ):
            pytest.skip(
                f"no package index has {packages}, or none can be reached: "
                f"{done.stderr.strip().splitlines()[-1]}"
            )
        assert done.returncode == 0, done.stderr
        return lambda *arguments, cwd: call(
            interpreter, "-I", *arguments, cwd=cwd, timeout=300
        )

    yield make
    # pytest keeps the folders of some runs, and TensorFlow is large.
    shutil.rmtree(place, ignore_errors=True)


def _agrees(path, expected, form):
    error, argmax = BOUNDS[form]
    outputs = np.load(path)
    assert outputs.shape == expected.shape and outputs.dtype == np.float32
    scale = max(1.0, np.abs(expected).max())
    assert np.abs(outputs - expected).max() <= error * scale
    assert np.mean(outputs.argmax(-1) == expected.argmax(-1)) >= argmax
    # Not those of an earlier test.
    os.remove(path)


def test_litert_alone_runs_the_tflite_files(shipped, fresh):
    folder, expected = shipped
    try:
        version = importlib.metadata.version("ai-edge-litert")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("ai-edge-litert is not installed: pip install '.[litert]'")
    run = fresh(f"ai-edge-litert=={version}", f"numpy=={np.__version__}")
    done = run(
        "-c",
        "from ai_edge_litert.interpreter import Interpreter\n" + TFLITE,
        "tensorflow", "keras", "tf_lottery",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    for form in FORMS:
        _agrees(folder / f"{form}_outputs.npy", expected, form)


def test_tensorflow_alone_runs_the_saved_model_and_the_tflite_files(
    shipped, fresh
):
    folder, expected = shipped
    run = fresh(f"tensorflow=={tf.__version__}")
    done = run("-c", SAVED_MODEL, "tf_lottery", cwd=folder)
    assert done.returncode == 0, done.stderr
    for name in ("signature", "serve"):
        _agrees(folder / f"{name}_outputs.npy", expected, "float32")
    done = run(
        "-c",
        "import tensorflow\nInterpreter = tensorflow.lite.Interpreter\n"
        + TFLITE,
        "ai_edge_litert", "tf_lottery",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    for form in FORMS:
        _agrees(folder / f"{form}_outputs.npy", expected, form)

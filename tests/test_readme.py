"""The README's commands and examples are those that work."""

import difflib
import importlib.util
import json
import pathlib
import re
import subprocess
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl

ROOT = pathlib.Path(__file__).resolve().parent.parent

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def block(*words):
    (found,) = (b for b in BLOCKS if all(word in b for word in words))
    return found


def test_each_command_has_its_marker():
    for number in (1, 2):
        marked = rf"<!-- command {number} -->\n```\n(pip .*)\n```"
        assert len(re.findall(marked, README)) == 1


def test_search_example_runs(capsys):
    exec(block("find_tickets"), {})
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "3"]
    density = [float(line.split()[1]) for line in lines]
    assert density == sorted(density, reverse=True) and density[-1] < 0.3


def test_criterion_example_is_found_by_name():
    scope = {}
    try:
        code = block("class Saliency")
        exec(code, scope)
        assert isinstance(tfl.PRUNERS["saliency"], scope["Saliency"])
        assert len(code.splitlines()) < 20
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)])
        x, y = np.ones((8, 4)), np.zeros((8, 5))
        assert tfl.prune(model, 0.8, "saliency", x=x, y=y, loss="mse").kept == 4
    finally:
        tfl.PRUNERS.pop("saliency", None)


def test_model_example_is_one(tmp_path, monkeypatch):
    from tf_lottery.models import build_model

    (tmp_path / "my_models.py").write_text(block("def tiny"))
    monkeypatch.chdir(tmp_path)
    model = build_model("my_models:tiny", (8, 8, 1), 10, seed=0)
    assert model.output_shape == (None, 10)


def test_ticket_example_runs(whole, monkeypatch):
    code = block("Ticket.load")
    (path,) = re.findall(r'load\("(.*?)"\)', code)
    there = whole.path / "replicate_0/main/level_02/ticket"
    scope = {}
    exec(code.replace(path, str(there)), scope)
    ticket = scope["ticket"]
    assert scope["model"].count_params() > scope["small"].count_params()
    assert ticket.level == 2


def test_strong_tickets_example_runs(capsys):
    page = (ROOT / "docs" / "strong_tickets.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.S)[1]
    exec(code, {})
    assert capsys.readouterr().out.strip() == "0.5"


def test_no_figure_is_left_to_fill_in():
    for name in (
        "README.md", "BUILD_NOTES.md", "docs/strong_tickets.md",
        "docs/reproduction.md",
    ):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.findall(r"@[A-Z0-9]+@|TODO|TBD", text), name


def test_the_check_finds_both_commands():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (function,) = re.findall(r"^command\(\) \{.*?^\}$", script, re.S | re.M)
    for number, word in ((1, "quickstart"), (2, "pytest")):
        found = subprocess.run(
            ["bash", "-c", f"{function}\ncommand {number}"],
            cwd=ROOT,
            capture_output=True,
            text=True,
        ).stdout
        assert found.startswith("pip install") and word in found


def printed(code, capsys):
    capsys.readouterr()
    scope = {}
    exec(code, scope)
    return scope, capsys.readouterr().out.splitlines()


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_fit_finds_tickets(elsewhere, capsys):
    scope, lines = printed(block("LotteryTicket(levels"), capsys)
    rows = [tuple(map(float, line.split())) for line in lines]
    assert [row[:2] for row in rows] == [
        (0, 1), (1, 0.698), (2, 0.491), (3, 0.348)
    ]
    assert all(row[2] > 0.6 for row in rows)
    again = keras.saving.load_model(elsewhere / "ticket.keras")
    zeros = sum((np.asarray(v) == 0).sum() for v in again.weights)
    mask = scope["best"].mask
    assert zeros >= mask.size - mask.kept


def test_a_schedule_prunes_a_functional_model(elsewhere, capsys):
    scope, lines = printed(block("Bidirectional"), capsys)
    (curve,) = map(json.loads, lines)
    assert curve == sorted(curve) and curve[-1] == 0.9
    paths = list(tfl.get_mask(scope["model"]))
    assert not any(path.startswith("head/") for path in paths)


def test_a_subclassed_model_in_a_loop_of_its_own(elsewhere, capsys):
    scope, lines = printed(block("class Net"), capsys)
    assert lines[0].startswith("Mask(474 of 2,368 weights kept")
    again = scope["Net"]()
    again(scope["x"][:1])
    tfl.mask_model(again).load_weights(elsewhere / "net.weights.h5")
    assert tfl.get_mask(again).kept == 474


@pytest.mark.slow
def test_a_model_of_keras_applications(elsewhere, capsys):
    scope, lines = printed(block("MobileNetV2"), capsys)
    assert lines == [
        "Mask(197,208 of 394,416 weights kept, density 0.5000, 52 kernels)"
    ]
    served = tf.saved_model.load(elsewhere / "served")
    x = scope["x"][:4]
    np.testing.assert_allclose(
        served.serve(x), scope["model"](x), rtol=1e-3, atol=1e-5
    )


def test_the_port_from_tfmot_changes_few_lines():
    before = block("UpdatePruningStep").splitlines()
    after = block("pruned.keras", "mask_model").splitlines()
    changed = [
        line for line in difflib.ndiff(before, after) if line[0] == "+"
    ]
    assert len(changed) == 5


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("UpdatePruningStep",), marks=pytest.mark.slow),
        ("pruned.keras", "mask_model"),
    ],
)
def test_the_port_from_tfmot_has_the_same_curve(words, elsewhere, python):
    for name in ("tf_keras", "tensorflow_model_optimization"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed (the bench extra has it)")
    code = block(*words)
    assert "0.5632, 0.7706, 0.7997, 0.7997" in README
    at = code.index("x = np")
    (elsewhere / "script.py").write_text(
        code[:at]
        + textwrap.dedent(
            """
            class Record(keras.callbacks.Callback):
                def on_epoch_end(self, epoch, logs=None):
                    masks = [np.asarray(v) for v in self.model.variables
                             if "mask" in v.name]
                    zeros = sum((m == 0).sum() for m in masks)
                    print(round(zeros / sum(m.size for m in masks), 4))
            """
        )
        + code[at:].replace("Step()]", "Step(), Record()]")
        .replace("(schedule)]", "(schedule), Record()]")
    )
    done = python(elsewhere / "script.py", cwd=elsewhere, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0.5632", "0.7706", "0.7997", "0.7997"]

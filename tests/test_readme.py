"""The README's commands and examples are those that work."""

import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def block(word):
    (found,) = (b for b in BLOCKS if word in b)
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
    import tf_lottery as tfl

    scope = {}
    try:
        exec(block("class Smallest"), scope)
        assert isinstance(tfl.PRUNERS["smallest"], scope["Smallest"])
    finally:
        tfl.PRUNERS.pop("smallest", None)


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


def test_no_figure_is_left_to_fill_in():
    notes = (ROOT / "BUILD_NOTES.md").read_text(encoding="utf-8")
    assert not re.findall(r"@[A-Z]+@|TODO|TBD", README + notes)


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

"""The command that draws reports."""

import types

import pytest


@pytest.fixture
def run(capfd, monkeypatch, tmp_path):
    from tf_lottery.cli.report import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tf_lottery.page.writing.SECTIONS", ())

    def run(*arguments):
        capfd.readouterr()
        status = main(["report.py", *map(str, arguments)])
        return types.SimpleNamespace(
            status=status, **capfd.readouterr()._asdict()
        )

    return run


def test_one_run_has_its_page_in_its_own_folder(run, copied):
    done = run(copied)
    assert (done.status, done.err) == (0, "")
    assert done.out == f"Report:  {copied}/report/index.html\n"
    assert (copied / "report/verdict.pdf").exists()


def test_several_runs_share_a_page(run, copied, whole, tmp_path):
    done = run(copied, "--output_dir", "out", whole.path)
    assert done.out == "Report:  out/index.html\n"
    text = (tmp_path / "out/index.html").read_text()
    assert "2 runs: " in text and str(copied) in text


def test_a_folder_that_is_no_run_is_left_out_and_told(run, copied, tmp_path):
    done = run(copied, "gone", "--output_dir=out")
    assert done.status == 0
    assert done.err.count("\n") == 1 and "gone" in done.err
    assert "gone, where there is no folder" in (
        tmp_path / "out/index.html"
    ).read_text()


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((), "Received: none. Name one"),
        (("gone",), "gone, where there is no folder."),
        (("--out=x", "."), "The flag must exist. Received: --out."),
        (("notes",), "notes, which has no config.json"),
    ],
)
def test_errors_are_one_line(run, arguments, words, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.txt").write_text("a")
    done = run(*arguments)
    assert (done.status, done.out) == (1, "")
    assert done.err.startswith("Error: ") and done.err.count("\n") == 1
    assert words in done.err


def test_help_and_wrong_paths_need_no_tensorflow(python):
    code = """
import sys
from tf_lottery.cli.report import main
print(main(["report.py", *sys.argv[1:]]), "tensorflow" in sys.modules)
"""
    done = python("-c", code, "--help")
    assert "RUN_DIR ..." in done.stdout and "--output_dir" in done.stdout
    assert done.stdout.endswith("0 False\n")
    assert python("-c", code, "/no/run").stdout == "1 False\n"


@pytest.mark.usefixtures("pages")
def test_a_run_ends_by_telling_where_its_page_is(
    copied, command, flags, monkeypatch
):
    # All parts; that figures are drawn is tested of the page.
    monkeypatch.setattr(
        "tf_lottery.page.writing.figure_files",
        lambda name, figure, forms: dict.fromkeys(forms, b"<svg></svg>"),
    )
    drawn = [flag for flag in flags if flag != "--noreport"]
    done = command(*drawn, "--branches=reinit", f"--output_dir={copied.parent}")
    assert done.status == 0, done.err
    path = copied / "report/index.html"
    lines = done.out.splitlines()
    assert f"Report:  {path}" in lines
    assert [line.split(":")[0] for line in lines[-5:]] == [
        "Verdict", "Results", "Metrics", "Tickets", "Report",
    ]
    text = path.read_text()
    assert text.startswith("<!doctype html>")
    assert "cannot be shown" not in text
    # Again, and it is there.
    monkeypatch.setattr("tf_lottery.page.follow.write", None)
    again = command(
        *drawn, "--branches=reinit", f"--output_dir={copied.parent}"
    )
    assert f"Report:  {path}" in again.out.splitlines()

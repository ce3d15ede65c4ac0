"""A page that shows its run as it is is not drawn again."""

import pytest

from tf_lottery import page
from tf_lottery.page import drawn
from tf_lottery.page import follow


@pytest.fixture
def run(make, undrawn, monkeypatch):
    """A finished run with its page; `run.finish()` says if it drew again."""
    monkeypatch.setattr("tf_lottery.page.writing.SECTIONS", ())
    folder = make()
    calls = []

    def write(*runs, **how):
        calls.append(how)
        return page.write(*runs, **how)

    monkeypatch.setattr(follow, "write", write)

    class Run:
        path = folder

        @staticmethod
        def finish():
            calls.clear()
            line = follow.Follower(str(folder), pytest.fail).finish()
            assert line == f"Report:  {folder}/report/index.html"
            return bool(calls)

    assert Run.finish()
    return Run


def test_a_finished_run_that_is_run_again_keeps_its_page(run):
    before = (run.path / "report/index.html").stat()
    assert not run.finish()
    assert (run.path / "report/index.html").stat() == before


def append(path):
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b"\n")


@pytest.mark.parametrize(
    "name",
    [
        "config.json", "results.csv", "replicate_1/reinit/level_02/level.json",
        "report/barriers.csv", "report/connectivity.csv",
        "report/rewind.json",
    ],
)
def test_what_the_page_shows_has_it_drawn_again(run, name):
    append(run.path / name)
    assert run.finish()


@pytest.mark.parametrize(
    "name", ["index.html", "verdict.png", "verdict.pdf", "verdicts.csv"]
)
def test_a_file_that_is_gone_is_drawn_again(run, name):
    (run.path / "report" / name).unlink()
    assert run.finish() and not run.finish()


def test_other_packages_and_another_place_draw_it_again(run, monkeypatch):
    monkeypatch.setattr(drawn, "versions", lambda: {"keras": "0"})
    assert run.finish() and not run.finish()
    # The page names its run's folder.
    moved = run.path.rename(run.path.with_name("moved"))
    assert not drawn.is_current(str(moved))


@pytest.mark.parametrize("damage", ["notice", "under way", "several"])
def test_no_mark_on_a_page_that_may_not_stay(run, make, damage):
    how = {"folder": run.path / "report", "makers": ()}
    if damage == "several":
        page.write([run.path, make("other")], **how)
    elif damage == "notice":
        page.write([run.path], notices=["A file is damaged."], **how)
    else:
        page.write([run.path], under_way=True, **how)
    assert "drawn from" not in (run.path / "report/index.html").read_text()
    assert run.finish()


def test_a_part_that_cannot_be_shown_is_tried_again(run):
    def damaged(runs):
        raise ValueError("truncated")

    page.write([run.path], makers=[damaged])
    assert run.finish()

"""The page while its run goes on: at little cost, and never in its way."""

import pytest

from tf_lottery.page.follow import Follower


class Clock:
    """Time that passes when it is told to."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def pages(monkeypatch):
    """The calls of `write`; `pages.seconds` is how long each takes."""
    clock, lines, calls = Clock(), [], []

    def draw(runs, under_way):
        clock.now += pages.seconds
        calls.append(under_way)
        if pages.error:
            raise pages.error
        return f"{runs[0]}/report/index.html"

    class Pages:
        seconds, error = 1.0, None

    pages = Pages()
    pages.clock, pages.lines, pages.calls = clock, lines, calls
    monkeypatch.setattr("tf_lottery.page.follow.write", draw)
    pages.follow = lambda path="run", **how: Follower(
        str(path), lines.append, clock=clock, **how
    )
    return pages


def test_a_short_run_has_its_page_at_the_end_only(pages):
    follower = pages.follow()
    for _ in range(30):
        pages.clock.now += 1.0
        follower.update()
    assert pages.calls == []
    assert follower.finish() == "Report:  run/report/index.html"
    assert pages.calls == [False]


@pytest.mark.parametrize("seconds", [0.1, 2.0, 30.0])
def test_pages_take_three_per_cent_of_a_long_run(pages, seconds):
    pages.seconds = seconds
    follower = pages.follow()
    began = pages.clock.now
    for _ in range(2000):
        pages.clock.now += 10.0
        follower.update()
    spent = seconds * len(pages.calls)
    assert pages.calls and all(pages.calls)
    # The first is a guess.
    assert spent <= 0.03 * (pages.clock.now - began) + seconds
    assert len(pages.calls) > 10


def test_a_page_that_fails_is_told_and_stops_nothing(pages):
    pages.error = ZeroDivisionError("by\nzero")
    follower = pages.follow()
    pages.clock.now += 1000.0
    follower.update()
    assert follower.finish() == "Report:  none"
    assert len(pages.lines) == 2
    assert pages.lines[0].startswith("The report cannot be written: by zero")


def test_others_than_the_chief_write_nothing(pages, tmp_path):
    follower = pages.follow(writes=False)
    pages.clock.now += 1000.0
    with pytest.raises(KeyboardInterrupt), follower:
        follower.update()
        raise KeyboardInterrupt
    assert pages.calls == []


def test_a_run_that_is_stopped_is_not_under_way(make, parse):
    from tf_lottery import page

    folder = make(done=3)
    path = folder / page.write([folder], makers=(), under_way=True)
    assert "Under way: 3 of 15" in parse(path).text
    with pytest.raises(KeyboardInterrupt), Follower(str(folder), print):
        raise KeyboardInterrupt
    told = path.read_bytes()
    page.write([folder], makers=())
    # But for links to files that a page under way does not have.
    again = parse(path)
    path.write_bytes(told)
    stopped = parse(path)
    assert "Not finished: 3 of 15 planned trainings are done." in stopped.text
    assert "Under way" not in stopped.text
    assert stopped.all("meta") == again.all("meta")


def test_a_run_that_ends_well_keeps_its_page(make):
    folder = make(done=3)
    (folder / "report").mkdir()
    file = folder / "report/index.html"
    file.write_text('<meta http-equiv="refresh" content="30">')
    with Follower(str(folder), print):
        pass
    assert "refresh" in file.read_text()


def test_stopping_before_there_is_a_page_is_no_trouble(tmp_path):
    lines = []
    Follower(str(tmp_path), lines.append).stop()
    assert lines == []

"""Progress at a terminal, in a batch job, quiet, and with a log file."""

import fcntl
import io
import pty
import re
import struct
import termios

import pytest

from tf_lottery.report import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(name="clock")
def make_clock(monkeypatch):
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr("tf_lottery.report.progress.monotonic", clock)
    return clock


def test_batch_job_prints_lines_and_no_bar():
    stream = io.StringIO()
    with Progress(stream=stream) as progress:
        progress.start(100)
        progress.status("level 0")
        progress.advance(100)
        progress.line("level 0 done")
    assert stream.getvalue() == "level 0 done\n"


def test_batch_job_shows_life_once_a_minute(clock):
    stream = io.StringIO()
    progress = Progress(stream=stream)
    # Loading the data does not count.
    clock.now += 1000.0
    progress.start(10_000, done_steps=4_000)
    progress.status("level 3")
    clock.now += 59.9
    progress.advance(500)
    assert stream.getvalue() == ""
    clock.now += 0.1
    progress.advance(500)
    # 1,000 steps in 60 s; the 4,000 of an earlier process do not count.
    assert stream.getvalue() == (
        "5,000 of 10,000 steps, 17 steps/s, about 5 min left; level 3\n"
    )
    clock.now += 59.0
    progress.advance(1_000)
    progress.status("level 4")
    assert stream.getvalue().count("\n") == 1
    clock.now += 1.0
    progress.status("level 5")
    assert stream.getvalue().splitlines()[1] == (
        "6,000 of 10,000 steps, 17 steps/s, about 4 min left; level 5"
    )


def test_other_units_are_named(clock):
    stream = io.StringIO()
    progress = Progress(stream=stream, unit="draw")
    progress.start(50)
    for done in (1, 20):
        clock.now += 60.0
        progress.advance(done)
    assert stream.getvalue().splitlines() == [
        "1 of 50 draws, 60 s/draw, about 49 min left",
        "21 of 50 draws, 5.7 s/draw, about 3 min left",
    ]


@pytest.mark.parametrize(
    ("total", "steps", "seconds", "expected"),
    [
        (200, 100, 60.0, "100 of 200 steps, 1.7 steps/s, about 1 min left"),
        (110, 100, 60.0, "100 of 110 steps, 1.7 steps/s, about 6 s left"),
        (11, 10, 600.0, "10 of 11 steps, 60 s/step, about 1 min left"),
        (901, 1, 60.0, "1 of 901 steps, 60 s/step, about 15 h 00 min left"),
        (10, 20, 60.0, "20 of 10 steps, 3 s/step, about 0 s left"),
        (10, 0, 60.0, "0 of 10 steps\n"),
    ],
)
def test_units_are_readable(clock, total, steps, seconds, expected):
    stream = io.StringIO()
    progress = Progress(stream=stream)
    progress.start(total)
    clock.now += seconds
    progress.advance(steps)
    assert stream.getvalue().startswith(expected)


def test_terminal_shows_one_bar_with_status_and_lines_above():
    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress.start(1000, done_steps=250)
        progress.status("level 3, val accuracy 97.1 %")
        progress.advance(500)
        progress.line("level 3 done")
        assert not stream.getvalue().endswith("\n")
    text = stream.getvalue()
    frames = text.replace("\n", "\r").split("\r")
    assert frames.count("level 3 done") == 1
    assert any(frame.startswith(" 25%|") for frame in frames)
    last = [frame for frame in frames if "%|" in frame][-1]
    assert last.startswith(" 75%|")
    assert re.search(r"\d\d:\d\d left, level 3, val accuracy 97.1 %$", last)
    assert text.endswith("\n")
    # The bar was wiped before the line, so nothing of it stays beside it.
    before = text[:text.index("level 3 done")]
    assert re.search(r"\r *\r$", before)


def test_time_left_counts_this_process_only():
    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress.start(1000, done_steps=900)
        assert progress._bar.initial == 900 and progress._bar.n == 900


def test_terminal_is_left_clean_after_an_interrupt():
    stream = Terminal()
    with pytest.raises(KeyboardInterrupt):
        with Progress(stream=stream) as progress:
            progress.start(10)
            # tqdm would also close a bar that nobody holds.
            bar = progress._bar
            progress.advance(3)
            raise KeyboardInterrupt
    assert stream.getvalue().endswith("\n") and bar.disable
    length = len(stream.getvalue())
    progress.close()
    progress.line("stopped at step 3")
    assert stream.getvalue()[length:] == "stopped at step 3\n"


def test_status_appears_without_waiting_for_the_next_step():
    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress.start(10)
        # The last drawing was long ago.
        progress._bar.last_print_t -= 5
        progress.status("evaluating")
        assert "evaluating" in stream.getvalue()


def test_quiet_prints_nothing_but_the_log_file(tmp_path, clock):
    stream = Terminal()
    log = tmp_path / "run.log"
    with Progress(quiet=True, stream=stream, log_file=log) as progress:
        progress.start(100)
        progress.status("level 0")
        progress.line("level 0 done")
        clock.now += 60
        progress.advance(10)
    assert stream.getvalue() == ""
    lines = log.read_text().splitlines()
    assert len(lines) == 2
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d "
    assert re.fullmatch(stamp + "level 0 done", lines[0])
    assert re.fullmatch(stamp + "10 of 100 steps, .*; level 0", lines[1])


def test_quiet_does_not_reach_standard_error_either(capsys):
    with Progress(quiet=True) as progress:
        progress.start(1)
        progress.line("a")
    assert capsys.readouterr() == ("", "")


def test_lines_are_flushed_at_once():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="utf-8")
    Progress(stream=stream).line("one")
    assert raw.getvalue() == b"one\n"


@pytest.mark.parametrize(
    ("size", "has_bar"), [((30, 80), True), ((0, 0), False)]
)
def test_terminal_without_a_size_gets_lines(size, has_bar, clock):
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    with open(master, "rb", buffering=0) as screen:
        with open(slave, "w") as stream, Progress(stream=stream) as progress:
            progress.start(100)
            clock.now += 60
            progress.advance(10)
            stream.flush()
            text = screen.read(10_000)
    assert (b"%|" in text) == has_bar
    assert (b"10 of 100 steps" in text) != has_bar


def test_default_stream_is_standard_error(capsys):
    with Progress() as progress:
        progress.line("a")
    assert capsys.readouterr() == ("", "a\n")


def test_log_file_is_appended_and_each_line_is_on_disk_at_once(tmp_path):
    log = tmp_path / "run.log"
    log.write_text("older\n")
    progress = Progress(log_file=log, stream=io.StringIO())
    progress.line("one\ntwo")
    lines = log.read_text().splitlines()
    assert lines[0] == "older" and len(lines) == 3
    assert lines[1].endswith(" one") and lines[2].endswith(" two")
    assert lines[2].startswith("20")


@pytest.mark.parametrize("name", ["", "missing/run.log"])
def test_log_file_that_can_not_be_opened(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(ValueError) as caught:
        Progress(log_file=path)
    assert str(caught.value).startswith(
        "`log_file` must be a writable path. Received: "
        f"log_file={path}. "
    )
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
@pytest.mark.parametrize("call", [
    lambda progress: progress.line("x"),
    lambda progress: progress.advance(1),
    lambda progress: progress.status("x"),
    lambda progress: progress.close(),
])
def test_lost_terminal_does_not_stop_the_run(tmp_path, kind, call):
    class Lost(kind):
        lost = False

        def write(self, text):
            if self.lost:
                raise BrokenPipeError(32, "Broken pipe")
            return super().write(text)

    stream = Lost()
    log = tmp_path / "run.log"
    with Progress(stream=stream, log_file=log) as progress:
        progress.start(10)
        if progress._bar is not None:
            # Long since the last drawing, so the next call draws.
            progress._bar.last_print_t -= 5
        stream.lost = True
        call(progress)
        progress.line("one")
        progress.advance(1)
        progress.status("going on")
        progress.line("two")
    assert [line[-3:] for line in log.read_text().splitlines()][-2:] == [
        "one", "two",
    ]


@pytest.mark.parametrize("done", [-1, 11])
def test_done_steps_must_be_within_the_total(done):
    with pytest.raises(ValueError, match="`done_steps` must be in"):
        Progress(stream=io.StringIO()).start(10, done_steps=done)


def test_steps_must_not_be_negative():
    progress = Progress(stream=io.StringIO())
    progress.start(10)
    with pytest.raises(ValueError, match="`steps` must not be negative"):
        progress.advance(-1)


def test_order_of_calls():
    progress = Progress(stream=io.StringIO())
    with pytest.raises(RuntimeError, match="`start` must be called before"):
        progress.advance(1)
    progress.start(10)
    with pytest.raises(RuntimeError, match="`start` must be called once"):
        progress.start(10)


def test_result_goes_to_standard_output_and_the_log(tmp_path, capsys):
    log = tmp_path / "log.txt"
    stream = io.StringIO()
    Progress(stream=stream, log_file=log).result("found\nit")
    assert capsys.readouterr().out == "found\nit\n" and not stream.getvalue()
    assert re.findall(r" (found|it)$", log.read_text(), re.M) == [
        "found",
        "it",
    ]
    Progress(quiet=True).result("found")
    assert capsys.readouterr() == ("", "")


def test_result_ends_the_bar():
    terminal = Terminal()
    progress = Progress(stream=terminal)
    progress.start(10)
    progress.result("found")
    before = terminal.getvalue()
    progress.advance(10)
    assert terminal.getvalue() == before


def test_a_log_file_that_cannot_be_written_does_not_stop_the_run(tmp_path):
    stream, log = io.StringIO(), tmp_path / "log"
    progress = Progress(stream=stream, log_file=log)
    log.unlink()
    log.mkdir()
    for text in ("one", "two"):
        progress.line(text)
    assert stream.getvalue().splitlines() == [
        f"{log} cannot be written (Is a directory); lines are lost to it.",
        "one",
        "two",
    ]

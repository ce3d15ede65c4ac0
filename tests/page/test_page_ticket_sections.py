"""Parts of a report on what tickets have in common."""

import math
import pathlib

import numpy as np
import pytest
from matplotlib.figure import Figure

from tf_lottery import Config
from tf_lottery import Mask
from tf_lottery import Ticket
from tf_lottery.page import Run
from tf_lottery.page.generalisation import generalisation
from tf_lottery.page.initial_values import initial_values
from tf_lottery.page.movement import movement
from tf_lottery.page.signs import signs
from tf_lottery.page.units import units
from tf_lottery.results import Results

OF_TICKETS = (movement, initial_values, signs, units)
MAKERS = (*OF_TICKETS, generalisation)
SHAPES = {"a/kernel": (8, 6), "b/kernel": (6, 4), "c/kernel": (5,)}


def ticket_of(level, kept, replicate, bad=0):
    """Keeps the largest trained weights; those that are large moved."""
    rng = np.random.default_rng(replicate)
    theta, end, masks = {}, {}, {}
    for path, shape in SHAPES.items():
        theta[path] = rng.normal(size=shape).astype("float32")
        end[path] = (theta[path] * rng.random(shape) * 4).astype("float32")
        order = np.argsort(np.argsort(-np.abs(end[path]), None))
        masks[path] = order.reshape(shape) < round(kept * math.prod(shape))
    end["a/kernel"].ravel()[:bad] = np.nan
    mask = Mask(masks)

    def masked(weights):
        return {k: np.where(mask[k], v, 0 * v) for k, v in weights.items()}

    return Ticket(
        mask, theta if level == 0 else masked(theta),
        {k: np.where(mask[k], v, np.float32(0)) for k, v in end.items()},
        level,
    )


def row(replicate, level, density, **values):
    return {
        "replicate": replicate, "branch": "main", "level": level,
        "density": density, "train_accuracy": 1.0 - level / 100,
        "test_accuracy": 0.9 + 0.01 * min(level, 2) - replicate / 1000,
        "early_stop_step": 400 - 100 * level, "early_stop_censored": False,
        **values,
    }


@pytest.fixture
def make_run(tmp_path):
    """Writes tickets, and returns the run; `kept` is by replicate."""
    def make(
        *kept, name="run", method="imp", retrain="rewind", rewind="0it",
        bad=0, known=True, **values,
    ):
        folder = tmp_path / name
        rows = []
        for replicate, levels in enumerate(kept):
            for level, share in levels.items():
                ticket = ticket_of(level, share, replicate, bad)
                place = f"replicate_{replicate}/main/level_{level:02}/ticket"
                ticket.save(folder / place)
                density = ticket.mask.density
                rows.append(row(replicate, level, density, **values))
        results = Results(rows, str(folder), method=method, retrain=retrain)
        return Run(
            str(folder), name, {"rewind": rewind}, results,
            Config() if known else None,
        )

    return make


@pytest.fixture
def drawn():
    """For tests that draw: solving a layout takes half a second."""


@pytest.fixture(autouse=True)
def quick(request, monkeypatch):
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr(
            Figure, "draw_without_rendering", lambda figure: None
        )


LEVELS = {0: 1.0, 1: 0.6, 2: 0.3}


def check(section):
    """What the page relies on."""
    assert section.title and all(section.text) and section.figures
    assert not any("nan" in text.split() for text in section.text)
    names = [figure.name for figure in section.figures]
    assert len(set(names)) == len(names)
    for figure in section.figures:
        assert figure.name.isidentifier() and figure.alt.endswith(".")
        for axes in figure.drawn.axes:
            assert axes.get_xlabel() and axes.get_ylabel()
    for table in section.tables:
        for line in table.rows:
            assert len(line) == len(table.columns)
            # Plain values, and None for what is not known.
            for value in line:
                assert value is None or type(value) in (str, int, float)
                assert not isinstance(value, float) or math.isfinite(value)
    return section


@pytest.mark.parametrize("make", MAKERS)
def test_a_whole_run(make, make_run, drawn):
    section = check(make([make_run(LEVELS, LEVELS)]))
    assert "run:" not in section.text[0]


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize(
    "kept",
    [
        # Levels missing: at the end, in between, at the start.
        [LEVELS, {0: 1.0}],
        [{0: 1.0, 2: 0.3}],
        [{1: 0.6, 2: 0.3}, {}, LEVELS],
        # Kernels, and whole networks, without survivors; one level alone.
        [{0: 1.0, 1: 0.04, 2: 0.0}],
        [{0: 1.0, 1: 0.0}],
        [{2: 0.0}],
        [{0: 1.0, 1: 1.0}],
    ],
)
def test_runs_that_are_half_done_or_empty(make, kept, make_run):
    section = make([make_run(*kept)])
    if section is not None:
        check(section)


@pytest.mark.parametrize("make", MAKERS)
def test_runs_that_have_nothing_for_it(make, make_run):
    assert make([]) is None
    assert make([make_run(name="empty")]) is None
    if make is not signs:
        assert make([make_run({0: 1.0}, name="dense")]) is None


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("bad", [4, 48])
def test_values_that_are_no_numbers(make, bad, make_run):
    run = make_run(
        LEVELS, bad=bad, test_accuracy=math.nan, early_stop_censored=True
    )
    check(make([run]))


@pytest.mark.parametrize("make", MAKERS)
def test_a_panel_and_a_sentence_per_run(make, make_run):
    one, two = make_run(LEVELS, name="one"), make_run(LEVELS, name="two")
    other = make_run(name="unfinished")
    section = check(make([one, other, two]))
    text = " ".join(section.text)
    assert "one: " in text and "two: " in text and other.label not in text
    assert {line[0] for line in section.tables[0].rows} == {"one", "two"}
    figure = section.figures[-1].drawn
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]


@pytest.mark.parametrize("make", OF_TICKETS)
def test_tickets_that_cannot_be_read_are_named(make, make_run):
    run = make_run(LEVELS, LEVELS)
    broken = pathlib.Path(run.path) / "replicate_1/main/level_01/ticket"
    (broken / "trained.npz").write_bytes(b"")
    section = check(make([run]))
    assert "Left out, as not readable: replicate 1 main level 1: " in (
        section.text[-1]
    )


def test_tickets_are_read_once_for_all_parts(make_run, monkeypatch):
    run, read = make_run(LEVELS, LEVELS), []
    load = Ticket.load
    monkeypatch.setattr(
        Ticket, "load", lambda path: read.append(path) or load(path)
    )
    for make in MAKERS:
        make([run])
    assert len(read) == 6


def test_movement_says_how_far_and_how_often(make_run):
    run = make_run(LEVELS, LEVELS)
    section = movement([run])
    table = section.tables[0]
    lines = [dict(zip(table.columns, line)) for line in table.rows]
    pooled = []
    for level in (1, 2):
        sides = {}
        for side in ("stay", "go"):
            sums = [
                (kernel.movement, getattr(kernel.movement, side))
                for one in run.measures.levels if one.key.level == level
                for kernel in one.kernels.values()
            ]
            sides[side] = sum(
                getattr(m, f"{side}_distance") * n for m, n in sums
            ) / sum(n for _, n in sums)
        pooled.append(sides["stay"] / sides["go"])
    assert section.text[0].startswith(
        f"Weights that stay moved {np.median(pooled):.2f} times as far as "
        "those that go (median over rounds), farther in 2 of 2 rounds."
    )
    assert len(lines) == 6 and lines[0]["kernel"] == "a/kernel"
    assert lines[0]["replicates"] == 2 and lines[0]["ratio"] > 1
    # Of 48 weights 0.6 are 29.
    assert (lines[0]["stay"], lines[0]["go"]) == (29, 19)


@pytest.mark.parametrize(
    "method, shown", [("one_shot", "levels"), ("at_init", None), ("set", None)]
)
def test_movement_of_methods_without_rounds(method, shown, make_run):
    section = movement([make_run(LEVELS, method=method)])
    if shown is None:
        assert section is None
    else:
        assert f"of 2 {shown}." in section.text[0]


@pytest.mark.parametrize(
    "settings, words",
    [
        ({}, "the initial values"),
        ({"rewind": "500it"}, "the values of the rewind point (500it)"),
        (
            {"retrain": "fine_tune"},
            "the initial values, before all levels' trainings (--retrain=fine",
        ),
    ],
)
def test_where_training_started_is_said(settings, words, make_run):
    for make in (movement, initial_values, signs):
        assert words in " ".join(make([make_run(LEVELS, **settings)]).text)


@pytest.mark.parametrize("make", [movement, initial_values, signs])
def test_runs_of_no_known_method_are_named_alone(make, make_run):
    """Else they would be shown as of the default method, from step 0."""
    lost = make_run(LEVELS, name="lost", known=False)
    line = "Left out, as what was run is not known: lost."
    alone = make([lost])
    assert (alone.text, alone.figures, alone.tables) == ([line], (), ())
    whole = make_run(LEVELS, name="whole")
    section = check(make([lost, whole]))
    assert section.title == alone.title and section.text[-1] == line
    assert {row[0] for row in section.tables[0].rows} == {"whole"}
    assert make([make_run(name="empty", known=False)]) is None


def test_nothing_is_said_of_rounds_where_the_method_is_not_known(make_run):
    run = make_run(LEVELS, known=False)
    assert len(run.measures.levels) == 3 and not any(
        kernel.movement
        for one in run.measures.levels
        for kernel in one.kernels.values()
    )


def test_signs_of_networks_that_are_not_trained(make_run):
    assert signs([make_run(LEVELS, method="edge_popup")]) is None


def test_dead_units_are_named(make_run):
    run = make_run({0: 1.0, 1: 0.1})
    text = units([run]).text[0]
    dead = run.measures.levels[1].kernels["a/kernel"].outgoing.dead
    assert dead and f"of inputs {dead} of the 8 of a" in text


def test_occams_hill_and_speed(make_run):
    section = generalisation([make_run(LEVELS, LEVELS)])
    # Means of 0.9 and 0.92, both less 0.0005; gaps of 0.1 and 0.06 more.
    assert section.text[0] == (
        "The best mean test accuracy, 91.95 %, is at 29.9 % of the weights, "
        "+2.00 pp from dense (the sparsest so far, so the hill's top may be "
        "beyond). The generalisation gap is 6.05 pp there and 10.05 pp of the "
        "dense network."
    )
    assert section.text[1] == (
        "On the mean 2 of 2 levels stop earlier than dense; earliest at 29.9 "
        "% of the weights, at 0.50 times dense's step."
    )


def test_early_stops_that_are_not_known_are_said(make_run):
    run = make_run(LEVELS, early_stop_censored=True)
    section = generalisation([run])
    assert "speed" not in {figure.name for figure in section.figures}
    assert section.text[1].startswith(
        "Early stopping can not be compared with dense. Left out: 2 trainings"
    )


def test_a_figure_without_numbers_says_so(make_run, drawn):
    section = units([make_run({0: 1.0, 1: 1.0})])
    (axes,) = section.figures[-1].drawn.axes
    assert [text.get_text() for text in axes.texts] == ["no numbers"]


def test_one_accuracy_that_is_unknown_leaves_the_other(make_run):
    run = make_run(LEVELS, test_accuracy=math.nan)
    (axes,) = generalisation([run]).figures[0].drawn.axes
    assert not axes.texts
    assert [len(line.get_xdata()) for line in axes.get_lines()] == [3, 0]

"""Masks of runs side by side: planted overlap is found, and only that."""

import numpy as np
import pytest

from tf_lottery.masks import Mask
from tf_lottery.page import Run
from tf_lottery.page import mask_pairs
from tf_lottery.page.mask_pairs import groups
from tf_lottery.page.mask_pairs import same_densities
from tf_lottery.page.overlap import overlap
from tf_lottery.results import Results
from tf_lottery.tickets import Key
from tf_lottery.tickets import RunDirectory
from tf_lottery.tickets import Ticket

SHAPES = {"a/kernel": (40, 50), "b/kernel": (50, 20)}
CONFIG = {"model": "m", "seed": 0, "init": None}


def scores(seed):
    rng = np.random.default_rng(seed)
    return {path: rng.random(shape) for path, shape in SHAPES.items()}


def prune(by, density):
    return Mask({k: s >= np.quantile(s, 1 - density) for k, s in by.items()})


@pytest.fixture
def make(tmp_path):
    """`make(label, {replicate: {level: mask}})`, a run on disk."""

    def run(label, masks, **config):
        folder = str(tmp_path / label)
        rows = []
        for replicate, levels in masks.items():
            for level, mask in levels.items():
                weights = {k: m.astype("float32") for k, m in mask.items()}
                key = Key(replicate, "main", level)
                path = RunDirectory(folder).ticket_path(key)
                Ticket(mask, weights, weights, level).save(path)
                rows.append({
                    "replicate": replicate, "branch": "main", "level": level,
                    "density": mask.density,
                })
        return Run(folder, label, CONFIG | config, Results(rows, folder))

    return run


def ladder(seed, densities=(1.0, 0.5, 0.2)):
    by = scores(seed)
    return {level: prune(by, d) for level, d in enumerate(densities)}


def by_kind(runs):
    said = []
    found = {}
    for group in groups(runs, said.append):
        found.setdefault(group.kind, []).append(group)
    return found, said


def test_replicates_and_levels(make):
    run = make("r", {0: ladder(0), 1: ladder(1), 2: ladder(2)})
    found, said = by_kind([run])
    assert not said
    assert [g.levels for g in found["replicates"]] == [(1, 1), (2, 2)]
    assert [g.levels for g in found["levels"]] == [(0, 1), (1, 2)]
    for group in found["replicates"]:
        assert [
            (p.one.replicate, p.other.replicate) for p in group.pairs
        ] == [(0, 1), (0, 2), (1, 2)]
        assert group.paths == ["all", *SHAPES]
        assert not group.nested and abs(group.z("all")) < 4
        near = group.mean("all", "chance_jaccard")
        assert group.mean("all", "jaccard") == pytest.approx(near, abs=0.03)
    for group in found["levels"]:
        assert group.nested and len(group.pairs) == 3
        one, other = group.densities
        assert group.mean("all", "hamming") == pytest.approx(one - other)
    # The first kernel's index is of that kernel alone.
    alone = found["replicates"][1].pairs[0].found.kernels["a/kernel"]
    assert found["replicates"][1].overlaps("a/kernel")[0] == alone


def test_text_says_what_was_planted(make):
    chance = make("r", {r: ladder(r) for r in range(3)})
    text = " ".join(overlap([chance]).text)
    assert (
        "r: replicates, whose initial weights differ, keep the same weights "
        "more than by chance at 0 of 2 densities. r at 20.0 % of the weights: "
        "Jaccard 0."
    ) in text and "no kernel is above chance" in text
    assert "lies within the one before" in text
    # One kernel of each replicate is pruned by the same scores.
    shared = scores(9)
    masks = {}
    for replicate in range(3):
        by = {**scores(replicate), "a/kernel": shared["a/kernel"]}
        masks[replicate] = {1: prune(by, 0.5), 2: prune(by, 0.2)}
    text = " ".join(overlap([make("s", masks)]).text)
    assert "by chance at 2 of 2 densities" in text
    assert "above chance are a/kernel (z +" in text
    assert "b/kernel" not in text
    section = overlap([make("t", masks, initial_weights="x")])
    assert "which start from the same weights and differ in data" in " ".join(
        section.text
    )


def test_no_start_is_told_that_is_not_known(make):
    masks = {0: ladder(0), 1: ladder(0)}
    found = make("found", masks)
    given = make("given", masks, ticket="found")
    text = " ".join(overlap([found, given]).text)
    assert "given: replicates, whose masks were found elsewhere, keep" in text
    assert (
        "found and given, replicate by replicate, are not to be held against "
        "chance, as masks were found elsewhere (given); compared"
    ) in text
    text = " ".join(overlap([make("task", masks, task="t")]).text)
    assert "task: replicates keep the same weights" in text


def test_masks_that_are_not_nested_are_named(make):
    masks = {0: {1: ladder(0)[1], 2: ladder(5)[2]}}
    text = " ".join(overlap([make("r", masks)]).text)
    assert "r: the masks of levels 2 do not lie within" in text


def test_runs_are_compared_replicate_by_replicate(make):
    one = make("one", {0: ladder(0), 1: ladder(1)})
    same = make("same", {0: ladder(0, (1.0, 0.45, 0.05)), 1: ladder(1)})
    (group,) = (g for g in by_kind([one, same])[0]["runs"][:1])
    assert group.runs == ("one", "same") and group.levels == (1, 1)
    assert [(p.one.replicate, p.other.replicate) for p in group.pairs] == [
        (0, 0), (1, 1),
    ]
    assert group.mean("all", "jaccard") == pytest.approx((0.9 + 1) / 2)
    text = " ".join(overlap([one, same]).text)
    assert "one and same, replicate by replicate, start from the same" in text
    other = make("other", {0: ladder(0)}, seed=1)
    text = " ".join(overlap([one, other]).text)
    assert "one and other, replicate by replicate, start from other" in text
    deep = make("deep", {0: ladder(0)}, model="n")
    found, said = by_kind([one, deep])
    assert "runs" not in found and "other models (m, n)" in said[0]


def test_shapes_that_differ_are_said_not_raised(make):
    one = make("one", {0: ladder(0)})
    other = make("other", {0: {1: Mask({"a/kernel": [[1, 0]]})}})
    found, said = by_kind([one, other])
    assert "runs" not in found
    assert "one and other are not compared: `b` must" in said[0]
    assert "unknown" not in said[0] and "missing: b/kernel" in said[0]


def test_runs_of_networks_of_another_depth(make):
    short = [
        {n: Mask({"a/kernel": m["a/kernel"]}) for n, m in ladder(i).items()}
        for i in range(2)
    ]
    deep = make("deep", {r: ladder(r) for r in range(2)})
    runs = [deep, make("flat", dict(enumerate(short)))]
    for order in (runs, runs[::-1]):
        section = overlap(order)
        assert "with another number of them" in " ".join(section.text)
        whole, kernel = section.figures[0].drawn.axes[:2]
        assert len(whole.lines) == 4 and len(kernel.lines) == 2
        first = f"replicates of {order[0].label}"
        assert kernel.lines[0].get_label() == first
    assert "with another number" not in " ".join(overlap([deep]).text)


def test_damaged_missing_and_unfinished(make, tmp_path):
    run = make("r", {0: ladder(0), 1: ladder(1), 2: {1: ladder(2)[1]}})
    damaged = tmp_path / "r" / "replicate_1" / "main" / "level_02" / "ticket"
    (damaged / "mask.npz").write_bytes(b"PK")
    section = overlap([run])
    said = [line for line in section.text if "Not compared" in line]
    assert len(said) == 1 and "mask.npz truncated or altered" in said[0]
    kinds, _ = by_kind([run])
    assert [len(g.pairs) for g in kinds["replicates"]] == [3]
    assert [len(g.pairs) for g in kinds["levels"]] == [2, 1]


def test_nothing_to_compare(make):
    assert overlap([]) is None
    assert overlap([make("r", {0: {0: ladder(0)[0]}})]) is None


def test_limits_are_kept_and_said(make, monkeypatch):
    monkeypatch.setattr(mask_pairs, "MOST_REPLICATES", 2)
    monkeypatch.setattr("tf_lottery.page.overlap.MOST_REPLICATES", 2)
    run = make("r", {r: ladder(r) for r in range(3)})
    found, _ = by_kind([run])
    assert [len(g.pairs) for g in found["replicates"]] == [1, 1]
    assert "Only the first 2 replicates" in " ".join(overlap([run]).text)


def test_same_densities():
    assert same_densities({1: 0.8, 2: 0.64, 3: 0.51}, {1: 0.5, 2: 0.1}) == [
        (3, 1),
    ]
    # Both ways nearest: 0.48 and 0.5 cannot both have 0.49.
    assert same_densities({1: 0.5, 2: 0.48}, {7: 0.485}) == [(2, 7)]
    assert same_densities({1: 0.5}, {1: 0.39}) == []
    assert same_densities({1: 0.0}, {1: 0.0}) == []
    assert same_densities({}, {1: 0.5}) == same_densities({1: 0.5}, {}) == []


def test_figures_and_tables(make):
    runs = [
        make(label, {r: ladder(3 * r + i) for r in range(2)})
        for i, label in enumerate("abc")
    ]
    section = overlap(runs)
    assert [f.name for f in section.figures] == [
        "mask_overlap", "mask_overlap_runs",
    ]
    lines, matrix = (f.drawn for f in section.figures)
    assert [a.get_title() for a in lines.axes if a.get_visible()] == [
        "whole network", "a/kernel", "b/kernel",
    ]
    panel = lines.axes[0]
    labels = [line.get_label() for line in panel.lines]
    assert labels[::2] == [f"replicates of {label}" for label in "abc"]
    index, chance = panel.lines[:2]
    assert list(index.get_xdata()) == pytest.approx([20, 50])
    groups_of_a = [
        g for g in by_kind(runs)[0]["replicates"] if g.runs == ("a", "a")
    ]
    assert list(index.get_ydata()) == [
        g.mean("all", "jaccard") for g in groups_of_a[::-1]
    ]
    assert list(chance.get_ydata()) == [
        g.mean("all", "chance_jaccard") for g in groups_of_a[::-1]
    ]
    # Nothing is cut off, in any panel.
    top = max(max(line.get_ydata()) for a in lines.axes for line in a.lines)
    assert panel.get_ylim()[0] == 0 and panel.get_ylim()[1] >= top
    cells = [text.get_text() for text in matrix.axes[0].texts]
    (group,) = (
        g for g in by_kind(runs)[0]["runs"]
        if g.runs == ("a", "b") and g.levels == (2, 2)
    )
    shown = [group.mean("all", n) for n in ("jaccard", "chance_jaccard")]
    assert cells[1] == cells[3] == "{:.2f}\n({:.2f})".format(*shown)
    summary, pairs = section.tables
    assert all(len(row) == len(summary.columns) for row in summary.rows)
    assert all(len(row) == len(pairs.columns) for row in pairs.rows)
    kernel = summary.columns.index("kernel")
    assert {row[kernel] for row in summary.rows[: summary.shown]} == {"all"}
    nested = [row for row in summary.rows if row[0] == "levels"]
    place = summary.columns.index("jaccard")
    assert {row[place] for row in nested} == {None}
    # 3 runs of 2 levels, of 1 pair; 3 pairs of runs, of 2 replicates; and
    # 2 steps between levels of 2 replicates: each of 3 kernels with "all".
    assert len(pairs.rows) == 3 * (3 * 2 + 3 * 2 * 2 + 3 * 2 * 2)
    # With two runs the lines are told from those of replicates.
    two = overlap(runs[:2])
    (figure,) = two.figures
    assert "a and b" in [t.get_text() for t in figure.drawn.legends[0].texts]


def test_deep_networks_have_as_many_panels_as_can_be_read(make):
    masks = {
        r: {1: Mask({
            f"k{i}": np.random.default_rng([r, i]).random((9, 9)) < 0.5
            for i in range(12)
        })}
        for r in range(2)
    }
    section = overlap([make("r", masks)])
    axes = section.figures[0].drawn.axes
    assert [a.get_title() for a in axes] == [
        "whole network", "k0", "k1", "k2", "k10", "k11",
    ]
    assert "the first kernels and the last" in " ".join(section.text)

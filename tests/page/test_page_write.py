"""The page: its structure, its files, and what it says of a half-done run."""

import csv
import json
import re
import shutil

import pytest
from matplotlib.figure import Figure as Drawing

from tf_lottery import page

ORDER = [
    "Verdict", "Accuracy against density", "Early stop", "Learning curves",
    "Density of each layer", "Masks of the first layer", "Costs",
    "Configuration and versions",
]


def written(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def whole(finished, parse):
    return parse(finished / "report/index.html")


def headings(parsed):
    found = re.findall(r"<h([1-6])[^>]*>(.*?)</h", parsed.source)
    return [(int(level), text) for level, text in found]


def test_parts_come_in_order_under_one_heading(whole):
    (top, *rest) = headings(whole)
    assert top == (1, "lenet_300_100 on digits, imp")
    assert rest == [(2, title) for title in ORDER]
    links = [a["href"] for a in whole.all("a") if "href" in a]
    ids = {attrs["id"] for _, attrs in whole.elements if "id" in attrs}
    assert {link[1:] for link in links if link[0] == "#"} <= ids


@pytest.mark.usefixtures("undrawn")
def test_the_page_of_a_run_has_every_part(plain, tmp_path, parse):
    path = page.write([plain], tmp_path, makers=page.SECTIONS)
    found = [text for _, text in headings(parse(tmp_path / path))][2:]
    assert found == [
        "Accuracy against density", "Early stop", "Learning curves",
        "Do tickets generalise better, and learn sooner?",
        "Density of each layer", "Masks of the first layer",
        "Which units keep their weights?",
        "Do the weights that stay move farther?",
        "Which initial values survive?", "How many signs turn?",
        "Do tickets keep the same weights?", "Costs",
        "Configuration and versions",
    ]
    assert "cannot be shown" not in parse(tmp_path / path).text


def test_nothing_is_loaded_and_nothing_runs(whole):
    tags = {tag for tag, _ in whole.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed"}
    for tag, attrs in whole.elements:
        for name, value in attrs.items():
            assert not name.startswith("on")
            if name in ("href", "src", "xlink:href"):
                assert value.startswith(("#", "data:image/png;base64,")) or (
                    re.fullmatch(r"\w+\.(png|svg|pdf|csv)", value)
                )
    style = re.findall(r"<style>(.*?)</style>", whole.source, re.DOTALL)
    assert len(style) == 1
    assert "url(" not in style[0] and "@import" not in style[0]
    # A namespace is a name.
    places = re.sub(r'xmlns[:\w]*="[^"]*"', "", whole.source)
    assert "http" not in re.sub("http-equiv", "", places)


def test_ids_are_unique_and_pictures_are_described(whole):
    ids = [attrs["id"] for _, attrs in whole.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    drawings = [a for a in whole.all("svg") if a.get("role") == "img"]
    assert len(drawings) == 7
    for attrs in drawings:
        assert attrs["aria-labelledby"] in ids
    assert whole.all("html") == [{"lang": "en"}]
    assert all(attrs["scope"] in ("col", "row") for attrs in whole.all("th"))
    tables, boxes = whole.all("table"), whole.source.count('class="wide"')
    assert boxes == len(tables) + 7


@pytest.mark.parametrize("other", ["a", "b"])
def test_the_name_of_the_only_run_is_not_in_every_row(
    finished, tmp_path, other, parse
):
    def maker(runs):
        rows = [["a", 1, 0.25], [other, 2, 0.5]]
        columns = ("run", "level", "gap")
        return page.Section("Rows", tables=[page.Table("t", columns, rows)])

    path = page.write([finished], tmp_path, makers=[maker])
    source = parse(tmp_path / path).source
    (head,) = re.findall(
        r"<thead><tr>(.*?)</tr>", source[source.index(">Rows</h2>") :]
    )
    names = re.findall(r">([^<]+)</th>", head)
    assert names == ["run"] * (other == "b") + ["level", "gap"]
    assert "25.00&nbsp;%" in source
    assert (tmp_path / "t.csv").read_text().startswith("run,level,gap\na,1")


def test_every_figure_has_three_files_and_every_table_one(finished):
    files = written(finished / "report")
    drawn = {name[:-4] for name in files if name.endswith(".svg")}
    assert drawn == {
        "verdict", "accuracy_by_density", "early_stop_by_density",
        "learning_validation", "learning_test", "layer_density",
        "first_layer",
    }
    for name in drawn:
        assert files[f"{name}.png"].startswith(b"\x89PNG")
        assert files[f"{name}.pdf"].startswith(b"%PDF")
    text = files["index.html"].decode()
    assert set(re.findall(r'href="(\w+\.\w+)"', text)) == set(files) - {
        "index.html"
    }
    rows = list(csv.reader(files["layer_density.csv"].decode().split("\n")))
    assert rows[0] == ["level", "kernel", "density", "weights"]
    assert rows[5] == ["2", "a/kernel", "0.5", "12"]


def test_equal_results_give_equal_bytes(finished, tmp_path):
    # One figure of each kind of layout is as good as all, and sooner drawn.
    makers = [
        maker for maker in page.SECTIONS
        if maker.__module__.endswith("layers")
    ]
    page.write([finished], tmp_path, makers=makers)
    page.write([finished], tmp_path / "again", makers=makers)
    again = written(tmp_path / "again")
    for name, data in again.items():
        assert (tmp_path / name).read_bytes() == data
        if not name.endswith(".html"):
            # As in the whole page, drawn before.
            assert (finished / "report" / name).read_bytes() == data
            assert not re.search(rb"20\d\d-\d\d|D:20\d\d|Matplotlib v", data)


@pytest.mark.usefixtures("undrawn")
def test_all_that_a_user_names_is_escaped(make, tmp_path, parse):
    folder = make("<b>&\"'")
    file = folder / "config.json"
    values = json.loads(file.read_text())
    file.write_text(json.dumps({**values, "model": "<script>x</script>"}))
    other = make("b", seed=3)
    parsed = parse(
        tmp_path / page.write([folder, other], tmp_path / "out")
    )
    assert not parsed.all("script") and not parsed.all("b")
    assert "<script>x</script>" in parsed.text
    assert str(folder) in parsed.text


def test_the_verdict_is_a_word_with_its_bounds(whole):
    assert 'class="word winning">Winning<' in whole.source
    # d = 0.02, 0.0205, 0.02 of 3 pairs: t = 2.92, sd of a step, 0.0005.
    assert "ticket \N{MINUS SIGN} dense +2.02 pp [+1.93, +2.10]" in whole.text
    assert "at level 2, 66.7 % of the weights, over 3 replicates" in whole.text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("under_way", [True, False])
def test_half_a_run_says_how_much_is_done(make, parse, under_way):
    folder = make(done=7)
    parsed = parse(folder / page.write([folder], under_way=under_way))
    word = "Under way" if under_way else "Not finished"
    assert f"{word}: 7 of 15 planned trainings are done." in parsed.text
    refresh = [a for a in parsed.all("meta") if a.get("http-equiv") ==
               "refresh"]
    assert len(refresh) == under_way
    # Drawn again and again: without the files that nobody looks at yet.
    assert (folder / "report/verdict.pdf").exists() is not under_way


def test_a_finished_run_says_nothing_of_that(whole):
    assert "planned trainings" not in whole.text
    assert not whole.all("meta")[-1].get("http-equiv")
    assert "Please note" not in whole.text


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("name", ["mask.npz", "ticket.json"])
def test_a_damaged_ticket_costs_its_parts_alone(make, parse, name):
    folder = make()
    path = folder / "replicate_0/main/level_02/ticket" / name
    path.write_bytes(path.read_bytes()[:-9])
    parsed = parse(folder / page.write([folder]))
    titles = [text for _, text in headings(parsed)][1:]
    assert titles[:4] == ORDER[:4] and len(titles) == len(ORDER)
    part = "First layer" if name == "mask.npz" else "Layer density"
    assert f"{part} cannot be shown: `path` must be" in parsed.text
    assert "altered" in parsed.text or "truncated" in parsed.text


@pytest.mark.usefixtures("undrawn")
def test_missing_evaluations_cost_the_learning_curves_alone(make, parse):
    folder = make()
    (folder / "replicate_1/main/level_01/metrics.csv").unlink()
    parsed = parse(folder / page.write([folder]))
    assert "Learning curves cannot be shown: " in parsed.text
    assert "metrics.csv" in parsed.text


@pytest.mark.usefixtures("undrawn")
def test_a_fault_of_a_maker_is_not_hidden(make):
    def broken(runs):
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        page.write([make()], makers=[broken])


def figure(name):
    drawn = Drawing(figsize=(9, 3))
    drawn.subplots().scatter(range(9000), range(9000), c=range(9000))
    return page.Figure(name, drawn, "Many <points>.")


def test_a_cloud_of_points_is_shown_as_pixels(make, parse):
    folder = make()
    section = page.Section("Cloud", ["Text."], [figure("cloud")])
    path = page.write([folder], makers=[lambda runs: section], under_way=True)
    parsed = parse(folder / path)
    (image,) = parsed.all("img")
    assert image["src"].startswith("data:image/png;base64,")
    assert image["alt"] == "Many <points>."
    assert len(parsed.source) < 300_000


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("names", [("a", "a"), ("a b",), ("../a",)])
def test_names_of_figures_are_plain_and_unique(make, names):
    def maker(runs):
        return page.Section(
            "T", figures=[page.Figure(n, Drawing(), "x") for n in names]
        )

    with pytest.raises(ValueError, match="`name` must be letters"):
        page.write([make()], makers=[maker])


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "kind, name",
    [("Table", n) for n in ("metrics", "verdict", "connectivity", "barriers")]
    + [("Figure", n) for n in ("accuracy", "instability")],
)
def test_data_of_a_run_are_not_written_over(make, kind, name):
    folder = make()
    made = {
        "Table": {"tables": [page.Table(name, ["a"], [])]},
        "Figure": {"figures": [page.Figure(name, Drawing(), "x")]},
    }
    with pytest.raises(ValueError, match="no data file of a run"):
        page.write(
            [folder], makers=[lambda runs: page.Section("T", **made[kind])]
        )
    suffix = "csv" if kind == "Table" else "png"
    assert not (folder / "report" / f"{name}.{suffix}").exists()


@pytest.mark.usefixtures("undrawn")
def test_a_maker_with_nothing_leaves_no_part(make, parse):
    folder = make()
    parsed = parse(folder / page.write([folder], makers=[lambda runs: None]))
    assert [text for _, text in headings(parsed)][1:] == ["Verdict"]


@pytest.mark.usefixtures("undrawn")
def test_several_runs_need_a_folder(make):
    with pytest.raises(ValueError, match="`folder` must be given"):
        page.write([make("a"), make("b", seed=1)])


@pytest.mark.usefixtures("undrawn")
def test_several_runs_share_one_page(make, parse, tmp_path):
    folders = [make("a"), make("b", optimizer="sgd", convolution=True)]
    parsed = parse(tmp_path / page.write(folders, tmp_path / "out"))
    assert "2 runs: lenet_300_100 on digits" in parsed.text
    assert parsed.source.count('class="ruling"') == 2
    files = written(tmp_path / "out")
    assert {"layer_density_1.svg", "first_layer_2.png"} <= set(files)
    table = files["verdicts.csv"].decode().split("\n")
    assert table[1].startswith("adam,2,") and table[2].startswith("sgd,2,")
    assert "settings differ" in parsed.text
    shutil.rmtree(tmp_path / "out")


@pytest.mark.usefixtures("undrawn")
def test_accuracies_of_other_data_are_not_compared(make, parse, tmp_path):
    folders = [make("a"), make("b", dataset="mnist")]
    parsed = parse(tmp_path / page.write(folders, tmp_path / "out"))
    assert (
        "The runs are of different data sets (digits, mnist): their "
        "accuracies cannot be compared" in parsed.text
    )

"""Run directories that took no training."""

import dataclasses
import html.parser
import math

import numpy as np
import pytest

from tf_lottery import Config, Mask, Ticket, page, report
from tf_lottery.analysis import with_search_costs
from tf_lottery.fingerprint import fingerprint
from tf_lottery.metric import ACCURACY
from tf_lottery.tickets import Key, RunDirectory


# What tickets and controls of a run are above dense, at all levels.
GAINS = {"main": 0.02, "reinit": -0.02}


def ticket(level, convolution=False, metric=ACCURACY):
    """First kernel over 2 x 2 pixels, which loses its last rows first.

    Of another metric than accuracy it is over 4 features, or tokens.
    """
    shape = (2, 2, 1, 3) if convolution else (4, 3)
    first = np.ones(shape, bool)
    first.reshape(4, 3)[4 - level :] = False
    masks = {"a/kernel": first, "b/kernel": np.ones((3, 2), bool)}
    weights = {k: m.astype("f") for k, m in masks.items()}
    inputs = {"input_shape": [2, 2, 1] if metric == ACCURACY else [4]}
    return Ticket(
        Mask(masks), weights, weights, level, inputs, {metric.test: 0.5},
    )


def make_run(
    folder, gains=None, convolution=False, done=None, metric=ACCURACY,
    told=True, **config,
):
    """A run's folder; `done` trainings of 15 are finished, all if None.

    A function that has not `told` of anything but the metric left gaps.
    """
    settings = Config(**{
        "levels": 2, "replicates": 3, "branches": ("reinit",),
        "branch_levels": (1, 2), "verdict_density": 0.5, **config,
    })
    store = RunDirectory(str(folder))
    more = {} if metric == ACCURACY else {"metric": metric.to_json()}
    store.open({**settings.to_json(), **more}, fingerprint)
    keys = [
        Key(replicate, branch, level)
        for replicate in range(settings.replicates)
        for branch, level in [
            *(("main", n) for n in range(settings.resolved().levels + 1)),
            *((b, n) for b in settings.branches for n in (1, 2)),
        ]
    ][:done]
    for key in keys:
        save(store, key, gains or GAINS, convolution, metric, told)
    rows = with_search_costs(store.rows(), settings.method)
    report.write_results(rows, folder / "results.csv", metric)
    return folder


@pytest.fixture
def make(tmp_path):
    """`make(name, **config)`: a run's folder, see `make_run`."""
    return lambda name="run", **how: make_run(tmp_path / name, **how)


# Made by the page's own modules; what other tests look at takes its time.
CORE = tuple(
    maker for maker in page.SECTIONS
    if maker.__module__.rpartition(".")[2] in ("curves", "layers", "settings")
)


@pytest.fixture(scope="session", autouse=True)
def core():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tf_lottery.page.writing.SECTIONS", CORE)
        yield


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """A finished run without a report; not to be changed."""
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="session")
def finished(tmp_path_factory, core):
    """A finished run with its report; not to be changed."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "run")
    page.write([folder])
    return folder


@pytest.fixture
def undrawn(monkeypatch):
    """Pages whose figures are left empty, for tests of all else."""
    monkeypatch.setattr(
        "tf_lottery.page.writing.figure_files",
        lambda name, figure, forms: dict.fromkeys(forms, b"<svg></svg>"),
    )


def value_of(metric, accuracy):
    """An accuracy; a perplexity or a reward that is the better, the higher.

    Advantages are twice, or a hundred times, the differences of accuracies.
    """
    if metric == ACCURACY:
        return accuracy
    if metric.ratio:
        return math.exp(4.0 - 2.0 * accuracy)
    return 100.0 * accuracy - 50.0


def save(store, key, gains, convolution, metric, told):
    made = ticket(key.level, convolution, metric)
    gain = gains[key.branch] if key.level else 0.0
    accuracy = 0.9 + gain + 0.001 * key.replicate + 0.0005 * (
        key.replicate == 1 and key.level > 0
    )
    row = {
        **dataclasses.asdict(key), "density": made.mask.density,
        "sparsity": made.mask.sparsity, "kept_weights": made.mask.kept,
        "prunable_weights": made.mask.size,
        metric.test: value_of(metric, accuracy),
        "test_loss": 0.1, metric.column("val"): value_of(metric, 0.9),
        "val_loss": 0.1, metric.column("train"): value_of(metric, 1.0),
        "early_stop_step": 20, metric.early_stop: value_of(metric, 0.9),
        "early_stop_censored": False,
        "train_steps": 40, "train_seconds": 1.0, "train_examples": 400,
        "train_flops": 100, "train_effective_flops": 80,
        "inference_flops": 10, "inference_effective_flops": 8,
        "effective_density": 1.0,
    }
    splits = ("validation", "test")
    if not told:
        row |= dict.fromkeys(set(row) & {
            "test_loss", "val_loss", "early_stop_step", "early_stop_censored",
            metric.column("val"), metric.column("train"), metric.early_stop,
        })
        splits = ("test",)
    evaluations = [
        {
            "step": step, "split": split, **({"loss": 0.1} if told else {}),
            metric.name: value_of(metric, accuracy - 0.1 * (step == 0)),
        }
        for step in (0, 20, 40) for split in splits
    ]
    parent = ""
    if key.level or key.branch != "main":
        level = key.level - (key.branch == "main")
        store_key = Key(key.replicate, "main", level)
        parent = store._summary(store_key)["files"]["ticket/ticket.json"]
    store.save(key, made, evaluations, row, parent)


class Parsed(html.parser.HTMLParser):
    """What a page is made of; raises where elements are not closed."""

    VOID = {"meta", "img", "br", "link", "input"}

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.elements, self.words, self._open = [], [], []
        self.feed(self.source)
        self.close()
        assert not self._open, f"not closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open and self._open[-1] not in ("style",):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).replace("\xa0", " ").split())

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="session")
def parse():
    return Parsed

"""Run directories that took no training."""

import dataclasses
import html.parser

import numpy as np
import pytest

from tf_lottery import Config, Mask, Ticket, page, report
from tf_lottery.analysis import with_search_costs
from tf_lottery.fingerprint import fingerprint
from tf_lottery.tickets import Key, RunDirectory


# What tickets and controls of a run are above dense, at all levels.
GAINS = {"main": 0.02, "reinit": -0.02}


@dataclasses.dataclass
class Evaluation:
    step: int
    split: str
    loss: float
    accuracy: float


def ticket(level, convolution=False):
    """First kernel over 2 x 2 pixels, which loses its last rows first."""
    shape = (2, 2, 1, 3) if convolution else (4, 3)
    first = np.ones(shape, bool)
    first.reshape(4, 3)[4 - level :] = False
    masks = {"a/kernel": first, "b/kernel": np.ones((3, 2), bool)}
    weights = {k: m.astype("f") for k, m in masks.items()}
    return Ticket(
        Mask(masks), weights, weights, level, {"input_shape": [2, 2, 1]},
        {"test_accuracy": 0.5},
    )


def make_run(folder, gains=None, convolution=False, done=None, **config):
    """A run's folder; `done` trainings of 15 are finished, all if None."""
    settings = Config(**{
        "levels": 2, "replicates": 3, "branches": ("reinit",),
        "branch_levels": (1, 2), "verdict_density": 0.5, **config,
    })
    store = RunDirectory(str(folder))
    store.open(settings.to_json(), fingerprint)
    keys = [
        Key(replicate, branch, level)
        for replicate in range(settings.replicates)
        for branch, level in [
            *(("main", n) for n in range(settings.resolved().levels + 1)),
            *((b, n) for b in settings.branches for n in (1, 2)),
        ]
    ][:done]
    for key in keys:
        save(store, key, gains or GAINS, convolution)
    rows = with_search_costs(store.rows(), settings.method)
    report.write_results(rows, folder / "results.csv")
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


def save(store, key, gains, convolution):
    made = ticket(key.level, convolution)
    gain = gains[key.branch] if key.level else 0.0
    accuracy = 0.9 + gain + 0.001 * key.replicate + 0.0005 * (
        key.replicate == 1 and key.level > 0
    )
    row = {
        **dataclasses.asdict(key), "density": made.mask.density,
        "sparsity": made.mask.sparsity, "kept_weights": made.mask.kept,
        "prunable_weights": made.mask.size, "test_accuracy": accuracy,
        "test_loss": 0.1, "val_accuracy": 0.9, "val_loss": 0.1,
        "train_accuracy": 1.0, "early_stop_step": 20,
        "early_stop_test_accuracy": 0.9, "early_stop_censored": False,
        "train_steps": 40, "train_seconds": 1.0, "train_examples": 400,
        "train_flops": 100, "train_effective_flops": 80,
        "inference_flops": 10, "inference_effective_flops": 8,
        "effective_density": 1.0,
    }
    evaluations = [
        Evaluation(
            step,
            split,
            {"loss": 0.1, "accuracy": accuracy - 0.1 * (step == 0)},
        )
        for step in (0, 20, 40) for split in ("validation", "test")
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

"""Every published setting is read, planned at its true size, and run."""

import functools
import pathlib
import re
import zipfile

import numpy as np
import pytest
import tensorflow_datasets as tfds

import tf_lottery as tfl
from tf_lottery import Config
from tf_lottery import LearningRate
from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import models
from tf_lottery import search
from tf_lottery.cli.flags import config_from_flags
from tf_lottery.plan import Plan

ROOT = pathlib.Path(__file__).resolve().parent.parent
FLAGFILES = {
    path.stem: path
    for path in sorted((ROOT / "binaries" / "flagfiles").glob("*.flags"))
}
CONFIGS = {
    name: config_from_flags(["x", f"--flagfile={path}"])
    for name, path in FLAGFILES.items()
}

# What the papers quote: weights that are not pruned but counted as remaining,
# and percentages remaining by level.
LENET = {3: 51.3, 4: 41.1, 7: 21.1, 9: 13.5, 11: 8.7, 13: 5.6, 15: 3.6}
CONV_2 = {11: 8.8, 14: 4.6}
CONV_4 = {11: 11.1, 12: 9.2}
RESNET_18 = {4: 41.7, 6: 27.1, 7: 21.9, 10: 11.8}
VGG_19 = {12: 6.9, 15: 3.5, 19: 1.5}
RESNET_20 = {1: 80.0, 8: 16.8, 9: 13.4, 11: 8.6}
PUBLISHED = {
    "lenet_mnist": (0, LENET),
    "lenet_mnist_continued": (0, LENET),
    "lenet_mnist_sgd": (0, {**LENET, 16: 2.9, 18: 1.9, 20: 1.2}),
    "lenet_mnist_global": (0, {15: 3.5}),
    "conv_2_cifar10": (0, CONV_2),
    "conv_2_dropout_cifar10": (0, CONV_2),
    "conv_4_cifar10": (0, CONV_4),
    "conv_4_dropout_cifar10": (0, CONV_4),
    "resnet_18_cifar10_high": (2560 + 640, RESNET_18),
    "resnet_18_cifar10_low": (2560 + 640, RESNET_18),
    "resnet_18_cifar10_warmup": (2560 + 640, RESNET_18),
    "vgg_19_cifar10_high": (5120, VGG_19),
    "vgg_19_cifar10_low": (5120, VGG_19),
    "vgg_19_cifar10_warmup": (5120, VGG_19),
    "resnet_20_cifar10_rewind": (0, RESNET_20),
    "resnet_20_cifar10_low": (0, RESNET_20),
    "resnet_20_cifar10_warmup": (0, RESNET_20),
    "vgg_16_cifar10_rewind": (5120, {8: 16.8, 19: 1.5, 20: 1.2}),
}


def fake(name):
    """A TFDS set of few random examples, and all else as the real one's."""
    real = tfds.builder_cls(name)

    class Fake(real, skip_registration=True):
        def _split_generators(self, dl_manager):
            return {"train": self._generate(16), "test": self._generate(8)}

        def _generate(self, size):
            rng = np.random.default_rng(size)
            features = self.info.features
            if "text" in features:
                yield 0, {"text": "to be or not, " * 40}
                return
            shape = features["image"].shape
            for i in range(size):
                image = rng.integers(0, 256, shape, dtype=np.uint8)
                example = {"image": image, "label": i % 10, "id": str(i)}
                yield i, {k: example[k] for k in features}

    Fake.name = name
    return Fake


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A TFDS folder of the data sets, in small."""
    tfds.disable_progress_bar()
    path = str(tmp_path_factory.mktemp("tfds"))
    for name in ("mnist", "cifar10", "tiny_shakespeare"):
        fake(name)(data_dir=path).download_and_prepare()
    return path


@functools.cache
def network(model, exclude):
    """Mask and rates are those of the model: built once for all settings."""
    shape = {"lenet": (28, 28, 1)}.get(model[:5], (32, 32, 3))
    classes = 10
    if models.registry.KINDS[model] == "text":
        shape, classes = (50,), 66
    with models.clean_names():
        dense = models.build_model(model, shape, classes, seed=0)
        return mask_model(dense, exclude=exclude)


def planned(config):
    net = network(config.model, config.exclude)
    rates = search.pruning_rates(
        net,
        prune_rate=config.prune_rate,
        conv_prune_rate=config.conv_prune_rate,
        output_prune_rate=config.output_prune_rate,
        scope=config.scope,
    )
    size = {
        "mnist": 55_000, "cifar10": 45_000, "grammar": 4499,
        "tiny_shakespeare": 20_077,
    }[config.dataset]
    return Plan(config.resolved(), get_mask(net), rates, size, 0)


def test_there_are_flagfiles():
    assert set(CONFIGS) >= {"quickstart", *PUBLISHED}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_flagfile_says_what_it_is(name):
    lines = FLAGFILES[name].read_text("utf-8").splitlines()
    head = [line for line in lines if line.startswith("# ")]
    assert lines[: len(head)] == head and head
    assert all(line.startswith("--") for line in lines[len(head) :])
    assert CONFIGS[name] != Config()


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"quickstart"}))
def test_a_published_setting_is_planned(name):
    """With the paper's percentages, and the cost that its file states."""
    plan = planned(CONFIGS[name])
    kept = [n if isinstance(n, int) else sum(n.values()) for n in plan.kept()]
    more, figures = PUBLISHED.get(name, (0, {}))
    for level, percent in figures.items():
        share = 100 * (kept[level] + more) / (kept[0] + more)
        assert round(share, 1) == percent, f"level {level}"
    steps = re.search(r"([\d,]+) steps, about", plan.text(set()))[1]
    cost = f"# Cost: {steps} optimizer steps; one trial: --replicate=0."
    assert cost in FLAGFILES[name].read_text("utf-8").splitlines()


def test_the_lengths_and_rates_of_the_papers():
    def rates(name, *steps):
        config = CONFIGS[name]
        plan = planned(config)
        rate = LearningRate(
            config.learning_rate, config.lr_schedule, config.warmup
        )
        return plan.train_steps, [
            pytest.approx(
                rate.values(
                    step,
                    step + 1,
                    total=plan.train_steps,
                    steps_per_epoch=plan.steps_per_epoch,
                )[0]
            )
            for step in steps
        ]

    # 160 epochs of 45,000 // 64 = 703 steps; a tenth from epoch 80 on.
    at = (0, 56_239, 56_240, 84_359, 84_360)
    for name, base in (("high", 0.1), ("low", 0.01)):
        parts = [base * x for x in (1, 1, 0.1, 0.1, 0.01)]
        assert rates(f"vgg_19_cifar10_{name}", *at) == (112_480, parts)
    at = (4_999, 9_999, 10_000, 56_240)
    parts = [0.05, 0.1, 0.1, 0.01]
    assert rates("vgg_19_cifar10_warmup", *at) == (112_480, parts)
    # 20, 5 and 5 thousand; the warm-up takes the first stage.
    at = (19_999, 20_000, 24_999, 25_000)
    parts = [0.1, 0.01, 0.01, 0.001]
    assert rates("resnet_18_cifar10_high", *at) == (30_000, parts)
    at = (9_999, 19_999, 20_000, 25_000)
    parts = [0.015, 0.03, 0.003, 0.0003]
    assert rates("resnet_18_cifar10_warmup", *at) == (30_000, parts)
    at = (14_999, 29_999, 31_999, 32_000, 48_000)
    parts = [0.015, 0.03, 0.03, 0.003, 0.0003]
    assert rates("resnet_20_cifar10_warmup", *at) == (63_000, parts)


# All are planned always; convolutional ones take 4 to 8 seconds each to run.
ALWAYS = {"lenet_mnist_openlth"}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n in ALWAYS else [pytest.mark.slow])
        for n in CONFIGS
    ],
)
def test_a_flagfile_runs(name, command, folder, tmp_path, monkeypatch):
    """Two steps of two examples, dense and pruned once."""
    config = CONFIGS[name]
    write = zipfile.ZipFile.writestr
    # Deflating the tickets would take most of the time.
    monkeypatch.setattr(
        zipfile.ZipFile,
        "writestr",
        lambda self, entry, data, **_: write(
            self, entry, data, compresslevel=0
        ),
    )
    done = command(
        f"--flagfile={FLAGFILES[name]}", f"--data_dir={folder}",
        f"--output_dir={tmp_path}", "--validation_size=8", "--levels=1",
        "--train_steps=2it", "--eval_every=2it", "--batch_size=2",
        f"--rewind={min(config.rewind.count, 1)}it",
        f"--warmup={min(config.warmup.count, 1)}it",
        "--replicates=1", "--branches=none", "--branch_levels=all",
    )
    assert done.status == 0, done.err
    (run,) = tmp_path.iterdir()
    rows = tfl.load_results(run).rows
    assert [row["level"] for row in rows[:2]] == [0, 1]
    assert rows[1]["kept_weights"] < rows[0]["kept_weights"]
    ticket = tfl.Ticket.load(run / "replicate_0/main/level_01/ticket")
    for path, keep in ticket.mask.items():
        assert np.isfinite(ticket.trained[path]).all()
        assert not ticket.trained[path][~keep].any()

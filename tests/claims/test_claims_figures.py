"""Figures of the paper: their settings, and every claim in three worlds."""

import functools
import pathlib
import re
import types

import pytest

from tf_lottery.claims import FIGURES
from tf_lottery.claims import cost
from tf_lottery.claims import judge
from tf_lottery.cli.flags import config_from_flags
from tf_lottery.fingerprint import fingerprint
from tf_lottery.masks import Mask
from tf_lottery.masks import PruningRates
from tf_lottery.plan import Plan
from tf_lottery.plan import trainings

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUTPUT = "output/kernel"
KERNELS = {
    "lenet_300_100": {
        "dense_1/kernel": (784, 300), "dense_2/kernel": (300, 100),
        OUTPUT: (100, 10),
    },
    "lenet_100_34": {
        "dense_1/kernel": (784, 100), "dense_2/kernel": (100, 34),
        OUTPUT: (34, 10),
    },
    "conv_2": {
        "conv_1/kernel": (3, 3, 3, 64), "conv_2/kernel": (3, 3, 64, 64),
        "dense_1/kernel": (16384, 256), "dense_2/kernel": (256, 256),
        OUTPUT: (256, 10),
    },
}
TRAIN_SIZE = {"mnist": 55_000, "cifar10": 45_000}
EVERY = [(name, short) for name in FIGURES for short in (False, True)]


@functools.cache
def mask(model):
    return Mask.ones(KERNELS[model])


@functools.cache
def planned(config):
    resolved = config.resolved()
    rates = {
        path: resolved.output_prune_rate if path == OUTPUT
        else resolved.conv_prune_rate if len(shape) == 4
        else resolved.prune_rate
        for path, shape in KERNELS[config.model].items()
    }
    return Plan(
        resolved,
        mask(config.model),
        PruningRates("layerwise", config.prune_rate, rates),
        TRAIN_SIZE[config.dataset],
        0,
    )


def density(config, level):
    plan = planned(config)
    return sum(plan.kept()[level].values()) / plan.mask.size


@pytest.mark.parametrize(("name", "short"), EVERY)
def test_a_figure_can_be_planned(name, short):
    configs = FIGURES[name].configs(short=short, output_dir="x")
    plans = [planned(config) for config in configs.values()]
    trained = sum(len(plan.keys) for plan in plans)
    steps = sum(sum(map(plan.steps, plan.keys)) for plan in plans)
    assert cost(configs) == (trained, steps)
    assert {config.output_dir for config in configs.values()} == {"x"}
    # Two settings of one figure are two experiments.
    prints = [fingerprint(config.to_json()) for config in configs.values()]
    assert len(set(prints)) == len(prints)


def test_short_ones_are_shorter():
    for figure in FIGURES.values():
        long, short = (cost(figure.configs(short=x))[1] for x in (False, True))
        assert short < long / 4


def test_short_ones_are_evaluated_less_often():
    for name, figure in FIGURES.items():
        for config in figure.configs(short=True).values():
            every = "400it" if name == "conv_2" else "200it"
            assert str(config.eval_every) == every


@pytest.mark.parametrize(
    ("figure", "setting", "flagfile"),
    [
        ("lenet", "lenet", "lenet_mnist"),
        ("lenet_controls", "lenet", "lenet_mnist"),
        ("lenet_strategies", "continued", "lenet_mnist_continued"),
        ("lenet_sgd", "sgd", "lenet_mnist_sgd"),
        ("conv_2", "conv_2", "conv_2_cifar10"),
    ],
)
def test_a_setting_is_that_of_its_flagfile(figure, setting, flagfile):
    path = ROOT / "binaries" / "flagfiles" / f"{flagfile}.flags"
    published = config_from_flags(["x", f"--flagfile={path}"])
    config = FIGURES[figure].configs()[setting]
    assert fingerprint(config.to_json()) == fingerprint(published.to_json())


def test_figures_share_what_they_have_in_common():
    prints = {
        fingerprint(figure.configs()["lenet"].to_json())
        for figure in FIGURES.values()
        if "lenet" in figure.settings
    }
    assert len(prints) == 1


# Level: what the paper calls its percentage.
@pytest.mark.parametrize(
    ("figure", "percentages"),
    [
        ("lenet", {3: 51.3, 7: 21.1, 9: 13.5, 11: 8.7, 15: 3.6, 16: 2.9}),
        ("conv_2", {11: 8.8, 14: 4.6}),
    ],
)
def test_percentages_are_those_of_the_papers_levels(figure, percentages):
    config = FIGURES[figure].configs()[figure]
    for level, percent in percentages.items():
        assert round(100 * density(config, level), 1) == percent


def test_main_curve_names_every_level():
    from tf_lottery.claims.main_body import PERCENTAGES

    config = FIGURES["lenet"].configs()["lenet"]
    exact = [100 * density(config, n) for n in range(1, config.levels + 1)]
    assert exact == pytest.approx(PERCENTAGES, rel=5e-3)


# (accuracy, early stop) by run, branch and percentage kept.
def paper(run, branch, percent):
    """A world in which all is as the paper says."""
    dense = percent == 100
    if run == "conv_2":
        if branch == "reinit":
            return 0.64, 9000
        return (0.65, 10_000) if dense else (0.684, 2857)
    if run.startswith("at_once") and not dense:
        return 0.9805 if percent > 5 else 0.975, 8000
    if run.startswith("rate") and not dense:
        return 0.97, 8000
    if run == "small":
        return 0.977 if percent in (26.3, 26.4) else 0.975, 8000
    if run == "sgd" and percent <= 1:
        return 0.9795, 10_000
    slow = 2 if run == "adam_2e-4" else 1
    if branch == "rewound":
        return 0.975, 15_000
    if branch == "reinit":
        return 0.9775, 15_600
    if branch == "random_mask":
        return 0.96, 20_000
    if dense:
        return 0.98, 10_000 * slow
    accuracy = 0.983
    for below, value in (
        (14, 0.9835), (13, 0.9832), (5, 0.9815), (4, 0.98), (3, 0.975)
    ):
        accuracy = value if percent < below else accuracy
    steps = {21.1: 6200, 51.3: 8000, 3.6: 10_000}.get(percent, 8000)
    return accuracy, steps * slow


def contrary(run, branch, percent):
    """A world in which nothing is."""
    dense = percent == 100
    if run == "conv_2":
        if branch == "reinit":
            return 0.70, 5000
        return (0.65, 10_000) if dense else (0.60, 12_000)
    if run == "lenet":
        if branch in ("reinit", "random_mask"):
            return {"reinit": 0.99}.get(branch, 0.995), 5000
        steps = {100: 10_000, 51.3: 12_000, 21.1: 15_000, 3.6: 5000}
        accuracy = 0.98 if dense else 0.97 if percent == 13.5 else 0.975
        return accuracy, steps.get(percent, 8000)
    if branch == "rewound":
        return 0.99, 2000
    if run.startswith("at_once"):
        return (0.995, 8000) if dense else (0.98, 12_000)
    if run == "sgd":
        return (0.98, 10_000) if dense else (0.9, 30_000)
    return (0.995, 10_000) if dense else (0.99, 12_000)


def runs_in(world, configs, train_accuracy):
    runs = {}
    for name, config in configs.items():
        rows = []
        for key in trainings(config.resolved()):
            kept = density(config, key.level)
            accuracy, steps = world(name, key.branch, round(100 * kept, 1))
            rows.append({
                "replicate": key.replicate, "branch": key.branch,
                "level": key.level, "density": kept,
                "early_stop_test_accuracy": accuracy + key.replicate / 1e4,
                "test_accuracy": accuracy + key.replicate / 1e4,
                "early_stop_step": round(steps, -2) + 100 * key.replicate,
                "early_stop_censored": False,
                "train_accuracy": train_accuracy + key.replicate / 1e5,
            })
        runs[name] = types.SimpleNamespace(rows=rows)
    return runs


def judged(name, world, train_accuracy, **changes):
    figure = FIGURES[name]
    runs = runs_in(world, figure.configs(**changes), train_accuracy)
    return {
        claim.text: judge(claim, runs).agreement
        for claim in figure.claims
        # Tickets are tested in test_claims_rules.py.
        if "/kernel" not in claim.parts[0].label
    }


@pytest.mark.parametrize("name", FIGURES)
def test_every_claim_agrees_disagrees_and_is_undecided(name):
    assert set(judged(name, paper, 0.999).values()) == {"agrees"}
    assert set(judged(name, contrary, 0.9).values()) == {"disagrees"}
    alone = judged(name, paper, 0.999, replicates=1)
    assert set(alone.values()) == {"undecided"}


def test_short_conv_2_has_the_papers_densities():
    found = judged("conv_2", paper, 0.999, short=True)
    told = list(found.values())
    assert told[:2] == ["agrees", "agrees"]


def test_texts_are_unique_and_say_their_rule():
    texts = [c.text for f in FIGURES.values() for c in f.claims]
    assert len(set(texts)) == len(texts)
    for figure in FIGURES.values():
        for claim in figure.claims:
            assert claim.paper and "|" not in claim.text + claim.note
            labels = [part.label for part in claim.parts]
            assert len(set(labels)) == len(labels)
            for part in claim.parts:
                assert re.search(r"%|/kernel", part.label)
                assert part.low > -float("inf") or part.high < float("inf")

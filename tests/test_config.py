"""The configuration: defaults, parsing, errors, fingerprint, names."""

import dataclasses
import hashlib
import json
import re

import pytest

from tf_lottery import Config, Step
from tf_lottery.fingerprint import fingerprint, identity, run_name

LATER = {
    "score_per_class": 10, "prune_begin": Step(0), "prune_end": None,
    "prune_every": Step(100), "structure": None, "scale_l1": None,
    "mask_by": "edge_popup", "epsilon": None, "epsilon_unit": "absolute",
    "rescale": "none", "score_steps": None, "score_learning_rate": None,
    "verdict_density": 0.2, "verdict_margin": None, "tensorboard": False,
    "connectivity": False, "instability_steps": None, "report": True,
}
CONTRACT = {
    "dataset": "digits",
    "data_dir": None,
    "text_file": None,
    "tokens": "char",
    "vocabulary_size": None,
    "sequence_length": 50,
    "validation_size": 5000,
    "split_seed": 0,
    "model": "lenet_300_100",
    "init": None,
    "initial_weights": None,
    "method": "imp",
    "criterion": "magnitude",
    "scope": "layerwise",
    "levels": 15,
    "prune_rate": 0.2,
    "conv_prune_rate": None,
    "output_prune_rate": None,
    "target_sparsity": None,
    "ticket": None,
    "exclude": (),
    "collapse": "stop",
    "rewind": Step(0),
    "retrain": "rewind",
    "train_steps": Step(3000),
    "batch_size": 60,
    "eval_every": Step(100),
    "optimizer": "adam",
    "learning_rate": 1.2e-3,
    "momentum": 0.9,
    "weight_decay": 0.0,
    "lr_schedule": "constant",
    "warmup": Step(0),
    "augment": None,
    "replicates": 1,
    "replicate": None,
    "seed": 0,
    "branches": (),
    "branch_levels": None,
    "strategy": "auto",
    "mixed_precision": "float32",
    "jit": "auto",
    "parallel": 1,
    "ray_address": None,
    "output_dir": "runs",
    "export": None,
    "plan": False,
    "quiet": False,
    "log_file": None,
    "checkpoint_every": 60.0,
    "data_placement": "auto",
    "debug": False,
    **LATER,
}
# Fields whose value does not make another experiment.
IGNORED = {
    "output_dir": "elsewhere",
    "data_dir": "/data",
    "plan": True,
    "export": "last",
    "quiet": True,
    "log_file": "log.txt",
    "debug": True,
    "replicates": 7,
    "parallel": 3,
    "replicate": 0,
    "branches": "reinit",
    "branch_levels": "1",
    "levels": 20,
    "verdict_density": 0.1,
    "verdict_margin": 0.01,
    "tensorboard": True,
    "connectivity": True,
}
OTHER = {
    "dataset": "mnist",
    "tokens": "subword",
    "sequence_length": 20,
    "validation_size": 100,
    "split_seed": 1,
    "model": "conv_2",
    "init": "he_normal",
    "initial_weights": "ticket",
    "method": "dense",
    "criterion": "random",
    "scope": "global",
    "prune_rate": 0.3,
    "conv_prune_rate": 0.15,
    "output_prune_rate": 0.15,
    "exclude": "output/*",
    "collapse": "floor",
    "rewind": "5it",
    "retrain": "fine_tune",
    "train_steps": "2ep",
    "batch_size": 32,
    "eval_every": "1ep",
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "momentum": 0.5,
    "weight_decay": 1e-4,
    "lr_schedule": "step:1ep:0.5",
    "warmup": "3it",
    "augment": "flip_crop",
    "seed": 1,
    "strategy": "mirrored",
    "mixed_precision": "mixed_bfloat16",
    "jit": "off",
    "score_per_class": 3,
    "prune_end": "50it",
    "prune_every": "10it",
    "scale_l1": 1e-4,
    "mask_by": "criterion",
    "epsilon_unit": "sigma",
    "rescale": "dwr",
    "score_steps": "10it",
    "score_learning_rate": 1.0,
}
# Refused for other methods.
STRONG = dict(method="perturbed", target_sparsity=(0.5,), epsilon=(0.1,))
ONLY_STRONG = (
    "mask_by", "epsilon_unit", "rescale", "score_steps", "score_learning_rate"
)
FIELDS = {field.name: field for field in dataclasses.fields(Config)}


def test_fields_and_defaults_are_the_contract():
    defaults = {name: field.default for name, field in FIELDS.items()}
    assert defaults == {k: v for k, v in CONTRACT.items() if k in FIELDS}
    # They are not in config.json at all.
    rest = {"checkpoint_every", "data_placement", "ray_address", "report"}
    rest |= {"instability_steps"}
    assert not rest & set(Config().to_json())
    # They are for some methods only.
    rest |= {
        "target_sparsity", "structure", "prune_begin", "epsilon", "ticket",
    }
    # A data set's, or a kind of tokens'.
    rest |= {"text_file", "vocabulary_size"}
    assert set(IGNORED) | set(OTHER) | rest == set(FIELDS)
    for field in FIELDS.values():
        assert len(field.metadata["help"]) > 10


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("levels", "7", 7),
        ("prune_rate", "0.5", 0.5),
        ("prune_rate", "5e-1", 0.5),
        ("conv_prune_rate", "none", None),
        ("conv_prune_rate", "0.1", 0.1),
        ("train_steps", "2ep", Step(2, "ep")),
        ("train_steps", "500it", Step(500)),
        ("train_steps", "500", Step(500)),
        ("train_steps", 500, Step(500)),
        ("rewind", Step(3), Step(3)),
        ("exclude", "none", ()),
        ("exclude", "", ()),
        ("exclude", "a/*, b", ("a/*", "b")),
        ("exclude", ["a"], ("a",)),
        ("branches", "reinit,random_mask", ("reinit", "random_mask")),
        ("branch_levels", "all", None),
        ("branch_levels", "1,3", (1, 3)),
        ("branch_levels", 2, (2,)),
        ("replicate", "all", None),
        ("replicate", "0", 0),
        ("export", "all", "all"),
        ("export", "none", None),
        ("data_dir", "none", None),
        ("augment", "none", None),
        ("augment", "flip_crop", "flip_crop"),
        ("data_dir", "all", "all"),
        ("log_file", "all", "all"),
        ("plan", "true", True),
        ("quiet", "False", False),
        ("seed", "3", 3),
    ],
)
def test_values_are_read_from_text(name, text, value):
    read = getattr(Config(**{name: text}), name)
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("levels", "x", r"must be an integer\. Received: levels='x'"),
        ("levels", 1.0, r"must be an integer\. Received: levels=1.0"),
        ("levels", True, r"must be an integer\. Received: levels=True"),
        ("levels", -1, r"must be at least 0\. Received: levels=-1"),
        ("prune_rate", "x", r"must be a number\. Received: prune_rate='x'"),
        ("prune_rate", None, r"must be a number\. Received: prune_rate=None"),
        ("prune_rate", 0, r"must be in \(0, 1\)\. Received: prune_rate=0.0"),
        ("prune_rate", 1, r"must be in \(0, 1\)\. Received: prune_rate=1.0"),
        ("prune_rate", "nan", r"in \(0, 1\)\. Received: prune_rate=nan"),
        ("conv_prune_rate", 2, r"in \(0, 1\)\. Received: conv_prune_rate=2"),
        ("output_prune_rate", 0, r"Received: output_prune_rate=0"),
        ("plan", "maybe", r"must be true or false\. Received: plan='maybe'"),
        ("method", "x", r"one of imp, .* dense\. Received: method='x'"),
        ("scope", "x", r"must be one of layerwise, .*Received: scope='x'"),
        ("retrain", "x", r"must be one of rewind, .*Received: retrain='x'"),
        ("collapse", "x", r"one of stop, .*Received: collapse='x'"),
        ("strategy", "x", r"one of auto, .*Received: strategy='x'"),
        ("jit", "x", r"one of auto, on, off.*Received: jit='x'"),
        ("augment", "x", r"must be one of flip_crop\. Received: augment='x'"),
        ("mixed_precision", "x", r"Received: mixed_precision='x'"),
        ("train_steps", "5min", r"steps or epochs.*train_steps='5min'"),
        ("train_steps", 0, r"must be at least 1\. Received: train_steps=0it"),
        ("eval_every", "0ep", r"at least 1\. Received: eval_every=0ep"),
        ("rewind", -1, r"Received: rewind='?-1"),
        ("batch_size", 0, r"must be at least 1\. Received: batch_size=0"),
        ("validation_size", 0, r"Received: validation_size=0"),
        ("seed", -1, r"must be at least 0\. Received: seed=-1"),
        ("weight_decay", "nan", r"Received: weight_decay=nan"),
        ("verdict_density", 2, r"must be at most 1\. .*verdict_density=2"),
        ("verdict_density", "nan", r"Received: verdict_density=nan"),
        ("verdict_margin", -1, r"must be at least 0\. .*verdict_margin=-1"),
        ("momentum", 1, r"must be in \[0, 1\)\. Received: momentum=1.0"),
        ("learning_rate", 0, r"positive number\. Received: learning_rate=0"),
        ("lr_schedule", "x", r"Received: lr_schedule='x'"),
        ("replicates", 0, r"at least 1\. Received: replicates=0"),
        ("replicate", 1, r"below replicates=1\. Received: replicate=1"),
        ("branch_levels", "0", r"between 1 and 15,.*branch_levels=0"),
        ("branch_levels", "16", r"between 1 and 15,.*branch_levels=16"),
        ("branch_levels", "x", r"an integer\. Received: branch_levels='x'"),
    ],
)
def test_a_bad_value_is_named_in_one_line(name, value, message):
    with pytest.raises(ValueError) as caught:
        Config(**{name: value})
    text = str(caught.value)
    assert re.search(rf"^`{name}` .*{message}", text), text
    # What is expected, what came, what to do.
    assert re.fullmatch(r"`\w+` must .+\. Received: \w+=.+\. .+\.", text)


def test_resolved_fills_in_derived_rates():
    config = Config(prune_rate=0.4).resolved()
    assert (config.conv_prune_rate, config.output_prune_rate) == (0.4, 0.2)
    given = Config(conv_prune_rate=0.1, output_prune_rate=0.3).resolved()
    assert (given.conv_prune_rate, given.output_prune_rate) == (0.1, 0.3)
    assert Config(method="dense").resolved().levels == 0
    assert config.resolved() == config


def test_the_config_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().levels = 3


@pytest.mark.parametrize("name", IGNORED)
def test_fingerprint_ignores(name):
    changes = {"replicate": {"replicates": 2}}.get(name, {})
    changed = Config(**{name: IGNORED[name], **changes})
    assert getattr(changed, name) != getattr(Config(), name)
    assert fingerprint(changed.to_json()) == fingerprint(Config().to_json())


@pytest.mark.parametrize("name", OTHER)
def test_fingerprint_depends_on(name):
    base = Config(**STRONG) if name in ONLY_STRONG else Config()
    changed = dataclasses.replace(base, **{name: OTHER[name]})
    assert getattr(changed, name) != getattr(base, name)
    assert fingerprint(changed.to_json()) != fingerprint(base.to_json())


def test_target_sparsities_are_the_levels():
    configs = [
        Config(method="one_shot", target_sparsity=text, levels=levels)
        for text, levels in (("0.5", 3), ("0.5", 4), ("0.5,0.8", 3))
    ]
    one, same, two = (fingerprint(config.to_json()) for config in configs)
    assert one == same != two
    assert [config.resolved().levels for config in configs] == [1, 1, 2]


def test_fingerprint_is_of_the_resolved_values():
    same = Config(conv_prune_rate=0.2, output_prune_rate=0.1)
    assert fingerprint(same.to_json()) == fingerprint(Config().to_json())
    values = Config().to_json()
    known = {k: v for k, v in values.items() if k not in IGNORED}
    text = json.dumps(known, sort_keys=True)
    assert identity(values) == known
    assert fingerprint(values) == hashlib.sha256(text.encode()).hexdigest()


def test_fingerprint_never_changes():
    # Runs on disk are found by it.
    assert fingerprint(Config().to_json()) == (
        "660204f229fa88a96a958630bd0d3e78ac4ddf2f79b9d270ad9783ed06f0c824"
    )


def test_a_field_younger_than_runs_on_disk_is_left_out_where_it_is_off():
    assert "augment" not in Config(augment="none").to_json()
    assert Config(augment="flip_crop").to_json()["augment"] == "flip_crop"
    # What was declared is kept beside what was found.
    names = {"verdict_density", "verdict_margin"}
    assert not names & set(Config().to_json())
    assert names <= set(
        Config(verdict_density=0.1, verdict_margin=0.01).to_json()
    )


def test_input_files_enter_by_content_and_not_by_path():
    values = Config(initial_weights="here").to_json()
    moved = Config(initial_weights="there").to_json()
    values["inputs"] = moved["inputs"] = {"initial_weights": "0" * 64}
    assert fingerprint(values) == fingerprint(moved)
    moved["inputs"] = {"initial_weights": "1" * 64}
    assert fingerprint(values) != fingerprint(moved)


_NO_INIT = {
    k: v for k, v in OTHER.items() if k not in (*ONLY_STRONG, "init")
}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"init": "he_normal"},
        _NO_INIT,
        {**_NO_INIT, **IGNORED, "method": "imp"},
    ],
)
def test_to_json_round_trips(changes):
    config = Config(**changes)
    values = json.loads(json.dumps(config.to_json()))
    assert values.pop("format") == 1
    assert Config(**values) == config.resolved()


def test_run_name():
    values = Config(dataset="emnist/letters:3", model="a.b:c").to_json()
    digits = fingerprint(values)[:16]
    assert run_name(values) == f"emnist_letters_3-a.b_c-imp-{digits}"


def test_dense_takes_no_branches():
    with pytest.raises(ValueError, match=r"^`branches` must be none .*dense"):
        Config(method="dense", branches="reinit")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"retrain": "fine_tune", "lr_schedule": "cosine"},
            r"`retrain` must .*cosine",
        ),
        ({"branches": "rewound"}, r"`branches` must be without rewound"),
        (
            {"init": "he_normal", "initial_weights": "t"},
            r"`init` must be none .*he_normal",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Config(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"levels": 10**20}, r"`levels` must be at most 1,000\."),
        ({"replicates": 10**14}, r"`replicates` must be at most"),
        ({"train_steps": "99999999999it"}, r"`train_steps` must be at most"),
        ({"weight_decay": "inf"}, r"`weight_decay` must be at most"),
        ({"learning_rate": 1e300}, r"`learning_rate` must be at most"),
        ({"warmup": 9, "train_steps": 8}, r"`warmup` must end within .*=8it"),
    ],
)
def test_what_no_machine_can_run_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Config(**changes)

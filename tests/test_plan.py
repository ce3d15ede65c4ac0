"""The plan: which trainings, how many steps, exact counts."""

import pytest

from tf_lottery import Config, Mask, PruningRates
from tf_lottery.plan import Plan, parse_levels
from tf_lottery.tickets import Key

SHAPES = {"dense_1/kernel": (784, 300), "output/kernel": (300, 10)}


def make_plan(train_size=1000, scope="layerwise", shapes=SHAPES, **changes):
    config = Config(**{"levels": 3, **changes}).resolved()
    rates = PruningRates(
        scope,
        config.prune_rate,
        {"output/kernel": config.output_prune_rate},
    )
    return Plan(config, Mask.ones(shapes), rates, train_size, 240_000)


def test_trainings_in_order():
    plan = make_plan(
        levels=2, replicates=2, branches="reinit,random_mask",
        branch_levels="2,2",
    )
    one = [
        ("main", 0), ("main", 1), ("main", 2), ("reinit", 2),
        ("random_mask", 2),
    ]
    assert plan.keys == [Key(r, b, k) for r in (0, 1) for b, k in one]


def test_branches_default_to_every_level_but_the_dense_one():
    plan = make_plan(branches="reinit")
    levels = [k.level for k in plan.keys if k.branch == "reinit"]
    assert levels == [1, 2, 3]


def test_one_replicate_of_several():
    plan = make_plan(levels=0, replicates=3, replicate=1)
    assert plan.replicates == [1]
    assert plan.keys == [Key(1, "main", 0)]


def test_dense_has_level_0_alone():
    assert make_plan(method="dense").keys == [Key(0, "main", 0)]


@pytest.mark.parametrize(
    ("levels", "expected"), [(0, []), (2, [Key(0, "rewound", 2)])]
)
def test_continue_ends_with_one_reset(levels, expected):
    plan = make_plan(retrain="continue", levels=levels)
    assert plan.keys[levels + 1 :] == expected


def test_steps_in_epochs_drop_the_remainder():
    plan = make_plan(
        train_size=1019, batch_size=100, train_steps="3ep", rewind="1ep"
    )
    assert plan.steps_per_epoch == 10
    assert (plan.train_steps, plan.rewind_step) == (30, 10)


@pytest.mark.parametrize(
    ("retrain", "branch", "level", "steps"),
    [
        ("rewind", "main", 0, 100),
        ("rewind", "main", 1, 70),
        ("lr_rewind", "main", 2, 70),
        ("fine_tune", "main", 2, 70),
        ("continue", "main", 1, 100),
        ("rewind", "reinit", 1, 100),
        ("rewind", "random_mask", 1, 100),
        ("rewind", "shuffle_mask", 1, 70),
        ("continue", "rewound", 3, 70),
    ],
)
def test_steps_of_a_training(retrain, branch, level, steps):
    plan = make_plan(retrain=retrain, train_steps=100, rewind=30)
    key = Key(0, branch, level)
    assert plan.steps(key) == steps == 100 - plan.start_step(key)


def test_counts_are_exact():
    plan = make_plan(levels=2)
    assert plan.kept() == [
        {"dense_1/kernel": 235_200, "output/kernel": 3000},
        {"dense_1/kernel": 188_160, "output/kernel": 2700},
        {"dense_1/kernel": 150_528, "output/kernel": 2430},
    ]
    assert make_plan(levels=2, scope="global").kept() == [
        238_200, 190_560, 152_448,
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"batch_size": 1001},
            r"`batch_size` must be at most the 1000 training examples\. "
            r"Received: batch_size=1001\.",
        ),
        (
            {"rewind": "1ep", "train_steps": "16it"},
            r"`rewind` must be before the 16 steps .* Received: "
            r"rewind=1ep\.",
        ),
        (
            {"warmup": "2ep", "train_steps": "31it"},
            r"`warmup` must end within the 31 steps .* Received: warmup=2ep",
        ),
        (
            # Three quarters of it, in whole hundreds, are the first hundred.
            {"method": "set", "target_sparsity": "0.5", "train_steps": 266},
            r"`prune_end` must leave a change of the mask .* Received: .*"
            r"prune_end=100, prune_every=100,",
        ),
        (
            {"shapes": {"dense_1/kernel": (5, 1)}, "prune_rate": 0.9},
            r"dense_1/kernel",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_plan(**changes)


@pytest.mark.parametrize(("method", "steps"), [("set", 267), ("gradual", 134)])
def test_a_change_inside_the_training_is_enough(method, steps):
    plan = make_plan(
        method=method, target_sparsity="0.5", train_steps=steps
    )
    assert plan.change_steps[1] == (200 if method == "set" else 100)


def test_text_tells_counts_steps_disk_and_reuse():
    plan = make_plan(levels=1, train_steps=100, branches="reinit")
    text = plan.text({Key(0, "main", 0)})
    lines = text.splitlines()
    assert lines[0].split() == [
        "level", "weights", "%", "dense_1/kernel", "output/kernel",
    ]
    assert lines[1].split() == [
        "0", "238,200", "100.00%", "235,200", "3,000",
    ]
    assert lines[2].split() == ["1", "190,860", "80.13%", "188,160", "2,700"]
    assert "3 trainings in 1 replicate(s), 300 steps" in text
    assert "1 finished training(s) would be reused; 200 steps to do" in text
    # Rewind and trained weights: 238,200 twice and 190,860 four times.
    disk = float(lines[3].split("about ")[1].split()[0])
    assert disk == pytest.approx(4.6, abs=0.5)


def test_text_without_a_column_per_kernel():
    shapes = {f"dense_{i}/kernel": (50, 50) for i in range(7)}
    for plan in (make_plan(shapes=shapes), make_plan(scope="global")):
        head = plan.text(set()).splitlines()[0].split()
        assert head == ["level", "weights", "%"]


@pytest.mark.parametrize(
    ("value", "levels"),
    [
        (None, []), ("all", [0, 1, 2, 3]), ("last", [3]), ("0,3", [0, 3]),
        ("3, 0,3", [0, 3]),
    ],
)
def test_parse_levels(value, levels):
    assert parse_levels("export", value, 3) == levels


@pytest.mark.parametrize("value", ["4", "x", "", "1,", "-1", "1.0"])
def test_parse_levels_refuses(value):
    with pytest.raises(
        ValueError,
        match=rf"`export` must be all, last, or levels from 0 to 3\. "
        rf"Received: export='{value}'\. ",
    ):
        parse_levels("export", value, 3)


@pytest.mark.parametrize("method", ["edge_popup", "learned_supermask"])
def test_scores_cannot_keep_to_a_floor_where_all_compete(method):
    given = dict(method=method, target_sparsity=(0.5,), collapse="floor")
    assert make_plan(scope="uniform", **given).mask_by
    given["scope"] = "global"
    config = Config(**given).resolved()
    with pytest.raises(ValueError, match="^`collapse` must be stop or allow"):
        Plan(config, Mask.ones(SHAPES), PruningRates("global"), 1000, 240_000)


def test_scores_are_trained_for_steps_of_their_own():
    given = dict(target_sparsity=(0.5, 0.8), train_steps="50it")
    plan = make_plan(method="edge_popup", score_steps="30it", **given)
    assert [plan.steps(key) for key in plan.keys] == [50, 30, 30]
    plan = make_plan(
        method="supermask", branches="rewound", branch_levels="2", **given
    )
    assert [plan.steps(key) for key in plan.keys] == [50, 0, 0, 50]
    assert plan.mask_by == "criterion"
    assert make_plan().mask_by is None

"""Which options of a configuration belong to which methods."""

import dataclasses

import pytest

from tf_lottery.config import Config
from tf_lottery.fingerprint import fingerprint


def test_the_paper_s_penalty_goes_with_early_bird():
    given = dict(method="early_bird", target_sparsity=(0.3,))
    bird = Config(criterion="bn_scale", structure="channel", **given)
    assert bird.resolved().scale_l1 == bird.to_json()["scale_l1"] == 1e-4
    assert bird.resolved().resolved() == bird.resolved()
    none = dataclasses.replace(bird, scale_l1=0)
    assert none.to_json()["scale_l1"] == 0
    assert fingerprint(none.to_json()) != fingerprint(bird.to_json())
    assert "scale_l1" not in Config(**given).to_json()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"method": "one_shot"}, "`target_sparsity` must be given for method"),
        ({"target_sparsity": "0.5"}, "`target_sparsity` must be none for a"),
        ({"method": "set", "target_sparsity": "0.8,0.5"}, "the smallest first"),
        ({"method": "set", "target_sparsity": "1"}, r"fractions in \(0, 1\)"),
        (
            {"method": "rigl", "target_sparsity": "0.5", "rewind": "1it"},
            "`rewind` must be 0it for method rigl",
        ),
        (
            {"method": "set", "target_sparsity": "0.5", "criterion": "snip"},
            "`criterion` must be left out for method set",
        ),
        (
            {"method": "rigl", "target_sparsity": "0.5",
             "prune_begin": "10it"},
            "`prune_begin` must be left out for method rigl",
        ),
        (
            {"method": "at_init", "target_sparsity": "0.5",
             "retrain": "fine_tune"},
            "`retrain` must be rewind for method at_init",
        ),
        (
            {"method": "one_shot", "target_sparsity": "0.5",
             "branch_levels": "2"},
            "`branch_levels` must be between 1 and 1",
        ),
    ],
)
def test_what_belongs_to_a_method(changes, text):
    with pytest.raises(ValueError, match=text):
        Config(**changes)


@pytest.mark.parametrize(
    "options",
    [
        dict(method="imp"),
        dict(method="dense"),
        dict(method="set", target_sparsity=(0.5,)),
        dict(method="gradual", target_sparsity=(0.5,), structure="2:4"),
    ],
)
def test_a_structure_is_of_some_methods(options):
    with pytest.raises(ValueError, match="^`structure` must be none for meth"):
        Config(**{"structure": "1x4", **options})
    with pytest.raises(ValueError, match="^`structure` must be N:M"):
        Config(**{**options, "structure": "big"})


@pytest.mark.parametrize("method", ["early_bird", "gradual", "rigl"])
def test_what_is_pruned_while_it_trains_can_be_rewound(method):
    given = dict(target_sparsity=(0.5,), branches=("rewound",))
    assert Config(method=method, **given).branches == ("rewound",)
    with pytest.raises(ValueError, match="^`branches` must be without rew"):
        Config(method="at_init", **given)


@pytest.mark.parametrize("branch", ["inverted", "random_pixels"])
def test_whole_channels_are_not_chosen_for_controls(branch):
    given = dict(
        method="at_init", target_sparsity=(0.5,), criterion="snip",
        branches=(branch,),
    )
    assert Config(structure="1x4", **given)
    with pytest.raises(ValueError, match="for whole channels"):
        Config(structure="channel", **given)


STRONG = "edge_popup", "learned_supermask", "supermask", "perturbed"


def strong(method, **how):
    if method == "perturbed":
        how = {"epsilon": (0.1,), **how}
    return Config(method=method, target_sparsity=(0.5,), **how)


@pytest.mark.parametrize("method", STRONG)
def test_what_is_not_trained_is_not_rewound_nor_retrained(method):
    assert strong(method, branches=("rewound", "reinit"))
    for name, value in (
        ("rewind", "5it"), ("retrain", "fine_tune"), ("structure", "1x4"),
        ("branches", "inverted"),
    ):
        with pytest.raises(ValueError, match=f"^`{name}` must be "):
            strong(method, **{name: value})


def test_epsilon_is_of_perturbed():
    assert strong("perturbed", epsilon="0,0.1").epsilon == (0.0, 0.1)
    with pytest.raises(ValueError, match="^`epsilon` must be given for meth"):
        Config(method="perturbed", target_sparsity=(0.5,))
    with pytest.raises(ValueError, match="^`epsilon` must be left out for me"):
        strong("edge_popup", epsilon=(0.1,))
    for bad in ("-0.1", "nan", "inf", "0.2,0.1", "0.1,0.1"):
        with pytest.raises(ValueError, match="numbers of at least 0, the sm"):
            strong("perturbed", epsilon=bad)
    with pytest.raises(ValueError, match="^`epsilon` must be a number"):
        strong("perturbed", epsilon="x")


@pytest.mark.parametrize("method", ["edge_popup", "learned_supermask"])
def test_scores_are_the_criterion_of_some_methods(method):
    with pytest.raises(ValueError, match="^`criterion` must be left out"):
        strong(method, criterion="snip")
    with pytest.raises(ValueError, match="^`score_learning_rate` must be ab"):
        strong(method, score_learning_rate=0)
    assert strong("supermask", criterion="movement")
    assert strong("perturbed", criterion="snip", mask_by="criterion")
    with pytest.raises(ValueError, match="^`criterion` must be left out"):
        strong("perturbed", criterion="snip")


def test_runs_from_before_are_found():
    """Fields that are not set are not in config.json."""
    values = Config().to_json()
    assert not {"epsilon", "epsilon_unit", "mask_by", "rescale"} & set(values)
    assert not {"score_steps", "score_learning_rate"} & set(values)
    assert strong("perturbed").to_json()["epsilon"] == [0.1]


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("imp", "mask_by", "criterion"),
        ("edge_popup", "mask_by", "criterion"),
        ("imp", "epsilon_unit", "sigma"),
        ("one_shot", "rescale", "dwr"),
        ("supermask", "score_steps", "5it"),
        ("at_init", "score_learning_rate", 3),
    ],
)
def test_an_option_without_use_is_refused(method, name, value):
    """It would make another run of the same experiment."""
    given = {} if method == "imp" else dict(target_sparsity=(0.5,))
    with pytest.raises(ValueError, match=f"^`{name}` must be left out for me"):
        Config(method=method, **given, **{name: value})
    assert strong("perturbed", epsilon_unit="sigma", score_steps="5it")
    with pytest.raises(ValueError, match="and mask_by criterion"):
        strong("perturbed", mask_by="criterion", score_steps="5it")


@pytest.mark.parametrize("rewind", ["auto", "5it"])
def test_a_ticket_found_elsewhere_is_not_rewound_again(rewind):
    with pytest.raises(ValueError) as error:
        Config(method="transfer", ticket="runs/x", rewind=rewind)
    assert str(error.value) == (
        "`rewind` must be left out for method transfer, whose tickets were "
        f"found elsewhere. Received: rewind={rewind}. Give it to the run that "
        "finds them."
    )

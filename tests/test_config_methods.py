"""Which options of a configuration belong to which methods."""

import dataclasses

import pytest

from tf_lottery.config import Config


def test_the_paper_s_penalty_goes_with_early_bird():
    given = dict(method="early_bird", target_sparsity=(0.3,))
    bird = Config(criterion="bn_scale", structure="channel", **given)
    assert bird.resolved().scale_l1 == bird.to_json()["scale_l1"] == 1e-4
    assert bird.resolved().resolved() == bird.resolved()
    none = dataclasses.replace(bird, scale_l1=0)
    assert none.to_json()["scale_l1"] == 0
    assert none.fingerprint != bird.fingerprint
    assert "scale_l1" not in Config(**given).to_json()


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

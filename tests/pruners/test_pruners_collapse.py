"""Layer collapse of LeNet-300-100, at initialisation."""

import pytest

from tf_lottery.models import build_model
from tf_lottery.pruners import prune
from tf_lottery.pruners.synflow import SynFlow

WEIGHTS, KERNELS = 50_200, 3


def empty(criterion, keep, seed=0):
    """The kernels that a criterion empties when it keeps so many weights."""
    model = build_model("lenet_300_100", (8, 8, 1), 10, seed=seed)
    mask = prune(model, 1 - keep / WEIGHTS, criterion, collapse="allow")
    assert (mask.size, len(mask), mask.kept) == (WEIGHTS, KERNELS, keep)
    return [path for path, kept in mask.kept_by_path.items() if not kept]


@pytest.mark.parametrize("seed", range(2))
def test_scored_in_rounds_synaptic_flow_outlasts_the_others(seed):
    keep = 50
    assert empty("magnitude", keep, seed)
    assert empty(SynFlow(rounds=1), keep, seed)
    assert not empty("synflow", keep, seed)


@pytest.mark.parametrize("seed", range(2))
def test_one_weight_per_kernel_can_be_reached(seed):
    # The axiom of Tanaka et al.: no collapse at a compression that can be
    # reached without one.
    assert not empty("synflow", KERNELS, seed)
    assert empty("synflow", KERNELS - 1, seed)

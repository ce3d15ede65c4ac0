"""Tickets that are not trained: masks for given weights."""

import numpy as np
import pytest

from tf_lottery import Mask
from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery.layers import get_state
from tf_lottery.search import ScoredModel
from tf_lottery.search import find_at_sparsities
from tf_lottery.search.strong import rescaled

SPARSITIES = 0.5, 0.75
STRONG = "edge_popup", "learned_supermask", "supermask", "perturbed"


class Train:
    """Adds 1 to every kernel, or to every second score; records its calls."""

    def __init__(self):
        self.calls = []

    def __call__(self, model, *, level, at_rewind_step=None, **how):
        self.calls.append((model, level, how, get_state(model)))
        if at_rewind_step:
            at_rewind_step[1]()
        if how.get("frozen"):
            return {"accuracy": 0.5}
        step = np.ones
        for weight in model.trainable_variables:
            weight.assign_add(step(weight.shape))
            if weight.constraint is not None:
                weight.assign(weight.constraint(weight))
        return {"accuracy": 0.75}


def search(make_model, method, **how):
    model, train = mask_model(make_model()), Train()
    before = get_state(model)
    tickets = list(find_at_sparsities(
        model, train, sparsities=SPARSITIES, method=method, **how
    ))
    return model, train, before, tickets


@pytest.mark.parametrize("scope", ["global", "uniform"])
@pytest.mark.parametrize("method", STRONG)
def test_counts_and_weights(make_model, method, scope):
    how = dict(epsilon=0.25) if method == "perturbed" else {}
    # Of Bernoulli scores that are all alike the first kernel's are kept.
    _, train, before, tickets = search(
        make_model, method, scope=scope, collapse="allow", **how
    )
    assert [t.mask.kept for t in tickets] == [72, 36, 18]
    if scope == "uniform":
        assert tickets[1].mask.kept_by_path == {
            "hidden/kernel": 24, "out/kernel": 12,
        }
    for ticket in tickets[1:]:
        assert ticket.mask.is_subset_of(tickets[0].mask)
        for path, keep in ticket.mask.items():
            first = np.where(keep, before[path], 0)
            assert np.array_equal(ticket.rewind[path], first)
            if method == "perturbed":
                far = np.abs(np.float64(ticket.trained[path]) - first)
                assert (far <= 0.25).all() and far.max() > 0.2499
            else:
                assert np.array_equal(ticket.trained[path], first)
        for path in ("hidden/bias", "out/bias"):
            assert np.array_equal(ticket.trained[path], before[path])
    model, _, how, _ = train.calls[1]
    by_criterion = method == "supermask"
    assert isinstance(model, ScoredModel) != by_criterion
    assert how.get("frozen", False) == by_criterion
    assert how["start_step"] == 0
    assert tickets[1].metrics == {"accuracy": 0.5 if by_criterion else 0.75}


def test_a_supermask_is_of_the_trained_network(make_model):
    """small_final: the network is trained by adding 1."""
    _, _, before, tickets = search(
        make_model, "supermask", criterion="small_final", scope="uniform"
    )
    for path, keep in tickets[1].mask.items():
        final = np.abs(before[path] + 1)
        assert final[keep].max() <= final[~keep].min()


def test_perturbed_by_a_criterion(make_model):
    _, train, before, tickets = search(
        make_model, "perturbed", epsilon=0.25, mask_by="criterion",
        scope="uniform",
    )
    for path, keep in tickets[2].mask.items():
        size = np.abs(before[path] + 0.25)
        assert size[keep].min() >= size[~keep].max()
    assert train.calls[1][2]["frozen"]


def test_the_weights_that_scores_are_trained_for(make_model):
    """They are the initial ones, or the perturbed; and whole at each level."""
    for method, added in (("edge_popup", 0.0), ("perturbed", 0.25)):
        _, train, before, _ = search(make_model, method, epsilon=0.25)
        for _, level, _, state in train.calls[1:]:
            for path in ("hidden/kernel", "out/kernel"):
                assert np.allclose(state[path], before[path] + added, atol=1e-6)
        assert [level for _, level, _, _ in train.calls] == [0, 1, 2]


@pytest.mark.parametrize("method", STRONG)
def test_rescaled_weights(make_model, method):
    _, _, before, tickets = search(
        make_model, method, rescale="dwr", scope="uniform", epsilon=0.0
    )
    for ticket, factor in zip(tickets[1:], (2, 4)):
        for path, keep in ticket.mask.items():
            wanted = np.where(keep, before[path], 0) * np.float32(factor)
            assert np.array_equal(ticket.rewind[path], wanted)
            assert np.array_equal(ticket.trained[path], wanted)


def test_one_scored_model_serves_all_levels(make_model):
    model = mask_model(make_model())
    scored = ScoredModel(model, keep=1)
    train = Train()
    tickets = list(find_at_sparsities(
        model, train, sparsities=SPARSITIES, method="edge_popup",
        scored=scored,
    ))
    assert [t.mask.kept for t in tickets] == [72, 36, 18]
    assert all(call[0] is scored for call in train.calls[1:])
    # A search begun anew finds the model with the mask of the last level.
    (again,) = find_at_sparsities(
        model, train, sparsities=SPARSITIES, method="edge_popup",
        scored=scored, dense=tickets[0], levels=[1],
    )
    assert again.mask == tickets[1].mask


def test_a_seed_and_a_level_are_other_scores(make_model):
    _, one, _, _ = search(make_model, "edge_popup", seed=1)
    _, same, _, _ = search(make_model, "edge_popup", seed=1)
    _, other, _, _ = search(make_model, "edge_popup", seed=2)

    def scores(train, call):
        state = train.calls[call][3]
        (path,) = (p for p in state if "hidden_kernel_score" in p)
        return state[path]

    assert np.array_equal(scores(one, 1), scores(same, 1))
    assert not np.array_equal(scores(one, 1), scores(other, 1))
    assert not np.array_equal(scores(one, 1), scores(one, 2))


def test_a_kernel_that_scores_empty(make_model):
    class Adverse(Train):
        def __call__(self, model, **how):
            result = super().__call__(model, **how)
            if isinstance(model, ScoredModel):
                model.trainable_variables[0].assign(np.zeros((6, 8)))
            return result

    model = mask_model(make_model())
    found = find_at_sparsities(
        model, Adverse(), sparsities=(0.75,), method="edge_popup"
    )
    with pytest.raises(ValueError, match="be allow for .* hidden/kernel would"):
        list(found)
    model = mask_model(make_model())
    tickets = list(find_at_sparsities(
        model, Adverse(), sparsities=(0.75,), method="edge_popup",
        collapse="allow",
    ))
    assert tickets[1].mask.kept_by_path["hidden/kernel"] == 0


def test_a_floor_under_the_counts(make_model):
    _, _, _, tickets = search(
        make_model, "edge_popup", collapse="floor", scope="uniform"
    )
    assert tickets[2].mask.kept == 18
    model = mask_model(make_model())
    tickets = list(find_at_sparsities(
        model, Train(), sparsities=(0.98,), method="edge_popup",
        collapse="floor", scope="uniform",
    ))
    assert min(tickets[1].mask.kept_by_path.values()) == 1


def test_rescaled_leaves_other_weights_alone():
    mask = Mask({"k": np.array([[1, 0]], bool)})
    weights = {"k": np.float32([[3, 4]]), "b": np.float32([5])}
    found = rescaled(weights, mask, "dwr")
    assert found["k"].tolist() == [[6, 0]] and found["b"].tolist() == [5]
    assert found["k"].dtype == np.float32


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (dict(method="edge_popup", structure="1x2"), "`structure` must be N"),
        (dict(method="perturbed", rewind_step=3), "`rewind_step` must be 0"),
        (dict(method="perturbed", mask_by="x"), "`mask_by` must be one of"),
        (dict(method="perturbed", epsilon=-1), "`epsilon` must be a finite"),
        (dict(method="perturbed", epsilon_unit="x"), "`unit` must be one of"),
        (dict(method="edge_popup", collapse="floor"), "`collapse` must be st"),
        (
            dict(method="supermask", sparsities=(0.99,), scope="uniform"),
            "out/kernel would keep no weight at level 1",
        ),
        (dict(method="edge_popup", rescale="x"), "`rescale` must be one of"),
        (dict(method="supermask", rescale="x"), "`rescale` must be one of"),
    ],
)
def test_bad_arguments_before_anything_is_trained(make_model, how, message):
    model, train = mask_model(make_model()), Train()
    with pytest.raises(ValueError, match=message):
        find_at_sparsities(model, train, **{"sparsities": (0.5,), **how})
    assert not train.calls and get_mask(model).sparsity == 0


def test_weights_that_no_mask_can_help(make_model):
    model = mask_model(make_model())
    model.get_layer("out").raw_kernel().assign(np.zeros((8, 3)))
    found = find_at_sparsities(
        model, Train(), sparsities=(0.5,), method="edge_popup"
    )
    with pytest.raises(ValueError, match="Received: out/kernel, all 0"):
        list(found)

"""Inverted criteria: the same order from the other end."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model
from tf_lottery.pruners import PRUNERS
from tf_lottery.pruners import Inverted
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext

RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 6)).astype("float32")
Y = np.arange(12) % 3
# The model has no BatchNormalization.
ONCE = sorted(
    name
    for name, one in PRUNERS.items()
    if one.rounds == 1 and name != "bn_scale"
)
SIZES = {"hidden/kernel": 48, "out/kernel": 24}


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    x = keras.layers.Dense(8, activation="relu", name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, name="out")(x))
    return mask_model(model)


def loss(y, outputs):
    return keras.losses.sparse_categorical_crossentropy(
        y, outputs, from_logits=True
    )


def make_context(model, keep, **how):
    rng = np.random.default_rng(3)
    initial = {
        k: v + rng.normal(size=v.shape) for k, v in get_state(model).items()
    }
    how = {"x": X, "y": Y, "loss": loss, "collapse": "allow", **how}
    return PruningContext(model, keep, seed=4, initial=initial, **how)


def bits(mask):
    return np.concatenate([keep.ravel() for keep in mask.values()])


class Given(Pruner):
    """The scores that it is given, one array per round."""

    def __init__(self, *scores):
        self.given = list(scores)
        self.rounds = len(scores)

    def scores(self, context):
        paths = context.mask.shapes
        flat = np.asarray(self.given.pop(0))
        parts = np.split(flat, np.cumsum([*SIZES.values()])[:-1])
        return {k: p.reshape(paths[k]) for k, p in zip(SIZES, parts)}


@pytest.mark.parametrize("keep", [10, 36, 50])
@pytest.mark.parametrize("name", ONCE)
def test_as_little_in_common_as_can_be(name, keep, model):
    """Also where weights tie, as the zeros of large_final_same_sign do."""
    pruner = PRUNERS[name]
    one = pruner.find_mask(make_context(model, keep))
    other = Inverted(pruner).find_mask(make_context(model, keep))
    assert other.kept == one.kept == keep
    assert (bits(one) & bits(other)).sum() == max(0, 2 * keep - 72)


@pytest.mark.parametrize("name", ONCE)
def test_as_little_in_every_kernel(name, model):
    keep = {"hidden/kernel": 20, "out/kernel": 15}
    pruner = PRUNERS[name]
    one = pruner.find_mask(make_context(model, keep))
    other = Inverted(pruner).find_mask(make_context(model, keep))
    assert other.kept_by_path == keep
    shared = {k: int((one[k] & other[k]).sum()) for k in keep}
    assert shared == {"hidden/kernel": 0, "out/kernel": 6}


@pytest.mark.parametrize("name", ["iterative_snip", "force", "synflow"])
def test_every_round_is_turned_round(name, model, monkeypatch):
    seen = []
    pruner = PRUNERS[name]
    monkeypatch.setattr(pruner, "rounds", 3)
    scores = type(pruner).scores

    def watched(self, context):
        seen.append((scores(self, context), context.keep))
        return seen[-1][0]

    monkeypatch.setattr(type(pruner), "scores", watched)
    inverted = Inverted(pruner)
    assert (inverted.rounds, inverted.revives, inverted.needs) == (
        3, pruner.revives, pruner.needs
    )
    before = get_state(model)
    found = inverted.find_mask(make_context(model, 9))
    assert [keep for _, keep in seen] == [36, 18, 9]
    # In each round the lowest of what was left, the last of those that tie.
    alive = np.arange(72)
    for scored, keep in seen:
        allowed = np.arange(72) if pruner.revives else alive
        alive = allowed[np.lexsort((-allowed, bits(scored)[allowed]))[:keep]]
    assert sorted(alive) == np.flatnonzero(bits(found)).tolist()
    assert get_mask(model).kept == 72
    after = get_state(model)
    assert all(np.array_equal(before[k], after[k]) for k in before)


def test_ties_are_taken_from_the_other_end(model):
    found = Inverted(Given(np.zeros(72))).find_mask(make_context(model, 5))
    assert np.flatnonzero(bits(found)).tolist() == [67, 68, 69, 70, 71]


def test_infinite_scores_have_their_place(model):
    scores = np.arange(72.0)
    scores[[3, 40]] = np.inf, -np.inf
    one = Given(scores).find_mask(make_context(model, 2))
    assert np.flatnonzero(bits(one)).tolist() == [3, 71]
    other = Inverted(Given(scores)).find_mask(make_context(model, 2))
    assert np.flatnonzero(bits(other)).tolist() == [0, 40]
    # All but the infinitely good one.
    other = Inverted(Given(scores)).find_mask(make_context(model, 71))
    assert np.flatnonzero(~bits(other)).tolist() == [3]


def test_scores_that_are_not_numbers_are_refused(model):
    scores = np.arange(72.0)
    scores[50] = np.nan
    with pytest.raises(ValueError, match="`scores` must not be NaN"):
        Inverted(Given(scores)).find_mask(make_context(model, 2))


@pytest.mark.parametrize("dtype", ["uint8", "bool", "float32"])
def test_whole_numbers_do_not_wrap(dtype, model):
    scores = np.zeros(72, dtype)
    scores[:30] = 1
    pruner = Given(scores, scores)
    found = Inverted(pruner).scores(make_context(model, 2))
    assert bits(found).tolist() == [-1.0] * 30 + [0.0] * 42
    assert bits(found).dtype == ("float32" if dtype == "float32" else float)


def test_groups_and_blocks(model):
    pruner = PRUNERS["magnitude"]
    context = make_context(model, 36, structure="1x2")
    one, other = pruner.find_mask(context), Inverted(pruner).find_mask(context)
    assert not (bits(one) & bits(other)).any()
    assert other.kept <= 36 and one.kept <= 36
    # Of six inputs two of four, and both of the last.
    keep = {"hidden/kernel": 32, "out/kernel": 12}
    context = make_context(model, keep, structure="2:4")
    one, other = pruner.find_mask(context), Inverted(pruner).find_mask(context)
    assert other.kept_by_path == one.kept_by_path


def test_what_is_missing_is_said(model):
    with pytest.raises(ValueError, match="`x` must be given"):
        Inverted(PRUNERS["snip"]).find_mask(make_context(model, 9, x=None))

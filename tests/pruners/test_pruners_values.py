"""Hand-computed scores, and the rules of scoring and pruning in one call."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import is_masked
from tf_lottery.layers import mask_model
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_mask
from tf_lottery.pruners import PRUNERS
from tf_lottery.pruners import Pruner
from tf_lottery.pruners import PruningContext
from tf_lottery.pruners import get_pruner
from tf_lottery.pruners import prune
from tf_lottery.pruners import register
from tf_lottery.pruners import scores

ONE = [[-4.0, 1.0], [0.5, 2.0]]
TWO = [[-3.0], [0.25]]


def make_model():
    x = keras.Input((2,))
    y = keras.layers.Dense(2, name="one")(x)
    model = keras.Model(x, keras.layers.Dense(1, name="two")(y))
    for variable, value in zip(model.weights, (ONE, [9, 9], TWO, [9])):
        variable.assign(value)
    return model


def kept(mask):
    return {k: m.astype(int).tolist() for k, m in mask.items()}


def test_magnitude():
    found = scores(make_model(), "magnitude")
    assert found["one/kernel"].tolist() == [[4, 1], [0.5, 2]]
    assert found["two/kernel"].tolist() == [[3], [0.25]]


@pytest.mark.parametrize(
    "sparsity, scope, expected",
    [
        (0.5, "global", ([[1, 0], [0, 1]], [[1], [0]])),
        (0.5, "uniform", ([[1, 0], [0, 1]], [[1], [0]])),
        # 6 - round(0.25 * 6) = 6 - round(1.5) = 4.
        (0.25, "global", ([[1, 1], [0, 1]], [[1], [0]])),
        # 4 - 1 and 2 - round(0.5) = 2 - 0.
        (0.25, "layerwise", ([[1, 1], [0, 1]], [[1], [1]])),
        # 3 shared 4 : 3 is 1.71 and 1.29.
        (0.5, "erk", ([[1, 0], [0, 1]], [[1], [0]])),
        (0.0, "global", ([[1, 1], [1, 1]], [[1], [1]])),
    ],
)
def test_prune_by_magnitude(sparsity, scope, expected):
    model = make_model()
    mask = prune(model, sparsity, scope=scope)
    assert kept(mask) == dict(zip(("one/kernel", "two/kernel"), expected))
    assert get_mask(model) == mask
    state = get_state(model)
    for path, value in (("one/kernel", ONE), ("two/kernel", TWO)):
        assert np.array_equal(state[path], np.where(mask[path], value, 0))
    assert state["one/bias"].tolist() == [9, 9]


def test_prune_only_shrinks():
    model = make_model()
    first = prune(model, 0.5)
    # Pruned weights of large magnitude do not come back.
    kernel, _ = masked_kernels(model)["one/kernel"]
    kernel.assign([[0.1, 50.0], [50.0, 0.2]])
    second = prune(model, 0.6)
    assert second.is_subset_of(first)
    assert kept(second)["one/kernel"] == [[0, 0], [0, 1]]
    with pytest.raises(ValueError, match="pruned already.*sparsity=0.2"):
        prune(model, 0.2)


def test_collapse():
    with pytest.raises(ValueError, match="two/kernel would keep no weight"):
        prune(make_model(), 0.5, criterion=ByFirst())
    mask = prune(make_model(), 0.5, criterion=ByFirst(), collapse="floor")
    assert kept(mask)["two/kernel"] == [[1], [0]] and mask.kept == 3
    mask = prune(make_model(), 0.5, criterion=ByFirst(), collapse="allow")
    assert kept(mask)["two/kernel"] == [[0], [0]] and mask.kept == 3


class ByFirst(Pruner):
    def scores(self, context):
        return {
            path: np.full(kernel.shape, -float(i))
            for i, (path, kernel) in enumerate(context.kernels.items())
        }


@pytest.mark.parametrize(
    "kwargs, text",
    [
        (dict(sparsity=80), "`sparsity` must be in"),
        (dict(sparsity=0.5, criterion="magic"), "`criterion`.*'magic'"),
        (dict(sparsity=0.5, scope="all"), "`scope`.*'all'"),
        (dict(sparsity=0.5, collapse="never"), "`collapse`.*'never'"),
    ],
)
def test_wrong_arguments_leave_the_model_alone(kwargs, text):
    model = make_model()
    with pytest.raises(ValueError, match=text):
        prune(model, **kwargs)
    assert not is_masked(model)


def test_weights_that_are_not_finite():
    model = make_model()
    model.weights[0].assign([[np.nan, 1], [1, 1]])
    with pytest.raises(ValueError, match="`scores` must not be NaN"):
        prune(model, 0.5)


def test_random_is_uniform():
    x = keras.Input((100,))
    model = keras.Model(x, keras.layers.Dense(100, name="one")(x))
    (found,) = scores(model, "random").values()
    model = mask_model(model)
    # Ten standard deviations of the mean of 10,000 uniform draws.
    assert abs(found.mean() - 0.5) < 10 * 0.29 / 100
    assert 0 <= found.min() < 0.01 and 0.99 < found.max() < 1
    # Two masks that are independent share half of their weights.
    one, two = (
        PRUNERS["random"].find_mask(PruningContext(model, 5000, seed=seed))
        for seed in (0, 1)
    )
    shared = np.count_nonzero(one["one/kernel"] & two["one/kernel"])
    assert abs(shared - 2500) < 10 * 25


def test_random_kernels_of_equal_shape_differ():
    x = keras.Input((4,))
    y = keras.layers.Dense(4, name="one")(x)
    model = keras.Model(x, keras.layers.Dense(4, name="two")(y))
    one, two = scores(model, "random").values()
    assert not np.array_equal(one, two)


class TestRegistry:
    def test_own_criterion(self, monkeypatch):
        monkeypatch.setitem(PRUNERS, "smallest", None)
        del PRUNERS["smallest"]

        @register("smallest")
        class Smallest(Pruner):
            def scores(self, context):
                return {k: -np.abs(w) for k, w in context.kernels.items()}

        assert isinstance(get_pruner("smallest"), Smallest)
        mask = prune(make_model(), 0.5, criterion="smallest")
        assert kept(mask) == {
            "one/kernel": [[0, 1], [1, 0]],
            "two/kernel": [[0], [1]],
        }
        with pytest.raises(ValueError, match="'smallest', which is regist"):
            register("smallest")(Smallest)

    def test_a_pruner_is_its_own_criterion(self):
        pruner = ByFirst()
        assert get_pruner(pruner) is pruner

    def test_unknown(self):
        with pytest.raises(ValueError, match="magnitude, .*'magic'"):
            get_pruner("magic")

    def test_what_a_criterion_needs_is_known_beforehand(self):
        text = "`criterion` must be.*without loss, x, y here.*'snip'"
        with pytest.raises(ValueError, match=text):
            get_pruner("snip", given=())
        with pytest.raises(ValueError, match="without y here"):
            get_pruner("snip", given=("x", "loss"))
        assert get_pruner("snip", given=("x", "y", "loss"))
        for name in ("magnitude", "synflow", "small_final"):
            assert get_pruner(name, given=()) is PRUNERS[name]

    def test_scores_must_be_defined(self):
        model = mask_model(make_model())
        with pytest.raises(NotImplementedError, match="by Pruner. Return"):
            Pruner().find_mask(PruningContext(model, 3))


def test_context():
    model = mask_model(make_model())
    set_mask(model, {"one/kernel": [[1, 0], [1, 1]], "two/kernel": [[1], [1]]})
    context = PruningContext(model, 3)
    assert context.mask == get_mask(model)
    assert context.kernels["one/kernel"].tolist() == [[-4, 0], [0.5, 2]]


def test_prune_in_the_middle_of_training():
    model = make_model()
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 2)), rng.normal(size=(8, 1))
    before = model.predict(x, verbose=0)
    model.fit(x, y, epochs=2, verbose=0)
    mask = prune(model, 0.5)
    assert not np.array_equal(model.predict(x, verbose=0), before)
    for _ in range(3):
        model.fit(x, y, verbose=0)
        assert get_mask(model) == mask
        for path, (raw, _) in masked_kernels(model).items():
            assert not np.asarray(raw)[~mask[path]].any()
            assert np.asarray(raw)[mask[path]].all()


def test_scoring_and_failing_to_prune_leave_the_model_as_it_was():
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(1, name="one")(x))
    assert scores(model, "magnitude")["one/kernel"].shape == (4, 1)
    assert not is_masked(model)
    with pytest.raises(ValueError, match="collapse"):
        prune(model, 0.99)
    assert not is_masked(model) and model.count_params() == 5

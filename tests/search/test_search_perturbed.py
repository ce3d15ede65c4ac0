"""Weights that stay within epsilon of where they were, exactly."""

import keras
import numpy as np
import pytest

from tf_lottery import OPTIMIZERS
from tf_lottery import Trainer
from tf_lottery import TrainingSettings
from tf_lottery import Step
from tf_lottery import mask_model
from tf_lottery import set_mask
from tf_lottery.layers import get_state
from tf_lottery.search import EpsilonBall
from tf_lottery.search import within_epsilon
from tf_lottery.search.perturbed import bounds
from tf_lottery.search.perturbed import sigma
from tf_lottery.train.optimizers import make_optimizer

RNG = np.random.default_rng(0)
X = np.random.default_rng(1).normal(size=(64, 6)).astype("float32")
Y = (X.sum(1) > 0).astype("int32")
KERNELS = "hidden/kernel", "out/kernel"


@pytest.mark.parametrize("reach", [0.0, 1e-9, 1e-3, 0.1, 1 / 3, 7.0])
def test_bounds_are_the_outermost_numbers_within_reach(reach):
    center = np.float32(RNG.normal(size=2000))
    low, high = bounds(center, reach)
    assert low.dtype == high.dtype == np.float32
    exact = np.float64(center)
    for bound, sign in ((low, -1.0), (high, 1.0)):
        assert (sign * (np.float64(bound) - exact) <= reach).all()
        beyond = np.nextafter(bound, np.float32(sign * np.inf))
        assert (sign * (np.float64(beyond) - exact) > reach).all()
    assert reach or np.array_equal(low, center)


def small(make_model):
    return mask_model(make_model())


def moved(before, after, path):
    return np.abs(np.float64(after[path]) - np.float64(before[path]))


@pytest.mark.parametrize(
    ("optimizer", "unit"),
    [
        pytest.param(
            name, "absolute",
            marks=[] if name in ("adam", "sgd") else pytest.mark.slow,
        )
        for name in sorted(OPTIMIZERS)
    ]
    + [pytest.param("adam", "sigma", marks=pytest.mark.slow)],
)
def test_after_every_step_and_with_every_optimizer(
    make_model, optimizer, unit
):
    model = small(make_model)
    keep = {p: RNG.random(v.shape) < 0.7 for p, v in get_state(model).items()
            if p in KERNELS}
    set_mask(model, keep)
    ball, before = EpsilonBall(model), get_state(model)
    model.compile(
        make_optimizer(
            optimizer, learning_rate=0.05, momentum=0.9, weight_decay=0.0
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    epsilon = 0.03
    seen = []

    def look(batch, logs):
        after = get_state(model)
        for path, value in before.items():
            if path in KERNELS:
                reach = epsilon
                if unit == "sigma":
                    kept = np.float64(value)[keep[path]]
                    reach *= kept.std()
                far = moved(before, after, path)
                assert (far <= reach).all()
                assert not after[path][~keep[path]].any()
                seen.append(far.max() / reach)
            elif "moving" not in path and "seed" not in path:
                assert np.array_equal(after[path], value), path

    with ball.around(epsilon, unit):
        model.fit(
            X, Y, epochs=2, batch_size=16, verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=look)],
        )
    # The ball was met, so the projection was at work.
    assert len(seen) == 16 and max(seen) > 0.999
    model.fit(X, Y, epochs=3, verbose=0)
    after = get_state(model)
    assert moved(before, after, "out/kernel").max() > 2 * epsilon
    assert not np.array_equal(after["out/bias"], before["out/bias"])


@pytest.mark.parametrize("jit", ["on", "off"])
def test_in_the_compiled_loop(make_model, jit):
    model = small(make_model)
    EpsilonBall(model)
    before = get_state(model)
    data = dict.fromkeys(["train", "validation", "test"], (X, Y))
    settings = TrainingSettings(
        train_steps=Step(40), batch_size=16, eval_every=Step(20), jit=jit
    )
    trainer = Trainer(model, data, settings)
    within_epsilon(trainer, 0.005)(model, level=0, seed=0)
    after = get_state(model)
    for path in KERNELS:
        far = moved(before, after, path)
        assert (far <= 0.005).all() and far.max() > 0.00499
    # Compiled once, and open again.
    trainer(model, level=0, seed=0)
    assert moved(before, get_state(model), "out/kernel").max() > 0.006


def test_epsilon_zero_moves_nothing(make_model):
    model = small(make_model)
    before = get_state(model)
    ball = EpsilonBall.of(model)
    assert EpsilonBall.of(model) is ball
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    with ball.around(0.0):
        model.fit(X, Y, verbose=0)
    for path in KERNELS:
        assert np.array_equal(get_state(model)[path], before[path])


def test_sigma_is_of_the_kept_weights():
    assert sigma(np.float32([0, 1, 3, 0])) == 1.0
    assert sigma(np.zeros(3)) == 0.0


@pytest.mark.parametrize("epsilon", [-0.1, np.nan, np.inf, "x", None])
def test_a_bad_epsilon(make_model, epsilon):
    model = small(make_model)
    with pytest.raises(ValueError, match="`epsilon` must be a finite number"):
        with EpsilonBall(model).around(epsilon):
            pass
    with pytest.raises(ValueError, match="`epsilon` must be a finite number"):
        within_epsilon(print, epsilon)


def test_a_bad_unit_and_a_constraint_of_the_users_own(make_model):
    model = small(make_model)
    with pytest.raises(ValueError, match="`unit` must be one of absolute, si"):
        with EpsilonBall(model).around(0.1, "percent"):
            pass
    set_mask(model, {p: np.zeros_like(v, bool)
                     for p, v in get_state(model).items() if p in KERNELS})
    with pytest.raises(ValueError, match="weights that do not differ"):
        with EpsilonBall.of(model).around(0.1, "sigma"):
            pass
    with EpsilonBall.of(model).around(0.0, "sigma"):
        pass
    with pytest.raises(ValueError, match="must have no EpsilonBall yet"):
        EpsilonBall(model)
    model = small(make_model)
    model.get_layer("out").raw_kernel().constraint = keras.constraints.NonNeg()
    with pytest.raises(ValueError, match="must have no constraints of its"):
        EpsilonBall(model)


def test_an_average_that_is_written_back_is_projected(make_model):
    model = small(make_model)
    ball, before = EpsilonBall(model), get_state(model)
    average = keras.optimizers.Adam(
        0.05, use_ema=True, ema_overwrite_frequency=2
    )
    model.compile(
        average, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    with ball.around(0.01):
        model.fit(X, Y, batch_size=16, verbose=0)
    for path in KERNELS:
        assert (moved(before, get_state(model), path) <= 0.01).all()

"""GradualPruning against hand-made counts, in every kind of fit."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.callbacks import GradualPruning
from tf_lottery.callbacks import MaskGuard
from tf_lottery.layers import get_mask
from tf_lottery.layers import mask_model
from tf_lottery.schedules import ConstantSparsity
from tf_lottery.schedules import PolynomialDecay
from tf_lottery.train import make_strategy

SIZES = {"a/kernel": 48, "out/kernel": 24}
# Six steps are an epoch; 6 is due, 12 is not.
SCHEDULE = PolynomialDecay(0.0, 0.8, begin_step=2, end_step=14, frequency=4)
# 0.8 - 0.8 * (1 - (t - 2) / 12) ** 3
CURVE = {2: 0.0, 6: 0.8 - 0.8 * 8 / 27, 10: 0.8 - 0.8 / 27, 14: 0.8}


def sparsity_at(step):
    return CURVE[max([t for t in CURVE if t <= step], default=2)]


def counts_at(step):
    s = sparsity_at(step)
    return {k: n - round(s * n) for k, n in SIZES.items()}


@pytest.mark.any_backend
@pytest.mark.parametrize(
    "scope",
    [
        "global",
        pytest.param("uniform", marks=pytest.mark.slow),
        pytest.param("erk", marks=pytest.mark.slow),
    ],
)
def test_every_step_has_the_exact_counts_of_the_schedule(
    make, fit, recorder, scope
):
    model = make()
    pruning = GradualPruning(SCHEDULE, scope=scope)
    history = fit(model, [pruning, MaskGuard(), recorder], epochs=3)
    assert sorted(recorder.steps) == list(range(18))
    for step, mask in recorder.steps.items():
        if scope == "uniform":
            assert mask.kept_by_path == counts_at(step)
        else:
            assert mask.kept == 72 - round(sparsity_at(step) * 72)
    masks = list(recorder.steps.values())
    assert all(b.is_subset_of(a) for a, b in zip(masks, masks[1:]))
    # After 6, 12 and 18 steps.
    pruned = [round(sparsity_at(t) * 72) for t in (6, 12, 18)]
    if scope == "uniform":
        pruned = [72 - sum(counts_at(t).values()) for t in (6, 12, 18)]
    assert history.history["sparsity"] == [n / 72 for n in pruned]


@pytest.mark.any_backend
def test_a_schedule_that_ends_with_training_reaches_its_end(make, fit, data):
    schedule = PolynomialDecay(0.0, 0.5, 0, 12, frequency=6)
    seen = []

    class Validated(keras.callbacks.Callback):
        def on_test_batch_begin(self, batch, logs=None):
            seen.append(get_mask(self.model).sparsity)

    model = make()
    history = fit(
        model, [GradualPruning(schedule), Validated(), MaskGuard()], epochs=2,
        validation_data=data, validation_batch_size=48,
    )
    expected = [round(0.4375 * 48) + round(0.4375 * 24), 36]
    assert history.history["sparsity"] == [n / 72 for n in expected]
    # What is validated is what is saved.
    assert seen == history.history["sparsity"]
    assert get_mask(model).kept_by_path == {"a/kernel": 24, "out/kernel": 12}
    # Outside of fit nothing is pruned.
    late = GradualPruning(ConstantSparsity(0.75))
    model.evaluate(*data, verbose=0, callbacks=[late])
    assert get_mask(model).kept == 36


@pytest.mark.any_backend
def test_a_plain_function_given_alone_is_a_schedule(make, fit):
    model = make()
    asked = []

    def schedule(step):
        asked.append(step)
        # It falls at last, which is no error.
        return step in (1, 3, 5), 0.25 if step == 5 else step / 4

    fit(model, GradualPruning(schedule))
    assert asked == list(range(7))
    assert get_mask(model).kept_by_path == {"a/kernel": 12, "out/kernel": 6}
    # A second fit goes on after six steps.
    fit(model, GradualPruning(schedule), initial_epoch=1, epochs=2)
    assert asked == [*range(7), *range(6, 13)]
    assert get_mask(model).kept == 18


@pytest.mark.any_backend
def test_a_second_fit_goes_on_along_the_schedule(make, fit, recorder):
    parts = make()
    fit(parts, [GradualPruning(SCHEDULE), recorder])
    fit(parts, [GradualPruning(SCHEDULE), recorder], 3, initial_epoch=1)
    whole = {t: counts_at(t) for t in range(18)}
    assert {t: m.kept_by_path for t, m in recorder.steps.items()} == whole


@pytest.mark.any_backend
def test_small_kernels_rounded_up_do_not_hold_up_the_others(data):
    x = keras.Input((6,))
    outputs = [keras.layers.Dense(1, use_bias=False)(x[:, :3])
               for _ in range(10)]
    outputs.append(keras.layers.Dense(7, use_bias=False)(x))
    model = mask_model(keras.Model(x, keras.layers.Concatenate()(outputs)))
    model.compile("sgd", "mse", jit_compile=False)
    # 0.17 rounds ten kernels of 3 up to 1; 0.2 is then passed already.
    steps = [0.17, 0.2, 0.24]
    recorded = []

    def schedule(step):
        recorded.append(get_mask(model).kept_by_path)
        return step < 3, steps[min(step, 2)]

    model.fit(data[0][:32], np.zeros((32, 17)), 8, 1, 0,
              callbacks=[GradualPruning(schedule)])
    for s, counts in zip(steps, recorded[1:]):
        assert list(counts.values()) == [3 - round(s * 3)] * 10 + [
            42 - round(s * 42)
        ]


def test_a_checkpoint_has_the_mask_of_its_epoch(make, fit, recorder, tmp_path):
    saver = keras.callbacks.ModelCheckpoint(str(tmp_path / "{epoch}.keras"))
    fit(make(), [GradualPruning(SCHEDULE), saver, recorder], epochs=3)
    assert len({mask.kept for mask in recorder.epochs}) == 3
    for epoch, mask in enumerate(recorder.epochs, 1):
        model = keras.models.load_model(tmp_path / f"{epoch}.keras")
        assert get_mask(model) == mask
    fit(model, [MaskGuard()])
    assert get_mask(model) == mask


@pytest.mark.slow
def test_executions_of_several_steps_give_the_same_masks(make, fit, recorders):
    kept = []
    for execution in (1, 2):
        recorder = recorders()
        model = make(steps_per_execution=execution)
        fit(model, [GradualPruning(SCHEDULE), recorder], epochs=3)
        kept.append(recorder.epochs)
    assert kept[0] == kept[1]


# Keras says so of the last execution of an epoch that does not fill one, and
# of a source whose length it finds out by reading it.
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_executions_that_miss_a_step_are_refused(make, fit):
    model = make(steps_per_execution=4)
    for schedule, found in (
        (SCHEDULE, "steps_per_execution=4, begin_step=2"),
        (PolynomialDecay(0, 0.8, 4, 10, frequency=6), "frequency=6"),
        (ConstantSparsity(0.5, frequency=4), "epochs of 6 steps"),
    ):
        with pytest.raises(ValueError, match=found):
            fit(model, [GradualPruning(schedule)])
    assert int(model.optimizer.iterations) == 0

    # Only on the way is it found that the third execution has two steps.
    def batches():
        for _ in range(6):
            yield np.ones((8, 6)), np.zeros(8)

    data = tf.data.Dataset.from_generator(
        batches, output_types=("float32", "int64"),
        output_shapes=((8, 6), (8,)),
    )
    pruning = GradualPruning(ConstantSparsity(0.5, frequency=4))
    with pytest.raises(ValueError, match="step 8 of the schedule inside"):
        model.fit(
            data, epochs=2, verbose=0, shuffle=False, callbacks=[pruning]
        )


def of_kind(kind, x, y):
    known = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    if kind == "generator":
        return ((x[i : i + 8], y[i : i + 8]) for i in range(0, 48, 8))
    if kind == "unknown length":
        return known.filter(lambda x, y: True)
    return known


# Keras says so of the last execution of an epoch that does not fill one, and
# of a source whose length it finds out by reading it.
@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize(
    "kind",
    ["generator", pytest.param("known", marks=pytest.mark.slow),
     "unknown length"],
)
def test_any_source_of_data(make, data, recorder, kind):
    model = make(jit_compile=kind == "known")
    model.fit(
        of_kind(kind, *data), verbose=0, shuffle=False,
        callbacks=[GradualPruning(SCHEDULE), MaskGuard(), recorder],
    )
    # Where it does not know the length, Keras begins a batch that is none.
    assert sorted(recorder.steps) == list(range(6 + (kind != "known")))
    assert recorder.epochs[-1].kept_by_path == counts_at(6)


@pytest.mark.any_backend
def test_accumulated_gradients_count_as_one_step(make, fit, recorder):
    adam = keras.optimizers.Adam(0.01, gradient_accumulation_steps=3)
    model = make(adam)
    schedule = ConstantSparsity(0.5, begin_step=2, frequency=1)
    callbacks = [GradualPruning(schedule), MaskGuard(), recorder]
    fit(model, callbacks, epochs=2)
    assert {t: m.kept for t, m in recorder.steps.items()} == {
        0: 72, 1: 72, 2: 36, 3: 36,
    }


@pytest.mark.slow
def test_an_execution_of_several_batches_may_be_one_step(make, fit):
    adam = keras.optimizers.Adam(0.01, gradient_accumulation_steps=2)
    model = make(adam, steps_per_execution=2)
    fit(model, [GradualPruning(ConstantSparsity(0.5, 1, frequency=1))])
    assert get_mask(model).kept == 36


@pytest.mark.slow
@pytest.mark.any_backend
def test_a_scaled_loss_under_mixed_float16(fit, make, recorder):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = make()
    finally:
        keras.config.set_dtype_policy(before)
    assert type(model.optimizer).__name__ == "LossScaleOptimizer"
    # The first steps overflow: they are no updates.
    callbacks = [GradualPruning(SCHEDULE), MaskGuard(), recorder]
    fit(model, callbacks, epochs=3)
    for step, mask in recorder.steps.items():
        assert mask.kept_by_path == counts_at(step)
    assert len(recorder.steps) > 2


def test_two_replicas(make, fit, recorder):
    # The one of this process: two would share the keys of their reductions.
    with make_strategy("mirrored").scope():
        model = make()
    fit(model, [GradualPruning(SCHEDULE), MaskGuard(), recorder], epochs=2)
    assert recorder.steps[10].kept_by_path == counts_at(10)


@pytest.mark.any_backend
def test_a_subclassed_model_masked_in_place(make, fit, recorder, subclassed):
    model = make(model=mask_model(subclassed, in_place=True))
    fit(model, [GradualPruning(SCHEDULE), MaskGuard(), recorder])
    kept = list(recorder.epochs[-1].kept_by_path.values())
    assert kept == list(counts_at(6).values())


@pytest.mark.slow
@pytest.mark.any_backend
def test_random_masks_nest_and_follow_the_seed(make, fit):
    masks = []
    for seed in (1, 1, 2):
        model = make()
        pruning = GradualPruning(SCHEDULE, "random", seed=seed)
        fit(model, [pruning, MaskGuard()], epochs=2)
        masks.append(get_mask(model))
    assert masks[0] == masks[1] != masks[2]


@pytest.mark.any_backend
def test_what_is_refused_before_training(make, fit):
    model = make()
    restoring = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    for callbacks in (
        [restoring, GradualPruning(SCHEDULE)],
        [GradualPruning(SCHEDULE), restoring],
    ):
        with pytest.raises(ValueError, match="EarlyStopping beside Gradual"):
            fit(model, callbacks)
    with pytest.raises(ValueError, match="out/kernel would keep no weight"):
        fit(model, GradualPruning(ConstantSparsity(0.98)))
    with pytest.raises(ValueError, match="a/kernel, out/kernel would keep no"):
        final = PolynomialDecay(0, 0.995, 0, 4, frequency=4)
        fit(model, GradualPruning(final))
    assert int(np.asarray(model.optimizer.iterations)) == 0
    assert get_mask(model).kept == 72
    stopping = keras.callbacks.EarlyStopping("loss")
    floor = GradualPruning(ConstantSparsity(0.98), collapse="floor")
    fit(model, [stopping, floor])
    assert get_mask(model).kept_by_path == {"a/kernel": 1, "out/kernel": 1}


@pytest.mark.any_backend
def test_a_model_without_masks_is_refused(data):
    x = keras.Input((6,))
    plain = keras.Model(x, keras.layers.Dense(3)(x))
    plain.compile("sgd", "mse", jit_compile=False)
    with pytest.raises(ValueError, match="trained with GradualPruning"):
        plain.fit(data[0], np.zeros((48, 3)), verbose=0,
                  callbacks=GradualPruning(SCHEDULE))


@pytest.mark.any_backend
def test_arguments_are_checked():
    with pytest.raises(TypeError, match="schedule=0.5. Use one of"):
        GradualPruning(0.5)
    for options, name in (
        ({"criterion": "size"}, "criterion"), ({"scope": "all"}, "scope"),
        ({"criterion": "snip"}, "criterion"), ({"collapse": "no"}, "collapse"),
    ):
        with pytest.raises(ValueError, match=f"`{name}`"):
            GradualPruning(SCHEDULE, **options)


@pytest.mark.any_backend
@pytest.mark.parametrize("sparsity", [1.0, -0.1, float("nan")])
def test_a_sparsity_out_of_range_is_refused(make, fit, sparsity):
    model = make()
    with pytest.raises(ValueError, match="`sparsity`"):
        fit(model, GradualPruning(lambda step: (True, sparsity)))
    assert get_mask(model).kept == 72

"""What a training does besides its arithmetic: state, rows, errors."""

import re
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery import Step
from tf_lottery import get_mask
from tf_lottery import seeds
from tf_lottery import set_mask
from tf_lottery.layers import get_state
from tf_lottery.layers import masked_kernels
from tf_lottery.layers import set_state
from tf_lottery.train import Evaluation
from tf_lottery.train import loop as loop_module
from tf_lottery.train import summarize


def same(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[k], other[k]) for k in one
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_optimizer_starts_new_and_the_loop_is_traced_once(
    optimizer, make_net, make_trainer
):
    model = make_net()
    start, mask = get_state(model), get_mask(model)
    trainer = make_trainer(model, optimizer=optimizer)
    trainer(model, level=0, seed=3)
    first = get_state(model)
    # In between another level: other mask, seed, start and length of calls.
    fewer = {
        path: keep & (np.arange(keep.size).reshape(keep.shape) % 2 > 0)
        for path, keep in mask.items()
    }
    set_mask(model, fewer)
    trainer(model, level=1, seed=8, start_step=5, last_rate=True)
    for path, keep in fewer.items():
        assert not get_state(model)[path][~keep].any()
    set_mask(model, mask)
    set_state(model, start)
    trainer(model, level=2, seed=3)
    assert same(get_state(model), first)
    assert trainer._run.experimental_get_tracing_count() == 1


def test_the_seed_decides_the_order(make_net, make_trainer):
    model = make_net()
    start = get_state(model)
    trainer = make_trainer(model)
    ends = []
    for seed in (3, 4):
        set_state(model, start)
        trainer(model, level=0, seed=seed)
        ends.append(get_state(model))
    assert not same(*ends)


def test_dropout_is_seeded(make_net, make_trainer):
    """All examples are equal, so that the data order does not matter."""
    x, y = np.ones((50, 6), "float32"), np.ones(50, "int32")
    data = dict.fromkeys(["train", "validation", "test"], (x, y))

    def ends(*between):
        model = make_net(*between)
        start = get_state(model)
        trainer = make_trainer(model, data=data)
        for seed in (3, 4, 3):
            set_state(model, start)
            trainer(model, level=0, seed=seed)
            yield get_state(model)

    one, two, again = ends(keras.layers.Dropout(0.4))
    assert same(one, again)
    # Other masks of dropout, not merely another state of the generator.
    assert not np.array_equal(one["net/out/kernel"], two["net/out/kernel"])
    one, two, again = ends()
    assert same(one, two) and same(one, again)


def test_seed_generators_get_a_stream_each(make_net, make_trainer):
    model = make_net(keras.layers.Dropout(0.4), keras.layers.GaussianNoise(0.1))
    make_trainer(model, steps=0)(model, level=0, seed=5)
    found = [
        layer.seed_generator.state.numpy().tolist()
        for layer in model.layers
        if hasattr(layer, "seed_generator")
    ]
    assert found == [[seeds.derive(5, "generator", i), 0] for i in (0, 1)]


def test_rows_and_callbacks_come_at_their_steps(
    make_net, make_trainer, splits
):
    model = make_net()
    seen, at_five = [], []
    trainer = make_trainer(
        model,
        steps=10,
        eval_every=Step(4),
        on_step=lambda step, rows: seen.append((step, list(rows))),
    )
    metrics = trainer(
        model,
        level=0,
        seed=1,
        at_rewind_step=(5, lambda: at_five.append(get_state(model))),
    )
    rows = [(r.step, r.split) for r in trainer.rows]
    both = ("validation", "test")
    expected = [(step, split) for step in (0, 4, 8, 10) for split in both]
    assert rows == [*expected, (10, "train")]
    # Where else calls end is up to the clock.
    assert {0, 4, 5, 8, 10} <= {step for step, _ in seen}
    assert sum((new for _, new in seen), []) == trainer.rows
    assert dict(seen)[5] == []
    assert metrics == {"train_steps": 10, **summarize(trainer.rows)}
    # The callback saw the weights after exactly 5 steps.
    other = make_net()
    make_trainer(other, steps=5)(other, level=0, seed=1)
    assert len(at_five) == 1 and same(at_five[0], get_state(other))


def test_a_callback_does_not_change_training(make_net, make_trainer):
    ends = []
    for rewind in (None, (5, lambda: None)):
        model = make_net()
        trainer = make_trainer(model, optimizer="adam")
        trainer(model, level=0, seed=1, at_rewind_step=rewind)
        ends.append(get_state(model))
    assert same(*ends)


@pytest.mark.parametrize("k, called", [(7, 1), (15, 1), (16, 0)])
def test_rewind_step_on_an_evaluation_the_end_and_beyond(
    k, called, make_net, make_trainer
):
    model = make_net()
    steps = []
    trainer = make_trainer(model, on_step=lambda step, rows: steps.append(step))
    calls = []
    trainer(model, level=0, seed=1, at_rewind_step=(k, lambda: calls.append(k)))
    assert len(calls) == called
    assert {0, 7, 14, 15} <= set(steps) and steps == sorted(set(steps))


def test_training_from_step_k_evaluates_at_the_same_steps(
    make_net, make_trainer
):
    model = make_net()
    trainer = make_trainer(model)
    metrics = trainer(model, level=1, seed=1, start_step=5)
    steps = [r.step for r in trainer.rows if r.split == "validation"]
    assert steps == [7, 14, 15]
    assert metrics["train_steps"] == 10
    # No steps are left: one evaluation, and no change.
    before = get_state(model)
    metrics = trainer(model, level=1, seed=1, start_step=15)
    assert metrics["train_steps"] == 0 and metrics["early_stop_step"] == 15
    assert same(before, get_state(model))


def test_steps_in_epochs(make_net, make_trainer):
    model = make_net()
    trainer = make_trainer(model, steps="2ep", eval_every=Step(1, "ep"))
    assert trainer(model, level=0, seed=0)["train_steps"] == 12
    assert sorted({row.step for row in trainer.rows}) == [0, 6, 12]


def rows(*losses, every=10):
    result = []
    for i, loss in enumerate(losses):
        for split, values in (
            ("validation", (loss, 0.1 * i)), ("test", (-loss, 0.2 * i))
        ):
            named = dict(zip(("loss", "accuracy"), values))
            result.append(Evaluation(i * every, split, named))
    named = {"loss": 0.0, "accuracy": 0.75}
    result.append(Evaluation(result[-1].step, "train", named))
    return result


def test_early_stop_is_the_first_minimum_of_the_validation_loss():
    assert summarize(rows(3.0, 1.0, 2.0, 1.0)) == {
        "test_accuracy": pytest.approx(0.6),
        "test_loss": -1.0,
        "val_accuracy": pytest.approx(0.3),
        "val_loss": 1.0,
        "train_accuracy": 0.75,
        "early_stop_step": 10,
        "early_stop_test_accuracy": 0.2,
        "early_stop_censored": False,
    }


@pytest.mark.parametrize(
    "losses, step, censored",
    [((3, 2, 1), 20, True), ((1, 2, 3), 0, False), ((1,), 0, True)],
)
def test_a_minimum_at_the_last_evaluation_is_censored(losses, step, censored):
    summary = summarize(rows(*losses))
    assert summary["early_stop_step"] == step
    assert summary["early_stop_censored"] is censored


@pytest.mark.parametrize(
    "steps, what, where",
    [
        (15, "training", "between steps 1 and N"),
        # The last step's update is seen by the evaluation alone.
        (1, "validation", "at step 1"),
    ],
)
def test_a_loss_that_is_not_finite(steps, what, where, make_net, make_trainer):
    model = make_net()
    trainer = make_trainer(model, steps=steps, rate=1e38)
    with pytest.raises(RuntimeError) as error:
        trainer(model, level=2, seed=0)
    found = str(error.value).replace("loss=inf", "loss=nan")
    # The first call takes one step; how long the next is, the clock says.
    found = re.sub(r"between steps 1 and \d", "between steps 1 and N", found)
    assert found == (
        f"The {what} loss must stay finite. Received: loss=nan at level 2 "
        f"{where}. Lower --learning_rate (of scores: "
        "--score_learning_rate), or add --warmup; finished levels are "
        "kept."
    )


@pytest.mark.parametrize("batch_size", [0, -8, 51])
def test_batch_must_fit_the_training_set(batch_size, make_net, make_trainer):
    with pytest.raises(ValueError) as error:
        make_trainer(make_net(), batch_size=batch_size)
    assert str(error.value) == (
        "`batch_size` must be between 1 and the number of training examples. "
        f"Received: batch_size={batch_size} for 50 examples. Choose a smaller "
        "batch."
    )


def test_one_batch_per_epoch_is_enough(make_net, make_trainer):
    assert make_trainer(make_net(), batch_size=50).steps_per_epoch == 1


@pytest.mark.parametrize("k", [-1, 16])
def test_start_step_must_be_in_training(k, make_net, make_trainer):
    model = make_net()
    trainer = make_trainer(model)
    message = f"`start_step` must be .* 15 steps .* Received: start_step={k}"
    with pytest.raises(ValueError, match=message):
        trainer(model, level=1, seed=0, start_step=k)


def test_eval_every_must_be_at_least_one(make_net, make_trainer):
    with pytest.raises(ValueError, match="`eval_every` must .* eval_every=0ep"):
        make_trainer(make_net(), eval_every=Step(0, "ep"))


def test_all_three_splits_are_needed(make_net, make_trainer, splits):
    data = {"train": splits["train"], "test": splits["test"]}
    with pytest.raises(ValueError, match="`splits` must .*Add validation.$"):
        make_trainer(make_net(), data=data)


def test_a_training_set_is_needed(make_net, make_trainer, splits):
    data = {k: v for k, v in splits.items() if k != "train"}
    with pytest.raises(ValueError, match="`splits` must .*Add train.$"):
        make_trainer(make_net(), data=data)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x, y[:, None]), r"\(examples,\)\. Received: .*\(7, 1\)"),
        (lambda x, y: (x, np.eye(3)[y]), r"\(examples,\)\. Received: .*7, 3"),
        (lambda x, y: (x, y + 1), "from 0 to 2, .* from 1 to 3 in test"),
        (lambda x, y: (x, y - 1), "from 0 to 2, .* from -1 to 1 in test"),
        (lambda x, y: (x, y[:-1]), "7 examples and 6 labels in test"),
        (lambda x, y: (x[:0], y[:0]), "0 examples and 0 labels in test"),
    ],
    ids=["column", "one-hot", "high", "low", "short", "empty"],
)
def test_labels_of_another_kind_are_refused(
    change, message, make_net, make_trainer, splits
):
    x, y = splits["test"]
    assert (y.min(), y.max()) == (0, 2)
    with pytest.raises(ValueError, match=f"^`splits` must have .*{message}"):
        make_trainer(make_net(), data={**splits, "test": change(x, y)})


def test_another_model_is_refused(make_net, make_trainer):
    trainer = make_trainer(make_net())
    with pytest.raises(ValueError, match="`model` must be the model that this"):
        trainer(make_net(), level=0, seed=0)


def test_unknown_names_are_refused(make_net, make_trainer):
    with pytest.raises(ValueError, match="`optimizer` must be one of adam, "):
        make_trainer(make_net(), optimizer="adam ")
    with pytest.raises(ValueError, match="`jit` must be one of auto, on, off"):
        make_trainer(make_net(), jit="yes")


def test_preprocess_sees_batches_of_the_stored_examples(
    make_net, make_trainer, splits
):
    """Stored as uint8 and scaled in the loop = stored scaled."""
    stored = {
        k: (np.clip(x * 40 + 128, 0, 255).astype("uint8"), y)
        for k, (x, y) in splits.items()
    }
    scaled = {k: (x.astype("float32") / 256, y) for k, (x, y) in stored.items()}
    ends = []
    for data, scale in ((stored, 1 / 256), (scaled, 1.0)):
        model = make_net()
        trainer = make_trainer(
            model,
            steps=5,
            data=data,
            preprocess=lambda x: tf.cast(x, tf.float32) * scale,
        )
        metrics = trainer(model, level=0, seed=2)
        ends.append({**get_state(model), **metrics})
    assert same(*ends)


def test_evaluations_far_apart_cost_no_memory(make_net, make_trainer):
    model = make_net()
    trainer = make_trainer(model, steps=4, eval_every=Step(10**12))
    trainer(model, level=0, seed=0)
    assert sorted({row.step for row in trainer.rows}) == [0, 4]


def test_a_constraint_that_moves_zeros_leaves_pruned_weights_at_0(
    make_net, make_trainer
):
    @keras.saving.register_keras_serializable("tests_loop")
    class Centred(keras.constraints.Constraint):
        def __call__(self, w):
            return w - keras.ops.mean(w)

    net = make_net(kernel_constraint=Centred())
    trainer = make_trainer(net)
    raw, mask = next(iter(masked_kernels(net).values()))
    trainer(net, level=0, seed=0)
    # Raw: the loop computes with these, and not with their masked product.
    pruned = ~np.asarray(mask, bool)
    assert pruned.any() and not np.asarray(raw)[pruned].any()
    assert np.asarray(raw)[~pruned].all()


def test_compiling_is_no_part_of_a_trainings_time(
    make_net, make_trainer, monkeypatch
):
    trainer, calls = make_trainer(make_net()), []
    run, clock = trainer._run, [0.0]

    def slow(x, y, order, rates, count, start, key):
        # The first call compiles.
        clock[0] += 1.0 if calls else 100.0
        calls.append(int(count))
        return run(x, y, order, rates, count, start, key)

    monkeypatch.setattr(trainer, "_run", slow)
    fake = types.SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr(loop_module, "time", fake)
    trainer(trainer.model, level=0, seed=0)
    assert calls[0] == 0 and sum(calls) == trainer.train_steps
    assert trainer.seconds == len(calls) - 1


def test_one_compilation_serves_calls_of_any_length(make_net, make_trainer):
    trainer = make_trainer(make_net(), jit="on")
    texts = [
        trainer._run.experimental_get_compiler_ir(
            *trainer._feed(0, count, 1),
            tf.zeros(trainer._feed.length),
            *map(tf.constant, (count, 0, 0)),
        )(stage="hlo")
        for count in (1, 3)
    ]
    # Not a constant in it, for which XLA would compile it anew.
    assert texts[0] == texts[1]
    trainer(trainer.model, level=0, seed=0)
    assert trainer._run.experimental_get_tracing_count() == 1

"""The compiled trainer against an eager loop written out in the test."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery import Step
from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import prune
from tf_lottery import seeds
from tf_lottery import strip_masks
from tf_lottery.layers import get_state
from tf_lottery.layers import set_state
from tf_lottery.schedules import LearningRate

# XLA and graph mode sum in another order than eager mode: 1e-7 a step, which
# Adam's division by a small root enlarges.
TOLERANCE = {"rtol": 2e-4, "atol": 2e-5}
STEPS, BATCH, SIZE, PER_EPOCH = 15, 8, 50, 6

RATES = {
    "constant": LearningRate(0.05),
    "step": LearningRate(0.05, "step:5it,2ep:0.3"),
    "cosine": LearningRate(0.05, "cosine", Step(1, "ep")),
}
OPTIMIZERS = {
    "sgd": lambda decay: keras.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda decay: keras.optimizers.Adam(0.05),
    "adamw": lambda decay: keras.optimizers.AdamW(0.05, weight_decay=decay),
    "rmsprop": lambda decay: keras.optimizers.RMSprop(0.05),
}
CASES = [
    ("sgd", 0.0, "constant"),
    ("sgd", 0.1, "step"),
    ("adam", 0.0, "cosine"),
    ("adam", 0.1, "constant"),
    ("adamw", 0.5, "step"),
    ("rmsprop", 0.0, "step"),
]


def batches(seed, start, stop):
    """Indices of each step's examples: a new order per epoch, rest dropped."""
    for step in range(start, stop):
        epoch, place = divmod(step, PER_EPOCH)
        order = seeds.permutation(SIZE, seed, "order", epoch)
        yield order[place * BATCH : (place + 1) * BATCH]


def reference(masked, x, y, name, decay, rates, seed, start=0):
    """Trains a dense copy in eager mode; gradients are masked by hand."""
    model = strip_masks(masked)
    mask = get_mask(masked)
    optimizer = OPTIMIZERS[name](decay)
    weights = model.trainable_variables
    optimizer.build(weights)
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for index, rate in zip(batches(seed, start, STEPS), rates, strict=True):
        with tf.GradientTape() as tape:
            loss = loss_of(y[index], model(x[index], training=True))
            if name != "adamw":
                squares = [tf.reduce_sum(w.value**2) for w in weights]
                loss += decay / 2 * tf.add_n(squares)
        gradients = [
            g * mask[w.path].astype("float32") if w.path in mask else g
            for g, w in zip(tape.gradient(loss, weights), weights)
        ]
        optimizer.learning_rate = rate
        optimizer.apply(gradients, weights)
    return get_state(model)


def compare(one, other, **tolerance):
    assert one.keys() == other.keys()
    for path in one:
        np.testing.assert_allclose(
            one[path], other[path], **tolerance, err_msg=path
        )


@pytest.mark.parametrize("name, decay, schedule", CASES)
def test_trainer_equals_an_eager_loop(
    name, decay, schedule, make_net, make_trainer, splits
):
    rate = RATES[schedule]
    # A bias before normalisation has no gradient but rounding, which Adam and
    # RMSprop would enlarge to anything.
    model = make_net(
        keras.layers.BatchNormalization(momentum=0.8), use_bias=False
    )
    rates = rate.values(0, STEPS, total=STEPS, steps_per_epoch=PER_EPOCH)
    expected = reference(model, *splits["train"], name, decay, rates, seed=4)
    start, mask = get_state(model), get_mask(model)
    trainer = make_trainer(
        model, optimizer=name, weight_decay=decay, rate=rate
    )
    trainer(model, level=1, seed=4)
    found = get_state(model)
    compare(found, expected, **TOLERANCE)
    # Every variable moved; pruned weights are exactly 0; the mask is as was.
    assert all(np.any(found[k] != start[k]) for k in found)
    assert get_mask(model) == mask
    for path, keep in mask.items():
        assert not found[path][~keep].any()
        assert found[path][keep].all()


@pytest.mark.parametrize("name, decay", [("sgd", 0.1), ("adam", 0.0)])
def test_a_convolutional_net_equals_an_eager_loop(
    name, decay, make_net, make_trainer, splits
):
    """Where XLA compiles the update alone, and normalisation is fused."""
    net = make_net(
        keras.layers.Reshape((5, 1, 1)),
        keras.layers.Conv2D(4, (3, 1), use_bias=False),
        keras.layers.BatchNormalization(momentum=0.8),
        keras.layers.ReLU(),
        keras.layers.Flatten(),
        mask=False,
    )
    model = mask_model(net)
    mask = prune(model, 0.3, scope="uniform")
    rate = RATES["constant"]
    rates = rate.values(0, STEPS, total=STEPS, steps_per_epoch=PER_EPOCH)
    expected = reference(model, *splits["train"], name, decay, rates, seed=4)
    trainer = make_trainer(model, optimizer=name, weight_decay=decay)
    trainer(model, level=1, seed=4)
    found = get_state(model)
    compare(found, expected, **TOLERANCE)
    for path, keep in mask.items():
        assert not found[path][~keep].any()


def test_start_step_continues_schedule_and_order(
    make_net, make_trainer, splits
):
    rate = RATES["step"]
    model = make_net()
    rates = rate.values(8, STEPS, total=STEPS, steps_per_epoch=PER_EPOCH)
    expected = reference(
        model, *splits["train"], "adam", 0.0, rates, seed=4, start=8
    )
    trainer = make_trainer(model, optimizer="adam", rate=rate)
    metrics = trainer(model, level=1, seed=4, start_step=8)
    compare(get_state(model), expected, **TOLERANCE)
    assert metrics["train_steps"] == 7


def test_last_rate_trains_at_the_last_rate_throughout(
    make_net, make_trainer, splits
):
    model = make_net()
    rates = [0.05 * 0.3**2] * (STEPS - 3)
    expected = reference(
        model, *splits["train"], "sgd", 0.0, rates, seed=4, start=3
    )
    trainer = make_trainer(model, rate=RATES["step"])
    trainer(model, level=1, seed=4, start_step=3, last_rate=True)
    compare(get_state(model), expected, **TOLERANCE)


def test_sgd_with_momentum_in_numpy(make_trainer):
    """Softmax regression, gradients and momentum written out."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(SIZE, 4)).astype("float32")
    y = rng.integers(0, 3, SIZE).astype("int32")
    w, b = rng.normal(size=(4, 3)), rng.normal(size=3)
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    model.set_weights([w, b])
    trainer = make_trainer(
        model,
        data=dict.fromkeys(["train", "validation", "test"], (x, y)),
        momentum=0.7,
        weight_decay=0.01,
        rate=0.3,
    )
    trainer(model, level=0, seed=9)
    speed = [np.zeros_like(w), np.zeros_like(b)]
    for index in batches(9, 0, STEPS):
        logits = x[index] @ w + b
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        delta = (p - np.eye(3)[y[index]]) / BATCH
        gradients = [x[index].T @ delta + 0.01 * w, delta.sum(0) + 0.01 * b]
        speed = [0.7 * v - 0.3 * g for v, g in zip(speed, gradients)]
        w, b = w + speed[0], b + speed[1]
    # float32 against float64, 15 steps.
    for found, expected in zip(model.get_weights(), (w, b)):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_xla_changes_nothing_but_rounding(make_net, make_trainer):
    results = []
    for jit in ("off", "on"):
        model = make_net()
        make_trainer(model, jit=jit, optimizer="adam")(model, level=0, seed=1)
        results.append(get_state(model))
    compare(*results, **TOLERANCE)


def test_an_epoch_sees_every_example_at_most_once(make_net, make_trainer):
    """The order itself, where an epoch ends in the middle of a call."""
    trainer = make_trainer(make_net())
    assert trainer.steps_per_epoch == PER_EPOCH
    order = trainer._order.batches(4, 14, seed=3)
    assert order.tolist() == [b.tolist() for b in batches(3, 4, 14)]
    epoch = order[2:8].ravel()
    assert len(set(epoch.tolist())) == PER_EPOCH * BATCH


def test_split_training_is_bit_equal_without_momentum(make_net, make_trainer):
    """0..T in one call is 0..k, then k..T: schedule and order go on."""
    rate = LearningRate(0.1, "step:7it:0.5", Step(4))
    model = make_net()
    trainer = make_trainer(model, momentum=0.0, rate=rate)
    states = []
    trainer(
        model,
        level=0,
        seed=6,
        at_rewind_step=(9, lambda: states.append(get_state(model))),
    )
    whole = get_state(model)
    set_state(model, states[0])
    trainer(model, level=0, seed=6, start_step=9)
    compare(get_state(model), whole, rtol=0, atol=0)

"""Flips and crops against NumPy, and what they are functions of."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery import Step
from tf_lottery import Trainer
from tf_lottery import TrainingSettings
from tf_lottery.data import FlipCrop
from tf_lottery.train import make_strategy


def by_hand(image, top, left, mirrored, pad):
    """Pads with zeros, crops at (top, left), then mirrors."""
    height, width, _ = image.shape
    padded = np.zeros_like(image, shape=(height + 2 * pad, width + 2 * pad, 3))
    padded[pad : pad + height, pad : pad + width] = image
    crop = padded[top : top + height, left : left + width]
    return crop[:, ::-1] if mirrored else crop


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize(
    ("pad", "shape"), [(4, (32, 32, 3)), (1, (3, 5, 3)), (0, (2, 4, 3))]
)
def test_every_shift_and_flip_is_what_numpy_gives(pad, shape, jit):
    places = 2 * pad + 1
    outcomes = [
        (top, left, mirrored)
        for top in range(places)
        for left in range(places)
        for mirrored in (0, 1)
    ]
    rng = np.random.default_rng(0)
    # No zero in the images: the zeros that come out are the padding's.
    x = rng.integers(1, 256, (len(outcomes), *shape), dtype=np.uint8)
    apply = tf.function(FlipCrop(pad).apply, jit_compile=jit)
    y = apply(tf.constant(x), tf.range(len(outcomes)))
    assert (y.dtype, y.shape) == (tf.uint8, x.shape)
    expected = [by_hand(i, *o, pad) for i, o in zip(x, outcomes)]
    np.testing.assert_array_equal(y, expected)


def test_an_image_by_hand():
    x = np.arange(1, 7, dtype=np.float32).reshape(1, 2, 3, 1)
    # Up by one: from the second row; left by one and mirrored.
    draw = tf.constant([2 * (3 * 2 + 2) + 1])
    y = FlipCrop(pad=1).apply(tf.constant(x), draw)
    assert y.dtype == tf.float32
    assert y[0, :, :, 0].numpy().tolist() == [[0, 6, 5], [0, 0, 0]]


def test_draws_are_a_function_of_key_and_step():
    augment = FlipCrop()
    draws = [
        augment.draw(tf.constant(seed), 64).numpy()
        for seed in ([3, 5], [3, 5], [3, 6], [4, 5], [5, 3])
    ]
    assert draws[0].dtype == np.int32
    np.testing.assert_array_equal(draws[0], draws[1])
    for other in draws[2:]:
        # Of 64 draws out of 162, 0.4 agree by chance.
        assert (draws[0] == other).sum() < 8
    compiled = tf.function(
        lambda seed: augment.draw(seed, 64), jit_compile=True
    )
    np.testing.assert_array_equal(draws[0], compiled(tf.constant([3, 5])))


def test_all_outcomes_are_equally_likely():
    counts = np.bincount(
        FlipCrop().draw(tf.constant([0, 0]), 162_000), minlength=162
    )
    assert counts.shape == (162,)
    # Chi squared of 161 degrees: mean 161, deviation 18; 4 of them.
    chi = ((counts - 1000.0) ** 2 / 1000.0).sum()
    assert 161 - 72 < chi < 161 + 72


def test_a_negative_pad():
    with pytest.raises(ValueError) as error:
        FlipCrop(pad=-1)
    assert re.fullmatch(
        r"`pad` must be at least 0\. Received: pad=-1\. .*\.",
        str(error.value),
    )


class Seen(FlipCrop):
    """Keeps the images that a training sees, by step and replica."""

    def __init__(self):
        super().__init__(pad=1)
        vars(self)["images"] = {}

    def draw(self, seed, batch_size):
        vars(self)["step"] = seed[1]
        return super().draw(seed, batch_size)

    def apply(self, examples, draws):
        y = super().apply(examples, draws)
        context = tf.distribute.get_replica_context()

        def keep(step, replica, images):
            self.images[int(step), int(replica)] = images.numpy()

        replica = context.replica_id_in_sync_group
        tf.py_function(keep, [self.step, replica, y], [])
        return y


def trained(start_step=0, strategy=None):
    """The images seen in 9 steps of 8 out of 24, and the weights after."""
    rng = np.random.default_rng(1)
    x = rng.integers(1, 256, (24, 4, 4, 1), dtype=np.uint8)
    y = rng.integers(0, 3, 24).astype(np.int32)
    augment = Seen()
    strategy = strategy or make_strategy("one_device")
    with strategy.scope():
        kernel = keras.initializers.HeNormal(seed=1)
        net = keras.Sequential(
            [
                keras.Input((4, 4, 1)),
                keras.layers.Flatten(),
                keras.layers.Dense(3, kernel_initializer=kernel),
            ]
        )
    trainer = Trainer(
        net,
        dict.fromkeys(("train", "validation", "test"), (x, y)),
        TrainingSettings(
            train_steps=Step(9), batch_size=8, eval_every=Step(4), jit="off"
        ),
        augment=augment,
        strategy=strategy,
        preprocess=lambda x: tf.cast(x, tf.float32) / 255,
    )
    trainer(net, level=0, seed=5, start_step=start_step)
    return augment.images, [w.numpy() for w in net.weights]


@pytest.fixture(scope="module")
def whole():
    return trained()


def test_training_from_step_k_sees_the_images_of_step_k(whole):
    images, weights = whole
    later, _ = trained(start_step=5)
    assert sorted(images) == [(step, 0) for step in range(9)]
    assert sorted(later) == [(step, 0) for step in range(5, 9)]
    for key in later:
        np.testing.assert_array_equal(images[key], later[key])
    # The padding's zeros: images are changed, and otherwise each epoch.
    counts = [(images[key] == 0).sum() for key in sorted(images)]
    assert all(counts) and len(set(counts)) > 3


def test_two_replicas_see_the_images_of_one(whole):
    images, weights = whole
    halves, same = trained(strategy=make_strategy("mirrored"))
    assert len(halves) == 18
    for (step, _), batch in images.items():
        both = np.concatenate([halves[step, 0], halves[step, 1]])
        np.testing.assert_array_equal(both, batch)
    for one, other in zip(weights, same):
        # Sums over 4 + 4 instead of 8 examples, 9 steps.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)

"""Scores that are trained, around weights that are not."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery import get_mask
from tf_lottery import mask_model
from tf_lottery import set_mask
from tf_lottery.layers import get_state
from tf_lottery.masks import Mask
from tf_lottery.search import ScoredModel
from tf_lottery.search.gates import GATES
from tf_lottery.search.gates import _uniform
from tf_lottery.search.scored import factors

X = np.random.default_rng(1).normal(size=(32, 6)).astype("float32")
Y = (X.sum(1) > 0).astype("int32")


def one_layer():
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(2, name="out")(inputs))
    model.set_weights([np.float32([[1, 2], [3, 4]]), np.zeros(2, "f")])
    return mask_model(model)


def scored(network, values, **how):
    model = ScoredModel(network, **how)
    (score,) = model.trainable_variables
    score.assign(values)
    return model, score


def gradient(model, score, x, upstream, training=True):
    with tf.GradientTape() as tape:
        out = model(tf.constant(x), training=training)
        loss = tf.reduce_sum(out * upstream)
    return np.asarray(out), np.asarray(tape.gradient(loss, score.value))


def test_the_gradient_of_edge_popup_by_hand():
    """dL/ds_uv = x_u w_uv sign(s_uv) dL/dI_v, of pruned weights too."""
    model, score = scored(one_layer(), [[0.5, -0.1], [-0.9, 0.2]], keep=2)
    out, found = gradient(model, score, [[1.0, 10.0]], [[1.0, -2.0]])
    # |s| keeps the entries 1 and 3, of column 0.
    assert out.tolist() == [[1 * 1 + 3 * 10, 0]]
    x, w, s = [[1], [10]], [[1, 2], [3, 4]], [[1, -1], [-1, 1]]
    expected = np.array(x) * w * np.array(s) * [[1, -2]]
    assert found.tolist() == expected.tolist()


def test_the_gradient_of_a_bernoulli_mask_by_hand():
    values = np.float32([[2.0, -1.0], [0.0, 3.0]])
    model, score = scored(one_layer(), values, by="bernoulli")
    _, found = gradient(model, score, [[1.0, 10.0]], [[1.0, -2.0]])
    p = 1 / (1 + np.exp(-np.float64(values)))
    expected = [[1, -4], [30, -80]] * p * (1 - p)
    assert np.allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("power", [("none", 0), ("sqrt", 0.5), ("dwr", 1)])
def test_kept_weights_are_rescaled(power):
    name, exponent = power
    model, _ = scored(
        one_layer(), [[0.5, -0.1], [-0.9, 0.2]],
        keep={"out/kernel": 1}, rescale=name,
    )
    out = np.asarray(model(np.float32([[1.0, 10.0]])))
    assert np.allclose(out, [[30 * 4**exponent, 0]])
    mask = model.settle()
    assert mask["out/kernel"].tolist() == [[False, False], [True, False]]
    network = model.network
    assert np.array_equal(np.asarray(network(np.float32([[1, 10]]))), out)
    assert factors(mask, name) == {"out/kernel": np.float32(4**exponent)}


def test_global_scores_compete_over_all_kernels(make_model):
    network = mask_model(make_model())
    model = ScoredModel(network, keep=10)
    hidden, out = model.trainable_variables
    hidden.assign(np.full(hidden.shape, 0.5))
    out.assign(np.arange(24).reshape(out.shape) / 20)
    kept = model.find_mask().kept_by_path
    # 0.55, 0.6 ... 1.15 are 13 of the output layer.
    assert kept == {"hidden/kernel": 0, "out/kernel": 10}
    model.start(20)
    out.assign(np.arange(24).reshape(out.shape) / 20)
    hidden.assign(np.full(hidden.shape, 0.52))
    assert model.find_mask().kept_by_path == {
        "hidden/kernel": 7, "out/kernel": 13,
    }


@pytest.mark.parametrize("by", ["edge_popup", "bernoulli"])
def test_fit_trains_scores_and_nothing_else(make_model, by):
    network = mask_model(make_model())
    before = get_state(network)
    model = ScoredModel(network, by=by, seed=3)
    assert {v.name for v in model.trainable_variables} == {
        "hidden_kernel_score", "out_kernel_score",
    }
    first = [np.array(s) for s in model.trainable_variables]
    model.compile(
        keras.optimizers.SGD(0.1, 0.9),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    losses = model.fit(X, Y, epochs=30, batch_size=8, verbose=0)
    losses = losses.history["loss"]
    assert losses[-1] < losses[0]
    moved = zip(first, model.trainable_variables)
    assert all(np.any(a != np.asarray(s)) for a, s in moved)
    outputs = model.predict(X, verbose=0)
    mask = model.settle()
    assert mask.kept_by_path == {"hidden/kernel": 24, "out/kernel": 12}
    assert get_mask(network) == mask
    assert np.allclose(network.predict(X, verbose=0), outputs, atol=1e-6)
    for path, value in get_state(network).items():
        if path in mask:
            assert np.array_equal(value, np.where(mask[path], before[path], 0))
        elif "norm/moving" not in path and "seed" not in path:
            assert np.array_equal(value, before[path]), path


@pytest.mark.slow
def test_without_the_sign_of_the_score_it_learns_less():
    """As the paper's code has it: |s| is thresholded, so sign(s) belongs."""
    network = mask_model(keras.Sequential([
        keras.Input((6,)), keras.layers.Dense(64, "relu", name="hidden"),
        keras.layers.Dense(2, name="out"),
    ]))
    weights = network.get_weights()
    accuracy = {}
    for signed in (True, False):
        network.set_weights(weights)
        model = ScoredModel(network, seed=1)
        if not signed:
            model.gate = WithoutSign()
        model.compile(
            keras.optimizers.SGD(0.5, 0.9),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        history = model.fit(X, Y, epochs=20, batch_size=8, verbose=0).history
        accuracy[signed] = history["accuracy"][-1]
    assert accuracy[True] > 0.95 and accuracy[False] < 0.9


def WithoutSign():
    from tf_lottery.search.gates import EdgePopup

    class Gate(EdgePopup):
        def values(self, scores, alive, counts, generator, training):
            kept = self.chosen(scores, alive, counts)
            return [
                tf.cast(k, s.dtype) + s - tf.stop_gradient(s)
                for k, s in zip(kept, scores)
            ]

    return Gate()


def test_a_mask_bounds_what_is_kept():
    network = one_layer()
    set_mask(network, {"out/kernel": np.array([[1, 0], [0, 1]], bool)})
    model, _ = scored(network, [[0.1, 0.9], [0.9, 0.2]], keep=1)
    assert model.find_mask()["out/kernel"].tolist() == [
        [False, False], [False, True],
    ]
    model = ScoredModel(network, by="bernoulli", keep=1)
    model.trainable_variables[0].assign(np.full((2, 2), 50.0))
    assert np.asarray(model(np.eye(2), training=True)).tolist() == [
        [1, 0], [0, 4],
    ]


def test_a_bernoulli_mask_is_drawn_in_training_alone():
    network = one_layer()
    model = ScoredModel(network, by="bernoulli", seed=0)
    x = np.eye(2, dtype="float32")
    drawn = {np.asarray(model(x, training=True)).tobytes() for _ in range(20)}
    fixed = {np.asarray(model(x, training=False)).tobytes() for _ in range(5)}
    assert len(drawn) > 5 and len(fixed) == 1
    again = ScoredModel(network, by="bernoulli", seed=0)
    assert np.asarray(again(x, training=True)).tobytes() in drawn


def test_what_is_drawn_begins_anew_with_its_seed():
    model = ScoredModel(one_layer(), by="bernoulli")
    x = np.eye(2, dtype="float32")

    def drawn(seed):
        model.start(seed=seed)
        return np.stack([model(x, training=True) for _ in range(20)])

    first = drawn(1)
    assert not np.array_equal(drawn(2), first)
    assert np.array_equal(drawn(1), first)


@pytest.mark.parametrize("density", [0.1, 0.5, 0.9])
def test_probabilities_begin_at_the_density(density):
    inputs = keras.Input((100,))
    network = mask_model(
        keras.Model(inputs, keras.layers.Dense(100, name="out")(inputs))
    )
    kernel = np.ones((100, 100), "float32")
    network.set_weights([kernel, np.zeros(100), kernel])
    keep = {"out/kernel": int(1e4 * density)}
    model = ScoredModel(network, by="bernoulli", keep=keep)
    out = np.asarray(model(np.eye(100, dtype="f"), training=True))
    assert set(np.unique(out)) == {0.0, 1.0}
    deviation = (density * (1 - density) / 1e4) ** 0.5
    assert abs(out.mean() - density) < 4 * deviation


def test_drawn_numbers_are_uniform_and_differ_by_key():
    one, other = (
        np.asarray(_uniform(100_000, tf.constant([7, n], tf.uint32)))
        for n in (0, 1)
    )
    assert 0 <= one.min() and one.max() < 1
    counts = np.histogram(one, 20, (0, 1))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 45  # Chi squared, 19 degrees.
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.015
    assert abs(np.corrcoef(one[:-1], one[1:])[0, 1]) < 0.015


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (dict(by="magic"), r"`by` must be one of edge_popup, bernoulli\."),
        (dict(rescale="x"), r"`rescale` must be one of none, sqrt, dwr\."),
        (dict(keep=5), r"`keep` must be a count.*Received: keep=5"),
        (dict(keep=-1), r"`keep` must be a count.*Received: keep=-1"),
        (dict(keep={"a": 1}), r"`keep` must be a count for each kernel"),
    ],
)
def test_bad_arguments(how, message):
    with pytest.raises(ValueError, match=message):
        ScoredModel(one_layer(), **how)


def test_a_network_without_masks_is_refused():
    dense = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match=r"`network` must have masks\."):
        ScoredModel(dense)


def test_mixed_precision_and_other_layers(make_model):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        inputs = keras.Input((5, 4))
        x = keras.layers.LSTM(6, name="lstm")(inputs)
        network = mask_model(
            keras.Model(inputs, keras.layers.Dense(2, name="out")(x))
        )
    finally:
        keras.config.set_dtype_policy("float32")
    model = ScoredModel(network)
    x = np.ones((3, 5, 4), "float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.cast(model(x, training=True), tf.float32))
    grads = tape.gradient(loss, [s.value for s in model.trainable_variables])
    assert len(grads) == 3 and all(np.any(g != 0) for g in grads)
    outputs = np.asarray(tf.cast(model(x), tf.float32))
    mask = model.settle()
    assert isinstance(mask, Mask) and mask.kept == mask.size // 2
    assert np.array_equal(tf.cast(network(x), tf.float32), outputs)


@pytest.mark.parametrize("rescale", ["none", "dwr"])
def test_settling_twice_changes_nothing(rescale):
    model, score = scored(
        one_layer(), [[0.5, -0.1], [-0.9, 0.2]],
        keep={"out/kernel": 1}, rescale=rescale,
    )
    x = np.float32([[1.0, 10.0]])
    model.compile()
    before = model.predict(x, verbose=0)
    for _ in range(2):
        model.settle()
        assert np.allclose(np.asarray(model.network(x)), before)
        assert np.allclose(model.predict(x, verbose=0), before)
    # Weights that are put back have their factors to come.
    model.network.set_weights(one_layer().get_weights())
    model.start({"out/kernel": 1})
    score.assign([[0.5, -0.1], [-0.9, 0.2]])
    assert np.allclose(model.predict(x, verbose=0), before)


def test_how_many_are_kept_is_no_way_to_lower_the_loss():
    """The factor is no function of the scores for the gradient."""
    values = [[0.5, -0.1], [-0.9, 0.2]]
    plain, one = scored(one_layer(), values, keep=2)
    dwr, other = scored(one_layer(), values, keep=2, rescale="dwr")
    x, up = [[1.0, 10.0]], [[1.0, -2.0]]
    expected = 2 * gradient(plain, one, x, up)[1]
    assert np.allclose(gradient(dwr, other, x, up)[1], expected)


def test_scores_that_are_not_finite_are_named():
    model, score = scored(one_layer(), np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="scores of out/kernel must be fin"):
        model.find_mask()
    score.assign(np.full((2, 2), np.inf))
    with pytest.raises(ValueError, match="scores of out/kernel must be fin"):
        model.settle()


def test_counts_are_whole_numbers_of_any_kind():
    model = ScoredModel(one_layer(), keep=np.int64(3))
    assert model.find_mask().kept == 3
    model.start(np.int32(1))
    assert model.find_mask().kept == 1
    for bad in (True, {"out/kernel": 3.7}, {"out/kernel": True}):
        with pytest.raises(ValueError, match="`keep` must be a count"):
            ScoredModel(one_layer(), keep=bad)


def test_a_global_policy_leaves_the_scores_alone():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = ScoredModel(one_layer())
        model.compile("sgd", "mse")
        model.fit(np.ones((4, 2)), np.ones((4, 2)), verbose=0)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.trainable_variables[0].dtype == "float32"


def test_the_network_is_held_once_and_is_in_no_config(tmp_path):
    model = ScoredModel(one_layer())
    paths = [v.path for v in model.weights]
    assert len(paths) == len(set(paths)) == 6
    with pytest.raises(ValueError, match="saved without its scores"):
        model.save(tmp_path / "model.keras")
    model.save_weights(tmp_path / "a.weights.h5")
    other = ScoredModel(one_layer(), seed=7)
    other.load_weights(tmp_path / "a.weights.h5")
    assert other.find_mask() == model.find_mask()


def test_the_papers_settings_of_scores():
    popup, bernoulli = GATES["edge_popup"], GATES["bernoulli"]
    assert (popup.learning_rate, popup.weight_decay) == (0.1, 1e-4)
    assert (bernoulli.learning_rate, bernoulli.weight_decay) == (100, 0)
    drawn = popup.initial((400, 50), 0.5, 3)
    assert 0.049 < np.abs(drawn).max() <= 0.05
    assert abs(drawn.mean()) < 0.001
    drawn = popup.initial((3, 3, 16, 50), 0.5, 3)
    assert 0.98 / 12 < np.abs(drawn).max() <= 1 / 12

"""Early-Bird tickets in `fit`."""

import keras
import numpy as np
import pytest

from tf_lottery.callbacks import EarlyBird
from tf_lottery.layers import get_mask
from tf_lottery.layers import mask_model

L = keras.layers


def network():
    keras.utils.set_random_seed(0)
    x = keras.Input((6,))
    y = L.BatchNormalization(name="bn_a")(L.Dense(8, name="a")(x))
    y = L.BatchNormalization(name="bn_b")(L.Dense(7, name="b")(L.ReLU()(y)))
    return keras.Model(x, L.Dense(3, name="out")(L.ReLU()(y)))


def test_the_mask_settles_and_training_goes_on(make, fit, recorder):
    model = make(model=mask_model(network(), exclude="out/*"))
    bird = EarlyBird(0.3, window=3, tolerance=0.3)
    history = fit(model, [bird, recorder], epochs=8).history
    assert bird.epoch is not None and 2 <= bird.epoch < 7
    densities = [mask.density for mask in recorder.epochs]
    assert densities[: bird.epoch] == [1.0] * bird.epoch
    mask = get_mask(model)
    assert all(seen == mask for seen in recorder.epochs[bird.epoch :])
    # Channels of the kernel before the normalisation, and what reads them.
    alive = mask["a/kernel"].all(axis=0)
    assert np.array_equal(alive, mask["a/kernel"].any(axis=0))
    read = mask["b/kernel"].any(axis=1)
    assert 0 < alive.sum() + mask["b/kernel"].any(axis=0).sum() < 15
    assert np.array_equal(read, alive)
    assert history["sparsity"][-1] == mask.sparsity
    assert history["mask_distance"][bird.epoch] <= 0.3
    assert bird.learning_rate == pytest.approx(0.01)
    raw = next(v for v in model.variables if v.path == "a/kernel")
    assert not np.asarray(raw)[~mask["a/kernel"]].any()


def test_single_weights_stop_a_search(make, fit):
    model = make()
    bird = EarlyBird(
        0.5, "magnitude", structure=None, window=2, tolerance=0.2, stop=True
    )
    history = fit(model, [bird], epochs=30)
    assert bird.epoch is not None and len(history.epoch) == bird.epoch + 1
    mask = get_mask(model)
    assert mask.kept == mask.size - round(0.5 * mask.size)


def test_none_emerges_and_it_says_so(make, fit, capsys):
    model = make()
    bird = EarlyBird(0.5, "random", structure=None)
    # Random masks are new every epoch.
    fit(model, [bird], epochs=6, verbose=2)
    assert bird.epoch is None and get_mask(model).density == 1
    assert len(bird.distances) == 2 and min(bird.distances) > 0.3
    assert "EarlyBird: no ticket emerged" in capsys.readouterr().out


def test_what_is_refused(fit):
    for options, name in (
        (dict(sparsity=1.0), "sparsity"),
        (dict(sparsity=0.5, criterion="x"), "criterion"),
        (dict(sparsity=0.5, structure="x"), "structure"),
        (dict(sparsity=0.5, structure="2:5"), "sparsity"),
        (dict(sparsity=0.5, window=1), "window"),
        (dict(sparsity=0.5, tolerance=-1), "tolerance"),
        (dict(sparsity=0.5, criterion="snip"), "criterion"),
    ):
        with pytest.raises(ValueError, match=f"^`{name}` must be"):
            EarlyBird(**options)
    plain = keras.Sequential([keras.Input((6,)), L.Dense(3)])
    plain.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`model` must have masks"):
        fit(plain, [EarlyBird(0.5)])


@pytest.mark.slow
def test_beside_what_changes_masks_and_for_another_model(make, fit):
    bird = EarlyBird(0.5, "magnitude", structure=None)
    stopping = keras.callbacks.EarlyStopping("loss", restore_best_weights=True)
    again = EarlyBird(0.8, "magnitude", structure=None)
    for other in (stopping, again):
        with pytest.raises(ValueError, match="^`callbacks` must go together"):
            fit(make(), [bird, other])
    model = make()
    fit(model, [bird])
    fit(model, [bird])
    with pytest.raises(ValueError, match="hold a new EarlyBird"):
        fit(make(), [bird])
    with pytest.raises(ValueError, match="^`exclude` must hold the output"):
        fit(make(), [EarlyBird(0.5, "magnitude")])


@pytest.mark.slow
def test_a_stop_that_another_asked_for_is_kept(make, fit):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    bird = EarlyBird(
        0.5, "magnitude", structure=None, window=2, tolerance=0.9
    )
    model = make()
    fit(model, [bird])
    history = fit(model, [Stop(), bird], epochs=5)
    assert bird.epoch == 0 and len(history.epoch) == 1

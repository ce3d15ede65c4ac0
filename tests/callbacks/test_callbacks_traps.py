"""What has gone wrong once in a fit with callbacks."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.callbacks import DynamicSparseTraining
from tf_lottery.callbacks import GradualPruning
from tf_lottery.callbacks import LotteryTicket
from tf_lottery.callbacks import MaskGuard
from tf_lottery.callbacks.journal import Journal
from tf_lottery.layers import get_state
from tf_lottery.layers import mask_model


class Interrupted(Exception):
    pass


def search(make, fit, folder, epochs=9, **options):
    lottery = LotteryTicket(
        2, "3ep", prune_rate=0.4, output_dir=folder / "tickets", **options
    )
    backup = keras.callbacks.BackupAndRestore(str(folder / "backup"))
    keras.utils.set_random_seed(0)
    fit(make(), [backup, lottery], epochs)
    return lottery


@pytest.mark.slow
def test_a_level_that_patience_ended_stays_ended(
    make, fit, tmp_path, monkeypatch, same_tickets
):
    # A gain that no epoch reaches: every level has two epochs of three.
    stalled = dict(patience=1, monitor="loss", min_delta=100.0)
    whole = search(make, fit, tmp_path / "whole", **stalled)
    assert [len(row["epochs"]) for row in whole.history] == [2, 2, 2]
    end = Journal.end_level

    def killed(*args):
        raise Interrupted

    monkeypatch.setattr(Journal, "end_level", killed)
    with pytest.raises(Interrupted):
        search(make, fit, tmp_path / "killed", **stalled)
    monkeypatch.setattr(Journal, "end_level", end)
    again = search(make, fit, tmp_path / "killed", **stalled)
    assert again.history == whole.history
    assert same_tickets(again.tickets, whole.tickets)


def test_a_search_goes_on_under_names_that_keras_numbered_anew(
    make, fit, tmp_path, kill
):
    def unnamed():
        # Its layers are `dense`, then `dense_1`, and so on.
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Dense(8, "relu"), keras.layers.Dense(3)]
        model = keras.Sequential([keras.Input((6,)), *layers])
        return make(model=mask_model(model))

    def run(*more):
        lottery = LotteryTicket(1, "2ep", output_dir=tmp_path / "tickets")
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / "backup"))
        fit(unnamed(), [backup, lottery, *more], 4)
        return lottery

    with pytest.raises(kill.error):
        run(kill(epoch=2))
    lottery = run()
    assert [ticket.level for ticket in lottery.tickets] == [0, 1]
    rewind = [t.rewind for t in lottery.tickets]
    assert [v.shape for v in rewind[0].values()] == [
        v.shape for v in rewind[1].values()
    ]


def test_metrics_are_of_the_ticket_where_levels_meet_inside_an_epoch(
    make, fit, data
):
    lottery = LotteryTicket(2, "9it")
    fit(make(), [lottery], 5, validation_data=data)
    rows = [level["epochs"] for level in lottery.history]
    assert [[(row["epoch"], row["steps"]) for row in of] for of in rows] == [
        [(0, 6)], [(1, 3), (2, 9)], [(3, 6)],
    ]
    first, second, last = lottery.tickets
    assert first.metrics == last.metrics == {"steps": 9}
    model = make(model=second.build_model(weights="trained"))
    loss, accuracy = model.evaluate(*data, batch_size=8, verbose=0)
    assert second.metrics["val_loss"] == pytest.approx(loss, rel=1e-5)
    assert second.metrics["val_accuracy"] == pytest.approx(accuracy)
    # Of the shared epoch, what the later level trained alone.
    x, y = data
    half = make(model=second.build_model()).fit(
        x[24:], y[24:], batch_size=8, shuffle=False, verbose=0
    )
    assert rows[1][0]["loss"] == pytest.approx(half.history["loss"][0], 1e-5)


def test_rates_may_be_numbers_of_numpy(make, fit, tmp_path):
    lottery = LotteryTicket(
        np.int64(1), "1ep", prune_rate=np.float32(0.5), output_dir=tmp_path
    )
    fit(make(), [lottery], 2)
    assert len(lottery.tickets) == 2


def test_validation_may_leave_epochs_out(make, fit, data):
    lottery = LotteryTicket(1, "4ep", patience=2)
    fit(
        make(), [lottery], 8, validation_data=data, validation_freq=2
    )
    assert len(lottery.tickets) == 2


def test_epochs_count_from_the_first_that_is_trained(make, fit):
    with pytest.raises(ValueError, match="`epochs` must give levels 0 to 3"):
        fit(make(), [LotteryTicket(3, "1ep")], 4, initial_epoch=2)


@pytest.mark.parametrize("answer", [0.5, (True, 0.5, 1), (True, "half")])
def test_a_schedule_that_returns_no_pair(make, fit, answer):
    with pytest.raises(TypeError, match="`schedule` must return a pair"):
        fit(make(), [GradualPruning(lambda step: answer)])


def test_a_plain_model_may_be_scored_and_pruned_inside_fit(fit, data):
    class Look(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 1:
                before = get_state(self.model)
                self.scores = tfl.scores(self.model, "magnitude")
                for path, value in get_state(self.model).items():
                    assert np.array_equal(value, before[path])
            if batch == 3:
                tfl.prune(self.model, 0.5)

    x = keras.Input((6,))
    model = keras.Model(x, keras.layers.Dense(3, name="out")(x))
    model.compile(
        keras.optimizers.Adam(0.1),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    look = Look()
    fit(model, [look])
    assert list(look.scores) == ["out/kernel"]
    MaskGuard().check(model)
    assert tfl.get_mask(model).kept == 9


def test_one_guard_serves_one_model_after_another():
    guard = MaskGuard()
    for size in (4, 5):
        x = keras.Input((size,))
        guard.check(mask_model(keras.Model(x, keras.layers.Dense(2)(x))))


class Adversaries(keras.Model):
    """As a GAN: steps with optimizers of its own."""

    def __init__(self):
        super().__init__()
        self.out = keras.layers.Dense(3, name="out")
        self.own = keras.optimizers.Adam(0.01)

    def call(self, x):
        return self.out(x)

    def train_step(self, *args):
        return {"loss": 0.0}


@pytest.mark.parametrize(
    "callback",
    [
        GradualPruning(tfl.schedules.ConstantSparsity(0.5)),
        LotteryTicket(1, "1ep", scope="global"),
        DynamicSparseTraining("set", every=1, end_step=9),
    ],
    ids=["gradual", "lottery", "rewiring"],
)
def test_an_optimizer_that_takes_no_step_is_named(callback, data):
    model = Adversaries()
    model(data[0])
    tfl.prune(tfl.mask_model(model), 0.5)
    model.compile("adam", "mse", run_eagerly=True)
    with pytest.raises(RuntimeError, match="`model.optimizer` must be what"):
        model.fit(*data, epochs=2, verbose=0, callbacks=[callback])


def test_one_callback_decides_the_mask(make, fit):
    gradual = GradualPruning(tfl.schedules.ConstantSparsity(0.5))
    other = GradualPruning(tfl.schedules.ConstantSparsity(0.6))
    lottery = [LotteryTicket(1, "1ep") for _ in range(2)]
    model = make()
    for pair in ([gradual, other], [gradual, lottery[0]], lottery):
        with pytest.raises(ValueError, match="`callbacks` must go together"):
            fit(model, pair, 2)


def test_a_level_must_have_a_unit():
    with pytest.raises(ValueError, match="Write '5ep' for epochs"):
        LotteryTicket(1, 5)


def test_a_schedule_that_outlives_training_is_told(make, fit, capsys):
    schedule = tfl.schedules.PolynomialDecay(0.0, 0.9, 0, 1000)
    fit(make(), [GradualPruning(schedule)], verbose=2)
    assert "stopped at step 6 of the schedule's 1000" in capsys.readouterr().out


def test_a_search_that_has_ended_is_told_from_one_that_has_not(
    make, fit, tmp_path, kill
):
    def again(**options):
        fit(make(), [LotteryTicket(1, "1ep", output_dir=tmp_path / "t")], 2)

    with pytest.raises(kill.error):
        fit(
            make(),
            [LotteryTicket(1, "1ep", output_dir=tmp_path / "t"), kill(epoch=0)],
            2,
        )
    with pytest.raises(ValueError, match="whose search stopped in level 0"):
        again()
    other = LotteryTicket(1, "1ep", output_dir=tmp_path / "done")
    fit(make(), [other], 2)
    with pytest.raises(ValueError, match="whose search has ended"):
        fit(make(), [LotteryTicket(1, "1ep", output_dir=tmp_path / "done")], 2)


@pytest.mark.any_backend
def test_a_generator_and_a_metric_of_several_values(make, data, tmp_path):
    x, y = data

    def batches():
        while True:
            for i in range(0, 48, 8):
                yield x[i : i + 8], np.eye(3, dtype="float32")[y[i : i + 8]]

    model = make()
    model.compile(
        "adam", keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=[keras.metrics.F1Score()], jit_compile=False,
    )
    lottery = LotteryTicket(
        np.int64(1), "1ep", output_dir=tmp_path / "search", seed=np.int64(3),
        criterion="random",
    )
    model.fit(
        batches(), steps_per_epoch=6, epochs=2, verbose=0, shuffle=False,
        callbacks=lottery,
    )
    for row, ticket in zip(lottery.history, lottery.tickets):
        assert len(row["epochs"][0]["f1_score"]) == 3
        assert ticket.metrics["f1_score"] == row["epochs"][0]["f1_score"]
    assert len(lottery.tickets) == 2

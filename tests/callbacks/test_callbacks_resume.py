"""A fit that was killed goes on from its backup as if it had not been."""

import json
import os
import signal
import textwrap

import keras
import numpy as np
import pytest

from tf_lottery import mask_model
from tf_lottery.callbacks import GradualPruning
from tf_lottery.callbacks import LotteryTicket
from tf_lottery.callbacks import MaskGuard
from tf_lottery.layers import get_mask
from tf_lottery.layers import get_state
from tf_lottery.schedules import PolynomialDecay

SCHEDULE = PolynomialDecay(0.0, 0.8, begin_step=2, end_step=12, frequency=5)
# Levels of whole epochs; and some that end inside an epoch, the last too.
SEARCHES = {
    "epochs": dict(every="1ep", rewind="4it"),
    "steps": dict(every="5it", rewind="0it"),
}


def decayed_adam():
    return keras.optimizers.Adam(
        keras.optimizers.schedules.ExponentialDecay(0.02, 3, 0.5)
    )


@pytest.fixture(scope="module")
def model_and_reset(make):
    """One compiled model, and what makes it as new: compiling is slow."""
    # No dropout: a backup does not hold the state of its random numbers.
    model = make(decayed_adam())
    model.optimizer.build(model.trainable_variables)
    start = [np.array(v) for v in model.variables]

    def reset():
        for variable, value in zip(model.variables, start):
            variable.assign(value)
        for variable in model.optimizer.variables:
            variable.assign(np.zeros(variable.shape))
        model.optimizer.built = True
        model._initial_epoch = None
        return model

    return reset


@pytest.fixture
def search(model_and_reset, fit, tmp_path, kill):
    """`search(name, folder, first, kill)`: the model and the callback."""

    def run(name, folder, first=True, killer=None, between=None):
        model = model_and_reset()
        lottery = LotteryTicket(
            2, prune_rate=0.4, output_dir=tmp_path / folder,
            **SEARCHES[name],
        )
        backup = keras.callbacks.BackupAndRestore(
            str(tmp_path / f"{folder}_backup")
        )
        callbacks = [backup, lottery] if first else [lottery, backup]
        if between:
            callbacks.insert(1, between)
        if killer:
            with pytest.raises(kill.error):
                fit(model, [*callbacks, killer], epochs=4)
            return None
        fit(model, [*callbacks, MaskGuard()], epochs=4)
        return model, lottery

    return run


@pytest.mark.parametrize(
    "name, first",
    [
        ("steps", False),
        pytest.param("epochs", True, marks=pytest.mark.slow),
        pytest.param("epochs", False, marks=pytest.mark.slow),
        pytest.param("steps", True, marks=pytest.mark.slow),
    ],
)
def test_a_killed_search_goes_on_bit_for_bit(
    search, kill, same_tickets, same_state, name, first
):
    model, lottery = search(name, "whole")
    trained = [ticket.trained for ticket in lottery.tickets]
    assert len(trained) == 3
    kills = {"batches": (3, 8, 13), "epoch": (0, 1, 2)}
    if name == "steps":
        # Training stops inside the third epoch, one step after the end.
        kills = {"batches": (3, 8, 15, 16), "epoch": (0, 1, 2)}
    for kind, values in kills.items():
        for value in values:
            folder = f"{kind}_{value}"
            search(name, folder, first, kill(**{kind: value}))
            again, other = search(name, folder, first)
            assert same_tickets(other.tickets, lottery.tickets), folder
            assert other.history == lottery.history, folder
            assert same_state(get_state(again), trained[-1]), folder


@pytest.mark.slow
def test_a_kill_between_the_callbacks(search, kill, same_tickets):
    _, whole = search("epochs", "whole")
    for first in (True, False):
        folder = f"between_{first}"
        search("epochs", folder, first, kill(99), between=kill(epoch=1))
        _, other = search("epochs", folder, first)
        assert same_tickets(other.tickets, whole.tickets)


def test_gradual_pruning_goes_on_bit_for_bit(
    model_and_reset, fit, kill, tmp_path
):
    def run(folder, first=True, killer=None):
        model = model_and_reset()
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / folder))
        callbacks = [backup, GradualPruning(SCHEDULE), MaskGuard()]
        callbacks = callbacks if first else callbacks[::-1]
        if killer:
            with pytest.raises(kill.error):
                fit(model, [*callbacks, killer], epochs=3)
            return run(folder, first)
        fit(model, callbacks, epochs=3)
        return [np.array(v) for v in model.variables]

    whole = run("whole")
    for first in (True, False):
        for killer in (kill(3), kill(8), kill(epoch=0), kill(epoch=1),
                       kill(epoch=2)):
            other = run("killed", first, killer)
            assert all(map(np.array_equal, whole, other))


@pytest.mark.slow
def test_moving_averages_survive_a_kill(
    make, fit, kill, same_tickets, tmp_path
):
    def run(folder, killer=None):
        sgd = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.7)
        lottery = LotteryTicket(1, "1ep", output_dir=tmp_path / folder)
        backup = keras.callbacks.BackupAndRestore(str(tmp_path / folder / "b"))
        callbacks = [backup, lottery]
        if killer:
            with pytest.raises(kill.error):
                fit(make(sgd), [*callbacks, killer], epochs=2)
        else:
            fit(make(sgd), callbacks, epochs=2)
        return lottery

    whole = run("whole")
    run("killed", kill(8))
    assert same_tickets(run("killed").tickets, whole.tickets)


def test_a_backup_from_before_step_k_takes_its_own_rewind_state(
    model_and_reset, fit, kill, same_state, tmp_path
):
    seen = []

    class AtFour(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 4:
                seen.append(get_state(self.model))

    def callbacks():
        # After three batches; Keras then begins the epoch over again.
        backup = keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=3)
        lottery = LotteryTicket(
            1, "6it", rewind="4it", output_dir=tmp_path / "search"
        )
        return [backup, lottery, AtFour()]

    with pytest.raises(kill.error):
        fit(model_and_reset(), [*callbacks(), kill(5)], epochs=4)
    again = callbacks()
    fit(model_and_reset(), again, epochs=4)
    assert not same_state(seen[0], seen[1])
    assert same_state(again[1].tickets[0].rewind, seen[1])


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_a_folder_that_is_not_of_this_search_is_left_alone(
    search, make, fit, data, tmp_path
):
    search("epochs", "done")
    folder = tmp_path / "done"
    before = contents(folder)
    one_line = "^`output_dir` must be new[^\n]*$"

    def refused(found, where=folder, model=None, **options):
        options = {"rewind": "4it", "prune_rate": 0.4, **options}
        model = make() if model is None else model
        lottery = LotteryTicket(2, "1ep", output_dir=where, **options)
        with pytest.raises(ValueError, match=one_line) as error:
            fit(model, lottery, epochs=4)
        assert found in str(error.value)
        assert int(np.asarray(model.optimizer.iterations)) == 0
        assert get_mask(model).kept == get_mask(model).size

    model = make(dropout=0.3)
    refused("another model", model=model)
    model = make()
    refused("whose search has ended", model=model)
    refused("'prune_rate': 0.4", model=model, prune_rate=0.3)
    # Killed in level 1, then another network.
    content = json.loads((folder / "history.json").read_text())
    content["levels"] = content["levels"][:2]
    del content["levels"][1]["steps"]
    (folder / "history.json").write_text(json.dumps(content))
    x = keras.Input((6,))
    other = mask_model(keras.Model(x, keras.layers.Dense(3, name="q")(x)))
    refused("another model", model=make(model=other))
    (folder / "history.json").unlink()
    refused("level_00 and no history.json", model=model)
    for name, data in before.items():
        if name != "history.json":
            assert (folder / name).read_bytes() == data


def row(**changes):
    levels = [
        {"level": 0, "base": 0, "first_epoch": 0, "kept_weights": 72,
         "density": 1.0, "epochs": [], **changes}
    ]
    return json.dumps({"settings": {}, "levels": levels})


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "{}", "null", "\xff", '{"settings": {}, "levels": []}',
        '{"settings": {}, "levels": [{}]}',
        '{"settings": {}, "levels": {"0": 1}}',
        row(base=None), row(level=1), row(epochs=[1]), row(epochs=[{}]),
        row(steps="6"), row(first_epoch=0.5), "[" * 100000,
    ],
)
def test_a_history_that_cannot_be_read(make, fit, tmp_path, text, request):
    folder = tmp_path / "search"
    folder.mkdir()
    (folder / "history.json").write_text(text, "latin-1")
    lottery = LotteryTicket(1, "1ep", output_dir=folder)
    model = request.getfixturevalue("model_and_reset")()
    message = "^[^\n]*history.json that cannot be read[^\n]*$"
    with pytest.raises(ValueError, match=message):
        fit(model, lottery, epochs=2)
    assert (folder / "history.json").read_text("latin-1") == text
    assert os.listdir(folder) == ["history.json"]


SCRIPT = """
    import os, signal, sys
    import keras, numpy as np
    import tf_lottery as tfl

    class Die(keras.callbacks.Callback):
        batches = 0

        def on_train_batch_end(self, batch, logs=None):
            self.batches += 1
            if self.batches == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGKILL)

    rng = np.random.default_rng(0)
    x = rng.normal(size=(48, 6)).astype("float32")
    y = (x @ rng.normal(size=(6, 3))).argmax(-1)
    keras.utils.set_random_seed(0)
    model = tfl.mask_model(keras.Sequential([
        keras.Input((6,)), keras.layers.Dense(8, activation="relu"),
        keras.layers.Dropout(0.3), keras.layers.Dense(3),
    ]))
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(
        from_logits=True), jit_compile=False)
    out = sys.argv[1]
    model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0,
        callbacks=[
            keras.callbacks.BackupAndRestore(out + "/backup"),
            tfl.callbacks.LotteryTicket(2, "1ep", rewind="2it",
                output_dir=out + "/search"), Die()])
"""


@pytest.mark.slow
def test_a_process_killed_in_the_middle_of_a_level(python, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(SCRIPT))
    whole = python(script, tmp_path / "whole", 0)
    assert whole.returncode == 0, whole.stderr
    killed = python(script, tmp_path / "killed", 9)
    assert killed.returncode == -signal.SIGKILL
    again = python(script, tmp_path / "killed", 0)
    assert again.returncode == 0, again.stderr
    found = [contents(tmp_path / name / "search") for name in
             ("whole", "killed")]
    assert len(found[0]) == 1 + 4 * 4
    assert found[0] == found[1]

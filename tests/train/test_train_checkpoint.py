"""A training that is cut off ends as if it had not been."""

import signal

import numpy as np
import pytest

import tf_lottery
from tf_lottery import Step
from tf_lottery import train
from tf_lottery.layers import get_state
from tf_lottery.layers import set_state
from tf_lottery.train.checkpoint import Snapshot

STEPS = 23


@pytest.fixture
def trainer(make_net, make_trainer):
    model = make_net()
    tf_lottery.prune(model, 0.5, "random")
    trainer = make_trainer(
        model, steps=STEPS, eval_every=Step(5), optimizer="adam"
    )
    trainer.start = get_state(model)
    return trainer


@pytest.fixture
def checkpoint(tmp_path):
    return train.Checkpoint(tmp_path / "c.npz", {"level": 0}, every=0)


def complete(trainer, **how):
    set_state(trainer.model, trainer.start)
    rewound = []
    hook = (7, lambda: rewound.append(get_state(trainer.model)))
    trainer(trainer.model, level=0, seed=3, at_rewind_step=hook, **how)
    return [get_state(trainer.model), *rewound], list(trainer.rows)


def same(a, b):
    return len(a) == len(b) and all(
        np.array_equal(one[path], other[path])
        for one, other in zip(a, b)
        for path in one
    )


@pytest.mark.parametrize("calls", [1, 2, 3, 5])
def test_stopped_and_resumed_is_bit_equal(trainer, checkpoint, calls):
    states, rows = complete(trainer)
    asked = iter([0] * (calls - 1) + [signal.SIGTERM])
    with pytest.raises(train.Stopped) as stopped:
        complete(trainer, checkpoint=checkpoint, stopping=lambda: next(asked))
    assert stopped.value.saved and 0 < stopped.value.step < STEPS
    again, rows_again = complete(trainer, checkpoint=checkpoint)
    assert same(states, again)
    assert rows == rows_again


def test_another_training_s_snapshot_is_not_used(trainer, checkpoint):
    checkpoint.save(Snapshot(9, [], {}))
    other = train.Checkpoint(checkpoint.path, {"level": 1})
    assert checkpoint.load().step == 9
    assert other.load() is None


def test_snapshot_of_other_masks_is_not_used(trainer, checkpoint):
    with pytest.raises(train.Stopped):
        complete(trainer, checkpoint=checkpoint, stopping=lambda: 2)
    tf_lottery.prune(trainer.model, 0.7, "random")
    begun = []
    trainer.on_step = lambda step, rows: begun.append(step)
    complete(trainer, checkpoint=checkpoint)
    assert begun[0] == 0


@pytest.mark.parametrize("keep", [0, 10, 200])
def test_a_damaged_file_is_told_and_left(trainer, checkpoint, keep, capsys):
    checkpoint.save(Snapshot(9, [], {"w": np.ones(100)}))
    with open(checkpoint.path, "r+b") as file:
        file.truncate(keep)
    assert checkpoint.load() is None
    assert "damaged" in capsys.readouterr().out


def test_a_signal_asks_once_and_then_acts():
    with train.stop_signals() as stopping:
        assert stopping() == 0
        signal.raise_signal(signal.SIGINT)
        assert stopping() == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)

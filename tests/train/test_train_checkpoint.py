"""A training that is cut off ends as if it had not been."""

import errno
import os
import struct
import zipfile

import keras
import numpy as np
import pytest

import tf_lottery
from tf_lottery import Step
from tf_lottery import train
from tf_lottery.layers import get_state
from tf_lottery.layers import set_state
from tf_lottery.train import checkpoint as module
from tf_lottery.train.checkpoint import Snapshot

STEPS = 23
ROWS = [train.Evaluation(0, "test", {"loss": 0.1 + 0.2, "accuracy": 1.0})]


@pytest.fixture(scope="module")
def compiled(make_net, make_trainer):
    """State of every kind: BatchNorm, a seed generator, Adam's slots."""
    model = make_net(
        keras.layers.BatchNormalization(), keras.layers.Dropout(0.3, seed=4)
    )
    tf_lottery.prune(model, 0.5, "random")
    trainer = make_trainer(
        model, steps=STEPS, eval_every=Step(5), optimizer="adam"
    )
    trainer.start = get_state(model)
    trainer.mask = tf_lottery.get_mask(model)
    return trainer


@pytest.fixture
def trainer(compiled, monkeypatch):
    """Compiled once for all tests; as new for each."""
    monkeypatch.setattr(compiled, "_call_steps", 1)
    monkeypatch.setattr(compiled, "on_step", lambda step, rows: None)
    tf_lottery.set_mask(compiled.model, compiled.mask)
    return compiled


@pytest.fixture
def notices():
    return []


@pytest.fixture
def checkpoint(tmp_path, notices):
    return train.Checkpoint(
        tmp_path / "c.npz",
        {"level": 0},
        every=0,
        notice=notices.append,
        clock=lambda: 0.0,
    )


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
    asked = iter([0] * (calls - 1) + [15])
    with pytest.raises(train.Stopped) as stopped:
        complete(trainer, checkpoint=checkpoint, stopping=lambda: next(asked))
    assert stopped.value.saved and 0 < stopped.value.step < STEPS
    again, rows_again = complete(trainer, checkpoint=checkpoint)
    assert same(states, again)
    assert rows == rows_again


class Moving:
    """Another random half of the weights after 6 and after 12 steps."""

    def __init__(self):
        self.seen = []

    def next(self, step):
        return next((t for t in (6, 12) if t >= step), None)

    def state(self):
        return {"seen": np.array(self.seen, "int64")}

    def restore(self, state, model):
        self.seen = state["seen"].tolist()

    def __call__(self, model, optimizer, step):
        self.seen.append(step)
        rng = np.random.default_rng(step)
        tf_lottery.set_mask(
            model,
            {
                path: rng.random(shape) < 0.5
                for path, shape in tf_lottery.get_mask(model).shapes.items()
            },
            optimizer,
        )


@pytest.mark.parametrize("calls", [2, 5, 6])
def test_masks_that_changed_come_back(trainer, checkpoint, calls, notices):
    def complete(**how):
        # As a new process finds it: with the mask that training begins with.
        tf_lottery.set_mask(trainer.model, trainer.mask)
        set_state(trainer.model, trainer.start)
        trainer.moving = Moving()
        trainer(trainer.model, level=1, seed=3, change=trainer.moving, **how)
        return get_state(trainer.model), list(trainer.rows)

    state, rows = complete()
    changes, mask = trainer.changes, tf_lottery.get_mask(trainer.model)
    assert [step for step, _ in changes] == [0, 6, 12]
    asked = iter([0] * (calls - 1) + [15])
    with pytest.raises(train.Stopped) as stopped:
        complete(checkpoint=checkpoint, stopping=lambda: next(asked))
    assert stopped.value.step > 6 or calls == 2
    again, rows_again = complete(checkpoint=checkpoint)
    assert same([state], [again]) and rows == rows_again
    assert tf_lottery.get_mask(trainer.model) == mask
    assert trainer.changes == changes
    # It did go on, though a change remembered less when training began.
    assert not any("not used" in text for text in notices)
    # What a change remembers comes back too.
    assert trainer.moving.seen == [6, 12]


def test_where_calls_are_cut_changes_no_bit(trainer, monkeypatch):
    cuts, ends = [], []
    trainer.on_step = lambda step, rows: cuts.append(step)
    for seconds in (1e9, 0):
        monkeypatch.setattr("tf_lottery.train.loop._CALL_SECONDS", seconds)
        ends.append(complete(trainer))
    # To the evaluation or the rewind step, and step by step.
    assert cuts == [0, 1, 5, 7, 10, 15, 20, 23, 0, 5, *range(6, 24)]
    assert same(ends[0][0], ends[1][0]) and ends[0][1] == ends[1][1]


def test_the_end_can_be_resumed_and_the_time_adds_up(trainer, checkpoint):
    states, rows = complete(trainer, checkpoint=checkpoint)
    saved = checkpoint.load()
    assert saved.step == STEPS and saved.rows == rows
    checkpoint.save(Snapshot(STEPS, rows, saved.arrays, seconds=1e6))
    assert same(states, complete(trainer, checkpoint=checkpoint)[0])
    assert 1e6 < trainer.seconds < 1e6 + 1e3


def stop(trainer, checkpoint):
    with pytest.raises(train.Stopped):
        complete(trainer, checkpoint=checkpoint, stopping=lambda: 2)


def first_step(trainer, checkpoint):
    begun = []
    trainer.on_step = lambda step, rows: begun.append(step)
    complete(trainer, checkpoint=checkpoint)
    return begun[0]


def test_snapshot_of_other_masks_is_not_used(trainer, checkpoint, notices):
    stop(trainer, checkpoint)
    tf_lottery.prune(trainer.model, 0.7, "random")
    assert first_step(trainer, checkpoint) == 0
    assert notices[0].endswith(
        "c.npz is of another training (weights or masks): it is not used."
    )


CHANGES = {
    "later": lambda s: {"step": STEPS + 1},
    "no optimizer": lambda s: {"arrays": {
        k: v for k, v in s.arrays.items() if not k.startswith("optimizer")}},
    "no rewind state": lambda s: {"step": 7},
    "float64": lambda s: {"arrays": {
        k: v.astype("f8") for k, v in s.arrays.items()}},
    "shape": lambda s: {"arrays": {
        k: v[..., None] for k, v in s.arrays.items()}},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_snapshot_that_does_not_fit_is_not_used(
    trainer, checkpoint, notices, change
):
    stop(trainer, checkpoint)
    found = checkpoint.load()
    assert 0 < found.step < 7
    parts = {"step": found.step, "arrays": found.arrays, **change(found)}
    checkpoint.save(Snapshot(rows=found.rows, **parts))
    notices.clear()
    assert first_step(trainer, checkpoint) == 0
    assert "another training" in notices[0]


def test_a_snapshot_that_other_workers_lack_is_not_used(
    trainer, checkpoint, notices, monkeypatch
):
    stop(trainer, checkpoint)
    assert 0 < checkpoint.load().step < 7
    notices.clear()
    honest = trainer._workers.exchange
    answers = iter([lambda value: [value, None]])
    monkeypatch.setattr(
        trainer._workers, "exchange",
        lambda value: next(answers, honest)(value),
    )
    assert first_step(trainer, checkpoint) == 0
    assert "not of one step on all workers" in notices[-1]


def test_another_training_s_snapshot_is_not_used(checkpoint, notices):
    checkpoint.save(Snapshot(9, ROWS, {}))
    other = train.Checkpoint(
        checkpoint.path, {"level": 1}, notice=notices.append
    )
    assert other.load() is None
    assert notices == [
        f"{checkpoint.path} is of another training (level): it is not used."
    ]
    assert checkpoint.load() == Snapshot(9, ROWS, {}, 0.0)


def lie(path):
    """An archive whose array claims a terabyte."""
    with zipfile.ZipFile(path, "w") as archive:
        head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10**11,)}"
        head = head.replace(b"10**11", b"100000000000")
        archive.writestr(
            "header.npy",
            b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head,
        )


def bomb(path):
    np.savez_compressed(path, header=np.zeros(10**6))


def pickled(path):
    np.savez(path, header=np.array([{}], dtype=object))


def fifo(path):
    os.remove(path)
    os.mkfifo(path)


def folder(path):
    os.remove(path)
    os.mkdir(path)


def cut(keep):
    return lambda path: os.truncate(path, keep)


def flipped(path):
    with open(path, "r+b") as file:
        data = file.read()
        file.seek(data.index(np.ones(99).tobytes()) + 5)
        file.write(b"x")


@pytest.mark.parametrize(
    "damage", [cut(0), cut(10), cut(200), flipped, lie, bomb, pickled, fifo,
               folder]
)
def test_a_damaged_file_is_told_and_not_used(checkpoint, notices, damage):
    checkpoint.save(Snapshot(9, [], {"w": np.ones(100)}))
    damage(checkpoint.path)
    assert checkpoint.load() is None
    assert notices == [f"{checkpoint.path} is damaged: it is not used."]


def test_a_full_disk_is_told_once_and_tried_again(
    checkpoint, notices, monkeypatch, tmp_path
):
    checkpoint.save(Snapshot(1, [], {}))

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(module.np, "savez", full)
        assert not checkpoint.save(Snapshot(2, [], {}))
        assert not checkpoint.save(Snapshot(3, [], {}))
    (notice,) = notices
    assert "No space left on device" in notice and "goes on" in notice
    assert os.listdir(tmp_path) == ["c.npz"]
    assert checkpoint.load().step == 1
    assert checkpoint.save(Snapshot(4, [], {}))
    assert notices[-1] == f"{checkpoint.path} is written again."


def test_a_failed_save_is_no_saved_stop(trainer, checkpoint, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(module.np, "savez", full)
    with pytest.raises(train.Stopped) as stopped:
        complete(trainer, checkpoint=checkpoint, stopping=lambda: 15)
    assert not stopped.value.saved


def test_a_folder_that_has_gone_is_not_made_again(checkpoint, tmp_path):
    tmp_path.rmdir()
    with pytest.raises(FileNotFoundError):
        checkpoint.save(Snapshot(1, [], {}))
    assert not tmp_path.exists()


def test_a_slow_save_takes_a_tenth_of_the_time_at_most(tmp_path, monkeypatch):
    now = [0.0]
    checkpoint = train.Checkpoint(
        tmp_path / "c", {}, every=60, clock=lambda: now[0]
    )
    real = module.replace_file

    def slow(path, write):
        real(path, write)
        now[0] += seconds

    monkeypatch.setattr(module, "replace_file", slow)
    for seconds, wait in ((1, 60), (10, 90)):
        checkpoint.save(Snapshot(0, [], {}))
        now[0] += wait - 0.1
        assert not checkpoint.due()
        now[0] += 0.1
        assert checkpoint.due()


def test_a_training_that_starts_from_a_snapshot_needs_it(tmp_path, notices):
    path = tmp_path / "a.npz"
    how = dict(required=True, notice=notices.append)
    with pytest.raises(train.NoSnapshot, match="Train up to that step again"):
        train.Checkpoint(path, {"k": 1}, **how).load()
    checkpoint = train.Checkpoint(path, {"k": 1}, **how)
    checkpoint.save(Snapshot(3, [], {"w": np.ones(2)}))
    assert checkpoint.load().step == 3
    with pytest.raises(train.NoSnapshot):
        train.Checkpoint(path, {"k": 2}, **how).load()

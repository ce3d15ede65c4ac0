"""The search with the real trainer on a problem that has a known answer."""

import keras
import numpy as np
import pytest

from tf_lottery import LearningRate
from tf_lottery import Step
from tf_lottery import Trainer
from tf_lottery import TrainingSettings
from tf_lottery import find_tickets
from tf_lottery import mask_model
from tf_lottery.layers import get_state


@pytest.fixture(scope="module")
def trainer():
    """Three of eight inputs decide; 3 levels are 40 steps each."""
    rng = np.random.default_rng(0)

    def split(size):
        x = rng.normal(size=(size, 8)).astype("float32")
        return x, (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype("int32")

    keras.utils.set_random_seed(3)
    model = mask_model(
        keras.Sequential(
            [
                keras.Input((8,)),
                keras.layers.Dense(16, activation="relu", name="hidden"),
                keras.layers.BatchNormalization(),
                keras.layers.Dropout(0.1),
                keras.layers.Dense(2, name="out"),
            ]
        )
    )
    return Trainer(
        model,
        {name: split(96) for name in ("train", "validation", "test")},
        TrainingSettings(
            train_steps=Step(40),
            batch_size=16,
            eval_every=Step(10),
            optimizer="adam",
            learning_rate=LearningRate(0.01),
            jit="off",
        ),
    )


def search(trainer, **how):
    how = {"levels": 3, "prune_rate": 0.5, "output_prune_rate": 0.25, **how}
    return find_tickets(trainer.model, trainer, **how)


def same(one, other):
    return one.keys() == other.keys() and all(
        np.array_equal(one[k], other[k]) for k in one
    )


def test_from_dense_to_sparse_and_again(trainer):
    model = trainer.model
    start = get_state(model)
    tickets = list(search(trainer, seed=1))
    assert [list(t.mask.kept_by_path.values()) for t in tickets] == [
        [128, 32],
        [64, 24],
        [32, 18],
        [16, 14],  # 18 - round(4.5), half to even
    ]
    assert same(tickets[0].rewind, start)
    for ticket, after in zip(tickets, tickets[1:]):
        assert after.mask.is_subset_of(ticket.mask)
        for path, keep in after.mask.items():
            # What is kept was larger in the round before, and starts at theta;
            # what is pruned is exactly 0 at both ends.
            size = np.abs(ticket.trained[path])
            gone = ticket.mask[path] & ~keep
            assert size[keep].min() >= size[gone].max()
            assert np.array_equal(after.rewind[path][keep], start[path][keep])
            assert not after.rewind[path][~keep].any()
            assert not after.trained[path][~keep].any()
        # All that is kept is trained, but for units that nothing reads.
        hidden, out = after.mask
        moved = after.trained[hidden] != after.rewind[hidden]
        read = after.mask[out].any(1)
        assert np.array_equal(moved, after.mask[hidden] & read)
    for ticket in tickets:
        assert ticket.metrics["train_steps"] == 40
        assert ticket.metrics["val_accuracy"] > 0.6
    # The network ends as the last ticket has it.
    assert same(get_state(model), tickets[3].trained)
    # The same search again, from the first one's level 0, is bit-identical.
    again = list(search(trainer, seed=1, resume=tickets[0]))
    for one, other in zip(again, tickets[1:], strict=True):
        assert one.mask == other.mask
        assert same(one.trained, other.trained)
        assert one.metrics == other.metrics
    # All this with one trace of the loop.
    assert trainer._run.experimental_get_tracing_count() == 1


def test_rewinding_to_a_step_between_evaluations(trainer):
    tickets = list(search(trainer, rewind_step=7, levels=1))
    start, theta = get_state(trainer.model), tickets[0].rewind
    for path, keep in tickets[1].mask.items():
        assert np.array_equal(
            tickets[1].rewind[path][keep], theta[path][keep]
        )
        assert not np.array_equal(theta[path], start[path])
    assert [t.metrics["train_steps"] for t in tickets] == [40, 33]


def test_a_rewind_step_after_the_last_is_an_error(trainer):
    with pytest.raises(RuntimeError, match="Received: 0 calls"):
        next(search(trainer, rewind_step=41))

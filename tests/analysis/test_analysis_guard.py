"""What is told of a pruned network before it is trained."""

import keras
import numpy as np
import pytest

from tf_lottery import Mask
from tf_lottery import mask_model
from tf_lottery import set_mask
from tf_lottery.analysis import PathGuard
from tf_lottery.graph import flow


def network():
    x = keras.Input((2,))
    y = keras.layers.Dense(2, name="one")(x)
    return mask_model(keras.Model(x, keras.layers.Dense(1, name="two")(y)))


WHOLE = {"one/kernel": np.ones((2, 2)), "two/kernel": np.ones((2, 1))}
DEAD = {**WHOLE, "two/kernel": [[1], [0]]}
CUT = {**WHOLE, "two/kernel": [[0], [0]]}


@pytest.fixture
def told():
    return []


@pytest.fixture
def model():
    return network()


def test_a_whole_network_is_no_news(model, told):
    guard = PathGuard(model, told.append)
    guard.check("level 0", stop=True)
    assert told == [] and guard.effective_density(Mask(WHOLE)) == 1


def test_what_is_dead_is_named(model, told):
    guard = PathGuard(model, told.append)
    set_mask(model, DEAD)
    guard.check("level 1", stop=True)
    assert told == [
        "level 1: 1 dead unit in one; effective density 50 % of 83.3 %."
    ]
    assert guard.effective_density(Mask(DEAD)) == 3 / 6


def test_a_cut_is_refused_where_it_is_to_stop(model, told):
    guard = PathGuard(model, told.append)
    set_mask(model, CUT)
    with pytest.raises(ValueError, match="^`collapse` must be .* level 2: an"):
        guard.check("level 2", stop=True)
    assert told == []
    # As a control's is not.
    guard.check("random_mask level 2", stop=False)
    (line,) = told
    assert "random_mask level 2: an output does not depend on the" in line


def test_the_graph_is_read_once_and_a_mask_looked_at_once(
    model, told, monkeypatch
):
    guard = PathGuard(model, told.append)
    reads, used = [], flow.Flow.used
    monkeypatch.setattr(flow.Flow, "__init__", None)
    monkeypatch.setattr(
        flow.Flow, "used",
        lambda *given: reads.append(1) or used(*given),
    )
    set_mask(model, DEAD)
    guard.check("x", stop=True)
    assert guard.effective_density(Mask(DEAD)) == 0.5
    assert len(reads) == 1


def test_a_graph_that_cannot_be_read_is_told_of_once(told):
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    model = Own()
    model(np.ones((1, 3)))
    model = mask_model(model, in_place=True)
    guard = PathGuard(model, told.append)
    guard.check("x", stop=True)
    assert guard.effective_density(Mask({"a": [True]})) is None
    (line,) = told
    assert line.startswith("effective_density stays empty in results.csv")

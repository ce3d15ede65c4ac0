"""Points of training, in steps and epochs."""

import dataclasses

import numpy as np
import pytest

from tf_lottery.step import Step


@pytest.mark.parametrize(
    "text, expected",
    [
        ("500it", Step(500, "it")),
        ("2ep", Step(2, "ep")),
        ("500", Step(500, "it")),
        (500, Step(500, "it")),
        (np.int64(7), Step(7, "it")),
        ("0it", Step(0)),
        (" 12 ep ", Step(12, "ep")),
        (Step(3, "ep"), Step(3, "ep")),
    ],
)
def test_parse(text, expected):
    assert Step.parse(text) == expected


@pytest.mark.parametrize(
    "value",
    ["", "it", "-5it", "-5", "1.5ep", "2 epochs", "2EP", "1e3", "2ep3"]
    + [None, True, 2.0, -1, "500it 2ep"],
)
def test_parse_refuses(value):
    with pytest.raises(ValueError) as error:
        Step.parse(value, "rewind")
    assert str(error.value) == (
        "`rewind` must be a number of steps or epochs. Received: "
        f"rewind={value!r}. Write '500it' for steps or '2ep' for epochs."
    )


@pytest.mark.parametrize("count", [-1, 2.5, True, "3", None])
def test_count_is_a_non_negative_integer(count):
    with pytest.raises(ValueError) as error:
        Step(count)
    assert str(error.value) == (
        "`count` must be a non-negative integer. Received: "
        f"count={count!r}. Give a point at or after step 0."
    )


def test_unit_is_one_of_two():
    with pytest.raises(ValueError, match="`unit` must be 'it' or 'ep'"):
        Step(3, "epochs")


@pytest.mark.parametrize("value, steps", [("7it", 7), ("7ep", 6412)])
def test_steps_of_an_epoch(value, steps):
    assert Step.parse(value).steps(steps_per_epoch=916) == steps


@pytest.mark.parametrize("text", ["7it", "7ep", "0it"])
def test_text_and_back(text):
    assert str(Step.parse(text)) == text
    assert Step.parse(str(Step.parse(text))) == Step.parse(text)


def test_a_step_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Step(1).count = 2

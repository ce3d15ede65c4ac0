"""Learning rates and sparsities against values computed by hand."""

import subprocess
import sys

import numpy as np
import pytest

from tf_lottery.schedules import ConstantSparsity
from tf_lottery.schedules import LearningRate
from tf_lottery.schedules import PolynomialDecay
from tf_lottery.step import Step


def rates(schedule="constant", start=0, stop=10, *, total=10, epoch=4, **how):
    rate = LearningRate(how.pop("base", 0.8), schedule, **how)
    return rate.values(start, stop, total=total, steps_per_epoch=epoch)


# Products of a few float64: their rounding is the whole error.
def close(values, expected):
    np.testing.assert_allclose(values, expected, rtol=1e-14, atol=1e-17)


def test_constant():
    values = rates()
    assert values.dtype == np.float64
    assert values.tolist() == [0.8] * 10


def test_step_in_steps():
    close(rates("step:3it,5:0.5"), [0.8] * 3 + [0.4] * 2 + [0.2] * 5)


def test_step_in_epochs():
    close(rates("step:1ep,2ep:0.1"), [0.8] * 4 + [0.08] * 4 + [0.008] * 2)


def test_step_units_can_be_mixed_in_any_order():
    expected = [0.8] * 2 + [0.4] * 2 + [0.2] * 6
    close(rates("step:1ep,2it:0.5"), expected)
    close(rates("step:2it,1ep:0.5"), expected)


def test_a_boundary_given_twice_counts_twice():
    close(rates("step:2it,2it:0.5", stop=4), [0.8, 0.8, 0.2, 0.2])


def test_cosine():
    # eta / 2 * (1 + cos(pi * t / 4)) at t = 0..3.
    half = np.sqrt(0.5)
    expected = [0.8, 0.4 * (1 + half), 0.4, 0.4 * (1 - half)]
    close(rates("cosine", stop=4, total=4), expected)


def test_cosine_stays_at_zero_after_the_end():
    close(rates("cosine", start=4, stop=7, total=4), [0, 0, 0])


def test_warmup_is_linear_and_ends_at_the_base_rate():
    close(rates(warmup=Step(4), stop=6), [0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_warmup_in_epochs():
    close(rates(warmup=Step(1, "ep"), stop=6), [0.2, 0.4, 0.6, 0.8, 0.8, 0.8])


def test_cosine_starts_after_the_warmup():
    half = np.sqrt(0.5)
    expected = [0.4, 0.8, 0.8, 0.4 * (1 + half), 0.4, 0.4 * (1 - half)]
    close(rates("cosine", warmup=Step(2), stop=6, total=6), expected)


def test_step_boundaries_count_from_step_0_under_warmup():
    expected = [0.4, 0.8, 0.8, 0.4]
    close(rates("step:3it:0.5", warmup=Step(2), stop=4), expected)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step:1ep,7it:0.1"])
@pytest.mark.parametrize("warmup", [Step(0), Step(3), Step(1, "ep")])
def test_rates_depend_on_the_step_alone(schedule, warmup):
    whole = rates(schedule, warmup=warmup)
    parts = [rates(schedule, i, i + 1, warmup=warmup) for i in range(10)]
    assert np.array_equal(whole, np.concatenate(parts))
    assert rates(schedule, 4, 4, warmup=warmup).shape == (0,)


@pytest.mark.parametrize(
    "schedule",
    ["", "linear", "step", "step:", "step:80ep", "step:80ep:", "step::0.1"]
    + ["step:80ep,:0.1", "step:80ep:x", "step:-1it:0.1", "cosine:3"]
    + ["constant:1", "Constant", "step:4it:0", "step:4it:-1"]
    + ["step:4it:nan", "step:4it:inf"],
)
def test_a_schedule_that_cannot_be_read(schedule):
    with pytest.raises(ValueError) as error:
        LearningRate(0.1, schedule)
    assert str(error.value) == (
        "`lr_schedule` must be constant, cosine, or step:POINT,POINT:FACTOR."
        f" Received: lr_schedule={schedule!r}. Write for example "
        "step:80ep,120ep:0.1."
    )


@pytest.mark.parametrize("base", [0, -0.1, float("nan"), float("inf")])
def test_a_rate_that_is_not_positive(base):
    with pytest.raises(ValueError) as error:
        LearningRate(base)
    assert str(error.value) == (
        "`learning_rate` must be a positive number. Received: "
        f"learning_rate={base}. Use for example 1.2e-3."
    )


def test_no_tensorflow_is_needed():
    code = (
        "import sys, tf_lottery.schedules, tf_lottery.seeds, tf_lottery.step\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_constant_sparsity():
    schedule = ConstantSparsity(0.5, begin_step=3, end_step=9, frequency=3)
    turns = [step for step in range(20) if schedule(step)[0]]
    assert turns == [3, 6, 9]
    assert {schedule(step)[1] for step in range(20)} == {0.5}
    endless = ConstantSparsity(0.5, begin_step=1, frequency=2)
    assert [endless(10**9 + i)[0] for i in (0, 1)] == [False, True]
    assert ConstantSparsity(0.0).frequency == 100
    assert ConstantSparsity(0.5, 4, 4, 1)(4) == (True, 0.5)


def test_polynomial_decay():
    # 0.9 - 0.8 * (1 - t / 4) ** 3 at t = 0..4 from step 10 on, every second
    # step a turn.
    schedule = PolynomialDecay(0.1, 0.9, 10, 14, frequency=2)
    found = [schedule(step) for step in range(9, 16)]
    assert [due for due, _ in found] == [
        False, True, False, True, False, True, False,
    ]
    expected = [0.1, 0.1, 0.5625, 0.8, 0.8875, 0.9, 0.9]
    close([sparsity for _, sparsity in found], expected)


def test_the_power_of_a_polynomial_decay():
    line = PolynomialDecay(0.0, 0.8, 0, 4, power=1, frequency=1)
    close([line(step)[1] for step in range(5)], [0, 0.2, 0.4, 0.6, 0.8])
    root = PolynomialDecay(0.0, 0.8, 0, 4, power=0.5, frequency=1)
    close(root(3)[1], 0.8 - 0.8 * 0.5)
    # As in TF-MOT, a falling one is allowed: masks then stay.
    down = PolynomialDecay(0.8, 0.0, 0, 4, power=1, frequency=1)
    close(down(1)[1], 0.6)


SPARSITIES = [-0.1, 1, 1.5, float("nan")]


@pytest.mark.parametrize("value", SPARSITIES)
@pytest.mark.parametrize(
    "name", ["target_sparsity", "initial_sparsity", "final_sparsity"]
)
def test_a_sparsity_out_of_range(name, value):
    with pytest.raises(ValueError) as error:
        if name == "target_sparsity":
            ConstantSparsity(value)
        else:
            given = {"initial_sparsity": 0, "final_sparsity": 0, name: value}
            PolynomialDecay(**given, begin_step=0, end_step=100)
    assert str(error.value) == (
        f"`{name}` must be a fraction in [0, 1). Received: {name}={value}. "
        "0.8 leaves every fifth weight."
    )


@pytest.mark.parametrize(
    "begin, end, frequency",
    [(-1, 10, 1), (10, 9, 1), (0, -2, 1), (0, 10, 0), (0, 10, -5)],
)
def test_steps_out_of_order(begin, end, frequency):
    for schedule, sparsities in (
        (ConstantSparsity, (0.5,)), (PolynomialDecay, (0.0, 0.5)),
    ):
        with pytest.raises(ValueError) as error:
            schedule(
                *sparsities, begin_step=begin, end_step=end,
                frequency=frequency,
            )
        assert str(error.value) == (
            "`begin_step`, `end_step` and `frequency` must be steps in order,"
            f" the last at least 1. Received: begin_step={begin}, "
            f"end_step={end}, frequency={frequency}. An end_step of -1 never "
            "ends."
        )


@pytest.mark.parametrize("begin, end, frequency", [(0, 10, 3), (2, 10, 5)])
def test_a_final_sparsity_that_would_never_be_reached(begin, end, frequency):
    with pytest.raises(ValueError, match="must divide the steps from begin"):
        PolynomialDecay(0.0, 0.5, begin, end, frequency=frequency)


@pytest.mark.parametrize("begin, end", [(0, -1), (4, 4)])
def test_a_polynomial_decay_needs_an_end(begin, end):
    with pytest.raises(ValueError, match="`end_step` must be after begin_s"):
        PolynomialDecay(0.0, 0.5, begin, end, frequency=1)


@pytest.mark.parametrize("power", [0, -1, float("nan")])
def test_a_power_that_is_not_positive(power):
    with pytest.raises(ValueError, match=f"Received: power={power}. The pap"):
        PolynomialDecay(0.0, 0.5, 0, 100, power=power)

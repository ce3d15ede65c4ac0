"""Student's t against printed tables and closed forms."""

import math

import pytest

from tf_lottery.analysis.student import student_quantile, student_tail

# Columns 0.95, 0.975 and 0.995 of the tables in every textbook.
TABLE = {
    1: (6.314, 12.706, 63.657),
    2: (2.920, 4.303, 9.925),
    3: (2.353, 3.182, 5.841),
    4: (2.132, 2.776, 4.604),
    5: (2.015, 2.571, 4.032),
    9: (1.833, 2.262, 3.250),
    10: (1.812, 2.228, 3.169),
    29: (1.699, 2.045, 2.756),
    120: (1.658, 1.980, 2.617),
}


@pytest.mark.parametrize("freedom", TABLE)
def test_quantiles_are_those_of_the_table(freedom):
    for level, value in zip((0.95, 0.975, 0.995), TABLE[freedom]):
        assert student_quantile(level, freedom) == pytest.approx(
            value, abs=6e-4
        )
        assert student_quantile(1 - level, freedom) == pytest.approx(
            -value, abs=6e-4
        )


@pytest.mark.parametrize("t", [0.0, 0.01, 0.5, 1.0, 3.0, 40.0, 1e4, -2.0])
def test_tails_with_a_closed_form(t):
    one = 0.5 - math.atan(t) / math.pi
    assert student_tail(t, 1) == pytest.approx(one, rel=1e-8, abs=1e-14)
    two = 0.5 - t / (2 * math.sqrt(2 + t * t))
    assert student_tail(t, 2) == pytest.approx(two, rel=1e-6, abs=1e-14)


def test_many_degrees_of_freedom_are_the_normal():
    for t in (-1.0, 0.3, 2.0):
        normal = 0.5 * math.erfc(t / math.sqrt(2))
        assert student_tail(t, 10**6) == pytest.approx(normal, rel=1e-5)


def test_tail_and_quantile_are_inverse_and_symmetric():
    for freedom in (1, 2, 7, 50, 400):
        for level in (0.501, 0.9, 0.9999):
            t = student_quantile(level, freedom)
            assert student_tail(t, freedom) == pytest.approx(
                1 - level, rel=1e-9
            )
            assert student_tail(-t, freedom) == pytest.approx(level)


def test_the_ends():
    assert student_tail(math.inf, 3) == 0 and student_tail(-math.inf, 3) == 1
    assert student_tail(0.0, 3) == pytest.approx(0.5)
    assert 0 <= student_tail(1e200, 1) < 1e-12
    assert student_quantile(0.5, 3) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: student_tail(1.0, 0), "`freedom` must be at least 1"),
        (lambda: student_tail(math.nan, 2), "`t` must be a number"),
        (lambda: student_quantile(1.0, 2), r"`level` must be in \(0, 1\)"),
        (lambda: student_quantile(0.9, 0), "`freedom` must be at least 1"),
    ],
)
def test_what_is_no_distribution(call, message):
    with pytest.raises(ValueError, match=message):
        call()
